"""The HTTPRoute of a service, which keeps its state and is waited for."""

from __future__ import annotations

from collections.abc import Callable

from penstock.cluster.client import HTTP_ROUTES, Kube, Manifest
from penstock.errors import ServiceError
from penstock.rollout.backends.kserve import detect
from penstock.rollout.backends.kserve.lease import ClusterLease
from penstock.rollout.backends.kserve.state import ClusterState
from penstock.rollout.backends.kserve.state_store import EFFECT, ObjectStore, poll
from penstock.rollout.spec import KserveSpec


class RouteStore(ObjectStore):
    """One HTTPRoute, whose annotation is the service's state.

    Args:
        kube: The cluster.
        spec: Where it serves.
        name: The route's name.
        service: The service.
        lease: The right to write it.
        manifest: Returns the route that keeps a state.
    """

    def __init__(
        self,
        kube: Kube,
        *,
        spec: KserveSpec,
        name: str,
        service: str,
        lease: ClusterLease,
        manifest: Callable[[ClusterState], Manifest],
    ) -> None:
        super().__init__(
            kube,
            resource=HTTP_ROUTES,
            kind="HTTPRoute",
            namespace=spec.namespace,
            name=name,
            service=service,
            lease=lease,
            manifest=manifest,
        )
        self._spec = spec

    def wait(self) -> None:
        """Return when the gateway has accepted this very generation of it.

        Raises:
            ServiceError: If the gateway does not take it.
        """
        why = ""
        for _ in poll():
            found = self._kube.get(self._path)
            why = detect.accepted(found, self._spec) if found else "it was deleted"
            if not why:
                return
        raise ServiceError(
            f"the gateway does not take it within {EFFECT:g} s: {why}",
            where=self._where,
            remedy="Do the Gateway's listeners allow routes of this namespace?",
        )
