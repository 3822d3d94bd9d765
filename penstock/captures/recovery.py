"""What a new writer does with what an earlier one left: counts it, and notes its end.

All of it may be interrupted and done again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import orjson

from penstock.captures import ledger
from penstock.captures.counters import Counts, ended_writer, read_counts
from penstock.captures.ledger import WriterLog
from penstock.captures.segments import KINDS, Kind, Segment, SegmentId, segment_id_of

_BLOCK = 1 << 20


def recover(folder: Path) -> None:
    """Note the end of every writer of a folder that was killed, and the files of older releases.

    Raises:
        OSError: If the folder cannot be read or written.
    """
    for path in sorted(folder.glob("ledger-*.jsonl")):
        writer = ledger.writer_of(path.name)
        log = ledger.read_ledger(path)
        counts = folder / ledger.counts_name(writer)
        if log.ended is not None:
            counts.unlink(missing_ok=True)
            continue
        with ended_writer(counts) as ended:
            if ended:
                _end(folder, path, log, read_counts(counts))
                counts.unlink(missing_ok=True)
    _adopt(folder)


def unwritten(counts: Counts | None, log: WriterLog) -> tuple[dict[Kind, int], dict[Kind, int]]:
    """Return the rows that a killed writer dropped, and those that it had accepted and not written.

    Args:
        counts: Its counts; None: they are lost, and so is what they would have told.
        log: Its ledger, with all of its files closed.
    """
    nothing: dict[Kind, int] = dict.fromkeys(log.kinds, 0)
    if counts is None:
        return nothing, dict(nothing)
    dropped = {kind: counts[kind]["dropped"] for kind in log.kinds}
    lost = {
        kind: max(0, counts[kind]["accepted"] - dropped[kind] - log.written(kind))
        for kind in log.kinds
    }
    return dropped, lost


def lines_of(path: Path) -> tuple[int, int]:
    """Return how many whole lines a file holds, and how many bytes they take.

    Raises:
        OSError: If it cannot be read.
    """
    rows, size, whole = 0, 0, 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            rows += block.count(b"\n")
            end = block.rfind(b"\n")
            whole = size + end + 1 if end >= 0 else whole
            size += len(block)
    return rows, whole


def unclosed(folder: Path, log: WriterLog, counts: Counts | None) -> Iterator[Segment]:
    """Yield what the files hold that a killed writer had not closed; torn ends count for nothing.

    Raises:
        OSError: If one cannot be read.
    """
    for segment_id, opened in log.opened.items():
        if segment_id in log.closed or segment_id in log.removed:
            continue
        with contextlib.suppress(FileNotFoundError):
            segment = _segment(folder / opened.file, segment_id, before=opened.before)
            dropped = counts[segment_id.kind]["dropped"] if counts else opened.dropped
            yield segment.model_copy(update={"dropped_before": opened.dropped, "dropped": dropped})


def _end(folder: Path, path: Path, log: WriterLog, counts: Counts | None) -> None:
    for segment in list(unclosed(folder, log, counts)):
        file = folder / log.opened[segment.id].file
        if file.stat().st_size > segment.bytes:
            with file.open("r+b") as stream:
                stream.truncate(segment.bytes)
        ledger.append(path, "closed", segment=segment.model_dump(mode="json"))
        log.closed[segment.id] = segment
    dropped, lost = unwritten(counts, log)
    ledger.append(path, "ended", dropped=dropped, unwritten=lost)


def _segment(file: Path, segment_id: SegmentId, *, before: int) -> Segment:
    rows, size = lines_of(file)
    first, last = span(file)
    return Segment(id=segment_id, before=before, rows=rows, bytes=size, first=first, last=last)


def span(file: Path) -> tuple[str, str]:
    """Return the times of the first and the last row in a file; empty: it holds none."""
    with file.open("rb") as stream:
        first = _time_of(stream.readline())
        stream.seek(0, 2)
        stream.seek(max(0, stream.tell() - _BLOCK))
        last = next(filter(None, map(_time_of, reversed(stream.read().split(b"\n")))), first)
    return first, last


def _time_of(line: bytes) -> str:
    try:
        moment = orjson.loads(line)["time"]
    except (ValueError, LookupError, TypeError):
        return ""
    return moment if isinstance(moment, str) else ""


def _adopt(folder: Path) -> None:
    """Write a ledger for each file of a release that had none."""
    for file in sorted(folder.glob("*.jsonl")):
        named = segment_id_of(file.name)
        if named is None or (folder / ledger.ledger_name(named[0].writer)).exists():
            continue
        segment_id = named[0]
        segment = _segment(file, segment_id, before=0)
        torn = int(file.stat().st_size > segment.bytes)
        nothing = dict.fromkeys(KINDS, 0)
        opened = {"id": segment_id.model_dump(), "file": file.name, "before": 0, "dropped": 0}
        ended = {"dropped": nothing, "unwritten": {**nothing, segment_id.kind: torn}}
        ledger.write(
            folder / ledger.ledger_name(segment_id.writer),
            ("opened", opened),
            ("closed", {"segment": segment.model_dump(mode="json")}),
            ("ended", ended),
        )
