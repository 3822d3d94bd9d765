"""The proxy of an experiment while it comes, changes and goes: pods before both versions."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from penstock.cluster.client import (
    DEPLOYMENTS,
    SERVICES,
    SERVING_RUNTIMES,
    ForbiddenError,
    Kube,
    Manifest,
    Resource,
)
from penstock.errors import ServiceError
from penstock.rollout.backends.kserve import pods, proxy_manifests
from penstock.rollout.backends.kserve.lease import ClusterLease
from penstock.rollout.backends.kserve.objects import Named
from penstock.rollout.backends.kserve.routes import proxy_name
from penstock.rollout.backends.kserve.state import ClusterState
from penstock.rollout.backends.kserve.state_store import POLL
from penstock.rollout.spec import KserveSpec

_REMEDY = "Apply manifests/components/experiments: it has the account and the rights of this."


class ExperimentProxy:
    """One service's proxy.

    Args:
        kube: The cluster.
        spec: Where the service serves.
        service: The service.
        lease: The right to drive it.
        timeout: Seconds that the pods may take to change.
    """

    def __init__(
        self, kube: Kube, *, spec: KserveSpec, service: str, lease: ClusterLease, timeout: float
    ) -> None:
        self._kube, self._spec, self._lease, self._timeout = kube, spec, lease, timeout
        self._service = service

        def named(resource: Resource, kind: str) -> Named:
            return Named(
                kube=kube,
                resource=resource,
                kind=kind,
                namespace=spec.namespace,
                name=proxy_name(service),
                service=service,
            )

        self._deployment = named(DEPLOYMENTS, "Deployment")
        self._object = named(SERVICES, "Service")

    def write(self, state: ClusterState) -> None:
        """Write its objects for a state; what is there already stays.

        Raises:
            ServiceError: If they may not be written.
        """
        for named, manifest in self._wanted(state):
            with self._allowed():
                named.put(manifest, view=_digest, confirm=self._lease.confirm)

    def wait(self) -> None:
        """Return when every pod has the table that was written.

        Raises:
            ServiceError: If that does not come about in time.
        """
        deadline = time.monotonic() + self._timeout
        while True:
            found = self._deployment.get()
            if found is not None and proxy_manifests.rolled_out(found):
                return
            if time.monotonic() > deadline:
                raise self._late(found)
            self._lease.check()
            time.sleep(POLL)

    def as_wanted(self, state: ClusterState) -> bool:
        """Return whether its objects are there, and as they were written for this state."""
        return all(
            (found := named.get()) is not None and _digest(found) == _digest(manifest)
            for named, manifest in self._wanted(state)
        )

    def answers(self) -> bool:
        """Return whether any of its pods is ready."""
        found = self._deployment.get()
        return found is not None and proxy_manifests.available(found) > 0

    def remove(self) -> None:
        """Delete its objects; its pods answer and ship what they have, and then end."""
        for named in (self._deployment, self._object):
            with self._allowed():
                found = named.get()
                if found is not None:
                    self._lease.confirm()
                    named.delete(like=found)

    def _wanted(self, state: ClusterState) -> list[tuple[Named, Manifest]]:
        spec = self._spec
        made = proxy_manifests.deployment(state, spec=spec, runtime=self._runtime())
        return [
            (self._object, proxy_manifests.service_object(state, spec=spec)),
            (self._deployment, made),
        ]

    def _runtime(self) -> Manifest:
        """Return the ServingRuntime, whose image holds the proxy as well.

        Raises:
            ServiceError: If it is not in the namespace.
        """
        found = self._kube.get(SERVING_RUNTIMES.path(self._spec.namespace, self._spec.runtime))
        if found is None:
            raise ServiceError(
                "an experiment's proxy runs in the image of the ServingRuntime, and none is here",
                where=f"ServingRuntime {self._spec.namespace}/{self._spec.runtime}",
                remedy="Have it in the namespace, as manifests/base has it.",
            )
        return found

    def _late(self, found: Manifest | None) -> ServiceError:
        changed = proxy_manifests.updated(found) if found else 0
        selector = proxy_manifests.selector(self._service)
        why = pods.waiting_reason(self._kube, self._spec.namespace, selector=selector)
        return ServiceError(
            f"the proxy of the experiment is not up after {self._timeout:g} s: "
            f"{changed} of {proxy_manifests.REPLICAS} pods have its table"
            + (f"; {why}" if why else ""),
            where=self._deployment.where,
            remedy=f"kubectl -n {self._spec.namespace} describe pods -l {selector}",
        )

    @contextlib.contextmanager
    def _allowed(self) -> Iterator[None]:
        try:
            yield
        except ForbiddenError as error:
            raise ForbiddenError(
                "this account may not run the proxy of an experiment",
                where=self._deployment.where,
                remedy=_REMEDY,
            ) from error


def _digest(found: Manifest) -> object:
    return (found["metadata"].get("annotations") or {}).get(proxy_manifests.DIGEST)
