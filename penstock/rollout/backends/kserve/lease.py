"""The lease of a service on a cluster: a coordination.k8s.io Lease."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
import time
from datetime import UTC, datetime
from typing import Any

from penstock.cluster.client import LEASES, ConflictError, Kube, Manifest
from penstock.common import progress
from penstock.errors import ServiceError
from penstock.processes.identity import since_boot
from penstock.rollout.backends.kserve.owner import MANAGED, SERVICE, require_ours
from penstock.rollout.lease import SECONDS, Lease

_POLL = 1.0


class ClusterLease(Lease):
    """See `penstock.rollout.lease.Lease`.

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
        doing: What its holder does, for the message to another one.
        remedy: What that one should do.
    """

    def __init__(
        self,
        kube: Kube,
        *,
        namespace: str,
        service: str,
        name: str,
        seconds: int = SECONDS,
        doing: str = "is deploying it",
        remedy: str = "Wait until that run has ended, then try again.",
    ) -> None:
        super().__init__(service=service, seconds=seconds)
        self._kube = kube
        self._collection = LEASES.path(namespace)
        self._path = LEASES.path(namespace, name)
        self._where = f"Lease {namespace}/{name}"
        self._name = name
        self._doing = doing
        self._remedy = remedy
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
            read_at, found = since_boot(), self._read()
            if found is None or not _holder(found):
                return False
            if first and first["spec"] != found["spec"]:
                return True
            if self._silent(found, read_at):
                return False
            first = found
            time.sleep(min(_POLL, self.renewed_every))

    def check(self) -> None:
        """Return if the lease is still held, as far as this process knows.

        Raises:
            LeaseLostError: If it is not.
        """
        if not self._term or since_boot() >= self._valid_until:
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

    def _acquire(self) -> None:
        self._identity = f"{socket.gethostname()}_{secrets.token_hex(8)}"
        seen: Manifest | None = None
        while True:
            read_at, found = since_boot(), self._read()
            holder = _holder(found) if found else ""
            if found and seen and holder and seen["spec"] != found["spec"]:
                raise ServiceError(
                    f"{holder} {self._doing}",
                    where=f"service {self._service}",
                    remedy=self._remedy,
                )
            if not (found and holder) or self._silent(found, read_at):
                if self._take(found):
                    self._valid_until = read_at + self._seconds
                    return
                seen = None
                continue
            if seen is None:
                progress.say(f"waiting for {holder} to end, or to be silent long enough")
            seen = found
            time.sleep(_POLL)

    def _silent(self, found: Manifest, read_at: float) -> bool:
        """Return whether nobody has written the lease for its duration since it was first seen so.

        Every renewal changes it; which of two times in it is the later one does not matter.
        """
        spec = found["spec"]
        if self._seen != spec:
            self._seen, self._seen_at = spec, since_boot()
        seconds = int(spec.get("leaseDurationSeconds") or 0)
        return read_at - self._seen_at > max(self._seconds, seconds)

    def _take(self, found: Manifest | None) -> bool:
        """Write the lease over what was found; return whether nobody was faster."""
        now, term = _now(), (_term(found) if found else 0) + 1
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(self._seconds),
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

    def _renew(self) -> bool:
        started = since_boot()
        with self._lock:
            found = self._read()
            if found is None or _holder(found) != self._identity:
                self._valid_until = 0.0
                return False
            found["spec"]["renewTime"] = _now()
            self._kube.replace(self._path, found)
        self._valid_until = started + self._seconds
        return True

    def _release(self) -> None:
        self._term = 0
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


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
