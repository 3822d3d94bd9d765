"""Which router of KServe a service has, and which one it gets where that is left open."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from penstock.cluster.client import Kube
from penstock.errors import InputError, PenstockError, ServiceError
from penstock.rollout.backends.kserve import detect, manifests
from penstock.rollout.backends.kserve.backend import KserveBackend
from penstock.rollout.backends.kserve.gateway import GatewayBackend
from penstock.rollout.backends.kserve.knative import KnativeBackend
from penstock.rollout.backends.kserve.native import NativeBackend
from penstock.rollout.backends.kserve.store import LONGEST
from penstock.rollout.spec import DeploymentSpec, KserveSpec

ROUTERS: dict[str, type[KserveBackend]] = {
    "kserve-gateway": GatewayBackend,
    "kserve-knative": KnativeBackend,
    "kserve-native": NativeBackend,
}
OPEN = "kserve"
"""What `deployment.router` says where it leaves the choice to this module."""

_UNSCALED = {
    "kserve-native": "KServe refuses every field of autoscaling in spec.canary, so a candidate "
    "cannot be scaled",
    "kserve-knative": "Knative scales revisions by its own autoscaler, which is not set from here",
}
"""Why a router cannot scale the servers of both versions."""
_WHERE = "deployment.canary"


def settled_kind(
    kube: Kube, spec: KserveSpec, *, service: str, begun: Callable[[], Iterable[str]]
) -> str:
    """Return the router that a service has already; empty: none.

    Args:
        kube: The cluster.
        spec: Where it serves.
        service: The service.
        begun: Returns the routers of its rollouts that are not done.

    Raises:
        ServiceError: If it has several.
    """
    found = [
        kind
        for kind, router in ROUTERS.items()
        if _is_state(kube, router.kept_at(spec.namespace, service), service)
    ]
    found = found or sorted(set(begun()))
    if len(found) > 1:
        raise ServiceError(
            f"it has the state of several routers: {', '.join(found)}",
            where=f"service {service} in namespace {spec.namespace}",
            remedy="Name the one that serves in deployment.router.",
        )
    return found[0] if found else ""


def fitting(kube: Kube, spec: DeploymentSpec) -> tuple[str, str]:
    """Return the router that a new service gets, and why in words.

    kserve-native is never chosen: before KServe has made its route, nothing shows whether that one
    will split requests.

    Raises:
        ServiceError: If none fits; the message has the reason for each.
    """
    wanting: dict[str, Callable[[], object]] = {
        "kserve-gateway": lambda: detect.require(kube, spec.kserve),
        "kserve-knative": lambda: detect.require_knative(kube, spec.kserve),
    }
    reasons = []
    for kind, look in wanting.items():
        try:
            require_feasible(spec, kind)
            look()
        except PenstockError as error:
            reasons.append(f"{kind}: {str(error).rstrip('.')}")
        else:
            return kind, "; ".join([*reasons, detect.known_of(kube)])
    reasons.append("kserve-native: never chosen by itself")
    raise ServiceError(
        f"no router of KServe fits this cluster. {'; '.join(reasons)}. {detect.known_of(kube)}",
        where=kube.server,
        remedy="Correct one of them, or name a router in deployment.router.",
    )


def require_feasible(spec: DeploymentSpec, kind: str) -> None:
    """Refuse what a router cannot do, instead of leaving it out in silence.

    Raises:
        InputError: Naming the field.
    """
    plan = spec.canary
    _require_evidence(spec, kind)
    if spec.kserve.autoscaling is not None and kind in _UNSCALED:
        raise InputError(
            _UNSCALED[kind],
            where="deployment.kserve.autoscaling",
            remedy="Take router: kserve-gateway; or leave it out, and say how many servers each "
            "version has with deployment.kserve.replicas.",
        )
    if plan.choice_header and kind in ("kserve-knative", "kserve-native"):
        whose = "KServe's own canary has" if kind == "kserve-native" else "revisions have"
        raise InputError(
            f"{whose} no choice of a version by a header",
            where=f"{_WHERE}.choice_header",
            remedy="Leave it out, or take router: kserve-gateway.",
        )
    if kind != "kserve-knative":
        return
    if any(step.weight == 100 for step in plan.steps):
        raise InputError(
            "at 100 % KServe keeps no way back to the version before",
            where=f"{_WHERE}.steps",
            remedy="End below 100: the promotion gives it the rest.",
        )
    if spec.kserve.hostname:
        raise InputError(
            "in Knative mode KServe names the host that users call",
            where="deployment.kserve.hostname",
            remedy="Leave it out, or take router: kserve-gateway.",
        )


def _require_evidence(spec: DeploymentSpec, kind: str) -> None:
    """Refuse what no router of a cluster can do, or what nothing would ever be shown of."""
    plan = spec.canary
    if plan.traffic.source == "live":
        _require_live(spec, kind)
    if plan.sticky_header:
        raise InputError(
            "the Gateway API has no assignment by the value of a header, nor has Knative",
            where=f"{_WHERE}.sticky_header",
            remedy="Leave it out, or choose versions by choice_header.",
        )
    if plan.rules.labels == "required" and not _joins_labels(spec, kind):
        raise InputError(
            "labels that come during a rollout are not counted here",
            where=f"{_WHERE}.rules.labels",
            remedy="Set it to optional, or take router: kserve-gateway, traffic.source: both and "
            "kserve.prometheus.",
        )
    if plan.deadline / plan.interval > LONGEST:
        raise InputError(
            f"{plan.deadline / plan.interval:,.0f} intervals do not fit into a ConfigMap; it holds "
            f"{LONGEST:,}",
            where=f"{_WHERE}.interval",
            remedy=f"Look every {plan.deadline / LONGEST:.0f} s, or sooner reach the deadline.",
        )


def _require_live(spec: DeploymentSpec, kind: str) -> None:
    """Refuse a plan that users' requests alone can never fulfil."""
    plan = spec.canary
    if not spec.kserve.prometheus.url:
        raise InputError(
            "a gateway does not show which version answered a user, so live traffic alone shows "
            "nothing",
            where=f"{_WHERE}.traffic.source",
            remedy="Set it to replay or to both, or name a Prometheus that scrapes the pods in "
            "deployment.kserve.prometheus.url.",
        )
    if plan.shadow.share and kind in ("kserve-knative", "kserve-native"):
        raise InputError(
            "only kserve-gateway copies users' requests, so live traffic alone shows nothing of a "
            "shadow phase",
            where=f"{_WHERE}.shadow.share",
            remedy="Set it to 0, or traffic.source to both.",
        )
    if plan.shadow.share and plan.rules.agreement:
        raise InputError(
            "answers to copies of live traffic are counted, not compared row by row",
            where=f"{_WHERE}.rules.agreement",
            remedy="Set it to 0, or shadow.share to 0, or traffic.source to both.",
        )


def _joins_labels(spec: DeploymentSpec, kind: str) -> bool:
    """Return whether a label finds the pod that answered its row, and is counted there."""
    prometheus = spec.kserve.prometheus
    return (
        kind in (OPEN, "kserve-gateway")
        and spec.canary.traffic.source != "replay"
        and bool(prometheus.url and prometheus.queries.labelled_requests)
    )


def _is_state(kube: Kube, path: str, service: str) -> bool:
    """Return whether an object keeps this service's state; other services may have its name."""
    found = kube.get(path) or {"metadata": {}}
    text = (found["metadata"].get("annotations") or {}).get(manifests.STATE)
    try:
        return text is not None and json.loads(text).get("service", service) == service
    except (ValueError, AttributeError):
        # Whoever reads it whole says what is wrong with it.
        return True
