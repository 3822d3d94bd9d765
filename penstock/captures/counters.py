"""Counts that outlive the process that makes them: a few integers in a file mapped into memory.

A row is counted when it is accepted, before it is written. What a killed process had accepted and
not yet written is therefore known to the last row: the kernel keeps the page. While the process
lives it holds a lock on the file, which ends with it; so others know whether it lives.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from penstock.captures.segments import EVENTS, KINDS, Kind

What = Literal["accepted", "dropped"]

_WHAT: tuple[What, ...] = ("accepted", "dropped")
_EVERY: tuple[Kind, ...] = (*KINDS, *EVENTS)
_SLOTS = {
    (kind, what): 8 * i for i, (kind, what) in enumerate((k, w) for k in _EVERY for w in _WHAT)
}
_SIZE = 8 * len(_SLOTS)
_LEAST = 8 * len(KINDS) * len(_WHAT)
"""Bytes of a file of the releases that knew no events."""

_INTEGER = struct.Struct("<q")
_pack = _INTEGER.pack_into

Counts = dict[Kind, dict[What, int]]


class Counters:
    """The counts of one writer. One thread adds to a count at a time.

    Args:
        path: A file that does not exist.

    Raises:
        OSError: If it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            # A file system without locks has no other process that would ask.
            with contextlib.suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Written, not only made so long: a page with no room on the disk would end the process.
            if os.write(self._file, bytes(_SIZE)) < _SIZE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._map = mmap.mmap(self._file, _SIZE)
        except BaseException:
            os.close(self._file)
            path.unlink(missing_ok=True)
            raise
        self._values = dict.fromkeys(_SLOTS, 0)

    def add(self, kind: Kind, what: What, rows: int) -> None:
        """Add to a count."""
        slot = kind, what
        value = self._values[slot] = self._values[slot] + rows
        _pack(self._map, _SLOTS[slot], value)

    def value(self, kind: Kind, what: What) -> int:
        """Return a count."""
        return self._values[kind, what]

    def remove(self) -> None:
        """Remove the file, once its counts stand elsewhere."""
        self._map.close()
        self._path.unlink(missing_ok=True)
        os.close(self._file)


def read_counts(path: Path) -> Counts | None:
    """Return the counts in a file; None: there is none, or it was never finished."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if len(data) < _LEAST:
        return None
    data = data.ljust(_SIZE, b"\0")
    counts: Counts = {kind: {} for kind in _EVERY}
    for (kind, what), offset in _SLOTS.items():
        counts[kind][what] = _INTEGER.unpack_from(data, offset)[0]
    return counts


@contextlib.contextmanager
def ended_writer(path: Path) -> Iterator[bool]:
    """Yield whether the process that counts into a file has ended; nobody else finds so meanwhile.

    Where the file system cannot tell, it has not.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            # Another one may have removed it before the lock was had.
            yield path.exists()
    finally:
        os.close(handle)
