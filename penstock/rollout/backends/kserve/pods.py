"""How the servers of one version are, from its InferenceService and its pods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.cluster.client import INFERENCE_SERVICES, PODS, Kube, Manifest
from penstock.rollout.backends.kserve import manifests
from penstock.rollout.backends.kserve.detect import condition
from penstock.rollout.backends.kserve.state import ClusterArm
from penstock.rollout.router import Health

HOPELESS = frozenset({"CreateContainerConfigError", "ErrImageNeverPull", "InvalidImageName"})
"""Reasons of a waiting container after which there is nothing to wait for: what a kubelet tries
again by itself (a pull, a container that ended) may succeed until the time is up."""

_CONTAINER = "kserve-container"
_LINES = 8


class Restarts:
    """Counts how often the server itself was started again in pods that had been ready.

    What happens before a pod is ready is judged by the time that it takes; init containers and
    sidecars are no server; and a pod that took the place of another begins at its own first
    readiness, so that evictions and scaling are no deaths.
    """

    def __init__(self) -> None:
        self._first: dict[str, int] = {}

    def of(self, pods: list[Manifest], *, baseline: Mapping[str, int] = {}) -> int:
        """Return the restarts since readiness.

        Args:
            pods: As they are now.
            baseline: By uid, at what a pod's count stood when it was first ready; for others it is
                taken when they are first seen ready here.
        """
        found = 0
        for pod in pods:
            uid, count = _uid(pod), _restarts(pod)
            first = baseline.get(uid, self._first.get(uid))
            if first is not None:
                found += max(0, count - first)
            elif _serves(pod):
                self._first[uid] = count
        return found


def baseline_of(kube: Kube, namespace: str, arm: ClusterArm) -> dict[str, int]:
    """Return the restarts so far in the pods of a version that are ready, by uid."""
    return {_uid(pod): _restarts(pod) for pod in pods_of(kube, namespace, arm) if _serves(pod)}


def health_of(
    kube: Kube,
    namespace: str,
    arm: ClusterArm,
    *,
    restarts: Restarts | None = None,
    baseline: Mapping[str, int] = {},
) -> Health:
    """Return how a version's servers are; one that is gone is not ready.

    Args:
        kube: The cluster.
        namespace: Where they are.
        arm: The version.
        restarts: What has counted them so far; None: nothing has.
        baseline: As of `Restarts.of`.
    """
    found = kube.get(INFERENCE_SERVICES.path(namespace, arm.name))
    if found is None:
        gone = f"Its InferenceService {namespace}/{arm.name} was deleted."
        return Health(ready=False, restarts=0, memory=None, reason=gone)
    pods = pods_of(kube, namespace, arm)
    died = (restarts or Restarts()).of(pods, baseline=baseline)
    ready = any(map(_serves, pods))
    return Health(
        ready=ready,
        restarts=died,
        memory=None,
        reason="" if ready and not died else _reason(kube, namespace, arm, found, pods),
    )


def is_up(kube: Kube, namespace: str, arm: ClusterArm) -> bool:
    """Return whether a version's servers are ready."""
    return any(map(_serves, pods_of(kube, namespace, arm)))


def hopeless(kube: Kube, namespace: str, arm: ClusterArm) -> str:
    """Return why there is nothing to wait for, in words; empty: it may still come up."""
    return _hopeless(pods_of(kube, namespace, arm))


def pods_of(kube: Kube, namespace: str, arm: ClusterArm) -> list[Manifest]:
    """Return the pods that serve a version."""
    return kube.items(PODS.path(namespace), labelSelector=manifests.pods_selector(arm))


def ready_names(kube: Kube, namespace: str, arm: ClusterArm) -> frozenset[str]:
    """Return the names of the pods that serve a version now."""
    found = filter(_serves, pods_of(kube, namespace, arm))
    return frozenset(str(pod["metadata"]["name"]) for pod in found)


def coming_and_ready(kube: Kube, namespace: str, arm: ClusterArm) -> int:
    """Return how many servers a version is to have: those that serve, and those on their way.

    Whoever scales it has asked for so many, though some may have failed or not come up yet.
    """
    ended = ("Failed", "Succeeded")
    return sum(
        "deletionTimestamp" not in pod["metadata"]
        and pod.get("status", {}).get("phase") not in ended
        for pod in pods_of(kube, namespace, arm)
    )


def lacking(kube: Kube, namespace: str, arm: ClusterArm) -> str:
    """Return why a version has fewer ready servers than it is to have, in words.

    A pod that no node takes says so itself. One that a quota forbids is never made: KServe
    has the reason at the InferenceService, in the words of its Deployment.
    """
    found = kube.get(INFERENCE_SERVICES.path(namespace, arm.name)) or {}
    pods = pods_of(kube, namespace, arm)
    conditions = [_condition_of(pod, "PodScheduled") for pod in pods]
    conditions += found.get("status", {}).get("conditions", [])
    unmet = [str(one.get("message", "")) for one in conditions if one.get("status") == "False"]
    messages = [*(why for _, why in _waiting(pods)), *unmet]
    return next(filter(None, messages), f"it has {len(pods)} pods, and no pod says why")


def log_of(kube: Kube, namespace: str, arm: ClusterArm) -> str:
    """Return the end of a server's log; of the one before, where it was started again."""
    for pod in pods_of(kube, namespace, arm):
        path = PODS.path(namespace, pod["metadata"]["name"]) + "/log"
        options = {"container": _CONTAINER, "tailLines": str(_LINES)}
        text = kube.text(path, **options, previous="true") or kube.text(path, **options)
        if text:
            return " | ".join(line.strip() for line in text.splitlines() if line.strip())
    return ""


def waiting_reason(kube: Kube, namespace: str, *, selector: str) -> str:
    """Return why a container of some pods waits, in words; empty: none does."""
    found = kube.items(PODS.path(namespace), labelSelector=selector)
    return next((why for _, why in _waiting(found)), "")


def _hopeless(pods: list[Manifest]) -> str:
    return next((why for reason, why in _waiting(pods) if reason in HOPELESS), "")


def _waiting(pods: list[Manifest]) -> list[tuple[str, str]]:
    """Return the reason of each container that waits, and the reason in words."""
    states = [one.get("state", {}).get("waiting", {}) for pod in pods for one in _containers(pod)]
    return [
        (each["reason"], f"{each['reason']}: {each.get('message', '')}".strip(" :"))
        for each in states
        if each.get("reason") not in (None, "ContainerCreating", "PodInitializing")
    ]


def _reason(
    kube: Kube, namespace: str, arm: ClusterArm, found: Manifest, pods: list[Manifest]
) -> str:
    messages = [*(why for _, why in _waiting(pods)), *map(_ended, pods)]
    failed = found.get("status", {}).get("modelStatus", {}).get("lastFailureInfo", {})
    ready = condition(found.get("status", {}).get("conditions", []), "Ready")
    messages += [str(failed.get("message", "")), str(ready.get("message", ""))]
    words = next((each for each in messages if each), "It is not ready.")
    log = log_of(kube, namespace, arm)
    return f"{words.rstrip('.')}." + (f" Its log ends: {log}" if log else "")


def _serves(pod: Manifest) -> bool:
    ready = _condition_of(pod, "Ready").get("status") == "True"
    return ready and "deletionTimestamp" not in pod["metadata"]


def _condition_of(pod: Manifest, kind: str) -> Manifest:
    return condition(pod.get("status", {}).get("conditions", []), kind)


def _ended(pod: Manifest) -> str:
    # The server's own end says more than that of a container which was tried again.
    for one in sorted(_containers(pod), key=lambda one: one.get("name") != _CONTAINER):
        last = one.get("lastState", {}).get("terminated") or one.get("state", {}).get("terminated")
        if last and last.get("exitCode"):
            return f"its container ended: {last.get('reason', 'exit')} ({last['exitCode']})"
    return ""


def _restarts(pod: Manifest) -> int:
    return sum(
        int(one.get("restartCount", 0))
        for one in pod.get("status", {}).get("containerStatuses", [])
        if one.get("name") == _CONTAINER
    )


def _uid(pod: Manifest) -> str:
    return str(pod["metadata"]["uid"])


def _containers(pod: Manifest) -> list[dict[str, Any]]:
    status = pod.get("status", {})
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
