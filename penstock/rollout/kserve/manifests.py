"""The objects that a router writes, as plain dicts. Pure functions."""

from __future__ import annotations

import json
from typing import Any

from penstock.kube import HTTP_ROUTES, INFERENCE_SERVICES, Manifest
from penstock.rollout.kserve.state import Arm, ClusterState, Role
from penstock.rollout.spec import KserveSpec

ARM_HEADER = "x-penstock-arm"
"""Header by which the rollout's own requests reach the arm they mean; its value holds a token."""

SPLIT = "split"
"""Names, in that header, both arms at equal weights: how a split is tried before users meet it."""

STATE = "penstock/state"
"""Annotation of an HTTPRoute that holds a `ClusterState`."""

LABELS = {"app.kubernetes.io/managed-by": "penstock"}
_SERVICE = "penstock/service"
_PORT = 80
_MODULE = ["python", "-m"]


def inference_service(arm: Arm, *, service: str, spec: KserveSpec) -> Manifest:
    """Return the InferenceService of one version.

    It gets no route of its own (its visibility is cluster-local): the only way to it is the one
    whose weights the rollout sets.
    """
    arguments = [f"--name={service}", f"--version={arm.version}", f"--digest={arm.model}"]
    if arm.export:
        arguments.append(f"--export={arm.export}")
    model: dict[str, Any] = {
        "modelFormat": {"name": "penstock", "version": "1"},
        "runtime": spec.runtime,
        "storageUri": arm.storage,
        "args": arguments,
    }
    if arm.drill:
        model["command"] = [*_MODULE, "penstock.serving.drill", f"--fault={arm.drill}"]
    return {
        "apiVersion": INFERENCE_SERVICES.api,
        "kind": "InferenceService",
        "metadata": {
            "name": arm.name,
            "namespace": spec.namespace,
            "labels": {
                **LABELS,
                _SERVICE: service,
                "penstock/version": str(arm.version),
                "networking.kserve.io/visibility": "cluster-local",
            },
            "annotations": {
                "serving.kserve.io/deploymentMode": "Standard",
                "serving.kserve.io/autoscalerClass": "none",
                "penstock/model": arm.uri,
                "penstock/digest": arm.model,
            },
        },
        "spec": {
            "predictor": {
                "serviceAccountName": spec.service_account,
                "minReplicas": spec.replicas,
                "maxReplicas": spec.replicas,
                "model": model,
            }
        },
    }


def http_route(state: ClusterState, *, spec: KserveSpec) -> Manifest:
    """Return the route of a service: how requests find their version, and the state itself."""
    gateway, _, name = spec.gateway.rpartition("/")
    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name or spec.gateway}
    if gateway:
        parent["namespace"] = gateway
    return {
        "apiVersion": HTTP_ROUTES.api,
        "kind": "HTTPRoute",
        "metadata": {
            "name": state.service,
            "namespace": spec.namespace,
            "labels": {**LABELS, _SERVICE: state.service},
            "annotations": {STATE: json.dumps(state.payload(), separators=(",", ":"))},
        },
        "spec": {
            "parentRefs": [parent],
            **({"hostnames": [spec.hostname]} if spec.hostname else {}),
            "rules": _rules(state),
        },
    }


def arm_value(state: ClusterState, arm: str) -> str:
    """Return the header's value by which a request reaches `stable`, `candidate` or `split`."""
    return f"{state.token}-{arm}"


def _rules(state: ClusterState) -> list[dict[str, Any]]:
    stable, candidate = state.stable, state.candidate
    own: list[tuple[str, list[tuple[Arm, int]]]] = []
    if stable:
        own.append(("stable", [(stable, 1)]))
    if candidate:
        own.append(("candidate", [(candidate, 1)]))
    if stable and candidate:
        own.append((SPLIT, [(stable, 50), (candidate, 50)]))
    rules = [
        _rule(state, backends, header=(ARM_HEADER, arm_value(state, name)))
        for name, backends in own
    ]
    chosen = state.choice_header
    if chosen and stable:
        rules.append(_rule(state, [(stable, 1)], header=(chosen, "stable")))
    if chosen and candidate and state.weight:
        rules.append(_rule(state, [(candidate, 1)], header=(chosen, "candidate")))
    up: dict[Role, Arm | None] = {"stable": stable, "candidate": candidate}
    rule = _rule(state, [(arm, state.weight_of(role)) for role, arm in up.items() if arm])
    if candidate and state.mirror:
        # Thousandths are as fine as a share is worth asking for.
        share = {"numerator": round(1000 * state.mirror), "denominator": 1000}
        mirror = {"backendRef": _backend(candidate), "fraction": share}
        rule["filters"] = [{"type": "RequestMirror", "requestMirror": mirror}]
    return [*rules, rule]


def _rule(
    state: ClusterState, backends: list[tuple[Arm, int]], *, header: tuple[str, str] | None = None
) -> dict[str, Any]:
    matches = _paths(state.service)
    if header:
        name, value = header
        told = [{"type": "Exact", "name": name, "value": value}]
        matches = [{**match, "headers": told} for match in matches]
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


def _backend(arm: Arm) -> dict[str, Any]:
    return {"group": "", "kind": "Service", "name": arm.backend, "port": _PORT}
