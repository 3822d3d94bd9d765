"""What people say to a rollout of a cluster: each note in a small ConfigMap of its own."""

from __future__ import annotations

import contextlib

from penstock.cluster.client import CONFIG_MAPS, ConflictError, Kube, Manifest
from penstock.rollout.backends.kserve.owner import MANAGED, SERVICE, require_ours, selector
from penstock.rollout.backends.kserve.state_store import contended

NOTE = "penstock/note"
"""Label of a ConfigMap that holds a note: its name."""

_ROLLOUT = "penstock/rollout"
_TEXT = "text"
_ATTEMPTS = 5


class Notes:
    """The notes of one rollout. A controller reads them at each poll, so each is an object.

    Args:
        kube: The cluster.
        namespace: The service's namespace.
        service: The service.
        identity: The rollout.
    """

    def __init__(self, kube: Kube, *, namespace: str, service: str, identity: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._service = service
        self._identity = identity

    def read(self, name: str) -> str | None:
        """Return a note, or None if nobody left it."""
        found = self._kube.get(CONFIG_MAPS.path(self._namespace, self._name_of(name)))
        if found is None:
            return None
        require_ours(found, service=self._service, where=self._where(name))
        return str((found.get("data") or {}).get(_TEXT, ""))

    def leave(self, name: str, text: str) -> None:
        """Leave a note, over any of the same name."""
        manifest: Manifest = {
            "apiVersion": CONFIG_MAPS.api,
            "kind": "ConfigMap",
            "metadata": {
                "name": self._name_of(name),
                "labels": {
                    **MANAGED,
                    SERVICE: self._service,
                    _ROLLOUT: self._identity,
                    NOTE: name,
                },
                "annotations": {_ROLLOUT: self._identity},
            },
            "data": {_TEXT: text},
        }
        path = CONFIG_MAPS.path(self._namespace, self._name_of(name))
        for _ in range(_ATTEMPTS):
            found = self._kube.get(path)
            with contextlib.suppress(ConflictError):
                if found is None:
                    self._kube.create(CONFIG_MAPS.path(self._namespace), manifest)
                else:
                    require_ours(found, service=self._service, where=self._where(name))
                    self._kube.replace(path, {**found, "data": manifest["data"]})
                return
        raise contended(self._where(name))

    def forget(self) -> None:
        """Delete all of them."""
        mine = f"{selector(self._service)},{_ROLLOUT}={self._identity}"
        path = CONFIG_MAPS.path(self._namespace)
        for each in self._kube.items(path, metadata=True, labelSelector=mine):
            if NOTE in (each["metadata"].get("labels") or {}):
                named = CONFIG_MAPS.path(self._namespace, each["metadata"]["name"])
                with contextlib.suppress(ConflictError):
                    self._kube.delete(named, like=each)

    def _name_of(self, name: str) -> str:
        return f"penstock-note-{self._service}-{self._identity}-{name}".lower()

    def _where(self, name: str) -> str:
        return f"ConfigMap {self._namespace}/{self._name_of(name)}"
