"""The object that keeps a service's state, and waiting for what a cluster makes of a change."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Callable, Iterator

from penstock.cluster.client import ConflictError, Kube, Manifest, Resource
from penstock.errors import ServiceError
from penstock.rollout.backends.kserve import manifests
from penstock.rollout.backends.kserve.lease import ClusterLease
from penstock.rollout.backends.kserve.owner import require_ours, require_service
from penstock.rollout.backends.kserve.state import ClusterState
from penstock.rollout.state import StateStore

EFFECT = 60.0
"""Seconds within which a change must be in effect where users' requests come in."""
POLL = 0.5
ATTEMPTS = 20
"""Times that an object which somebody else writes too is written again."""


def poll() -> Iterator[None]:
    """Yield at once and then twice a second, for as long as a change may take to be in effect."""
    deadline = time.monotonic() + EFFECT
    while True:
        yield
        if time.monotonic() > deadline:
            return
        time.sleep(POLL)


class ObjectStore(StateStore[ClusterState]):
    """One object, whose annotation is the service's state.

    Args:
        kube: The cluster.
        resource: The kind of object.
        kind: Its name, for messages.
        namespace: Where it is.
        name: The object's name.
        service: The service.
        lease: The right to write it.
        manifest: Returns the object that keeps a state.
    """

    def __init__(
        self,
        kube: Kube,
        *,
        resource: Resource,
        kind: str,
        namespace: str,
        name: str,
        service: str,
        lease: ClusterLease,
        manifest: Callable[[ClusterState], Manifest],
    ) -> None:
        super().__init__(lease, fresh=ClusterState(service=service, token=secrets.token_hex(8)))
        self._kube = kube
        self._service = service
        self._cluster_lease = lease
        self._manifest = manifest
        self._collection = resource.path(namespace)
        self._path = resource.path(namespace, name)
        self._where = f"{kind} {namespace}/{name}"
        self._written: Manifest | None = None

    def wait(self) -> None:
        """Return when what was written is in effect; of an object that only keeps, at once."""

    def altered(self) -> bool:
        """Return whether somebody has changed or deleted it since it was read or written here."""
        if self._written is None:
            return False
        found = self._kube.get(self._path)
        if found is None:
            return True
        self._require_mine(found)
        return _kept(found) != _kept(self._written)

    def _read(self) -> ClusterState | None:
        found = self._kube.get(self._path)
        state = self._state_of(found) if found else None
        self._written = found
        return state

    def _write(self, state: ClusterState) -> None:
        self._written = self._put(self._manifest(state))

    def _delete(self) -> None:
        for _ in range(ATTEMPTS):
            found = self._kube.get(self._path)
            if found is None:
                self._written = None
                return
            self._require_mine(found)
            with contextlib.suppress(ConflictError):
                self._kube.delete(self._path, like=found, changed=False)
        raise contended(self._where)

    def _put(self, manifest: Manifest) -> Manifest:
        for _ in range(ATTEMPTS):
            found = self._kube.get(self._path)
            with contextlib.suppress(ConflictError):
                if found is None:
                    # No term is there that could refuse it.
                    self._cluster_lease.confirm()
                    return self._kube.create(self._collection, manifest)
                self._require_mine(found)
                return self._kube.replace(self._path, over(found, manifest))
        raise contended(self._where)

    def _require_mine(self, found: Manifest) -> None:
        self._cluster_lease.meet(self._state_of(found).term)

    def _state_of(self, found: Manifest) -> ClusterState:
        text = (found["metadata"].get("annotations") or {}).get(manifests.STATE)
        if text is None:
            require_ours(found, service=self._service, where=self._where)
            raise self._unreadable("it has no state")
        try:
            state = ClusterState.parse(json.loads(text), where=self._where)
        except ValueError as error:
            raise self._unreadable(f"its state cannot be read: {error}") from error
        # Its labels may have been altered from outside; they are put back when it is written.
        require_service(state.service, service=self._service, where=self._where)
        return state

    def _unreadable(self, what: str) -> ServiceError:
        return ServiceError(
            what,
            where=f"{self._where}, annotation {manifests.STATE}",
            remedy="Put the annotation back as it was; or delete the object and what serves behind "
            "it, to begin anew.",
        )


def _kept(found: Manifest) -> tuple[object, ...]:
    """Return what is kept in the object: users' requests as they are led, and the state."""
    annotations = found["metadata"].get("annotations") or {}
    return found.get("spec"), annotations.get(manifests.STATE)


def over(found: Manifest, manifest: Manifest) -> Manifest:
    """Return the new object, with what others have put into the metadata of the one found."""
    metadata = {**found["metadata"], **manifest["metadata"]}
    for key in ("labels", "annotations"):
        metadata[key] = {**(found["metadata"].get(key) or {}), **manifest["metadata"].get(key, {})}
    return {**found, **manifest, "metadata": metadata}


def contended(where: str) -> ServiceError:
    """Return the error for an object that cannot be written for somebody else's writing."""
    return ServiceError(
        "somebody else writes it all the time",
        where=where,
        remedy="Let only Penstock write it: keep it out of GitOps tools.",
    )
