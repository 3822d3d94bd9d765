"""Who watches a service: one process at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from penstock.errors import ServiceError
from penstock.processes import lock

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

    @contextlib.contextmanager
    def held(self, *, now: datetime) -> Iterator[None]:
        """See `Hold`.

        Raises:
            ServiceError: If another one watches, or the folder cannot be written.
        """
        try:
            with lock.held(self._folder / "lock", now=now):
                yield
        except lock.HeldError as error:
            who, since = error.holder
            raise ServiceError(
                f"{who} has been watching it{f' since {since}' if since else ''}",
                where=str(self._folder),
                remedy="One monitor is enough. Read its page, or end that process first.",
            ) from error


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
