"""The objects that a router writes, as plain dicts. Pure functions."""

from __future__ import annotations

import json
from typing import Any

from penstock.cluster.client import CONFIG_MAPS, HTTP_ROUTES, INFERENCE_SERVICES, Manifest
from penstock.rollout.backends.kserve.owner import MANAGED
from penstock.rollout.backends.kserve.owner import SERVICE as _SERVICE
from penstock.rollout.backends.kserve.state import ClusterArm, ClusterState
from penstock.rollout.spec import KserveSpec
from penstock.rollout.state import Role

ARM_HEADER = "x-penstock-arm"
"""Header by which the rollout's own requests reach the arm they mean; its value holds a token."""

SPLIT = "split"
"""Names, in that header, both arms at equal weights: how a split is tried before users meet it."""

STATE = "penstock/state"
"""Annotation that holds a `ClusterState`."""

REVISION = "penstock/revision"
"""Annotation of a predictor that is another one in each revision of it."""

VISIBILITY = "networking.kserve.io/visibility"
"""Label of an InferenceService that keeps KServe from making a route to it."""
_VERSION = "penstock/version"
_PORT = 80
_MODULE = ["python", "-m"]


def inference_service(arm: ClusterArm, *, service: str, spec: KserveSpec) -> Manifest:
    """Return the InferenceService of one version alone.

    It gets no route of its own (its visibility is cluster-local): the only way to it is the one
    whose weights the rollout sets.
    """
    return _inference_service(
        arm.name,
        service=service,
        spec=spec,
        labels=_visible(False),
        annotations={**_STANDARD, **_identity(arm)},
        body={
            "predictor": {
                "minReplicas": spec.replicas,
                "maxReplicas": spec.replicas,
                **_predictor(arm, service=service, spec=spec),
            }
        },
    )


def native_service(state: ClusterState, *, spec: KserveSpec) -> Manifest:
    """Return the one InferenceService of a service whose versions are its predictor and canaries.

    What is not the stable version is a canary, the retired one at 0 %. Before there is a stable
    version the candidate is the predictor, and KServe is told to make no route to it.
    """
    service = state.service
    first = state.stable or state.candidate
    assert first is not None
    beside = [(arm, state.weight_of(role)) for role, arm in state.roles().items() if arm != first]
    body: dict[str, Any] = {
        "predictor": {
            "name": _variant(first),
            "minReplicas": spec.replicas,
            "maxReplicas": spec.replicas,
            **_predictor(first, service=service, spec=spec),
        }
    }
    if beside:
        body["canary"] = [
            {"trafficPercent": weight, "predictor": _canary(arm, service=service, spec=spec)}
            for arm, weight in beside
        ]
    return _inference_service(
        service,
        service=service,
        spec=spec,
        labels=_visible(state.stable is not None),
        annotations={
            **_STANDARD,
            **{f"penstock/digest-{_variant(arm)}": arm.model for arm in state.roles().values()},
        },
        body=body,
    )


def knative_service(
    arm: ClusterArm, *, percent: int | None, revision: str, service: str, spec: KserveSpec
) -> Manifest:
    """Return the InferenceService of a service whose versions are revisions of Knative.

    KServe passes its labels and annotations on to the revision, so what changes with the traffic
    must not be in them: each change would be a revision of its own.

    Args:
        arm: The version that its newest revision serves.
        percent: Its share of users' requests; the rest goes to the revision that had all of them
            last. None: all, and the one before is forgotten.
        revision: What makes this revision differ from all others.
        service: The service.
        spec: Where it serves.
    """
    share = {} if percent is None else {"canaryTrafficPercent": percent}
    return _inference_service(
        service,
        service=service,
        spec=spec,
        labels={},
        annotations={
            "serving.kserve.io/deploymentMode": "Knative",
            "serving.kserve.io/enable-tag-routing": "true",
            **_identity(arm),
        },
        body={
            "predictor": {
                **share,
                "minReplicas": spec.replicas,
                "maxReplicas": spec.replicas,
                "labels": {_VERSION: str(arm.version)},
                "annotations": {REVISION: revision},
                **_predictor(arm, service=service, spec=spec),
            }
        },
    )


def state_map(state: ClusterState, *, name: str, spec: KserveSpec) -> Manifest:
    """Return a ConfigMap that holds nothing but the state."""
    return {
        "apiVersion": CONFIG_MAPS.api,
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": spec.namespace,
            # Not the label of a service: by that one its journals are found.
            "labels": MANAGED,
            "annotations": {STATE: _packed(state)},
        },
    }


def pods_selector(arm: ClusterArm) -> str:
    """Return the label selector of a version's pods."""
    if arm.backend:
        return f"app=isvc.{arm.backend}"
    return f"{_SERVICE}={arm.name},{_VERSION}={arm.version}"


def _inference_service(
    name: str,
    *,
    service: str,
    spec: KserveSpec,
    labels: dict[str, str],
    annotations: dict[str, str],
    body: dict[str, Any],
) -> Manifest:
    return {
        "apiVersion": INFERENCE_SERVICES.api,
        "kind": "InferenceService",
        "metadata": {
            "name": name,
            "namespace": spec.namespace,
            "labels": {**MANAGED, _SERVICE: service, **labels},
            "annotations": annotations,
        },
        "spec": body,
    }


_STANDARD = {
    "serving.kserve.io/deploymentMode": "Standard",
    "serving.kserve.io/autoscalerClass": "none",
}


def _visible(visible: bool) -> dict[str, str]:
    return {VISIBILITY: "" if visible else "cluster-local"}


def _identity(arm: ClusterArm) -> dict[str, str]:
    return {"penstock/model": arm.uri, "penstock/digest": arm.model}


def _packed(state: ClusterState) -> str:
    return json.dumps(state.payload(), separators=(",", ":"))


def _predictor(arm: ClusterArm, *, service: str, spec: KserveSpec) -> dict[str, Any]:
    arguments = [f"--name={service}", f"--version={arm.version}", f"--digest={arm.model}"]
    if arm.export:
        arguments.append(f"--export={arm.export}")
    if arm.own_traffic:
        arguments.append(f"--own-traffic={arm.own_traffic}")
    model: dict[str, Any] = {
        "modelFormat": {"name": "penstock", "version": "1"},
        "runtime": spec.runtime,
        "storageUri": arm.storage,
        "args": arguments,
    }
    if arm.drill:
        model["command"] = [*_MODULE, "penstock.serving.fault_injection", f"--fault={arm.drill}"]
    return {"serviceAccountName": spec.service_account, "model": model}


def _canary(arm: ClusterArm, *, service: str, spec: KserveSpec) -> dict[str, Any]:
    predictor = _predictor(arm, service=service, spec=spec)
    # KServe's definition asks for the container's name here, and its webhook refuses it elsewhere.
    predictor["model"]["name"] = "kserve-container"
    # One replica, because KServe takes as many from the stable version's.
    return {"name": _variant(arm), "minReplicas": 1, **predictor}


def _variant(arm: ClusterArm) -> str:
    return f"v{arm.version}"


def http_route(state: ClusterState, *, spec: KserveSpec) -> Manifest:
    """Return the route of a service: how requests find their version, and the state itself.

    A gateway may know a rule by its place (Envoy Gateway does) and drop what was known by a place
    before it learns of the new one: requests in between get a 503. So each rule has its place for
    good, those of users first, and one that has no version leads nowhere instead of leaving.
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
        host: Host by which it is told from the route that users take.
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
            "annotations": {STATE: _packed(state)},
        },
        "spec": {
            "parentRefs": [reference],
            **({"hostnames": hosts} if hosts else {}),
            "rules": rules,
        },
    }


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
    rule["matches"] = [{"path": {"type": "Exact", "value": f"/v1/models/{state.service}:feedback"}}]
    if copied and state.stable and state.candidate:
        rule["filters"] = [_mirror(state.candidate, share=1.0)]
    return rule


def _mirror(arm: ClusterArm, *, share: float) -> dict[str, Any]:
    # Thousandths are as fine as a share is worth asking for.
    fraction = {"numerator": round(1000 * share), "denominator": 1000}
    mirror = {"backendRef": _backend(arm), "fraction": fraction}
    return {"type": "RequestMirror", "requestMirror": mirror}


def _users_rule(state: ClusterState) -> dict[str, Any]:
    rule = _rule(state, _shares(state))
    if state.candidate and state.assignment.mirror:
        rule["filters"] = [_mirror(state.candidate, share=state.assignment.mirror)]
    return rule


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
