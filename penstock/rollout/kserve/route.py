"""The HTTPRoute of a service: written only by whoever holds the lease, and waited for."""

from __future__ import annotations

import contextlib
import json
import time

from penstock.errors import ServiceError
from penstock.kube import HTTP_ROUTES, ConflictError, Kube, Manifest
from penstock.rollout.kserve import detect, manifests
from penstock.rollout.kserve.lease import ClusterLease
from penstock.rollout.kserve.state import ClusterState
from penstock.rollout.spec import KserveSpec

EFFECT = 60.0
"""Seconds within which a change must be in effect at the gateway."""
POLL = 0.5
_ATTEMPTS = 20


class Route:
    """One HTTPRoute, whose annotation is the service's state.

    Args:
        kube: The cluster.
        spec: Where it serves.
        name: The route's name.
        lease: The right to write it.
    """

    def __init__(self, kube: Kube, *, spec: KserveSpec, name: str, lease: ClusterLease) -> None:
        self._kube = kube
        self._spec = spec
        self._lease = lease
        self._collection = HTTP_ROUTES.path(spec.namespace)
        self._path = HTTP_ROUTES.path(spec.namespace, name)
        self._where = f"HTTPRoute {spec.namespace}/{name}"
        self._written: Manifest | None = None

    def read(self) -> ClusterState | None:
        """Return the service's state, or None if there is no such route.

        Raises:
            ServiceError: If somebody else made it.
        """
        found = self._kube.get(self._path)
        self._written = found
        return self._state_of(found) if found else None

    def write(self, wanted: Manifest) -> None:
        """Write it, and return when the gateway has accepted this very generation of it.

        Raises:
            LeaseLostError: If another controller has written since; nothing is written.
            RefusedError: If the API server or a webhook refuses it.
            ServiceError: If somebody else made it, or the gateway does not take it.
        """
        self._lease.check()
        self._written = self._put(wanted)
        deadline = time.monotonic() + EFFECT
        while True:
            found = self._kube.get(self._path)
            why = detect.accepted(found, self._spec) if found else "it was deleted"
            if not why:
                return
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"the gateway does not take it: {why}",
                    where=self._where,
                    remedy="Do the Gateway's listeners allow routes of this namespace?",
                )
            time.sleep(POLL)

    def altered(self) -> bool:
        """Return whether somebody has changed or deleted it since it was read or written here."""
        if self._written is None:
            return False
        found = self._kube.get(self._path)
        if found is None:
            return True
        self._require_mine(found)
        return bool(found["spec"] != self._written["spec"])

    def delete(self) -> None:
        """Delete it, and the state with it."""
        self._lease.check()
        self._kube.delete(self._path)
        self._written = None

    def _put(self, wanted: Manifest) -> Manifest:
        for _ in range(_ATTEMPTS):
            found = self._kube.get(self._path)
            with contextlib.suppress(ConflictError):
                if found is None:
                    return self._kube.create(self._collection, wanted)
                self._require_mine(found)
                return self._kube.replace(self._path, over(found, wanted))
        raise ServiceError(
            "somebody else writes it all the time",
            where=self._where,
            remedy="Let only Penstock write it: keep it out of GitOps tools.",
        )

    def _require_mine(self, found: Manifest) -> None:
        if self._state_of(found).term > self._lease.term:
            raise self._lease.lost("a later controller has steered it")

    def _state_of(self, route: Manifest) -> ClusterState:
        text = (route["metadata"].get("annotations") or {}).get(manifests.STATE)
        if text is None:
            raise ServiceError(
                "it was not made by Penstock",
                where=self._where,
                remedy="Delete or rename it, or give the project another name.",
            )
        return ClusterState.parse(json.loads(text), where=self._where)


def over(found: Manifest, wanted: Manifest) -> Manifest:
    """Return an object as wanted, with what others have put into the metadata of the one found."""
    metadata = {**found["metadata"], **wanted["metadata"]}
    for key in ("labels", "annotations"):
        metadata[key] = {**(found["metadata"].get(key) or {}), **wanted["metadata"].get(key, {})}
    return {**found, **wanted, "metadata": metadata}
