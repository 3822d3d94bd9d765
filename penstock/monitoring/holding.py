"""Who watches a service: one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from penstock.common.disk import writing
from penstock.errors import ServiceError

if TYPE_CHECKING:
    from penstock.rollout.lease import Lease


class Hold(Protocol):
    """The right to watch a service."""

    def held(self, *, now: datetime) -> AbstractContextManager[None]:
        """Be the one process that watches, until the block ends or the process does.

        Raises:
            ServiceError: If another one watches: which, and since when.
        """
        ...


class FileHold:
    """A lock on a file, which the system takes back when its process ends.

    Args:
        folder: The monitor's; made when it is held.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = folder / "lock"

    @contextlib.contextmanager
    def held(self, *, now: datetime) -> Iterator[None]:
        """See `Hold`.

        Raises:
            ServiceError: If another one watches, or the folder cannot be written.
        """
        with writing(self._lock):
            self._folder.mkdir(parents=True, exist_ok=True)
            stream = self._lock.open("a+", encoding="utf-8")
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise self._busy() from None
            # For the message of a second one alone: a full disk must not keep this one from it.
            with contextlib.suppress(OSError):
                holder = {"process": os.getpid(), "host": socket.gethostname()}
                stream.truncate(0)
                stream.write(json.dumps({**holder, "since": now.isoformat()}))
                stream.flush()
            yield

    def _busy(self) -> ServiceError:
        try:
            found = json.loads(self._lock.read_text(encoding="utf-8"))
            who = f"process {found['process']} on {found['host']}"
            since = f" since {found['since']}"
        except (OSError, ValueError, KeyError, TypeError):
            who, since = "another process", ""
        return ServiceError(
            f"{who} has been watching it{since}",
            where=str(self._folder),
            remedy="One monitor is enough. Read its page, or end that process first.",
        )


class LeaseHold:
    """A lease on a cluster, which expires once its holder falls silent.

    A holder that was cut off from the cluster may go on for a while: what it writes is to be
    confirmed by the lease first (`Storage`).

    Args:
        lease: The lease.
    """

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    def held(self, *, now: datetime) -> AbstractContextManager[None]:  # noqa: ARG002
        """See `Hold`; the lease keeps its own time."""
        return self._lease.held()
