"""InferenceServices while they come, change and go."""

from __future__ import annotations

import time
from collections.abc import Callable

from penstock.errors import ServiceError
from penstock.kube import INFERENCE_SERVICES, ConflictError, Kube, Manifest
from penstock.rollout.kserve import manifests, pods
from penstock.rollout.kserve.keeper import ATTEMPTS, POLL, contended, looks, over, stranger
from penstock.rollout.kserve.state import Arm


def wait_until_up(
    kube: Kube,
    namespace: str,
    arm: Arm,
    *,
    timeout: float,
    check: Callable[[], None],
    ready: Callable[[], bool] | None = None,
) -> None:
    """Return when a version's servers are ready.

    Args:
        kube: The cluster.
        namespace: Where they are.
        arm: The version.
        timeout: Seconds.
        check: Called between two looks; what it raises ends the wait.
        ready: Tells whether they are; None: by their pods alone.

    Raises:
        ServiceError: If they are not ready in time, or will never be; the message says why.
    """
    deadline = time.monotonic() + timeout
    while not (ready() if ready else pods.is_up(kube, namespace, arm)):
        why = pods.hopeless(kube, namespace, arm)
        if why or time.monotonic() > deadline:
            health = pods.health_of(kube, namespace, arm)
            raise ServiceError(
                f"version {arm.version} did not become ready"
                + ("" if why else f" within {timeout:g} s")
                + f": {health.reason or why or 'its newest revision is not ready'}",
                where=_where(namespace, arm.name),
                remedy=f"kubectl -n {namespace} describe isvc {arm.name}",
            )
        check()
        time.sleep(POLL)


def put(
    kube: Kube,
    namespace: str,
    wanted: Manifest,
    *,
    view: Callable[[Manifest], object],
) -> Manifest:
    """Write an InferenceService over the one that is there, and return it as it was taken.

    Args:
        kube: The cluster.
        namespace: Where it is.
        wanted: What it should be.
        view: Returns what is decided here about one; where both views are equal nothing is written.

    Raises:
        RefusedError: If the API server or a webhook refuses it.
        ServiceError: If somebody else made it, or writes it all the time.
    """
    name = wanted["metadata"]["name"]
    path, where = INFERENCE_SERVICES.path(namespace, name), _where(namespace, name)
    for _ in range(ATTEMPTS):
        found = kube.get(path)
        try:
            if found is None:
                return kube.create(INFERENCE_SERVICES.path(namespace), wanted)
            _require_mine(found, where)
            if view(found) == view(wanted):
                return found
            return kube.replace(path, over(found, wanted))
        except ConflictError:
            continue
    raise contended(where)


def delete(kube: Kube, namespace: str, name: str) -> None:
    """Delete an InferenceService of ours and return when it is gone.

    Raises:
        ServiceError: If somebody else made it, or it stays.
    """
    path, where = INFERENCE_SERVICES.path(namespace, name), _where(namespace, name)
    found = kube.get(path)
    if found is None:
        return
    _require_mine(found, where)
    kube.delete(path)
    if not any(kube.get(path) is None for _ in looks()):
        raise ServiceError(
            "it is not deleted: a finalizer holds it",
            where=where,
            remedy="Look whether KServe's controller runs.",
        )


def require_kept(kube: Kube, namespace: str, name: str, *, keeper: str) -> None:
    """Return if there is no InferenceService of that name: for a service without a state.

    Args:
        kube: The cluster.
        namespace: Where it would be.
        name: Its name.
        keeper: The address of what would keep the state.

    Raises:
        ServiceError: If there is one: made anew it would be taken from users.
    """
    found, where = kube.get(INFERENCE_SERVICES.path(namespace, name)), _where(namespace, name)
    if found is None:
        return
    _require_mine(found, where)
    raise ServiceError(
        f"it serves, but what keeps its state is gone: {keeper}",
        where=where,
        remedy="Restore that object, or delete the InferenceService to begin anew.",
    )


def _where(namespace: str, name: str) -> str:
    return f"InferenceService {namespace}/{name}"


def _require_mine(found: Manifest, where: str) -> None:
    labels = found["metadata"].get("labels") or {}
    if not manifests.LABELS.items() <= labels.items():
        raise stranger(where)
