"""A DaskCluster from its making to its removal, as the step's account may do it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping

from penstock.cluster.client import PODS, ConflictError, ForbiddenError, Kube, Manifest
from penstock.common.progress import log
from penstock.data.engine.dask_cluster import DASK_CLUSTERS, RUN_LABEL, dask_cluster, run_of
from penstock.data.engine.spec import EngineSpec
from penstock.errors import ServiceError

WHERE = "engine dask on kubernetes"
_ENDED = ("Succeeded", "Failed")
_GONE_WITHIN = 60.0


@contextlib.contextmanager
def made(kube: Kube, pod: Manifest, *, spec: EngineSpec, tls: Mapping[str, str]) -> Iterator[str]:
    """Yield the name of a cluster that is made here, and removed at the end of the block.

    If this process is killed, the cluster goes with its pod, which owns it, or for lack of work.

    Args:
        kube: The API server.
        pod: The step's own.
        spec: The engine.
        tls: See `dask_cluster`.

    Raises:
        ServiceError: If there is no operator, or the account or a quota does not allow it.
    """
    _check_operator(kube)
    namespace = pod["metadata"]["namespace"]
    manifest = dask_cluster(pod, spec=spec, tls=tls)
    name = manifest["metadata"]["name"]
    with _allowed(namespace):
        _remove_left(kube, pod)
        created = _created(kube, manifest)
    try:
        yield name
    finally:
        try:
            kube.delete(DASK_CLUSTERS.path(namespace, name), like=created)
        except ServiceError as error:
            # The work is done, or has failed for another reason; the pod's end removes it too.
            log(f"the Dask cluster {name} could not be removed: {error}")


def _check_operator(kube: Kube) -> None:
    found = kube.get(f"/apis/{DASK_CLUSTERS.api}") or {}
    if not any(one.get("name") == DASK_CLUSTERS.plural for one in found.get("resources", ())):
        raise ServiceError(
            "Dask's operator is not installed: the cluster knows no resource "
            f"{DASK_CLUSTERS.plural} of {DASK_CLUSTERS.api}",
            where=WHERE,
            remedy="Install it (docs/engine-on-kubernetes.md), or set `engine.on: machine`.",
        )


@contextlib.contextmanager
def _allowed(namespace: str) -> Iterator[None]:
    try:
        yield
    except ForbiddenError as error:
        quota = "exceeded quota" in error.what
        raise ServiceError(
            f"no Dask cluster may be made in the namespace {namespace}: {error.what}",
            where=WHERE,
            remedy="Ask for fewer `engine.workers`, or a larger quota."
            if quota
            else "Apply manifests/components/engine, which allows it to the account of runs.",
        ) from error


def _created(kube: Kube, manifest: Manifest) -> Manifest:
    namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
    path = DASK_CLUSTERS.path(namespace, name)
    deadline = time.monotonic() + _GONE_WITHIN
    while True:
        try:
            return kube.create(DASK_CLUSTERS.path(namespace), manifest)
        except ConflictError:
            # Of this pod, whose container was started again; its keys are not known any more.
            if time.monotonic() > deadline:
                raise
            kube.delete(path)
            time.sleep(0.5)


def _remove_left(kube: Kube, pod: Manifest) -> None:
    """Remove the clusters of this run whose steps have ended."""
    namespace, run = pod["metadata"]["namespace"], run_of(pod)
    if not run:
        return
    path = DASK_CLUSTERS.path(namespace)
    for found in kube.items(path, labelSelector=f"{RUN_LABEL}={run}"):
        if not _is_owned(kube, found, namespace):
            log(f"removes the Dask cluster {found['metadata']['name']}, which a step left")
            kube.delete(f"{path}/{found['metadata']['name']}", like=found)


def _is_owned(kube: Kube, cluster: Manifest, namespace: str) -> bool:
    """Whether the pod that made a cluster still runs."""
    for owner in cluster["metadata"].get("ownerReferences") or ():
        pod = kube.get(PODS.path(namespace, owner["name"]))
        if pod is not None and pod["metadata"]["uid"] == owner["uid"]:
            return (pod.get("status") or {}).get("phase") not in _ENDED
    return False
