"""Files of captured rows and what is known of each: its writer, its place among others, its rows.

A writer is one server process. Of each kind it writes segments one after another, numbered from 1;
a segment says how many rows were written before it. So a reader that has counted the rows it read
knows how many it missed, whatever became of the files in between.
"""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from pydantic import Field

from penstock.records.base import Record, Value
from penstock.records.dataset import Column, Reading
from penstock.records.model import Label, Model, Task

Kind = Literal["predictions", "feedback", "unmatched", "events"]
"""Rows that were answered; labels of rows that the server remembers; labels of other rows; and what
the proxy of an experiment writes down, which is of no model server."""

KINDS: tuple[Kind, ...] = ("predictions", "feedback", "unmatched")
"""What a model server captures."""

EVENTS: tuple[Kind, ...] = ("events",)
"""What the proxy of an experiment writes."""

EXPERIMENTS = "experiments"
"""Folder of a service in a store; below it one for each experiment, and in that for each pod."""

LABELS: tuple[Kind, ...] = ("feedback", "unmatched")

SHIPPED = "shipped"
"""Name of the file in a spool that is touched after each success."""

_NAME = re.compile(
    r"(?P<kind>predictions|feedback|unmatched|events)-(?P<writer>\d{8}T\d{12}-\d+(-[0-9a-f]{4})?)"
    r"(-(?P<number>\d{6}))?\.(?P<suffix>jsonl|jsonl\.gz|json)"
)


class SegmentId(Value):
    """Which segment a file is: of which kind, whose, and the how manieth."""

    kind: Kind
    writer: str
    number: int = Field(ge=1, description="Counted from 1 in each kind of a writer")

    @property
    def stem(self) -> str:
        """The beginning of its file's name."""
        return f"{self.kind}-{self.writer}-{self.number:06d}"


def segment_id_of(name: str) -> tuple[SegmentId, str] | None:
    """Return which segment a file's name says, and its suffix; None: it is none.

    An earlier release numbered no file: each of its files counts as a writer of its own.

    Example:
        >>> segment, suffix = segment_id_of("feedback-20261129T120000000000-7-00ff-000002.jsonl")
        >>> segment.kind, segment.number, suffix
        ('feedback', 2, 'jsonl')
    """
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    number = int(found["number"] or 1)
    return SegmentId(kind=found["kind"], writer=found["writer"], number=number), found["suffix"]


class CapturedModel(Value):
    """The model that answered, as far as its rows are to be understood."""

    service: str = ""
    version: str
    digest: str = ""
    task: Task | None = Field(default=None, description="None: not known, as of another server's")
    classes: tuple[Label, ...] = ()
    positive: Label | None = None
    columns: tuple[Column, ...] = ()
    reading: Reading | None = None

    @classmethod
    def of(cls, record: Model, *, service: str, version: str, digest: str) -> CapturedModel:
        """Return what is noted of a served model."""
        return cls(
            service=service,
            version=version,
            digest=digest,
            task=record.task,
            classes=record.classes,
            positive=record.positive,
            columns=record.columns,
            reading=record.reading,
        )


class Segment(Value):
    """One file that nothing more is written into."""

    id: SegmentId
    before: int = Field(ge=0, description="Rows of this kind that the writer wrote before it")
    rows: int = Field(ge=0, description="Lines in it, erased ones included")
    bytes: int = Field(ge=0, description="Of its lines, uncompressed")
    first: str = Field(default="", description="Earliest time in it; empty: it holds no row")
    last: str = Field(default="", description="Latest time in it")
    dropped_before: int = Field(default=0, ge=0, description="Rows dropped before it was begun")
    dropped: int = Field(default=0, ge=0, description="Rows dropped before it was closed")


class Manifest(Record):
    """What is known of a segment that was shipped: a JSON file beside it, written after it."""

    KIND: ClassVar[str] = "capture-segment"

    segment: Segment
    file: str = Field(description="Name of the segment's file, in the same folder")
    file_digest: str = Field(description="sha256:... of that file")
    pod: str = Field(description="Host that wrote it")
    sample: float = Field(gt=0, le=1, description="Share of the requests that is captured")
    model: CapturedModel | None
    erased: int = Field(default=0, ge=0, description="Lines in it that were erased")
    replaced: tuple[str, ...] = Field(
        default=(),
        description="Files that this one is in the place of: what an erasure that was killed left "
        "of them is removed by the next erasure or pruning",
    )


class Ended(Record):
    """What is known of a writer that has ended: nothing more comes of it."""

    KIND: ClassVar[str] = "capture-end"

    writer: str
    pod: str = ""
    model: CapturedModel | None = None
    written: dict[Kind, int] = Field(description="Rows written by kind")
    dropped: dict[Kind, int] = Field(description="Rows dropped and counted by the writer")
    unwritten: dict[Kind, int] = Field(
        description="Rows that were in memory when it was killed, and so were never written"
    )
