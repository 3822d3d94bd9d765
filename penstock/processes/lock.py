"""One process at a time: a lock that ends with its holder, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TextIO

from penstock.common.disk import writing

_ATTEMPTS, _PAUSE = 5, 0.05
"""Whoever looks who holds it holds it for an instant: not for this many, so many seconds apart."""


class Holder(NamedTuple):
    """Who holds a lock, as far as that can be read."""

    who: str
    since: str

    def __str__(self) -> str:
        return f"{self.who} since {self.since}" if self.since else self.who


class HeldError(Exception):
    """Another process holds the lock.

    Args:
        holder: That one.
    """

    def __init__(self, holder: Holder) -> None:
        super().__init__(str(holder))
        self.holder = holder


@contextlib.contextmanager
def held(path: Path, *, now: datetime) -> Iterator[None]:
    """Hold a lock while the block runs.

    Args:
        path: A file; it and its folder are made.
        now: Since when.

    Raises:
        HeldError: If another process holds it.
        ServiceError: If the file cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+", encoding="utf-8")
    with stream:
        if not _taken(stream):
            raise HeldError(_named(path))
        # For who is refused alone: a full disk must not keep this process from its work.
        with contextlib.suppress(OSError):
            stream.truncate(0)
            here = {"process": os.getpid(), "host": socket.gethostname()}
            stream.write(json.dumps({**here, "since": now.isoformat(timespec="seconds")}))
            stream.flush()
        yield


def _taken(stream: TextIO) -> bool:
    """Take the lock, past those who only look who holds it."""
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(_PAUSE)
    return False


def holder_of(path: Path) -> Holder | None:
    """Return the process that holds a lock now; None: none does."""
    try:
        with path.open(encoding="utf-8") as stream:
            # Shared: two that look do not see one another.
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _named(path)
    except OSError:
        return None
    return None


def _named(path: Path) -> Holder:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Holder(f"process {found['process']} on {found['host']}", str(found["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Holder("another process", "")
