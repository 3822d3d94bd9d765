"""Dask's operator on an emulated cluster: it starts real schedulers and workers on loopback.

What it does follows dask-kubernetes 2026.3.0: a phase, a scheduler, workers that are started again
when they die, and an end for lack of work. It plays Kubernetes' garbage collector besides: what
belongs to a pod goes with it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from cluster_emulator import NAMESPACE, Cluster
from running_process import LOOPBACK, RunningProcess, free_port

API = "/apis/kubernetes.dask.org/v1"
SECRETS = {"store": {"key": "test", "secret": "test"}}
HERE = Path(__file__).parent


@dataclass
class Pods:
    """The processes of one cluster."""

    port: int
    http: int
    spec: dict[str, Any]
    scheduler: RunningProcess
    workers: list[RunningProcess] = field(default_factory=list)


@dataclass
class Operator:
    """The operator.

    Args:
        cluster: The emulated cluster.
        folder: Where processes log.
        starts: Whether it starts anything; else clusters stay in the phase `Pending`.
        environment: Of each process besides what the resource says: what their image has.
        port: Of schedulers; 0 takes any.
    """

    cluster: Cluster
    folder: Path
    starts: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    running: dict[str, Pods] = field(default_factory=dict)
    made: list[dict[str, Any]] = field(default_factory=list)

    def address(self, pod: dict[str, Any]) -> str:
        """Return where a scheduler listens: there is no DNS of a cluster here."""
        name = next((name for name in list(self.running)), "")
        return f"tls://{LOOPBACK}:{self.running[name].port if name else 1}"

    def look(self) -> None:
        """Bring about what the resources say."""
        there = {
            key[2]: found
            for key, found in list(self.cluster.objects.items())
            if key[0] == "daskclusters"
        }
        for name, found in there.items():
            if not self._owned(found) or self._idle(name, found):
                self.cluster.delete("daskclusters", name)
            elif "status" not in found:
                found["status"] = {"phase": "Running" if self.starts else "Pending"}
                self.made.append(found)
                if self.starts:
                    self.running[name] = self._started(found["spec"])
        for name in self.running.keys() - there.keys():
            self._end(self.running.pop(name))
        for pods in self.running.values():
            for at, worker in enumerate(pods.workers):
                if worker.poll() is not None:
                    pods.workers[at] = self._worker(pods)

    def stop(self) -> None:
        for pods in self.running.values():
            self._end(pods)

    def _owned(self, found: dict[str, Any]) -> bool:
        owners = found["metadata"]["ownerReferences"]
        pods = [self.cluster.get("pods", owner["name"]) for owner in owners]
        return any(
            pod is not None and pod["metadata"]["uid"] == owner["uid"]
            for pod, owner in zip(pods, owners, strict=True)
        )

    def _idle(self, name: str, found: dict[str, Any]) -> bool:
        pods = self.running.get(name)
        with contextlib.suppress(httpx.HTTPError, KeyError, ValueError):
            if pods is not None:
                url = f"http://{LOOPBACK}:{pods.http}/api/v1/check_idle"
                since = httpx.get(url, trust_env=False, timeout=2).json()["idle_since"]
                return bool(since) and time.time() > since + found["spec"]["idleTimeout"]
        return False

    def _started(self, spec: dict[str, Any]) -> Pods:
        port, http = self.port or free_port(), free_port()
        ports = {"--port": str(port), "--dashboard-address": f"{LOOPBACK}:{http}"}
        scheduler = self._process(spec["scheduler"]["spec"], ports, {})
        pods = Pods(port, http, spec, scheduler)
        pods.workers = [self._worker(pods) for _ in range(spec["worker"]["replicas"])]
        return pods

    def _worker(self, pods: Pods) -> RunningProcess:
        ports = {"--worker-port": "0", "--nanny-port": "0"}
        scheduler = {"DASK_SCHEDULER_ADDRESS": f"tls://{LOOPBACK}:{pods.port}"}
        return self._process(pods.spec["worker"]["spec"], ports, scheduler)

    def _process(
        self, spec: dict[str, Any], ports: dict[str, str], told: dict[str, str]
    ) -> RunningProcess:
        (container,) = spec["containers"]
        words = [sys.executable, *container["command"][1:], *container["args"]]
        for name, port in ports.items():
            words[words.index(name) + 1] = port
        environment = {one["name"]: _value(one) for one in container["env"]}
        log = self.folder / f"{container['name']}-{len(list(self.folder.iterdir()))}.log"
        return RunningProcess(
            [*words, "--host", LOOPBACK],
            log=log,
            env={"PATH": os.environ["PATH"], **self.environment, **environment, **told},
            cwd=self.folder,
        )

    def _end(self, pods: Pods) -> None:
        # As at the end of a pod's grace period: all that runs in it.
        for process in (*pods.workers, pods.scheduler):
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
            process.kill()
            process.wait()


def _value(given: dict[str, Any]) -> str:
    if "value" in given:
        return str(given["value"])
    reference = given["valueFrom"]["secretKeyRef"]
    return SECRETS[reference["name"]][reference["key"]]


@contextlib.contextmanager
def operating(cluster: Cluster, folder: Path, **options: Any) -> Iterator[Operator]:
    """Yield an operator at work on a cluster."""
    folder.mkdir(exist_ok=True)
    operator = Operator(cluster, folder, **options)
    cluster.discovery[API] = ["daskclusters"]
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.1):
            operator.look()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield operator
    finally:
        ended.set()
        thread.join()
        operator.stop()


def step_pod(name: str, *, run: str = "run-1", environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the pod of a step, as Kubeflow and Argo make it."""
    variables = [
        {"name": "KFP_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "KFP_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        {"name": "METADATA_GRPC_SERVICE_HOST", "value": "metadata"},
        *({"name": name, "value": value} for name, value in environment.items()),
        *(
            {"name": name, "valueFrom": {"secretKeyRef": {"name": "store", "key": key}}}
            for name, key in {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}.items()
        ),
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {"pipeline/runid": run, "workflows.argoproj.io/workflow": "release"},
        },
        "spec": {
            "serviceAccountName": "penstock-pipeline",
            "nodeSelector": {"pool": "batch"},
            "containers": [
                {"name": "wait", "image": "argo"},
                {
                    "name": "main",
                    "image": "penstock/data@sha256:0",
                    "env": variables,
                    "volumeMounts": [
                        {"name": "kfp-launcher", "mountPath": "/kfp-launcher"},
                        {"name": "tables", "mountPath": "/tables"},
                        {"name": "token", "mountPath": "/var/run/secrets/x"},
                    ],
                },
            ],
            "volumes": [
                {"name": "kfp-launcher", "emptyDir": {}},
                {"name": "tables", "persistentVolumeClaim": {"claimName": "tables"}},
                {"name": "token", "projected": {"sources": []}},
            ],
        },
        "status": {"phase": "Running"},
    }


def placed(cluster: Cluster, pod: dict[str, Any]) -> dict[str, Any]:
    """Have a pod on a cluster, and return it as the API server has it."""
    cluster.put("pods", pod)
    found = cluster.get("pods", pod["metadata"]["name"])
    assert found is not None
    assert found["metadata"]["namespace"] == NAMESPACE
    return found
