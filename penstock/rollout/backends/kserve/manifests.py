"""The InferenceServices that a router writes, as plain dicts. Pure functions."""

from __future__ import annotations

import json
from typing import Any

from penstock.cluster.client import CONFIG_MAPS, INFERENCE_SERVICES, Manifest
from penstock.rollout.backends.kserve import scaling, shipping, trusting
from penstock.rollout.backends.kserve.owner import MANAGED
from penstock.rollout.backends.kserve.owner import SERVICE as _SERVICE
from penstock.rollout.backends.kserve.state import ClusterArm, ClusterState
from penstock.rollout.spec import KserveSpec
from penstock.serving import feature_options

STATE = "penstock/state"
"""Annotation that holds a `ClusterState`."""

REVISION = "penstock/revision"
"""Annotation of a predictor that is another one in each revision of it."""

VISIBILITY = "networking.kserve.io/visibility"
"""Label of an InferenceService that keeps KServe from making a route to it."""
_VERSION = "penstock/version"
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
        annotations={**_STANDARD, **scaling.scaler(arm), **_identity(arm)},
        body={
            "predictor": {
                **scaling.fields(arm, replicas=spec.replicas),
                **_predictor(arm, service=service, spec=spec),
            }
        },
    )


def native_service(state: ClusterState, *, spec: KserveSpec) -> Manifest:
    """Return the one InferenceService of a service whose versions are its predictor and canaries.

    What is not the stable version is a canary, the retired one at 0 %. Before there is a stable
    version the candidate is the predictor, and a label keeps KServe from making a route to it.
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
            "annotations": {STATE: packed(state)},
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


def packed(state: ClusterState) -> str:
    """Return a state as the value of the annotation `STATE`."""
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
        "args": [
            *arguments,
            *shipping.arguments(spec.captures),
            *trusting.arguments(spec.trusted_keys),
            *(
                f"{name}={value}"
                for name, value in feature_options.arguments(spec.features).items()
            ),
        ],
        **_joined(
            shipping.container(spec.captures), volumeMounts=trusting.mounts(spec.trusted_keys)
        ),
    }
    if arm.fault:
        model["command"] = [*_MODULE, "penstock.serving.fault_injection", f"--fault={arm.fault}"]
    return {
        "serviceAccountName": spec.service_account,
        **_joined(shipping.pod(spec.captures), volumes=trusting.volumes(spec.trusted_keys)),
        "model": model,
    }


def _joined(fields: dict[str, Any], **lists: list[dict[str, Any]]) -> dict[str, Any]:
    """Return fields with more in their lists; what is empty is left out."""
    added = {name: [*fields.get(name, []), *more] for name, more in lists.items() if more}
    return {**fields, **added}


def _canary(arm: ClusterArm, *, service: str, spec: KserveSpec) -> dict[str, Any]:
    predictor = _predictor(arm, service=service, spec=spec)
    # KServe's definition requires the container's name here, and its webhook refuses it elsewhere.
    predictor["model"]["name"] = "kserve-container"
    # One replica, because KServe takes as many from the stable version's.
    return {"name": _variant(arm), "minReplicas": 1, **predictor}


def _variant(arm: ClusterArm) -> str:
    return f"v{arm.version}"
