"""How the servers of one version are, from its InferenceService and its pods."""

from __future__ import annotations

from typing import Any

from penstock.kube import INFERENCE_SERVICES, PODS, Kube, Manifest
from penstock.rollout.kserve import manifests
from penstock.rollout.kserve.detect import condition
from penstock.rollout.kserve.state import Arm
from penstock.rollout.router import Health

HOPELESS = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
    }
)
"""Reasons of a waiting container after which there is nothing to wait for."""

_CONTAINER = "kserve-container"
_LINES = 8


def health_of(kube: Kube, namespace: str, arm: Arm) -> Health:
    """Return how a version's servers are; one that is gone is not ready."""
    found = kube.get(INFERENCE_SERVICES.path(namespace, arm.name))
    if found is None:
        gone = f"Its InferenceService {namespace}/{arm.name} was deleted."
        return Health(ready=False, restarts=0, memory=None, reason=gone)
    pods = pods_of(kube, namespace, arm)
    containers = [one for pod in pods for one in _containers(pod)]
    restarts = sum(int(one.get("restartCount", 0)) for one in containers)
    ready = any(map(_serves, pods))
    return Health(
        ready=ready,
        restarts=restarts,
        memory=None,
        reason="" if ready and not restarts else _reason(kube, namespace, arm, found, pods),
    )


def is_up(kube: Kube, namespace: str, arm: Arm) -> bool:
    """Return whether a version's servers are ready."""
    return any(map(_serves, pods_of(kube, namespace, arm)))


def hopeless(kube: Kube, namespace: str, arm: Arm) -> str:
    """Return why there is nothing to wait for, in words; empty: it may still come up."""
    return _hopeless(pods_of(kube, namespace, arm))


def pods_of(kube: Kube, namespace: str, arm: Arm) -> list[Manifest]:
    """Return the pods that serve a version."""
    return kube.items(PODS.path(namespace), labelSelector=manifests.pods_selector(arm))


def ready_names(kube: Kube, namespace: str, arm: Arm) -> frozenset[str]:
    """Return the names of the pods that serve a version now."""
    found = filter(_serves, pods_of(kube, namespace, arm))
    return frozenset(str(pod["metadata"]["name"]) for pod in found)


def log_of(kube: Kube, namespace: str, arm: Arm) -> str:
    """Return the end of a server's log; of the one before, where it was started again."""
    for pod in pods_of(kube, namespace, arm):
        path = PODS.path(namespace, pod["metadata"]["name"]) + "/log"
        asked = {"container": _CONTAINER, "tailLines": str(_LINES)}
        said = kube.text(path, **asked, previous="true") or kube.text(path, **asked)
        if said:
            return " | ".join(line.strip() for line in said.splitlines() if line.strip())
    return ""


def _hopeless(pods: list[Manifest]) -> str:
    for pod in pods:
        for one in _containers(pod):
            waiting = one.get("state", {}).get("waiting", {})
            if waiting.get("reason") in HOPELESS:
                return f"{waiting['reason']}: {waiting.get('message', '')}".strip(" :")
    return ""


def _reason(kube: Kube, namespace: str, arm: Arm, found: Manifest, pods: list[Manifest]) -> str:
    said = [_hopeless(pods), *map(_ended, pods)]
    failed = found.get("status", {}).get("modelStatus", {}).get("lastFailureInfo", {})
    ready = condition(found.get("status", {}).get("conditions", []), "Ready")
    said += [str(failed.get("message", "")), str(ready.get("message", ""))]
    words = next((each for each in said if each), "It is not ready.")
    log = log_of(kube, namespace, arm)
    return f"{words.rstrip('.')}." + (f" Its log ends: {log}" if log else "")


def _serves(pod: Manifest) -> bool:
    ready = condition(pod.get("status", {}).get("conditions", []), "Ready").get("status") == "True"
    return ready and "deletionTimestamp" not in pod["metadata"]


def _ended(pod: Manifest) -> str:
    for one in _containers(pod):
        last = one.get("lastState", {}).get("terminated") or one.get("state", {}).get("terminated")
        if last and last.get("exitCode"):
            return f"its container ended: {last.get('reason', 'exit')} ({last['exitCode']})"
    return ""


def _containers(pod: Manifest) -> list[dict[str, Any]]:
    status = pod.get("status", {})
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
