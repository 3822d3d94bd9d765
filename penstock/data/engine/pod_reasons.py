"""Why the pods of a cluster are not there, in the words of Kubernetes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from penstock.cluster.client import DEPLOYMENTS, PODS, Kube, Manifest
from penstock.errors import ServiceError

_LONGEST = 300


def reasons(kube: Kube, *, namespace: str, cluster: str) -> str:
    """Return what Kubernetes says of the pods of a cluster of Dask; empty if it says nothing.

    Args:
        kube: The API server.
        namespace: Where the cluster is.
        cluster: Its name.
    """
    mine = f"dask.org/cluster-name={cluster}"
    found: list[str] = []
    for resource, read in ((PODS, _of_pod), (DEPLOYMENTS, _of_deployment)):
        try:
            for one in kube.items(resource.path(namespace), labelSelector=mine):
                found += read(one)
        except ServiceError:
            # The account may lack the right to look; that is not why the cluster is not there.
            continue
    return "; ".join(dict.fromkeys(found))[:_LONGEST]


def _of_pod(pod: Manifest) -> Iterator[str]:
    part = (pod["metadata"].get("labels") or {}).get("dask.org/component", "pod")
    status: dict[str, Any] = pod.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            yield _said(part, condition)
    for container in status.get("containerStatuses") or ():
        ended = (container.get("lastState") or {}).get("terminated") or {}
        waiting = (container.get("state") or {}).get("waiting") or {}
        if ended.get("reason"):
            yield f"{part}: {ended['reason']}"
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            yield _said(part, waiting)


def _of_deployment(deployment: Manifest) -> Iterator[str]:
    part = (deployment["metadata"].get("labels") or {}).get("dask.org/component", "deployment")
    for condition in (deployment.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            yield _said(part, condition)


def _said(part: str, state: dict[str, Any]) -> str:
    message = " ".join(str(state.get("message", "")).split())
    return f"{part}: {state.get('reason', '')}{f' ({message})' if message else ''}"
