"""The files that one process writes of one kind: each batch of lines whole or not at all.

Where the disk refuses, what it took of a batch is taken back, so that the lines in a file are those
that were counted. Old files are removed for space or age; a folder that is shipped from removes
none, and refuses new lines while it is full.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock.captures import ledger
from penstock.captures.counters import Counters
from penstock.captures.segments import Kind, Segment, SegmentId, segment_id_of

_DAY = 86_400.0
_JUMP = 3600.0
"""Seconds by which the clock may move against the monotonic one before ages are not trusted."""

_LOOK = 60.0
"""Seconds between two looks for files that are too old."""


@dataclass(frozen=True)
class Bounds:
    """How much is kept.

    Attributes:
        file_bytes: Size at which a new file is begun.
        files: Files of each kind in the folder; the oldest is removed for a new one. Of labels of
            rows that the server does not remember, a quarter of it.
        pending_bytes: Bytes of requests that wait to be written; beyond it rows are dropped.
        days: Age at which a file is removed; None: whatever its age.
        seconds: Age at which a file is closed; None: it is closed by size alone.
        spool_bytes: Bytes of all files of a folder that is shipped from: no file is removed but
            by shipping, and while they take more, rows are dropped. None: it is not shipped from.
    """

    file_bytes: int = 64 << 20
    files: int = 10
    pending_bytes: int = 64 << 20
    days: float | None = None
    seconds: float | None = None
    spool_bytes: int | None = None

    @classmethod
    def of(cls, *, megabytes: int, days: float) -> Bounds:
        """Return the bounds of a store: its size of each kind in four files at least, and its age.

        Example:
            >>> bounds = Bounds.of(megabytes=640, days=90)
            >>> bounds.files, bounds.file_bytes >> 20
            (10, 64)
        """
        size = megabytes << 20
        each = min(cls.file_bytes, size // 4)
        return cls(file_bytes=each, files=size // each, days=days or None)


Line = tuple[bytes, str]
"""One line with its line break, and the time of its row."""


class Files:
    """The files of one kind: a new one by size or age, the oldest removed beyond a number."""

    def __init__(
        self,
        folder: Path,
        *,
        kind: Kind,
        writer: str,
        bounds: Bounds,
        counters: Counters,
        path: Path,
        spool: Spool | None,
    ) -> None:
        self._folder, self._kind, self._writer = folder, kind, writer
        self._bounds, self._counters, self._ledger, self._spool = bounds, counters, path, spool
        self._limit = max(2, bounds.files // 4) if kind == "unmatched" else bounds.files
        self._number = 0
        self._before = 0
        self._handle: int | None = None
        self._first = self._last = ""
        self._clear()
        self._clock = _Clock()

    def write(self, lines: Sequence[Line]) -> int:
        """Write lines; return how many were written."""
        written, start, size = 0, 0, 0
        for index, line in enumerate(lines):
            full = self._size + size + len(line[0]) > self._bounds.file_bytes
            if full and self._size + size > 0:
                written += self._append(lines[start:index])
                start, size = index, 0
                self._end()
            size += len(line[0])
        return written + self._append(lines[start:])

    def tick(self) -> None:
        """Close the file, and remove others, by age."""
        age = self._bounds.seconds
        if age is not None and self._rows and time.monotonic() - self._opened >= age:
            self._end()
        if self._spool is None and self._clock.due():
            with contextlib.suppress(OSError):
                self._remove_old()

    def close(self) -> None:
        """Close the file."""
        self._end()

    def _append(self, lines: Sequence[Line]) -> int:
        if not lines:
            return 0
        data = b"".join([line[0] for line in lines])
        if self._spool is not None and not self._spool.has_room(len(data)):
            return 0
        try:
            if self._handle is None:
                self._begin()
            assert self._handle is not None
            view = memoryview(data)
            while view:
                view = view[os.write(self._handle, view) :]
        except OSError:
            self._take_back()
            return 0
        self._size += len(data)
        self._rows += len(lines)
        times = [line[1] for line in lines]
        self._first = min(self._first or times[0], *times)
        self._last = max(self._last, *times)
        if self._spool is not None:
            self._spool.used += len(data)
        return len(lines)

    def _take_back(self) -> None:
        """Cut off what a full disk took of a batch; a file that cannot be cut is not gone on with.

        Its readers take no more lines of it than were counted.
        """
        if self._handle is None:
            return
        try:
            os.ftruncate(self._handle, self._size)
            os.lseek(self._handle, self._size, os.SEEK_SET)
        except OSError:
            self._end()

    def _begin(self) -> None:
        if self._spool is None:
            self._make_room()
        number = self._number + 1
        segment_id = SegmentId(kind=self._kind, writer=self._writer, number=number)
        name = f"{segment_id.stem}.jsonl"
        dropped = self._counters.value(self._kind, "dropped")
        ledger.append(
            self._ledger,
            "opened",
            id=segment_id.model_dump(),
            file=name,
            before=self._before,
            dropped=dropped,
        )
        self._handle = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        self._number, self._dropped = number, dropped
        self._opened = time.monotonic()

    def _end(self) -> None:
        if self._handle is None:
            return
        handle, self._handle = self._handle, None
        with contextlib.suppress(OSError):
            os.close(handle)
        segment = Segment(
            id=SegmentId(kind=self._kind, writer=self._writer, number=self._number),
            before=self._before,
            rows=self._rows,
            bytes=self._size,
            first=self._first,
            last=self._last,
            dropped_before=self._dropped,
            dropped=self._counters.value(self._kind, "dropped"),
        )
        # Without this line the next start, or a reader, counts the lines itself.
        with contextlib.suppress(OSError):
            ledger.append(self._ledger, "closed", segment=segment.model_dump(mode="json"))
        self._before += self._rows
        self._clear()

    def _clear(self) -> None:
        self._size = self._rows = self._dropped = 0
        self._first = self._last = ""
        self._opened = 0.0

    def _make_room(self) -> None:
        files = self._closed()
        for path, segment_id in files[: max(0, len(files) - self._limit + 1)]:
            remove(path, segment_id, why="space")

    def _remove_old(self) -> None:
        days = self._bounds.days
        if days is None or self._clock.jumped():
            return
        oldest = time.time() - days * _DAY
        for path, segment_id in self._closed():
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest:
                    remove(path, segment_id, why="age")

    def _closed(self) -> list[tuple[Path, SegmentId]]:
        """Return the files of the folder that nobody writes into, the oldest first.

        Of another writer that has not ended that is all but the last.
        """
        found = []
        newest = {self._writer: self._number + (self._handle is None)}
        for path in sorted(self._folder.glob(f"{self._kind}-*.jsonl")):
            named = segment_id_of(path.name)
            if named is not None:
                found.append((path, named[0]))
        for _, each in found:
            if each.writer != self._writer:
                newest[each.writer] = max(each.number, newest.get(each.writer, 0))
        running = {w for w in newest if (self._folder / ledger.counts_name(w)).exists()}
        return [
            (path, each)
            for path, each in found
            if each.writer not in running or each.number < newest[each.writer]
        ]


class Spool:
    """How much room a folder has from which files are shipped and removed by another process."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._looked = 0.0
        self.used = limit

    def has_room(self, size: int) -> bool:
        """Return whether so many bytes still fit; a full folder is looked at once a second."""
        if self.used + size > self._limit and time.monotonic() - self._looked >= 1.0:
            self._looked = time.monotonic()
            self.used = _size_of(self._folder)
        return self.used + size <= self._limit


class _Clock:
    """Tells when files are due to be looked at, and whether the clock was set meanwhile."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()
        self._looked = time.monotonic() - _LOOK

    def due(self) -> bool:
        """Return whether a while has passed since the last look."""
        if time.monotonic() - self._looked < _LOOK:
            return False
        self._looked = time.monotonic()
        return True

    def jumped(self) -> bool:
        """Return whether the clock was set by more than an hour since the process began.

        What it then says of a file's age could remove everything.
        """
        return abs(time.time() - time.monotonic() - self._offset) > _JUMP


def remove(path: Path, segment_id: SegmentId, *, why: str) -> None:
    """Remove a segment's file, noted first.

    Raises:
        OSError: If either cannot be done.
    """
    book = path.parent / ledger.ledger_name(segment_id.writer)
    ledger.append(book, "removed", id=segment_id.model_dump(), file=path.name, why=why)
    path.unlink(missing_ok=True)


def _size_of(folder: Path) -> int:
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                total += entry.stat().st_size
    return total
