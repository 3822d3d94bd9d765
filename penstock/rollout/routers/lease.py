"""Who drives a service: one controller at a time, until it ends or falls silent."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from penstock.errors import LeaseLostError, PenstockError, ServiceError
from penstock.records.base import Record, Value
from penstock.rollout.beside import beside
from penstock.rollout.routers import process
from penstock.rollout.routers.process import ProcessRef

_log = logging.getLogger(__name__)

SECONDS = 30.0
_LOCK_TIMEOUT = 10.0


class Holder(Value):
    """The process that drives a service, told apart from any other on any machine."""

    process: ProcessRef
    host: str
    token: str


class LeaseRecord(Record):
    """`lease.json` of one service."""

    KIND: ClassVar[str] = "local-lease"

    term: int = Field(description="Rises with every holder: what an earlier one says is refused")
    holder: Holder | None = None
    expires: float = Field(default=0.0, description="Seconds since 1970")

    @property
    def running(self) -> Holder | None:
        """The holder, if it may still act: not past its time, and not known to be dead."""
        if self.holder is None or self.expires <= time.time():
            return None
        here = self.holder.host == socket.gethostname()
        # Of a process on another machine nothing is known but when it last renewed.
        return None if here and not process.is_alive(self.holder.process) else self.holder


class Lease:
    """The right to drive one service, renewed by a thread while it is held.

    A holder that is stopped or cut off loses it when it expires. It can wake up later and not know:
    so every action asks first, under a lock that is held for that moment only.

    Args:
        folder: The service's folder; it has `lease.json`, and `lock` beside it.
        service: Its name, for messages.
        seconds: Time after which a holder that has not renewed may be taken over from.
    """

    def __init__(self, folder: Path, *, service: str, seconds: float = SECONDS) -> None:
        self._path = folder / "lease.json"
        self._lock = folder / "lock"
        self._service = service
        self._seconds = seconds
        self._mine: LeaseRecord | None = None

    @property
    def term(self) -> int:
        """The term that is held, for whoever must refuse what an earlier holder says."""
        return self._mine.term if self._mine else 0

    def read(self) -> LeaseRecord | None:
        """Return what is written down, or None where nobody ever held it."""
        return LeaseRecord.read(self._path) if self._path.exists() else None

    @contextlib.contextmanager
    def held(self, *, force: bool = False) -> Iterator[None]:
        """Hold the lease until the block ends.

        Args:
            force: Take it from a holder that is alive, whose next action then fails.

        Raises:
            ServiceError: If another controller, or another block of this one, holds it.
        """
        mine = self._acquire(force=force)
        self._mine = mine
        try:
            name = f"lease-{self._service}"
            with beside(lambda over: self._renew(mine, over), name=name):
                yield
        finally:
            self._mine = None
            self._release(mine)

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Run the block while nobody can take the lease over; keep it short.

        Raises:
            LeaseLostError: If the lease is not held any more; the block is not run.
        """
        mine = self._mine
        if mine is None:
            raise self._lost("no lease on it is held")
        with self._locked():
            found = self.read()
            if not _same(found, mine):
                by = found.holder if found else None
                raise self._lost(
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

    def _acquire(self, *, force: bool) -> LeaseRecord:
        with self._locked():
            found = self.read()
            running = found.running if found else None
            if running and not force:
                raise ServiceError(
                    f"process {running.process.pid} on {running.host} is deploying or stopping it",
                    where=f"service {self._service}",
                    remedy="Wait until it has ended, then try again. Should it be cut off or "
                    f"stopped, it is taken over from {self._seconds:g} s after its last sign.",
                )
            mine = LeaseRecord(
                term=max(found.term + 1 if found else 1, time.time_ns() // 1_000_000),
                holder=_this_process(),
                expires=time.time() + self._seconds,
            )
            mine.write(self._path)
        return mine

    def _renew(self, mine: LeaseRecord, over: threading.Event) -> None:
        while not over.wait(self._seconds / 3):
            try:
                with self._locked():
                    if not _same(self.read(), mine):
                        return
                    renewed = mine.model_copy(update={"expires": time.time() + self._seconds})
                    renewed.write(self._path)
            except (OSError, PenstockError) as error:
                # It may work the next time; if it does not, the lease expires, as it should.
                _log.warning("the lease of %s was not renewed: %s", self._service, error)

    def _release(self, mine: LeaseRecord) -> None:
        with self._locked():
            if _same(self.read(), mine):
                mine.model_copy(update={"holder": None, "expires": 0.0}).write(self._path)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        deadline = time.monotonic() + _LOCK_TIMEOUT
        with self._lock.open("a+", encoding="utf-8") as stream:
            while True:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        stream.seek(0)
                        raise ServiceError(
                            f"process {stream.read().strip() or '?'} was stopped within an action",
                            where=str(self._lock),
                            remedy="End that process, then try again.",
                        ) from None
                    time.sleep(0.01)
            stream.truncate(0)
            stream.write(str(os.getpid()))
            stream.flush()
            yield

    def _lost(self, how: str) -> LeaseLostError:
        return LeaseLostError(
            f"this process does not drive it any more: {how}",
            where=f"service {self._service}",
            remedy="Look at what it does now with: penstock status.",
        )


def _same(found: LeaseRecord | None, mine: LeaseRecord) -> bool:
    return found is not None and found.holder is not None and found.holder == mine.holder


def _this_process() -> Holder:
    return Holder(
        process=process.this(), host=socket.gethostname(), token=secrets.token_urlsafe(16)
    )
