"""The Deployment and the Service of an experiment's proxy, as plain dicts. Pure functions.

The routing table is an argument of the pods, so another weight is a rolling update: at each moment
every pod has one whole table, and the Deployment's status shows when all have the new one.
"""

from __future__ import annotations

import json
from typing import Any

from penstock.captures.spec import GRACE
from penstock.cluster.client import DEPLOYMENTS, SERVICES, Manifest
from penstock.common import files
from penstock.records.rollout import HistogramBuckets
from penstock.rollout.backends.kserve import shipping
from penstock.rollout.backends.kserve.owner import MANAGED, SERVICE
from penstock.rollout.backends.kserve.routes import proxy_name
from penstock.rollout.backends.kserve.state import ClusterState
from penstock.rollout.proxy.pod_limits import HEALTH, STOP_SECONDS
from penstock.rollout.spec import KserveSpec

ENDING = STOP_SECONDS + GRACE + 10
"""Seconds that a pod may take to end: requests are answered first, then events are shipped."""

REPLICAS = 2

ACCOUNT = "penstock-experiment"
"""Service account of the pods (manifests/components/experiments): without rights, and no token."""

DIGEST = "penstock/template"
"""Annotation with the digest of what the object was written as."""

_PROXY = "penstock/experiment-proxy"
"""Label of the pods: their service."""

_PORT, _HEALTH_PORT, _SERVED = 8080, 8081, 80


def selector(service: str) -> str:
    """Return the label selector of the pods of a service's experiment."""
    return f"{_PROXY}={service}"


def service_object(state: ClusterState, *, spec: KserveSpec) -> Manifest:
    """Return the Service that the route leads to."""
    return _digested(
        {
            "apiVersion": SERVICES.api,
            "kind": "Service",
            "metadata": _metadata(state, spec),
            "spec": {
                "selector": {_PROXY: state.service},
                "ports": [
                    {"name": "http", "port": _SERVED, "targetPort": "http", "protocol": "TCP"}
                ],
            },
        }
    )


def deployment(state: ClusterState, *, spec: KserveSpec, runtime: Manifest) -> Manifest:
    """Return the Deployment of the pods, which have the table of this state.

    Args:
        state: The service, with an experiment, a stable version and a candidate.
        spec: Where it serves.
        runtime: The ServingRuntime: the proxy runs in the image of the model servers.
    """
    return _digested(
        {
            "apiVersion": DEPLOYMENTS.api,
            "kind": "Deployment",
            "metadata": _metadata(state, spec),
            "spec": {
                "replicas": REPLICAS,
                "revisionHistoryLimit": 0,
                # Users have as many pods as ever while they change.
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
                },
                "selector": {"matchLabels": {_PROXY: state.service}},
                "template": {
                    "metadata": {
                        "labels": {
                            _PROXY: state.service,
                            "app.kubernetes.io/component": "experiment-proxy",
                            "app.kubernetes.io/part-of": "penstock",
                        }
                    },
                    "spec": _pod(state, spec=spec, runtime=runtime),
                },
            },
        }
    )


def table(state: ClusterState) -> dict[str, Any]:
    """Return the routing table of an experiment's proxy."""
    users = state.assignment.experiment
    assert users is not None
    arms = [
        {
            "role": role,
            "version": arm.version,
            "identity": arm.name,
            "host": arm.backend,
            "port": _SERVED,
        }
        for role, arm in state.roles().items()
        if role != "retired"
    ]
    return {
        "arms": arms,
        "weight": state.weight,
        "routing": {
            "mirror": 0.0,
            "sticky_header": "",
            "choice_header": "",
            "grids": (state.assignment.grids or HistogramBuckets()).model_dump(mode="json"),
            "experiment": {
                "salt": users.salt,
                "header": users.header,
                "labels": users.labels,
            },
        },
    }


def rolled_out(found: Manifest) -> bool:
    """Return whether all pods of a Deployment are those of its template, and ready."""
    status: dict[str, Any] = found.get("status") or {}
    # Somebody may have scaled it to nothing, and of no pods all are ready.
    wanted = max(1, found["spec"]["replicas"])
    return status.get("observedGeneration", 0) >= found["metadata"].get("generation", 0) and all(
        status.get(name, 0) == wanted
        for name in ("replicas", "updatedReplicas", "availableReplicas")
    )


def updated(found: Manifest) -> int:
    """Return how many pods of a Deployment are those of its template, ready or not."""
    return int((found.get("status") or {}).get("updatedReplicas", 0))


def available(found: Manifest) -> int:
    """Return how many pods of a Deployment answer."""
    return int((found.get("status") or {}).get("availableReplicas", 0))


def _pod(state: ClusterState, *, spec: KserveSpec, runtime: Manifest) -> dict[str, Any]:
    seconds = shipping.PRE_STOP + ENDING
    volumes = shipping.pod(spec.captures).get("volumes", [])
    secrets = runtime["spec"].get("imagePullSecrets")
    return {
        "serviceAccountName": ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": round(seconds),
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        **({"imagePullSecrets": secrets} if secrets else {}),
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {_PROXY: state.service}},
            }
        ],
        "containers": [_container(state, spec=spec, runtime=runtime)],
        "volumes": [*volumes, {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}],
    }


def _container(state: ClusterState, *, spec: KserveSpec, runtime: Manifest) -> dict[str, Any]:
    server = next(one for one in runtime["spec"]["containers"] if one["name"] == "kserve-container")
    pull = server.get("imagePullPolicy")
    ships = shipping.container(spec.captures)
    probe = {"httpGet": {"path": HEALTH, "port": "health"}, "timeoutSeconds": 2}
    return {
        "name": "proxy",
        "image": server["image"],
        **({"imagePullPolicy": pull} if pull else {}),
        "command": ["python", "-m", "penstock.rollout.proxy.pod"],
        "args": _arguments(state, spec=spec),
        "env": [{"name": "HOME", "value": "/tmp"}],  # noqa: S108
        **ships,
        "ports": [
            {"name": "http", "containerPort": _PORT, "protocol": "TCP"},
            {"name": "health", "containerPort": _HEALTH_PORT, "protocol": "TCP"},
        ],
        # A gateway learns of a pod's end a little later than the pod: answer on until it knows.
        "lifecycle": {"preStop": {"sleep": {"seconds": shipping.PRE_STOP}}},
        "startupProbe": {**probe, "periodSeconds": 1, "failureThreshold": 60},
        "readinessProbe": {**probe, "periodSeconds": 5, "failureThreshold": 2},
        "livenessProbe": {**probe, "periodSeconds": 10, "failureThreshold": 3},
        "resources": {
            "requests": {"cpu": "100m", "memory": "256Mi", "ephemeral-storage": "128Mi"},
            "limits": {
                "cpu": "1",
                "memory": "768Mi",
                "ephemeral-storage": f"{spec.captures.spool_megabytes + 512}Mi",
            },
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [
            *ships.get("volumeMounts", []),
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
    }


def _arguments(state: ClusterState, *, spec: KserveSpec) -> list[str]:
    users, captures = state.assignment.experiment, spec.captures
    assert users is not None
    return [
        f"--table={json.dumps(table(state), separators=(',', ':'))}",
        f"--service={state.service}",
        f"--experiment={users.identity}",
        "--host=0.0.0.0",
        f"--port={_PORT}",
        f"--health-port={_HEALTH_PORT}",
        f"--spool={shipping.SPOOL}",
        f"--to={shipping.address(captures)}",
        f"--segment-seconds={captures.segment_seconds:g}",
        f"--segment-bytes={captures.segment_megabytes * shipping.MEGABYTE}",
        f"--spool-bytes={captures.spool_megabytes * shipping.MEGABYTE}",
    ]


def _metadata(state: ClusterState, spec: KserveSpec) -> dict[str, Any]:
    return {
        "name": proxy_name(state.service),
        "namespace": spec.namespace,
        "labels": {**MANAGED, SERVICE: state.service},
    }


def _digested(manifest: Manifest) -> Manifest:
    """Return an object with its digest: an API server fills in fields that nobody wrote."""
    digest = files.digest_of_text(files.canonical_json(manifest))
    metadata = {**manifest["metadata"], "annotations": {DIGEST: digest}}
    return {**manifest, "metadata": metadata}
