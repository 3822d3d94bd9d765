"""The HTTPRoutes that a router writes, as plain dicts. Pure functions."""

from __future__ import annotations

from typing import Any

from penstock.cluster.client import HTTP_ROUTES, Manifest
from penstock.rollout.backends.kserve.manifests import STATE, packed
from penstock.rollout.backends.kserve.owner import MANAGED
from penstock.rollout.backends.kserve.owner import SERVICE as _SERVICE
from penstock.rollout.backends.kserve.state import ClusterArm, ClusterState
from penstock.rollout.spec import KserveSpec
from penstock.rollout.state import Role

ARM_HEADER = "x-penstock-arm"
"""Header by which the rollout's own requests reach the arm they mean; its value holds a token."""

SPLIT = "split"
"""Names, in that header, both arms at equal weights: how a split is tried before users meet it."""

_NOBODY = "nobody"
"""Names no arm: a rule that asks for it in that header matches no request."""

_PORT = 80


def http_route(state: ClusterState, *, spec: KserveSpec) -> Manifest:
    """Return the route of a service: how requests find their version, and the state itself.

    A gateway may know a rule by its place (Envoy Gateway does) and drop what was known by a place
    before it has the new one: requests in between get a 503. So each rule has its place for
    good, those of users first, and one that has no version leads nowhere instead of leaving.
    Users of a service that has none yet get a 404, as before there was a route.
    """
    hosts = [spec.hostname] if spec.hostname else []
    labels = _labels_rule(state, copied=bool(spec.prometheus.url))
    rules = [labels, _users_rule(state), *_own_rules(state), *_chosen_rules(state)]
    return _http_route(state, state.service, spec=spec, hosts=hosts, rules=rules)


def arms_route(state: ClusterState, *, name: str, host: str, spec: KserveSpec) -> Manifest:
    """Return a route for the rollout's own requests alone, and the state itself.

    Args:
        state: The service.
        name: The route's name.
        host: Host that distinguishes it from the route that users take.
        spec: Where it serves.
    """
    return _http_route(state, name, spec=spec, hosts=[host], rules=_own_rules(state))


def _http_route(
    state: ClusterState,
    name: str,
    *,
    spec: KserveSpec,
    hosts: list[str],
    rules: list[dict[str, Any]],
) -> Manifest:
    gateway, _, parent = spec.gateway.rpartition("/")
    reference = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": parent}
    if gateway:
        reference["namespace"] = gateway
    return {
        "apiVersion": HTTP_ROUTES.api,
        "kind": "HTTPRoute",
        "metadata": {
            "name": name,
            "namespace": spec.namespace,
            "labels": {**MANAGED, _SERVICE: state.service},
            "annotations": {STATE: packed(state)},
        },
        "spec": {
            "parentRefs": [reference],
            **({"hostnames": hosts} if hosts else {}),
            "rules": rules,
        },
    }


def proxy_name(service: str) -> str:
    """Return the name of an experiment's Deployment and Service, of which a service has one."""
    return f"{service}-experiment"


def arm_value(state: ClusterState, arm: str) -> str:
    """Return the header's value by which a request reaches `stable`, `candidate` or `split`."""
    return f"{state.token}-{arm}"


def _own_rules(state: ClusterState) -> list[dict[str, Any]]:
    stable, candidate = _only(state.stable), _only(state.candidate)
    both = [(arm, 50) for arm, _ in (*stable, *candidate)] if stable and candidate else []
    return [
        _rule(state, backends, header=(ARM_HEADER, arm_value(state, name)))
        for name, backends in (("stable", stable), ("candidate", candidate), (SPLIT, both))
    ]


def _chosen_rules(state: ClusterState) -> list[dict[str, Any]]:
    """Send users who name a version to it; to the candidate only where it has traffic at all."""
    header, stable = state.assignment.choice_header, _only(state.stable)
    if not header or not stable:
        return []
    candidate = _only(state.candidate) if state.weight else []
    chosen = {"stable": stable, "candidate": candidate or stable}
    return [_rule(state, backends, header=(header, name)) for name, backends in chosen.items()]


def _only(arm: ClusterArm | None) -> list[tuple[ClusterArm, int]]:
    return [(arm, 1)] if arm else []


def _labels_rule(state: ClusterState, *, copied: bool) -> dict[str, Any]:
    """Send users' labels to the stable version; `copied`: to the candidate as well.

    Which one answered the row is known to that one alone. It stands before the rule for users,
    which has the same path: of equals the first is taken.
    """
    rule = _rule(state, _only(state.stable) or _shares(state))
    if _experiments(state):
        rule["backendRefs"] = _assigning(state)
    path = {"type": "Exact", "value": f"/v1/models/{state.service}:feedback"}
    rule["matches"] = [{**rule["matches"][0], "path": path}]
    if copied and state.stable and state.candidate and not _experiments(state):
        rule["filters"] = [_mirror(state.candidate, share=1.0)]
    return rule


def _mirror(arm: ClusterArm, *, share: float) -> dict[str, Any]:
    # Thousandths are as fine as a share need be.
    fraction = {"numerator": round(1000 * share), "denominator": 1000}
    mirror = {"backendRef": _backend(arm), "fraction": fraction}
    return {"type": "RequestMirror", "requestMirror": mirror}


def _users_rule(state: ClusterState) -> dict[str, Any]:
    rule = _rule(state, _shares(state))
    if _experiments(state):
        return {**rule, "backendRefs": _assigning(state)}
    if state.candidate and state.assignment.mirror:
        rule["filters"] = [_mirror(state.candidate, share=state.assignment.mirror)]
    return rule


def _experiments(state: ClusterState) -> bool:
    return bool(state.assignment.experiment and state.stable and state.candidate)


def _assigning(state: ClusterState) -> list[dict[str, Any]]:
    """Return what assigns users of an experiment: its proxy, and until it is up the champion.

    The weights of a rule know no users: a user would meet one version now and the other then.
    """
    if state.proxy == "leads":
        name = proxy_name(state.service)
        return [{"group": "", "kind": "Service", "name": name, "port": _PORT, "weight": 1}]
    assert state.stable is not None
    return [{**_backend(state.stable), "weight": 1}]


def _shares(state: ClusterState) -> list[tuple[ClusterArm, int]]:
    up: dict[Role, ClusterArm | None] = {"stable": state.stable, "candidate": state.candidate}
    return [(arm, state.weight_of(role)) for role, arm in up.items() if arm]


def _rule(
    state: ClusterState,
    backends: list[tuple[ClusterArm, int]],
    *,
    header: tuple[str, str] | None = None,
) -> dict[str, Any]:
    matches = _paths(state.service)
    if header is None and not any(weight for _, weight in backends):
        # A rule that matches and leads nowhere is answered with 500.
        header = (ARM_HEADER, arm_value(state, _NOBODY))
    if header:
        name, value = header
        headers = [{"type": "Exact", "name": name, "value": value}]
        matches = [{**match, "headers": headers} for match in matches]
    return {
        "matches": matches,
        "backendRefs": [{**_backend(arm), "weight": weight} for arm, weight in backends],
    }


def _paths(service: str) -> list[dict[str, Any]]:
    """Match what the model server answers under the service's name, in both protocols."""
    v1 = f"/v1/models/{service}"
    exact = [v1, *(f"{v1}:{verb}" for verb in ("predict", "explain", "feedback"))]
    return [
        *({"path": {"type": "Exact", "value": path}} for path in exact),
        {"path": {"type": "PathPrefix", "value": f"/v2/models/{service}"}},
    ]


def _backend(arm: ClusterArm) -> dict[str, Any]:
    return {"group": "", "kind": "Service", "name": arm.backend, "port": _PORT}
