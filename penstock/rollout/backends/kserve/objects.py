"""Objects of a cluster that are written and deleted by their names, whatever their kind."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from penstock.cluster.client import ConflictError, Kube, Manifest, Resource
from penstock.errors import ServiceError
from penstock.rollout.backends.kserve.owner import require_ours
from penstock.rollout.backends.kserve.state_store import ATTEMPTS, EFFECT, contended, over, poll


@dataclass(frozen=True)
class Named:
    """One object of a service, whether or not it is there.

    Attributes:
        kube: The cluster.
        resource: Its kind.
        kind: The kind's name, for messages.
        namespace: Where it is.
        name: Its name.
        service: The service that it belongs to.
    """

    kube: Kube
    resource: Resource
    kind: str
    namespace: str
    name: str
    service: str

    @property
    def where(self) -> str:
        """The object, for messages."""
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def path(self) -> str:
        """Its address."""
        return self.resource.path(self.namespace, self.name)

    def get(self) -> Manifest | None:
        """Return it; None: it is not there.

        Raises:
            ServiceError: If it is somebody else's or another service's.
        """
        found = self.kube.get(self.path)
        if found is not None:
            require_ours(found, service=self.service, where=self.where)
        return found

    def put(
        self,
        manifest: Manifest,
        *,
        view: Callable[[Manifest], object],
        confirm: Callable[[], None],
    ) -> Manifest:
        """Write it over the one that is there, and return it as it was taken.

        Args:
            manifest: What it should be.
            view: Returns what is decided here about one; where both views are equal nothing is
                written.
            confirm: Asks the cluster for the lease. It is called after the object was read, so that
                one which a later controller has written since is not written over.

        Raises:
            LeaseLostError: If another controller holds the lease; nothing is written.
            RefusedError: If the API server or a webhook refuses it.
            ServiceError: If it is somebody else's, another service's, or written all the time.
        """
        for _ in range(ATTEMPTS):
            try:
                found = self.get()
                if found is not None and view(found) == view(manifest):
                    return found
                confirm()
                if found is None:
                    return self.kube.create(self.resource.path(self.namespace), manifest)
                return self.kube.replace(self.path, over(found, manifest))
            except ConflictError:
                continue
        raise contended(self.where)

    def delete(self, *, like: Manifest | None = None) -> None:
        """Delete it and return when it is gone; one made anew since then is kept.

        Args:
            like: As it was found; None: it is looked for.

        Raises:
            ServiceError: If it is somebody else's or another service's, or it stays.
        """
        found = like or self.kube.get(self.path)
        if found is None:
            return
        require_ours(found, service=self.service, where=self.where)
        with contextlib.suppress(ConflictError):
            self.kube.delete(self.path, like=found)
        held: list[str] = []
        for _ in poll():
            there = self.kube.get(self.path)
            if there is None or there["metadata"]["uid"] != found["metadata"]["uid"]:
                return
            held = there["metadata"].get("finalizers", [])
        raise ServiceError(
            f"it is not deleted within {EFFECT:g} s"
            + (f": the finalizer {' and '.join(held)} holds it" if held else ""),
            where=self.where,
            remedy="Look whether its controller runs.",
        )
