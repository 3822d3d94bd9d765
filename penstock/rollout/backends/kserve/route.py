"""The HTTPRoute of a service, which keeps its state and is waited for."""

from __future__ import annotations

from penstock.cluster.client import HTTP_ROUTES, Kube
from penstock.errors import ServiceError
from penstock.rollout.backends.kserve import detect
from penstock.rollout.backends.kserve.lease import ClusterLease
from penstock.rollout.backends.kserve.state_store import Keeper, looks
from penstock.rollout.spec import KserveSpec


class Route(Keeper):
    """One HTTPRoute, whose annotation is the service's state.

    Args:
        kube: The cluster.
        spec: Where it serves.
        name: The route's name.
        service: The service.
        lease: The right to write it.
    """

    def __init__(
        self, kube: Kube, *, spec: KserveSpec, name: str, service: str, lease: ClusterLease
    ) -> None:
        super().__init__(
            kube,
            resource=HTTP_ROUTES,
            kind="HTTPRoute",
            namespace=spec.namespace,
            name=name,
            service=service,
            lease=lease,
        )
        self._spec = spec

    def wait(self) -> None:
        """Return when the gateway has accepted this very generation of it.

        Raises:
            ServiceError: If the gateway does not take it.
        """
        why = ""
        for _ in looks():
            found = self._kube.get(self._path)
            why = detect.accepted(found, self._spec) if found else "it was deleted"
            if not why:
                return
        raise ServiceError(
            f"the gateway does not take it: {why}",
            where=self._where,
            remedy="Do the Gateway's listeners allow routes of this namespace?",
        )
