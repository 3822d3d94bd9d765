"""InferenceServices while they come and go."""

from __future__ import annotations

import time
from collections.abc import Callable

from penstock.errors import ServiceError
from penstock.kube import INFERENCE_SERVICES, Kube
from penstock.rollout.kserve import pods
from penstock.rollout.kserve.route import EFFECT, POLL
from penstock.rollout.kserve.state import Arm


def wait_until_up(
    kube: Kube, namespace: str, arm: Arm, *, timeout: float, check: Callable[[], None]
) -> None:
    """Return when a version's servers are ready.

    Args:
        kube: The cluster.
        namespace: Where they are.
        arm: The version.
        timeout: Seconds.
        check: Called between two looks; what it raises ends the wait.

    Raises:
        ServiceError: If they are not ready in time, or will never be; the message says why.
    """
    deadline = time.monotonic() + timeout
    while not pods.is_up(kube, namespace, arm):
        why = pods.hopeless(kube, namespace, arm)
        if why or time.monotonic() > deadline:
            health = pods.health_of(kube, namespace, arm)
            raise ServiceError(
                f"version {arm.version} did not become ready"
                + ("" if why else f" within {timeout:g} s")
                + f": {health.reason}",
                where=f"InferenceService {namespace}/{arm.name}",
                remedy=f"kubectl -n {namespace} describe isvc {arm.name}",
            )
        check()
        time.sleep(POLL)


def delete(kube: Kube, namespace: str, name: str) -> None:
    """Delete an InferenceService and return when it is gone.

    Raises:
        ServiceError: If it stays.
    """
    path = INFERENCE_SERVICES.path(namespace, name)
    kube.delete(path)
    deadline = time.monotonic() + EFFECT
    while kube.get(path) is not None:
        if time.monotonic() > deadline:
            raise ServiceError(
                "it is not deleted: a finalizer holds it",
                where=f"InferenceService {namespace}/{name}",
                remedy="Look whether KServe's controller runs.",
            )
        time.sleep(POLL)
