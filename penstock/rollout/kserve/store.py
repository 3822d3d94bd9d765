"""The journal of a rollout in a ConfigMap: lasting once it is written, small enough for one."""

from __future__ import annotations

import base64
import contextlib
import gzip
import time
from collections.abc import Callable
from typing import Any

from penstock.errors import LeaseLostError, ServiceError
from penstock.kube import CONFIG_MAPS, ConflictError, Kube, Manifest

LONGEST = 2_000
"""Intervals of a rollout that a ConfigMap is sure to hold: it takes 1 MiB in all."""

_JOURNAL = "journal.jsonl.gz"
_SERVICE = "penstock/service"
_KEPT_BACK = 10.0
"""Seconds for which evidence may wait to be written: each write carries the whole journal."""
_ATTEMPTS = 10


class ConfigMapStore:
    """See `penstock.rollout.store.Store`.

    The ConfigMap is written with the version of it that was read, so a controller that was taken
    over from cannot write into what its successor goes on with. Notes are left by others meanwhile,
    and kept.

    Args:
        kube: The cluster.
        namespace: The service's namespace.
        service: The service.
        identity: The rollout.
        lost: Makes the error of a controller that was taken over from.
    """

    def __init__(
        self,
        kube: Kube,
        *,
        namespace: str,
        service: str,
        identity: str,
        lost: Callable[[str], LeaseLostError],
    ) -> None:
        self._kube = kube
        self._service = service
        self._identity = identity
        self._lost = lost
        self._namespace = namespace
        self._name = f"penstock-rollout-{service}-{identity}".lower()
        self._path = CONFIG_MAPS.path(namespace, self._name)
        self._journal: bytes | None = None
        self._stored = b""
        self._written = 0.0

    @staticmethod
    def selector(service: str) -> str:
        """Return the label selector of a service's journals."""
        return f"{_SERVICE}={service}"

    @property
    def name(self) -> str:
        """The rollout's identity."""
        return self._identity

    @property
    def where(self) -> str:
        """The ConfigMap."""
        return f"ConfigMap {self._namespace}/{self._name}"

    def lines(self) -> list[bytes]:
        """Return the journal's lines."""
        if self._journal is None:
            self._journal = self._stored = self._read(self._kube.get(self._path))
        return self._journal.splitlines(keepends=True)

    def clear(self) -> None:
        """Forget the journal, and the notes with it."""
        self._kube.delete(self._path)
        self._journal = self._stored = b""

    def append(self, line: bytes, *, evidence: bool = False) -> None:
        """Add a line; evidence is kept back for some seconds."""
        self._journal = b"".join([*self.lines(), line])
        if not evidence or time.monotonic() > self._written + _KEPT_BACK:
            self._write(self._journal)

    def note(self, name: str) -> str | None:
        """Return a note."""
        found = self._kube.get(self._path)
        text = (found or {}).get("data", {}).get(name)
        return None if text is None else str(text)

    def leave(self, name: str, text: str) -> None:
        """Leave a note."""
        if self._kube.merge(self._path, {"data": {name: text}}) is None:
            self._create({name: text}, b"")

    def _write(self, journal: bytes) -> None:
        for _ in range(_ATTEMPTS):
            found = self._kube.get(self._path)
            if found is None and self._stored:
                raise self._lost("its journal was deleted")
            if not journal.startswith(self._read(found)):
                raise self._lost("another controller has written its journal")
            # A note may be left in between, and the answer to an earlier attempt get lost.
            with contextlib.suppress(ConflictError):
                if found is None:
                    self._create({}, journal)
                else:
                    found["binaryData"] = {_JOURNAL: _packed(journal)}
                    self._kube.replace(self._path, found)
                self._stored, self._written = journal, time.monotonic()
                return
        raise ServiceError("the journal changes while it is written", where=self.where)

    def _create(self, notes: dict[str, str], journal: bytes) -> None:
        manifest: Manifest = {
            "apiVersion": CONFIG_MAPS.api,
            "kind": "ConfigMap",
            "metadata": {
                "name": self._name,
                "labels": {
                    "app.kubernetes.io/managed-by": "penstock",
                    _SERVICE: self._service,
                },
                "annotations": {"penstock/rollout": self._identity},
            },
            "data": notes,
            "binaryData": {_JOURNAL: _packed(journal)} if journal else {},
        }
        self._kube.create(CONFIG_MAPS.path(self._namespace), manifest)

    def _read(self, found: Manifest | None) -> bytes:
        packed = ((found or {}).get("binaryData") or {}).get(_JOURNAL)
        if not packed:
            return b""
        try:
            return gzip.decompress(base64.b64decode(packed))
        except (OSError, EOFError, ValueError) as error:
            raise ServiceError(
                f"the journal cannot be read: {error}",
                where=self.where,
                remedy="Keep a copy of the ConfigMap, delete it, then look: penstock status.",
            ) from error


def identity_of(found: Manifest) -> str:
    """Return the rollout that a journal's ConfigMap is of."""
    annotations: dict[str, Any] = found["metadata"].get("annotations") or {}
    return str(annotations["penstock/rollout"])


def _packed(journal: bytes) -> str:
    return base64.b64encode(gzip.compress(journal, mtime=0)).decode()
