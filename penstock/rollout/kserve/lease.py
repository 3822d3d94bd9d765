"""Who drives a service of a cluster: one controller at a time, by a coordination.k8s.io Lease."""

from __future__ import annotations

import contextlib
import logging
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from penstock import progress
from penstock.errors import LeaseLostError, PenstockError, ServiceError
from penstock.kube import LEASES, ConflictError, Kube, Manifest
from penstock.rollout.beside import beside

_log = logging.getLogger(__name__)

SECONDS = 30
_POLL = 1.0


@dataclass(frozen=True)
class Holder:
    """Who holds a lease.

    Attributes:
        identity: Host or pod, and a token of its own.
        term: Rises with every holder.
    """

    identity: str
    term: int


class ClusterLease:
    """The right to drive one service, renewed by a thread while it is held.

    No clock of another machine is trusted: a lease counts as given up once nobody has renewed it
    for its whole duration while this process looked on (as client-go's leader election has it). A
    holder that could not renew for as long has lost it and finds that out by its own clock.

    Args:
        kube: The cluster.
        namespace: The service's namespace.
        service: The service; the lease bears its name.
        name: Name of the Lease object.
        seconds: Its duration.
    """

    def __init__(
        self, kube: Kube, *, namespace: str, service: str, name: str, seconds: int = SECONDS
    ) -> None:
        self._kube = kube
        self._collection = LEASES.path(namespace)
        self._path = LEASES.path(namespace, name)
        self._name = name
        self._service = service
        self._seconds = seconds
        self._mine: Holder | None = None
        self._valid_until = 0.0

    @property
    def term(self) -> int:
        """The term that is held; 0 while none is."""
        return self._mine.term if self._mine else 0

    def driven(self) -> bool:
        """Return whether somebody holds it and has renewed it lately, by this machine's clock."""
        found = self._kube.get(self._path)
        if found is None or _holder(found) is None:
            return False
        renewed = datetime.fromisoformat(found["spec"]["renewTime"])
        # Twice the duration, because clocks differ.
        return datetime.now(UTC) - renewed < timedelta(seconds=2 * self._seconds)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lease until the block ends.

        Raises:
            ServiceError: If another controller holds it and is alive.
        """
        mine = self._acquire()
        self._mine = mine
        try:
            name = f"lease-{self._service}"
            with beside(lambda over: self._renew(mine, over), name=name):
                yield
        finally:
            self._mine = None
            self._release(mine)

    def check(self) -> None:
        """Return if the lease is still held.

        Raises:
            LeaseLostError: If it is not.
        """
        if self._mine is None or time.monotonic() >= self._valid_until:
            raise self.lost("its lease is not held any more")

    def lost(self, how: str) -> LeaseLostError:
        """Return the error for a controller that another one has taken over from."""
        return LeaseLostError(
            f"this process does not drive it any more: {how}",
            where=f"service {self._service}",
            remedy="Look at what it does now with: penstock status.",
        )

    def _acquire(self) -> Holder:
        identity = f"{socket.gethostname()}_{secrets.token_hex(8)}"
        seen: Manifest | None = None
        since = time.monotonic()
        while True:
            asked = time.monotonic()
            found = self._kube.get(self._path)
            holder = _holder(found) if found else None
            renewed = found["spec"].get("renewTime") if found else None
            if holder and seen and seen["spec"].get("renewTime") != renewed:
                raise ServiceError(
                    f"{holder.identity} is deploying it",
                    where=f"service {self._service}",
                    remedy="Wait until that run has ended, then try again.",
                )
            if holder is None or asked - since > self._seconds:
                mine = Holder(identity=identity, term=_term(found) + 1)
                if self._take(found, mine):
                    self._valid_until = asked + self._seconds
                    return mine
                seen, since = None, time.monotonic()
                continue
            if seen is None:
                progress.say(f"waiting for {holder.identity} to end, or to be silent long enough")
            seen = found
            time.sleep(_POLL)

    def _take(self, found: Manifest | None, mine: Holder) -> bool:
        """Write the lease over what was found; return whether nobody was faster."""
        now = _now()
        spec = {
            "holderIdentity": mine.identity,
            "leaseDurationSeconds": self._seconds,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": mine.term,
        }
        try:
            if found:
                self._kube.replace(self._path, {**found, "spec": spec})
            else:
                self._kube.create(
                    self._collection,
                    {
                        "apiVersion": LEASES.api,
                        "kind": "Lease",
                        "metadata": {"name": self._name, "labels": _LABELS},
                        "spec": spec,
                    },
                )
        except ConflictError:
            # An answer that got lost on its way is not a lease that somebody else took.
            found = self._kube.get(self._path)
            return found is not None and _holder(found) == mine
        return True

    def _renew(self, mine: Holder, over: threading.Event) -> None:
        while not over.wait(self._seconds / 3):
            asked = time.monotonic()
            try:
                found = self._kube.get(self._path)
                if found is None or _holder(found) != mine:
                    self._valid_until = 0.0
                    return
                found["spec"]["renewTime"] = _now()
                self._kube.replace(self._path, found)
                self._valid_until = asked + self._seconds
            except PenstockError as error:
                # It may work the next time; if it does not, the lease expires, as it should.
                _log.warning("the lease of %s was not renewed: %s", self._service, error)

    def _release(self, mine: Holder) -> None:
        with contextlib.suppress(PenstockError):
            found = self._kube.get(self._path)
            if found and _holder(found) == mine:
                found["spec"]["holderIdentity"] = ""
                self._kube.replace(self._path, found)


_LABELS = {"app.kubernetes.io/managed-by": "penstock"}


def _holder(found: Manifest) -> Holder | None:
    spec: dict[str, Any] = found["spec"]
    identity = spec.get("holderIdentity") or ""
    return Holder(identity=identity, term=_term(found)) if identity else None


def _term(found: Manifest | None) -> int:
    return int(found["spec"].get("leaseTransitions") or 0) if found else 0


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
