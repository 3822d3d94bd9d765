"""Who drives a service of a cluster: one controller at a time, by a coordination.k8s.io Lease."""

from __future__ import annotations

import contextlib
import logging
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from penstock.cluster.client import LEASES, ConflictError, Kube, Manifest
from penstock.common import progress
from penstock.errors import LeaseLostError, PenstockError, ServiceError
from penstock.rollout.backends.kserve.owner import MANAGED, SERVICE, require_ours
from penstock.rollout.beside import beside

_log = logging.getLogger(__name__)

SECONDS = 30
_RENEWALS = 6
"""Times that a lease is renewed within its duration: whoever looks on learns of one soon."""
_POLL = 1.0


class ClusterLease:
    """The right to drive one service, renewed by a thread while it is held.

    No clock of another machine is read: a lease counts as given up once nobody has renewed it for
    its whole duration while this process looked on (as client-go's leader election has it). A
    holder that could not renew for as long has lost it, and finds that out by its own clock, which
    goes on while the machine sleeps. Its times are written for people.

    Args:
        kube: The cluster.
        namespace: The service's namespace.
        service: The service.
        name: Name of the Lease object.
        seconds: Its duration.
    """

    def __init__(
        self, kube: Kube, *, namespace: str, service: str, name: str, seconds: int = SECONDS
    ) -> None:
        self._kube = kube
        self._collection = LEASES.path(namespace)
        self._path = LEASES.path(namespace, name)
        self._where = f"Lease {namespace}/{name}"
        self._name = name
        self._service = service
        self._seconds = seconds
        self._identity = ""
        self._term = 0
        self._valid_until = 0.0
        self._lock = threading.Lock()
        self._seen: dict[str, Any] = {}
        self._seen_at = 0.0

    @property
    def term(self) -> int:
        """The term that is held, which rises with every holder; 0 while none is."""
        return self._term

    def driven(self) -> bool:
        """Return whether somebody holds it and renews it, which takes a look of some seconds.

        A holder that has not renewed it for its whole duration is taken for dead.
        """
        first: Manifest | None = None
        while True:
            asked, found = _elapsed(), self._read()
            if found is None or not _holder(found):
                return False
            if first and first["spec"] != found["spec"]:
                return True
            if self._silent(found, asked):
                return False
            first = found
            time.sleep(min(_POLL, self._seconds / _RENEWALS))

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lease until the block ends.

        Raises:
            ServiceError: If another controller holds the lease and is alive, or it is no lease of
                this service.
        """
        self._acquire()
        try:
            with beside(self._renew, name=f"lease-{self._service}"):
                yield
        finally:
            self._term = 0
            self._release()

    def check(self) -> None:
        """Return if the lease is still held, as far as this process knows.

        Raises:
            LeaseLostError: If it is not.
        """
        if not self._term or _elapsed() >= self._valid_until:
            raise self.lost("its lease is not held any more")

    def confirm(self) -> None:
        """Return if the cluster says that the lease is held: before what nothing else guards.

        Raises:
            LeaseLostError: If it is not.
        """
        self.check()
        found = self._read()
        if found is None or _holder(found) != self._identity:
            self._valid_until = 0.0
            raise self.lost("another controller holds its lease")

    def meet(self, term: int) -> None:
        """Return if an object that bears a term may be written.

        A later one than is held is another controller's; unless the cluster says that the lease is
        held here: then the Lease was deleted and began anew, and the term is raised above it.

        Raises:
            LeaseLostError: If another controller holds the lease.
        """
        if term > self._term:
            self.outdo(term)

    def outdo(self, term: int) -> None:
        """Raise the term above one that was met, where the cluster says that the lease is held.

        Raises:
            LeaseLostError: If it is not.
        """
        while self._term <= term:
            self.confirm()
            with self._lock, contextlib.suppress(ConflictError):
                found = self._read()
                if found and _holder(found) == self._identity:
                    found["spec"]["leaseTransitions"] = term + 1
                    self._kube.replace(self._path, found)
                    self._term = term + 1

    def lost(self, how: str) -> LeaseLostError:
        """Return the error for a controller that another one has taken over from."""
        return LeaseLostError(
            f"this process does not drive it any more: {how}",
            where=f"service {self._service}",
            remedy="Look at what it does now with: penstock status.",
        )

    def _acquire(self) -> None:
        self._identity = f"{socket.gethostname()}_{secrets.token_hex(8)}"
        seen: Manifest | None = None
        while True:
            asked, found = _elapsed(), self._read()
            holder = _holder(found) if found else ""
            if found and seen and holder and seen["spec"] != found["spec"]:
                raise ServiceError(
                    f"{holder} is deploying it",
                    where=f"service {self._service}",
                    remedy="Wait until that run has ended, then try again.",
                )
            if not (found and holder) or self._silent(found, asked):
                if self._take(found):
                    self._valid_until = asked + self._seconds
                    return
                seen = None
                continue
            if seen is None:
                progress.say(f"waiting for {holder} to end, or to be silent long enough")
            seen = found
            time.sleep(_POLL)

    def _silent(self, found: Manifest, asked: float) -> bool:
        """Return whether nobody has written the lease for its duration since it was first seen so.

        Every renewal changes it; which of two times in it is the later one is not asked.
        """
        spec = found["spec"]
        if self._seen != spec:
            self._seen, self._seen_at = spec, _elapsed()
        seconds = int(spec.get("leaseDurationSeconds") or 0)
        return asked - self._seen_at > max(self._seconds, seconds)

    def _take(self, found: Manifest | None) -> bool:
        """Write the lease over what was found; return whether nobody was faster."""
        now, term = _now(), (_term(found) if found else 0) + 1
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._seconds,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": term,
        }
        labels = {**MANAGED, SERVICE: self._service}
        try:
            if found:
                self._kube.replace(self._path, {**found, "spec": spec})
            else:
                self._kube.create(
                    self._collection,
                    {
                        "apiVersion": LEASES.api,
                        "kind": "Lease",
                        "metadata": {"name": self._name, "labels": labels},
                        "spec": spec,
                    },
                )
        except ConflictError:
            # An answer that got lost on its way is not a lease that somebody else took.
            found = self._read()
            if found is None or _holder(found) != self._identity:
                return False
        self._term = term
        return True

    def _renew(self, over: threading.Event) -> None:
        while not over.wait(self._seconds / _RENEWALS):
            asked = _elapsed()
            try:
                with self._lock:
                    found = self._read()
                    if found is None or _holder(found) != self._identity:
                        self._valid_until = 0.0
                        return
                    found["spec"]["renewTime"] = _now()
                    self._kube.replace(self._path, found)
                self._valid_until = asked + self._seconds
            except PenstockError as error:
                # It may work the next time; if it does not, the lease expires, as it should.
                _log.warning("the lease of %s was not renewed: %s", self._service, error)

    def _release(self) -> None:
        with contextlib.suppress(PenstockError):
            found = self._read()
            if found and _holder(found) == self._identity:
                found["spec"]["holderIdentity"] = ""
                self._kube.replace(self._path, found)

    def _read(self) -> Manifest | None:
        found = self._kube.get(self._path)
        if found is not None:
            require_ours(found, service=self._service, where=self._where)
        return found


def _holder(found: Manifest) -> str:
    return str(found["spec"].get("holderIdentity") or "")


def _term(found: Manifest) -> int:
    return int(found["spec"].get("leaseTransitions") or 0)


def _elapsed() -> float:
    # The usual monotonic clock stands still while a machine sleeps, and a lease runs out meanwhile.
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
