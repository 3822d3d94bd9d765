"""Answers kept on disk for later: written off the request path, bounded, and dropped if need be.

A folder holds `predictions-*.jsonl`, one line a row that was answered, `feedback-*.jsonl`, one line
a label that came later, and `unmatched-*.jsonl`, labels of rows that the server does not remember;
and a ledger that says what was written, dropped and removed (`penstock.captures`).
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import orjson

from penstock.captures.files import Bounds, Line
from penstock.captures.ledger import iso
from penstock.captures.segments import CapturedModel, Kind
from penstock.captures.writer import Writer
from penstock.data.table.disk import FULL
from penstock.errors import InputError
from penstock.processes.supervised import Supervised

_END = None

_log = logging.getLogger(__name__)

_PAUSE = 0.02
"""Seconds for which rows are gathered before they are written: to wake a thread for each request
costs more than to write its rows."""

_BATCH = 256 << 10
"""Bytes of requests that are written at once, where so many are waiting."""

_TICK = 1.0
"""Seconds between two looks for files that are old enough to be closed or removed."""


@dataclass(frozen=True)
class Rows:
    """The rows of one answer.

    Attributes:
        request_id: The request.
        time: Seconds since 1970 at which it was answered.
        version: The model's version.
        mirrored: Whether the request was a copy.
        replayed: Whether it was sent by a rollout rather than a user.
        inputs: Values by column, as they were sent.
        scores: One score a row, None where the model gives none.
        labels: One predicted label a row.
        vectors: One score a class for each row, in the order of the model's classes; None: there
            are no more than two.
    """

    request_id: str
    time: float
    version: str
    mirrored: bool
    replayed: bool
    inputs: Mapping[str, Sequence[Any]]
    scores: Sequence[float | None]
    labels: Sequence[Any]
    vectors: Sequence[Sequence[float]] | None = None

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield each row as it is written."""
        moment = _iso(self.time)
        names = list(self.inputs)
        values = zip(*self.inputs.values(), strict=True)
        for row, (given, score, label) in enumerate(
            zip(values, self.scores, self.labels, strict=True)
        ):
            line = {
                "request_id": self.request_id,
                "row": row,
                "time": moment,
                "version": self.version,
                "mirrored": self.mirrored,
                "replayed": self.replayed,
                "inputs": dict(zip(names, given, strict=True)),
                "score": score,
                "label": label,
            }
            if self.vectors is not None:
                line["scores"] = self.vectors[row]
            yield line


@dataclass(frozen=True)
class Truths:
    """Labels that came later.

    Attributes:
        time: Seconds since 1970 at which they came.
        labels: Request, row and true label of each.
    """

    time: float
    labels: Sequence[tuple[str, int, Any]]

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield each label as it is written."""
        moment = _iso(self.time)
        for request_id, row, label in self.labels:
            yield {"request_id": request_id, "row": row, "time": moment, "label": label}


class Capture:
    """Writes what it is given into a folder, on a thread of its own.

    Args:
        folder: Where to write; made if it is not there.
        bounds: How much is kept.
        written: Called with the number of rows that were written.
        dropped: Called with the number of rows that were not.
        model: The model that answers, noted so that its rows can be understood without it.
        sample: Share of the requests that is captured. Which ones follows from their ids, so rows
            and labels agree, on every server.

    Attributes:
        thread: The thread.

    Raises:
        InputError: If the folder cannot be written to.
    """

    def __init__(
        self,
        folder: Path,
        *,
        bounds: Bounds,
        written: Callable[[int], None],
        dropped: Callable[[int], None],
        model: CapturedModel | None = None,
        sample: float = 1.0,
    ) -> None:
        self._make = partial(Writer, folder, bounds=bounds, model=model, sample=sample)
        self._writer: Writer | None = None
        try:
            self._writer = self._make()
        except OSError as error:
            # A disk that is full keeps no model from answering: it may have room later.
            if error.errno not in FULL:
                raise InputError(
                    f"the capture folder cannot be written to: {error.strerror}",
                    where=str(folder),
                    remedy="Name a folder that the server's user may write to with --capture.",
                ) from error
            _log.warning("nothing is captured while %s has no room", folder)
        self._bounds = bounds
        self._written = written
        self._dropped = dropped
        self._sample = sample
        self._queue: SimpleQueue[_Entry | None] = SimpleQueue()
        self._pending = 0
        self._ended = False
        self._closing = threading.Event()
        self._batch: dict[Kind, list[_Entry]] = {}
        self._lock = threading.Lock()
        self.thread = Supervised("capture", self._run)
        self.thread.start()

    def rows(self, rows: Rows, *, size: int) -> None:
        """Have rows written, or drop and count them if too much is waiting. Never blocks.

        Args:
            rows: What was answered.
            size: Bytes of the request, which stand for the memory that waiting takes.
        """
        if sampled(rows.request_id, share=self._sample):
            self._put(_entry("predictions", rows, size))

    def truths(self, truths: Truths, *, size: int, known: bool = True) -> None:
        """Have labels written, or drop and count them. Never blocks.

        Args:
            truths: The labels.
            size: Bytes of the request.
            known: Whether they are of rows that this server remembers. The others are kept apart,
                so that they cannot take the room of these.
        """
        kept = [truth for truth in truths.labels if sampled(truth[0], share=self._sample)]
        if kept:
            kind: Kind = "feedback" if known else "unmatched"
            self._put(_entry(kind, Truths(time=truths.time, labels=kept), size))

    def close(self) -> None:
        """Write what is waiting, then close the files."""
        self._closing.set()
        self._queue.put(_END)
        self.thread.join()

    def _put(self, entry: _Entry) -> None:
        if self._writer is None:
            self._dropped(entry.rows)
            return
        counters = self._writer.counters
        with self._lock:
            # Nobody would ever take it from a thread that was given up.
            pending = self._pending + entry.weight
            fits = pending <= self._bounds.pending_bytes and not self.thread.down
            counters.add(entry.kind, "accepted", entry.rows)
            if fits:
                self._pending = pending
            else:
                counters.add(entry.kind, "dropped", entry.rows)
        if fits:
            self._queue.put(entry)
        else:
            self._dropped(entry.rows)

    def _run(self) -> None:
        while not self._ended or any(self._batch.values()):
            if not any(self._batch.values()):
                self._batch = self._next()
            for kind, entries in self._batch.items():
                while entries:
                    self._write(kind, entries)
            with contextlib.suppress(OSError):
                self._writer = self._writer or self._make()
                self._writer.tick()
        if self._writer is not None:
            self._writer.close()

    def _next(self) -> dict[Kind, list[_Entry]]:
        """Return what is waiting, up to a limit; wait for it a moment."""
        batch: dict[Kind, list[_Entry]] = {}
        size = 0
        with contextlib.suppress(Empty):
            entry = self._first()
            while entry is not _END:
                batch.setdefault(entry.kind, []).append(entry)
                size += entry.size
                if size >= _BATCH:
                    return batch
                entry = self._queue.get_nowait()
            self._ended = True
        return batch

    def _first(self) -> _Entry | None:
        """Return what waits; where nothing did, give more of it a moment to come.

        Raises:
            Empty: If nothing comes for a while.
        """
        try:
            return self._queue.get_nowait()
        except Empty:
            entry = self._queue.get(timeout=_TICK)
        if entry is not _END:
            self._closing.wait(_PAUSE)
        return entry

    def _write(self, kind: Kind, waiting: list[_Entry]) -> None:
        """Write entries, up to the first that cannot be written as JSON, and take them off."""
        lines: list[Line] = []
        entries: list[_Entry] = []
        failure = None
        for entry in waiting:
            entries.append(entry)
            try:
                # Found before the first byte is written.
                lines += self._lines(entry)
            except BaseException as error:
                failure = error
                break
        del waiting[: len(entries)]
        assert self._writer is not None, "nothing waits without one"
        rows = sum(entry.rows for entry in entries)
        written = 0
        try:
            written = self._writer.write(kind, lines)
        finally:
            with self._lock:
                self._pending -= sum(entry.weight for entry in entries)
                if rows > written:
                    self._writer.counters.add(kind, "dropped", rows - written)
            if written:
                self._written(written)
            if rows > written:
                self._dropped(rows - written)
        if failure is not None:
            # The thread's supervisor tells of it.
            raise failure

    @staticmethod
    def _lines(entry: _Entry) -> list[Line]:
        return [
            (orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE), line["time"])
            for line in entry.item.lines()
        ]


class _Entry(NamedTuple):
    """Rows or labels that wait to be written: how many, their bytes, the memory that they take."""

    kind: Kind
    item: Rows | Truths
    rows: int
    size: int
    weight: int


def _entry(kind: Kind, item: Rows | Truths, size: int) -> _Entry:
    rows = len(item.labels)
    # What Python needs for a value is several times its bytes in JSON, and never nothing.
    return _Entry(kind, item, rows, size, size + 200 * rows)


def sampled(request_id: str, *, share: float) -> bool:
    """Return whether a request is one of the share that is captured, which follows from its id.

    Example:
        >>> sum(sampled(str(i), share=0.25) for i in range(10_000))
        2457
    """
    if share >= 1:
        return True
    digest = hashlib.blake2b(request_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def _iso(moment: float) -> str:
    return iso(datetime.fromtimestamp(moment, UTC))
