"""Answers kept on disk for later: written off the request path, bounded, and dropped if need be.

A folder holds `predictions-*.jsonl`, one line a row that was answered, and `feedback-*.jsonl`, one
line a label that came later. One server writes into one folder. A server that is killed leaves at
most one torn line at the end of each kind's newest file; readers skip and count it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, BinaryIO, Literal

import orjson

from penstock.errors import InputError
from penstock.processes.supervised import Supervised

Kind = Literal["predictions", "feedback"]

_END = None

_PAUSE = 0.02
"""Seconds for which rows are gathered before they are written: to wake a thread for each request
costs more than to write its rows."""


@dataclass(frozen=True)
class Bounds:
    """How much is kept.

    Attributes:
        file_bytes: Size at which a new file is begun.
        files: Files of each kind in the folder; the oldest is removed for a new one.
        pending_bytes: Bytes of requests that wait to be written; beyond it rows are dropped.
    """

    file_bytes: int = 64 << 20
    files: int = 10
    pending_bytes: int = 64 << 20


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
        scores: One score a row.
        labels: One predicted label a row.
    """

    request_id: str
    time: float
    version: str
    mirrored: bool
    replayed: bool
    inputs: Mapping[str, Sequence[Any]]
    scores: Sequence[float]
    labels: Sequence[Any]

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield each row as it is written."""
        moment = _iso(self.time)
        names = list(self.inputs)
        values = zip(*self.inputs.values(), strict=True)
        for row, (given, score, label) in enumerate(
            zip(values, self.scores, self.labels, strict=True)
        ):
            yield {
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
    ) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._files: dict[Kind, _Rotating] = {
                "predictions": _Rotating(folder, "predictions", bounds),
                "feedback": _Rotating(folder, "feedback", bounds),
            }
        except OSError as error:
            raise InputError(
                f"the capture folder cannot be written to: {error.strerror}",
                where=str(folder),
                remedy="Name a folder that the server's user may write to with --capture.",
            ) from error
        self._bounds = bounds
        self._written = written
        self._dropped = dropped
        self._queue: SimpleQueue[tuple[Kind, Rows | Truths, int] | None] = SimpleQueue()
        self._pending = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self.thread = Supervised("capture", self._run)
        self.thread.start()

    def rows(self, rows: Rows, *, size: int) -> None:
        """Have rows written, or drop and count them if too much is waiting. Never blocks.

        Args:
            rows: What was answered.
            size: Bytes of the request, which stand for the memory that waiting takes.
        """
        self._put("predictions", rows, len(rows.labels), size)

    def truths(self, truths: Truths, *, size: int) -> None:
        """Have labels written, or drop and count them. Never blocks."""
        self._put("feedback", truths, len(truths.labels), size)

    def close(self) -> None:
        """Write what is waiting, then close the files."""
        self._closing.set()
        self._queue.put(_END)
        self.thread.join()

    def _put(self, kind: Kind, item: Rows | Truths, rows: int, size: int) -> None:
        # What Python needs for a value is several times its bytes in JSON, and never nothing.
        weight = size + 200 * rows
        with self._lock:
            # Nobody would ever take it from a thread that was given up.
            fits = not self.thread.down
            fits = fits and self._pending + weight <= self._bounds.pending_bytes
            if fits:
                self._pending += weight
        if fits:
            self._queue.put((kind, item, weight))
        else:
            self._dropped(rows)

    def _run(self) -> None:
        while (entry := self._next()) is not _END:
            kind, item, weight = entry
            try:
                self._write(kind, item)
            finally:
                with self._lock:
                    self._pending -= weight
        for file in self._files.values():
            with contextlib.suppress(OSError):
                file.close()

    def _next(self) -> tuple[Kind, Rows | Truths, int] | None:
        try:
            return self._queue.get_nowait()
        except Empty:
            entry = self._queue.get()
        if entry is not _END:
            self._closing.wait(_PAUSE)
        return entry

    def _write(self, kind: Kind, item: Rows | Truths) -> None:
        rows = len(item.labels)
        try:
            self._files[kind].write(item.lines(), flush=self._queue.empty())
        except OSError:
            # A full disk is expected; anything else is reported by the thread's supervisor.
            self._dropped(rows)
        except BaseException:
            self._dropped(rows)
            raise
        else:
            self._written(rows)


class _Rotating:
    """Files of one kind: a new one at a size, the oldest removed beyond a number."""

    def __init__(self, folder: Path, kind: Kind, bounds: Bounds) -> None:
        self._folder = folder
        self._kind = kind
        self._bounds = bounds
        self._stream: BinaryIO | None = None
        self._size = 0
        # Refuses a folder that cannot be written to now rather than at the first request.
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")

    def write(self, lines: Iterable[Mapping[str, Any]], *, flush: bool) -> None:
        # All or nothing: what cannot be written as JSON is found before the first byte.
        blocks = [orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines]
        try:
            for data in blocks:
                if self._stream is None or self._size + len(data) > self._bounds.file_bytes:
                    self._next()
                assert self._stream is not None
                self._stream.write(data)
                self._size += len(data)
            if flush and self._stream is not None:
                self._stream.flush()
        except OSError:
            # What a full disk took of it ends in a torn line: nothing more may come after that.
            stream, self._stream = self._stream, None
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
            raise

    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _next(self) -> None:
        self.close()
        kept = _paths(self._folder, self._kind)
        for path in kept[: max(0, len(kept) - self._bounds.files + 1)]:
            path.unlink(missing_ok=True)
        # Names sort by time. A file is never gone on with, so a torn line is always a last one.
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        self._stream = (self._folder / f"{self._kind}-{stamp}-{os.getpid()}.jsonl").open("xb")
        self._size = 0


class Reader:
    """Iterates over captured lines; `torn` counts those that were skipped, once it is through.

    A file that the server removes meanwhile, to make room, is left out.

    Args:
        folder: What a server was given as `--capture`.
        kind: Which lines.
        rows: Leave out the oldest files, where the others hold so many lines; None: read all.

    Raises:
        InputError: If the folder does not exist.
    """

    def __init__(self, folder: Path, kind: Kind, *, rows: int | None = None) -> None:
        if not folder.is_dir():
            raise InputError("the capture folder does not exist", where=str(folder))
        self._paths = _paths(folder, kind)
        if rows is not None:
            self._paths = _holding(self._paths, rows)
        self.torn = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.torn = 0
        for path in self._paths:
            try:
                stream = path.open("rb")
            except FileNotFoundError:
                continue
            with stream:
                for line in stream:
                    try:
                        yield orjson.loads(line)
                    except orjson.JSONDecodeError:
                        self.torn += 1


def read(folder: Path, *, kind: Kind = "predictions") -> Reader:
    """Return what was captured, the oldest first.

    Each prediction has `request_id`, `row`, `time`, `version`, `mirrored`, `replayed`, `inputs`,
    `score` and `label`; each feedback `request_id`, `row`, `time` and `label`.

    Raises:
        InputError: If the folder does not exist.
    """
    return Reader(folder, kind)


def newest(folder: Path, *, rows: int, kind: Kind = "predictions") -> Reader:
    """Return the newest lines of a kind, at least `rows` if there are as many, the oldest first.

    Raises:
        InputError: If the folder does not exist.
    """
    return Reader(folder, kind, rows=rows)


def joined(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the captured predictions whose true label has come, with it as `truth`.

    As in the live figures, the first label of a row counts, and the first answer to an id.

    Raises:
        InputError: If the folder does not exist.
    """
    truths: dict[tuple[str, int], Any] = {}
    for line in read(folder, kind="feedback"):
        truths.setdefault((line["request_id"], line["row"]), line["label"])
    for line in read(folder):
        key = (line["request_id"], line["row"])
        if key in truths:
            yield {**line, "truth": truths.pop(key)}


def _holding(paths: list[Path], rows: int) -> list[Path]:
    for place in reversed(range(len(paths))):
        with contextlib.suppress(FileNotFoundError), paths[place].open("rb") as stream:
            rows -= sum(block.count(b"\n") for block in iter(lambda: stream.read(1 << 20), b""))
        if rows <= 0:
            return paths[place:]
    return paths


def _paths(folder: Path, kind: Kind) -> list[Path]:
    return sorted(folder.glob(f"{kind}-*.jsonl"))


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds")
