"""The lease of a local service: a file, written under a lock that is held for a moment only."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TextIO

from pydantic import Field

from penstock.common.disk import writing
from penstock.errors import InputError, PenstockError, ServiceError
from penstock.processes import identity
from penstock.processes.identity import ProcessRef
from penstock.records.base import Record, Value
from penstock.rollout.lease import SECONDS, Lease

_LOCK_TIMEOUT = 10.0
_LOOK = 0.1

_held: set[str] = set()
"""Tokens of the leases that this process holds now."""


class Holder(Value):
    """The process that drives a service, distinct from any other on any machine."""

    process: ProcessRef
    host: str
    machine: str = Field(default="", description="Id of the machine over its boots, if it has one")
    token: str

    @property
    def here(self) -> bool:
        """Whether it is of this machine, whichever boot."""
        machine = identity.machine_id()
        same = not self.machine or not machine or self.machine == machine
        return same and self.host == socket.gethostname()


class LeaseRecord(Record):
    """`lease.json` of one service."""

    KIND: ClassVar[str] = "local-lease"
    VERSION: ClassVar[int] = 2

    term: int = Field(description="Rises with every holder: what an earlier one says is refused")
    holder: Holder | None = None
    seconds: float = Field(default=SECONDS, description="What each sign of the holder is good for")
    expires: float = Field(
        default=0.0, description="Seconds since the boot of the holder's machine"
    )

    @classmethod
    def parse(cls, raw: object, *, where: str) -> Self:
        """Build a record, also from what the release before wrote: there `expires` was since 1970.

        As its holder names no boot, nothing is read out of that but that it changes.
        """
        if isinstance(raw, dict) and raw.get("schema_version") == 1:
            raw = raw | {"schema_version": cls.VERSION}
        return super().parse(raw, where=where)

    @property
    def verdict(self) -> Literal["free", "held", "unknown"]:
        """Whether the holder may still act; unknown: its signs must be waited for.

        No two clocks are compared: a time since boot means something within that boot alone.
        """
        if self.holder is None:
            return "free"
        ref = self.holder.process
        if ref.boot and ref.boot == identity.boot_id():
            # In another container of this machine its process is not seen, but the clock is one.
            dead = identity.is_here(ref) and not identity.is_alive(ref)
            return "free" if dead or self.expires <= identity.since_boot() else "held"
        if not self.holder.here:
            return "unknown"
        return "free" if ref.boot or not identity.exists(ref.pid) else "unknown"

    @property
    def abandoned(self) -> bool:
        """Whether this process is its holder and does not hold it any more."""
        holder = self.holder
        return bool(holder and holder.process == identity.this() and holder.token not in _held)


class FileLease(Lease):
    """See `penstock.rollout.lease.Lease`.

    Who holds it is known by boot, container, process id and start; a holder of this machine that
    has ended, or whose machine was booted since, has lost it at once. Of a holder on another
    machine nothing is known but whether it renews: it is watched for as long as its lease lasts.

    Args:
        folder: The service's folder; it has `lease.json`, and `lock` beside it.
        service: Its name, for messages.
        seconds: Time after which a holder that has not renewed may be taken over from.
    """

    def __init__(self, folder: Path, *, service: str, seconds: float = SECONDS) -> None:
        super().__init__(service=service, seconds=seconds)
        self._path = folder / "lease.json"
        self._lock = folder / "lock"
        self._mine: LeaseRecord | None = None

    @property
    def term(self) -> int:
        """The term that is held, for whoever must refuse what an earlier holder says."""
        return self._mine.term if self._mine else 0

    def driven(self) -> bool:
        """Return whether a process holds it that is not known to be dead."""
        return self.holder() is not None

    def holder(self) -> Holder | None:
        """Return who may act now; None: nobody.

        It takes as long as a lease lasts where only renewals show whether a holder is alive.
        """
        found, silent = self._watched()
        return None if found is None or found.verdict == "free" or silent else found.holder

    def taken(self) -> AbstractContextManager[None]:
        """Hold the lease until the block ends, also where a holder is alive: it then fails.

        Raises:
            ServiceError: If it cannot be written.
        """
        return self._holding(lambda: self._take(force=True))

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Run the block while nobody can take the lease over; keep it short.

        Raises:
            LeaseLostError: If the lease is not held any more; the block is not run.
        """
        mine = self._mine
        if mine is None:
            raise self.lost("no lease on it is held")
        with self._locked():
            found = self._read()
            if not _same(found, mine):
                by = found.holder if found else None
                raise self.lost(
                    f"process {by.process.pid} on {by.host} has taken it over"
                    if by
                    else "another controller had taken it over"
                )
            yield

    def check(self) -> None:
        """Return if the lease is still held.

        Raises:
            LeaseLostError: If it is not.
        """
        with self.guarded():
            pass

    def outdo(self, term: int) -> None:
        """Raise the term above one that was met.

        Raises:
            LeaseLostError: If the lease is not held any more.
        """
        if self.term > term:
            return
        with self.guarded():
            assert self._mine is not None
            with writing(self._path):
                self._mine = self._written(self._mine, term=term + 1)

    def _read(self) -> LeaseRecord | None:
        if not self._path.exists():
            return None
        try:
            return LeaseRecord.read(self._path)
        except InputError as error:
            raise ServiceError(
                error.what,
                where=error.where,
                remedy="Remove that file once no controller of this service runs any more.",
            ) from error

    def _known(self) -> LeaseRecord | None:
        """Return what is written down as far as it can be read."""
        try:
            return self._read()
        except PenstockError:
            return None

    def _watched(self) -> tuple[LeaseRecord | None, bool]:
        """Return what is written down, and whether its holder gave no sign while it was watched."""
        found = self._read()
        if found is None or found.verdict != "unknown":
            return found, False
        deadline = time.monotonic() + found.seconds
        while time.monotonic() < deadline:
            time.sleep(min(_LOOK, found.seconds / 10))
            now = self._read()
            if now != found:
                return now, False
        return found, True

    def _acquire(self) -> None:
        self._take(force=False)

    def _take(self, *, force: bool) -> None:
        watched, silent = (None, False) if force else self._watched()
        with self._locked():
            found = self._known() if force else self._read()
            gone = found is None or found.verdict == "free" or found.abandoned
            if found and not (force or gone or (silent and found == watched)):
                raise self._busy(found)
            mine = LeaseRecord(
                term=(found.term if found else 0) + 1,
                holder=_this_process(),
                seconds=self._seconds,
                expires=identity.since_boot() + self._seconds,
            )
            with writing(self._path):
                mine.write(self._path)
        self._mine = mine

    def _renew(self) -> bool:
        with self._locked():
            mine = self._mine
            if mine is None or not _same(self._read(), mine):
                return False
            self._mine = self._written(mine, expires=identity.since_boot() + self._seconds)
        return True

    def _release(self) -> None:
        mine, self._mine = self._mine, None
        if mine is None or mine.holder is None:
            return
        _held.discard(mine.holder.token)
        with self._locked():
            if _same(self._read(), mine):
                self._written(mine, holder=None, expires=0.0)

    def _written(self, mine: LeaseRecord, **changes: Any) -> LeaseRecord:
        changed = mine.model_copy(update=changes)
        changed.write(self._path)
        return changed

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        deadline = time.monotonic() + _LOCK_TIMEOUT
        with self._opened() as stream:
            while not self._takes(stream):
                if time.monotonic() > deadline:
                    stream.seek(0)
                    raise ServiceError(
                        f"process {stream.read().strip() or '?'} has been within an action for "
                        f"{_LOCK_TIMEOUT:g} s",
                        where=str(self._lock),
                        remedy="Try again; end that process if it was stopped.",
                    )
                time.sleep(0.01)
            # For the message above alone: a full disk must not keep anybody from going on.
            with contextlib.suppress(OSError):
                os.pwrite(stream.fileno(), f"{os.getpid():<20}".encode(), 0)
            yield

    def _opened(self) -> TextIO:
        with writing(self._lock):
            self._lock.touch(mode=0o600)
            return self._lock.open("r+", encoding="utf-8")

    def _takes(self, stream: TextIO) -> bool:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _busy(self, found: LeaseRecord) -> ServiceError:
        running = found.holder
        who = f"process {running.process.pid} on {running.host}" if running else "another process"
        return ServiceError(
            f"{who} is deploying or stopping it",
            where=f"service {self._service}",
            remedy="Wait until it has ended, then try again. Should it be cut off or "
            f"stopped, it is taken over from {found.seconds:g} s after its last sign.",
        )


def _same(found: LeaseRecord | None, mine: LeaseRecord) -> bool:
    return found is not None and found.holder is not None and found.holder == mine.holder


def _this_process() -> Holder:
    token = secrets.token_urlsafe(16)
    _held.add(token)
    return Holder(
        process=identity.this(),
        host=socket.gethostname(),
        machine=identity.machine_id(),
        token=token,
    )
