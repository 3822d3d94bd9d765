"""The ledger of a writer: a line for each file that it begins, closes or removes, and for its end.

Every line may be the last one before a kill, and may be torn. So a line is written before what it
announces is relied on, and what is done twice comes to the same.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from penstock.captures.segments import KINDS, CapturedModel, Kind, Segment, SegmentId
from penstock.common import files

_PREFIX, _SUFFIX = "ledger-", ".jsonl"


def ledger_name(writer: str) -> str:
    """Return the name of a writer's ledger."""
    return f"{_PREFIX}{writer}{_SUFFIX}"


def counts_name(writer: str) -> str:
    """Return the name of the file with the counts of a writer that has not ended."""
    return f"counts-{writer}.bin"


def writer_of(name: str) -> str:
    """Return the writer whose ledger a file is; empty: it is none."""
    if name.startswith(_PREFIX) and name.endswith(_SUFFIX):
        return name[len(_PREFIX) : -len(_SUFFIX)]
    return ""


def append(path: Path, event: str, **fields: Any) -> None:
    """Add a line.

    Raises:
        OSError: If it cannot be written.
    """
    # A line break before it as well: the line before may have been torn by a kill.
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        line = b"\n" + _line(event, fields)
        if os.write(handle, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(handle)


def write(path: Path, *events: tuple[str, Mapping[str, Any]]) -> None:
    """Write a whole ledger, or none.

    Raises:
        OSError: If it cannot be written.
    """
    files.write_text(path, b"".join(_line(event, fields) for event, fields in events).decode())


def _line(event: str, fields: Mapping[str, Any]) -> bytes:
    return orjson.dumps({"event": event, "time": now(), **fields}) + b"\n"


def now() -> str:
    """Return the time as the ledger and captured rows have it."""
    return iso(datetime.now(UTC))


def iso(moment: datetime) -> str:
    """Return a time in UTC to the microsecond; such texts sort as the times do."""
    return moment.isoformat(timespec="microseconds")


@dataclass
class Opened:
    """A file that was begun.

    Attributes:
        file: Its name.
        before: Rows that its writer had written before it.
        dropped: Rows that it had dropped before.
    """

    file: str
    before: int
    dropped: int


@dataclass
class WriterLog:
    """What a writer's ledger says.

    Attributes:
        model: The model that answered; None: it was not noted.
        sample: Share of the requests that is captured.
        kinds: What its writer writes.
        opened: Files that were begun.
        closed: Files that were closed.
        removed: Files that were removed, and why: space, age or shipped.
        ended: Rows dropped and rows never written, by kind, once the writer has ended.
        erased: Lines that were erased, by file.
    """

    model: CapturedModel | None = None
    sample: float = 1.0
    kinds: tuple[Kind, ...] = KINDS
    opened: dict[SegmentId, Opened] = field(default_factory=dict)
    closed: dict[SegmentId, Segment] = field(default_factory=dict)
    removed: dict[SegmentId, str] = field(default_factory=dict)
    ended: dict[str, dict[Kind, int]] | None = None
    erased: dict[SegmentId, int] = field(default_factory=dict)

    def written(self, kind: Kind) -> int:
        """Return the rows of a kind in the files that were closed."""
        segments = [s for segment_id, s in self.closed.items() if segment_id.kind == kind]
        return max((s.before + s.rows for s in segments), default=0)

    def add(self, event: Mapping[str, Any]) -> None:
        """Take in one line."""
        what = event.get("event")
        if what == "began":
            self.sample = float(event.get("sample", 1.0))
            self.kinds = tuple(event.get("kinds", KINDS))
            if event.get("model") is not None:
                self.model = CapturedModel.model_validate(event["model"])
        elif what == "opened":
            segment_id = SegmentId.model_validate(event["id"])
            self.opened[segment_id] = Opened(event["file"], event["before"], event["dropped"])
        elif what == "closed":
            segment = Segment.model_validate(event["segment"])
            self.closed[segment.id] = segment
        elif what == "removed":
            self.removed[SegmentId.model_validate(event["id"])] = str(event["why"])
        elif what == "ended":
            self.ended = {"dropped": event["dropped"], "unwritten": event["unwritten"]}
        elif what == "erased":
            segment_id = SegmentId.model_validate(event["id"])
            self.erased[segment_id] = self.erased.get(segment_id, 0) + int(event["rows"])


def read_ledger(path: Path) -> WriterLog:
    """Return what a ledger says; lines that a kill has torn are left out.

    Raises:
        OSError: If it cannot be read.
    """
    log = WriterLog()
    for line in path.read_bytes().split(b"\n"):
        if not line:
            continue
        try:
            log.add(orjson.loads(line))
        except (ValueError, LookupError, TypeError, ValidationError):
            continue
    return log
