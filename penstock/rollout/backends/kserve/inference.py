"""InferenceServices while they come, change and go."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from penstock.cluster.client import INFERENCE_SERVICES, ConflictError, Kube, Manifest
from penstock.errors import CapacityError, ServiceError
from penstock.rollout.backends.kserve import pods
from penstock.rollout.backends.kserve.owner import require_ours, selector
from penstock.rollout.backends.kserve.state import ClusterArm
from penstock.rollout.backends.kserve.state_store import ATTEMPTS, POLL, contended, over, poll


def wait_until_up(
    kube: Kube,
    namespace: str,
    arm: ClusterArm,
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
    manifest: Manifest,
    *,
    service: str,
    view: Callable[[Manifest], object],
    confirm: Callable[[], None],
) -> Manifest:
    """Write an InferenceService over the one that is there, and return it as it was taken.

    Args:
        kube: The cluster.
        namespace: Where it is.
        manifest: What it should be.
        service: The service.
        view: Returns what is decided here about one; where both views are equal nothing is written.
        confirm: Asks the cluster for the lease. It is called after the object was read, so that one
            which a later controller has written since is not written over.

    Raises:
        LeaseLostError: If another controller holds the lease; nothing is written.
        RefusedError: If the API server or a webhook refuses it.
        ServiceError: If it is somebody else's, another service's, or written all the time.
    """
    name = manifest["metadata"]["name"]
    path, where = INFERENCE_SERVICES.path(namespace, name), _where(namespace, name)
    for _ in range(ATTEMPTS):
        found = kube.get(path)
        try:
            if found is not None:
                require_ours(found, service=service, where=where)
                if view(found) == view(manifest):
                    return found
            confirm()
            if found is None:
                return kube.create(INFERENCE_SERVICES.path(namespace), manifest)
            return kube.replace(path, over(found, manifest))
        except ConflictError:
            continue
    raise contended(where)


def set_least(
    kube: Kube,
    namespace: str,
    arm: ClusterArm,
    *,
    service: str,
    confirm: Callable[[], None],
) -> None:
    """Set how few servers a version's autoscaler may leave it, and nothing else of it.

    The rest stays as it was brought up, though the project file says something else by now: a
    change of it would start every server anew. A version that is gone stays so.

    Args:
        kube: The cluster.
        namespace: Where it is.
        arm: The version.
        service: The service.
        confirm: As of `put`.

    Raises:
        LeaseLostError: If another controller holds the lease; nothing is written.
        ServiceError: If it is somebody else's, another service's, or written all the time.
    """
    path, where = INFERENCE_SERVICES.path(namespace, arm.name), _where(namespace, arm.name)
    for _ in range(ATTEMPTS):
        found = kube.get(path)
        if found is None:
            return
        require_ours(found, service=service, where=where)
        if least_of(found) == arm.least:
            return
        confirm()
        predictor = {**found["spec"]["predictor"], "minReplicas": arm.least}
        with contextlib.suppress(ConflictError):
            kube.replace(path, {**found, "spec": {**found["spec"], "predictor": predictor}})
            return
    raise contended(where)


def least_of(found: Manifest) -> int:
    """Return how few servers KServe must leave a version."""
    return int(found["spec"]["predictor"].get("minReplicas", 1))


def wait_until_staffed(
    kube: Kube, namespace: str, arm: ClusterArm, *, timeout: float, check: Callable[[], None]
) -> None:
    """Return when as many servers of a version are ready as its autoscaler must leave it.

    Args:
        kube: The cluster.
        namespace: Where they are.
        arm: The version.
        timeout: Seconds.
        check: Called between two looks; what it raises ends the wait.

    Raises:
        CapacityError: If they are not ready in time; the message says why.
    """
    deadline = time.monotonic() + timeout
    while (ready := len(pods.ready_names(kube, namespace, arm))) < arm.least:
        if time.monotonic() > deadline:
            raise CapacityError(
                f"{ready} of {arm.least} servers of version {arm.version} were ready within "
                f"{timeout:g} s: {pods.lacking(kube, namespace, arm)}",
                where=_where(namespace, arm.name),
                remedy="Give the namespace more room (quota, nodes), or lower "
                "deployment.kserve.autoscaling.max_replicas, or raise deployment.ready_timeout.",
            )
        check()
        time.sleep(POLL)


def of_service(kube: Kube, namespace: str, service: str) -> list[Manifest]:
    """Return the InferenceServices of a service, whatever its state says: their metadata alone."""
    path = INFERENCE_SERVICES.path(namespace)
    return kube.items(path, metadata=True, labelSelector=selector(service))


def delete(kube: Kube, namespace: str, found: Manifest, *, service: str) -> None:
    """Delete an InferenceService and return when it is gone; one made anew since then is kept.

    Args:
        kube: The cluster.
        namespace: Where it is.
        found: As it was found.
        service: The service.

    Raises:
        ServiceError: If it is somebody else's or another service's, or it stays.
    """
    name = found["metadata"]["name"]
    path, where = INFERENCE_SERVICES.path(namespace, name), _where(namespace, name)
    require_ours(found, service=service, where=where)
    with contextlib.suppress(ConflictError):
        kube.delete(path, like=found)
    for _ in poll():
        there = kube.get(path)
        if there is None or there["metadata"]["uid"] != found["metadata"]["uid"]:
            return
    raise ServiceError(
        "it is not deleted: a finalizer holds it",
        where=where,
        remedy="Look whether KServe's controller runs.",
    )


def require_kept(kube: Kube, namespace: str, service: str, *, state_store: str) -> None:
    """Return if there is no InferenceService of a service's name: for one without a state.

    Args:
        kube: The cluster.
        namespace: Where it would be.
        service: The service.
        state_store: The address of what would keep the state.

    Raises:
        ServiceError: If there is one: made anew it would be taken from users.
    """
    found, where = kube.get(INFERENCE_SERVICES.path(namespace, service)), _where(namespace, service)
    if found is None:
        return
    require_ours(found, service=service, where=where)
    raise ServiceError(
        f"it serves, but what keeps its state is gone: {state_store}",
        where=where,
        remedy="Restore that object, or delete the InferenceService to begin anew.",
    )


def _where(namespace: str, name: str) -> str:
    return f"InferenceService {namespace}/{name}"
