"""The journal of a rollout in a ConfigMap: lasting once it is written, small enough for one."""

from __future__ import annotations

import base64
import contextlib
import gzip
import logging
import time
import zlib
from typing import Any

from penstock.cluster.client import CONFIG_MAPS, ConflictError, Kube, Manifest, UnansweredError
from penstock.errors import ServiceError
from penstock.rollout.backends.kserve.lease import ClusterLease
from penstock.rollout.backends.kserve.notes import NOTE, Notes
from penstock.rollout.backends.kserve.owner import MANAGED, SERVICE, require_ours, selector
from penstock.rollout.backends.kserve.state_store import contended

_log = logging.getLogger(__name__)

LONGEST = 2_000
"""Intervals of a rollout that a ConfigMap is sure to hold: it takes 1 MiB in all."""

_JOURNAL = "journal.jsonl.gz"
_IDENTITY, _NUMBER, _TERM = "penstock/rollout", "penstock/number", "penstock/term"
_OUTCOME = "penstock/outcome"
_KEPT_BACK = 10.0
"""Seconds for which evidence may wait to be written: each write carries the whole journal."""
_PATIENCE = 5.0
"""Seconds for which a silent API server is tried: a rollback does not wait for the journal."""
_ATTEMPTS = 3
_CROWDED, _FULL, _LARGEST = 2**19, 900_000, 2**20
"""Bytes from which a journal should be made shorter, up to which it takes evidence, and which a
ConfigMap holds: what is left is for the way back."""


class ConfigMapStore:
    """See `penstock.rollout.store.Store`.

    The ConfigMap is written over the version of it that was read or written last, and bears the
    term of whoever wrote it. A controller that takes a rollout up writes its term before it goes
    on, so that one which was taken over from cannot write any more.

    Args:
        kube: The cluster.
        namespace: The service's namespace.
        service: The service.
        identity: The rollout.
        lease: The right to write the journal; notes are anybody's.
        listed: The metadata with which it was listed; None: it was not.
    """

    def __init__(
        self,
        kube: Kube,
        *,
        namespace: str,
        service: str,
        identity: str,
        lease: ClusterLease,
        listed: Manifest | None = None,
    ) -> None:
        self._kube = kube.hasty(_PATIENCE)
        self._service = service
        self._identity = identity
        self._lease = lease
        self._namespace = namespace
        self._name = f"penstock-rollout-{service}-{identity}".lower()
        self._path = CONFIG_MAPS.path(namespace, self._name)
        self._notes = Notes(self._kube, namespace=namespace, service=service, identity=identity)
        self._listed = listed
        self._found: Manifest | None = None
        self._journal: bytes | None = None
        self._stored = self._sent = b""
        self._written = 0.0
        self._size = 0

    @staticmethod
    def all_of(
        kube: Kube, *, namespace: str, service: str, lease: ClusterLease
    ) -> list[ConfigMapStore]:
        """Return the rollouts of a service, the oldest first; none of their journals is read."""
        found = kube.items(
            CONFIG_MAPS.path(namespace),
            metadata=True,
            labelSelector=f"{selector(service)},!{NOTE}",
        )
        return [
            ConfigMapStore(
                kube,
                namespace=namespace,
                service=service,
                identity=_annotation(each, _IDENTITY),
                lease=lease,
                listed=each,
            )
            for each in sorted(found, key=_place)
            if _annotation(each, _IDENTITY)
        ]

    @property
    def name(self) -> str:
        """The rollout's identity."""
        return self._identity

    @property
    def where(self) -> str:
        """The ConfigMap."""
        return f"ConfigMap {self._namespace}/{self._name}"

    @property
    def number(self) -> int:
        """Its place among the service's rollouts; 0 where it is not known."""
        return int(_annotation(self._found or self._listed, _NUMBER) or 0)

    @property
    def ended(self) -> bool:
        """Whether it is known to be done without reading it."""
        return bool(_label(self._found or self._listed, _OUTCOME))

    @property
    def crowded(self) -> bool:
        """Whether the journal should be made shorter."""
        return self._size > _CROWDED

    def lines(self) -> list[bytes]:
        """Return the journal's lines; under the lease, the rollout is taken over first."""
        if self._journal is None:
            self._load()
        return (self._journal or b"").splitlines(keepends=True)

    def clear(self) -> None:
        """Forget the journal, and the notes with it."""
        self.forget()

    def forget(self) -> None:
        """Delete the journal and its notes for good."""
        self._lease.check()
        # Notes first: without the journal nobody would find them.
        self._notes.forget()
        found = self._read()
        if found is not None:
            self._kube.delete(self._path, like=found)
        self._found, self._listed, self._journal, self._stored = None, None, b"", b""

    def append(self, line: bytes, *, evidence: bool = False) -> None:
        """Add a line; evidence is kept back for some seconds, and while nothing answers.

        Raises:
            LeaseLostError: If another controller drives the service; nothing is written.
            ServiceError: If it is not written; the journal is as it was.
        """
        self._lease.check()
        journal = b"".join([*self.lines(), line])
        if not evidence or time.monotonic() > self._written + _KEPT_BACK:
            try:
                self._write(journal, most=_FULL if evidence else _LARGEST)
            except UnansweredError as error:
                if not evidence:
                    raise
                _log.warning("evidence waits to be written: %s", error)
        self._journal = journal

    def rewrite(self, lines: list[bytes]) -> None:
        """Write other lines in the journal's place, all of them or none."""
        self._lease.check()
        self.lines()
        journal = b"".join(lines)
        self._write(journal)
        self._journal = journal

    def end(self, outcome: str) -> None:
        """Mark the rollout as done, so that nobody has to read its journal to know."""
        self._lease.check()
        self.lines()
        self._write(self._journal or b"", outcome=outcome)

    def note(self, name: str) -> str | None:
        """Return a note."""
        # Former releases left notes in the journal's own ConfigMap.
        return self._notes.read(name) or ((self._found or {}).get("data") or {}).get(name)

    def leave(self, name: str, text: str) -> None:
        """Leave a note."""
        self._notes.leave(name, text)

    def _load(self) -> None:
        for _ in range(_ATTEMPTS):
            self._found = found = self._read()
            self._journal = self._stored = _unpacked(found, self.where)
            if found is None or self.ended or _term(found) >= self._lease.term:
                return
            with contextlib.suppress(ConflictError):
                self._put(_packed(self._stored), found)
                return
        raise contended(self.where)

    def _write(self, journal: bytes, *, most: int = _LARGEST, outcome: str = "") -> None:
        packed = _packed(journal)
        self._size = len(packed)
        if self._size > most:
            raise ServiceError(
                f"the journal is full: {self._size:,} bytes of at most {most:,}",
                where=self.where,
                remedy="Look less often: raise deployment.canary.interval.",
            )
        self._sent = journal
        for _ in range(_ATTEMPTS):
            try:
                self._put(packed, self._found, outcome=outcome)
            except ConflictError:
                # The answer to an earlier attempt may have got lost.
                self._found = self._mine()
            else:
                self._stored, self._written = journal, time.monotonic()
                return
        raise contended(self.where)

    def _mine(self) -> Manifest | None:
        """Return the ConfigMap as it is, if nobody else has written or deleted it."""
        found = self._read()
        if found is None and self._stored:
            raise self._lease.lost("its journal was deleted")
        if _unpacked(found, self.where) not in (self._stored, self._sent):
            raise self._lease.lost("another controller has written its journal")
        return found

    def _put(self, packed: bytes, found: Manifest | None, *, outcome: str = "") -> None:
        metadata = (found or {"metadata": {"name": self._name}})["metadata"]
        annotations = {**(metadata.get("annotations") or {}), _TERM: str(self._lease.term)}
        labels = {**(metadata.get("labels") or {}), **MANAGED, SERVICE: self._service}
        if outcome:
            labels[_OUTCOME] = outcome
        if found is None:
            annotations |= {_IDENTITY: self._identity, _NUMBER: str(self._next())}
        manifest: Manifest = {
            **(found or {"apiVersion": CONFIG_MAPS.api, "kind": "ConfigMap"}),
            "metadata": {**metadata, "labels": labels, "annotations": annotations},
            "binaryData": {_JOURNAL: base64.b64encode(packed).decode()},
        }
        if found is None:
            self._lease.confirm()
            self._found = self._kube.create(CONFIG_MAPS.path(self._namespace), manifest)
        else:
            self._found = self._kube.replace(self._path, manifest)

    def _next(self) -> int:
        others = ConfigMapStore.all_of(
            self._kube, namespace=self._namespace, service=self._service, lease=self._lease
        )
        return 1 + max((other.number for other in others), default=0)

    def _read(self) -> Manifest | None:
        found = self._kube.get(self._path)
        if found is not None:
            require_ours(found, service=self._service, where=self.where)
            if self._lease.term:
                self._lease.meet(_term(found))
        return found


def _annotation(found: Manifest | None, name: str) -> str:
    annotations: dict[str, Any] = (found or {"metadata": {}})["metadata"].get("annotations") or {}
    return str(annotations.get(name, ""))


def _label(found: Manifest | None, name: str) -> str:
    labels: dict[str, Any] = (found or {"metadata": {}})["metadata"].get("labels") or {}
    return str(labels.get(name, ""))


def _place(found: Manifest) -> tuple[int, str]:
    """Order journals by number, and those of former releases, which have none, by their making."""
    number = int(_annotation(found, _NUMBER) or 0)
    return number, str(found["metadata"].get("creationTimestamp", ""))


def _term(found: Manifest) -> int:
    return int(_annotation(found, _TERM) or 0)


def _packed(journal: bytes) -> bytes:
    return gzip.compress(journal, mtime=0)


def _unpacked(found: Manifest | None, where: str) -> bytes:
    packed = ((found or {}).get("binaryData") or {}).get(_JOURNAL)
    if not packed:
        return b""
    try:
        return gzip.decompress(base64.b64decode(packed))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ServiceError(
            f"the journal cannot be read: {error}",
            where=where,
            remedy="Keep a copy of the ConfigMap, delete it, then look: penstock status.",
        ) from error
