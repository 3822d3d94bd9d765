"""The DaskCluster that a step's pod makes: pods like itself, in the words of Dask's operator.

The resource is `kubernetes.dask.org/v1`; its operator makes of it a scheduler with a Service, and a
Deployment for each worker. It takes the pods' specs as they stand here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from penstock.cluster.client import Manifest, Resource
from penstock.data.engine.each import ATTEMPTS
from penstock.data.engine.spec import EngineSpec

DASK_CLUSTERS = Resource("kubernetes.dask.org/v1", "daskclusters")
RUN_LABEL = "penstock/run"
PORT = 8786
IDLE_SECONDS = 600
"""After so long without work the operator removes a cluster: that of a step that was killed."""

_HTTP_PORT, _WORKER_PORT, _NANNY_PORT = 8787, 8788, 8789
_RUN = "pipeline/runid"
_KEPT_VOLUMES = ("configMap", "csi", "persistentVolumeClaim", "secret")
_IDENTITY = ("fsGroup", "fsGroupChangePolicy", "runAsGroup", "runAsUser", "supplementalGroups")
_SIZES = ("requests", "limits")
_OF_KUBEFLOW = ("ARGO_", "KFP_", "METADATA_", "ML_PIPELINE_")


def name_of(pod: Manifest) -> str:
    """Return the name of the cluster of a step's pod: the same again for the same pod."""
    return f"penstock-{str(pod['metadata']['uid']).replace('-', '')[:16].lower()}"


def run_of(pod: Manifest) -> str:
    """Return the run that a step's pod belongs to; empty if Kubeflow named none."""
    return str((pod["metadata"].get("labels") or {}).get(_RUN, ""))


def address_of(pod: Manifest) -> str:
    """Return where the scheduler of a step's cluster listens."""
    return f"tls://{name_of(pod)}-scheduler.{pod['metadata']['namespace']}.svc:{PORT}"


def dask_cluster(pod: Manifest, *, spec: EngineSpec, tls: Mapping[str, str]) -> Manifest:
    """Return the cluster of a step's pod.

    Its pods have the step's image, account, place and user, and are restricted. Workers have the
    variables, secrets and volumes of the step besides, as they read what it reads. No pod of it
    has a token of the account: none calls the API server.

    Args:
        pod: The step's, as the API server has it; it owns the cluster, which is deleted with it.
        spec: How many workers, and of what size.
        tls: Settings of Dask (`comm.tls`), by which this cluster's processes know each other.
    """
    step = _step(pod)
    secured = [_variable(name, value) for name, value in _settings(tls).items()]
    return {
        "apiVersion": DASK_CLUSTERS.api,
        "kind": "DaskCluster",
        "metadata": {
            "name": name_of(pod),
            "namespace": pod["metadata"]["namespace"],
            "labels": {
                "app.kubernetes.io/component": "engine",
                "app.kubernetes.io/part-of": "penstock",
                RUN_LABEL: run_of(pod),
            },
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": pod["metadata"]["name"],
                    "uid": pod["metadata"]["uid"],
                }
            ],
        },
        "spec": {
            "idleTimeout": IDLE_SECONDS,
            "scheduler": {
                "spec": _pod(pod, _scheduler(step, secured), volumes=[]),
                "service": _service(name_of(pod)),
            },
            "worker": {
                "replicas": spec.workers,
                "spec": _pod(
                    pod, _worker(pod, step, secured, spec=spec), volumes=list(_volumes(pod))
                ),
            },
        },
    }


def _step(pod: Manifest) -> dict[str, Any]:
    containers: list[dict[str, Any]] = pod["spec"]["containers"]
    # Argo's name for the container of the step itself.
    return next((one for one in containers if one["name"] == "main"), containers[0])


def _settings(tls: Mapping[str, str]) -> dict[str, str]:
    return {
        "HOME": "/tmp",  # noqa: S108
        "DASK_TEMPORARY_DIRECTORY": "/tmp",  # noqa: S108
        "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True",
        **{
            f"DASK_DISTRIBUTED__COMM__TLS__{name.upper().replace('.', '__').replace('-', '_')}": one
            for name, one in tls.items()
        },
    }


def _scheduler(step: Mapping[str, Any], secured: list[dict[str, str]]) -> dict[str, Any]:
    arguments = {
        "--protocol": "tls",
        "--port": PORT,
        "--dashboard-address": f":{_HTTP_PORT}",
    }
    return {
        **_container("scheduler", step, arguments),
        "env": [
            *secured,
            _variable("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", str(ATTEMPTS - 1)),
            # The operator asks it how long the cluster has been idle, and nothing else is there.
            _variable(
                "DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES",
                "['distributed.http.scheduler.api', 'distributed.http.health']",
            ),
        ],
        "ports": [_port("tcp-comm", PORT), _port("http-dashboard", _HTTP_PORT)],
        **_probes({"httpGet": {"path": "/health", "port": "http-dashboard"}}),
        "resources": {
            "requests": {"cpu": "250m", "memory": "512Mi"},
            "limits": {"cpu": "1", "memory": "1Gi"},
        },
        "volumeMounts": [_scratch()],
    }


def _worker(
    pod: Manifest, step: Mapping[str, Any], secured: list[dict[str, str]], *, spec: EngineSpec
) -> dict[str, Any]:
    arguments = {
        "--nthreads": 1,
        "--nworkers": 1,
        # Below the pod's own limit: Dask ends the process and begins its work again, and the pod
        # stays.
        "--memory-limit": f"{spec.memory}B",
        "--worker-port": _WORKER_PORT,
        "--nanny-port": _NANNY_PORT,
        "--local-directory": "/tmp",  # noqa: S108
        "--death-timeout": spec.starts_within,
    }
    container = {
        **_container("worker", step, arguments),
        "env": [
            *_variables(step),
            *secured,
            _variable("DASK_SCHEDULER_ADDRESS", address_of(pod)),
            # Results are small, and the pod's scratch is no place for a spill.
            _variable("DASK_DISTRIBUTED__WORKER__MEMORY__TARGET", "False"),
            _variable("DASK_DISTRIBUTED__WORKER__MEMORY__SPILL", "False"),
        ],
        "ports": [_port("worker", _WORKER_PORT), _port("nanny", _NANNY_PORT)],
        **_probes({"tcpSocket": {"port": "nanny"}}),
        "resources": {name: {"cpu": spec.cpu, "memory": spec.memory} for name in _SIZES},
        "volumeMounts": [*_mounts(pod, step), _scratch()],
    }
    return {**container, **({"envFrom": step["envFrom"]} if step.get("envFrom") else {})}


def _container(
    name: str, step: Mapping[str, Any], arguments: Mapping[str, object]
) -> dict[str, Any]:
    pull = step.get("imagePullPolicy")
    return {
        "name": name,
        "image": step["image"],
        **({"imagePullPolicy": pull} if pull else {}),
        "command": ["python3", "-m", "dask", name],
        "args": [*(str(word) for pair in arguments.items() for word in pair), "--no-dashboard"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }


def _probes(probe: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a kubelet asks; ports by name, as the operator's schema takes no numbers here."""
    asked = {**probe, "timeoutSeconds": 5}
    return {
        "startupProbe": {**asked, "periodSeconds": 2, "failureThreshold": 60},
        "readinessProbe": {**asked, "periodSeconds": 5, "failureThreshold": 2},
        "livenessProbe": {**asked, "periodSeconds": 20, "failureThreshold": 6},
    }


def _pod(
    pod: Manifest, container: Mapping[str, Any], *, volumes: list[dict[str, Any]]
) -> dict[str, Any]:
    given = pod["spec"]
    context = {
        **(given.get("securityContext") or {}),
        **(_step(pod).get("securityContext") or {}),
    }
    placed = ("imagePullSecrets", "nodeSelector", "tolerations", "priorityClassName")
    return {
        "serviceAccountName": given.get("serviceAccountName", "default"),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            **{name: context[name] for name in _IDENTITY if name in context},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **{name: given[name] for name in placed if given.get(name)},
        "containers": [container],
        "volumes": [*volumes, {"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}}],
    }


def _service(name: str) -> dict[str, Any]:
    return {
        "type": "ClusterIP",
        "selector": {"dask.org/cluster-name": name, "dask.org/component": "scheduler"},
        "ports": [
            {"name": "tcp-comm", "protocol": "TCP", "port": PORT, "targetPort": "tcp-comm"},
            {
                "name": "http-dashboard",
                "protocol": "TCP",
                "port": _HTTP_PORT,
                "targetPort": "http-dashboard",
            },
        ],
    }


def _variables(step: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the step's variables that mean the same in another pod."""
    for given in step.get("env") or ():
        of_its_pod = "fieldRef" in (given.get("valueFrom") or {})
        if not of_its_pod and not given["name"].startswith(_OF_KUBEFLOW):
            yield given


def _volumes(pod: Manifest) -> Iterator[dict[str, Any]]:
    mounted = {mount["name"] for mount in _mounts(pod, _step(pod))}
    for volume in pod["spec"].get("volumes") or ():
        if volume["name"] in mounted:
            yield volume


def _mounts(pod: Manifest, step: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what a worker mounts as the step does, to read: no scratch, and no token."""
    kept = {
        volume["name"]
        for volume in pod["spec"].get("volumes") or ()
        if any(kind in volume for kind in _KEPT_VOLUMES)
    }
    for mount in step.get("volumeMounts") or ():
        if mount["name"] in kept:
            yield {**mount, "readOnly": True}


def _variable(name: str, value: str) -> dict[str, str]:
    return {"name": name, "value": value}


def _port(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "containerPort": number, "protocol": "TCP"}


def _scratch() -> dict[str, str]:
    return {"name": "scratch", "mountPath": "/tmp"}  # noqa: S108
