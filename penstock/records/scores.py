"""What a batch scoring did: which version, which rows, what was refused, where the rest is."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import Field

from penstock.records.base import Record, Value
from penstock.records.dataset import Column

FILE_NAME = "scores.json"
"""The record beside the scored rows; it is written last, so without it nothing is whole."""

OnError = Literal["fail", "quarantine"]


class ScoringVersion(Value):
    """The version that scores, by its number and digests."""

    uri: str = Field(description="models:/NAME/NUMBER")
    asked: str = Field(description="What was asked for: an alias is resolved once, at the start")
    name: str
    version: int
    model: str = Field(description="Digest of the model's folder")
    export: str = Field(default="", description="Digest of its ONNX form; empty: it has none")
    runtime: str = Field(description="What computes: onnx or sklearn")
    dataset: str = Field(description="Dataset version that the model was trained on")
    admitted: str = Field(
        description="Why it may score: champion, former champion, approved, or "
        "asked for by number though not approved"
    )


class Plan(Record):
    """What was asked for; a scoring that goes on must have been asked for the same."""

    KIND: ClassVar[str] = "scoring-plan"

    run: str = Field(description="Names this scoring")
    version: ScoringVersion
    source: str = Field(description="Where the rows come from, without credentials")
    settings: dict[str, Any] = Field(description="How the source is read")
    keep: tuple[str, ...] = Field(description="Columns of the source beside the predictions")
    request_ids: bool = Field(default=False, description="Whether the rows' ids are written too")
    on_error: OnError
    unseen: Literal["accept", "reject"]
    explain: bool
    part_rows: int
    form: str = Field(description="parquet, csv or sql")
    partition_by: tuple[str, ...] = Field(
        default=(), description="Columns whose values are folders"
    )
    table: str = Field(default="", description="Of a database: the table that is appended to")
    capture: str = Field(default="", description="Where rows are captured for the monitor")
    capture_sample: float = 1.0
    started: datetime


class Refusal(Value):
    """One row that was not scored."""

    row: int = Field(description="Its place in the source, counted from 1")
    where: str
    reason: str


class RefusalCount(Value):
    """Rows that were not scored because of one column."""

    column: str = Field(description="Empty: the row as a whole")
    rows: int
    examples: tuple[Refusal, ...] = Field(description="The first ones")


class PartFile(Value):
    """Rows of a part with the same values of the columns that folders are named by."""

    file: str = Field(description="Its path: rows/COLUMN=VALUE/NAME")
    digest: str
    rows: int


class ScoredPart(Record):
    """One part that is whole: written after its files, so that a torn one is never taken for it."""

    KIND: ClassVar[str] = "scored-part"

    number: int
    start: int = Field(description="Rows of the source before it")
    rows: int = Field(description="Rows of the source in it")
    scored: int
    input_sums: tuple[int, int] = Field(description="Of its scored rows: see penstock.data.hashing")
    output_sums: tuple[int, int]
    file: str = Field(default="", description="Its file; empty: it holds no scored row, or SQL")
    file_digest: str = ""
    files: tuple[PartFile, ...] = Field(default=(), description="Of rows in folders, instead of it")
    refused: tuple[RefusalCount, ...] = ()
    refused_file: str = ""
    refused_digest: str = ""
    captured: int = Field(default=0, description="Rows of it that were captured for the monitor")


class Scores(Record):
    """`scores.json`: a batch scoring that is whole."""

    KIND: ClassVar[str] = "scores"

    run: str
    version: ScoringVersion
    source: str
    source_notes: tuple[str, ...] = Field(default=(), description="How the source was read")
    input_columns: tuple[Column, ...] = Field(description="The model's columns, which were read")
    input_content: str = Field(
        description="Content digest of the scored rows, in the model's columns and types: that of "
        "the dataset that ingest makes of the same rows and columns"
    )
    rows: int = Field(description="Rows of the source")
    scored: int
    refused: tuple[RefusalCount, ...] = Field(
        default=(),
        description="By column; the rest of them is in the folder or table of refused rows",
    )
    on_error: OnError
    unseen: Literal["accept", "reject"]
    explained: bool
    destination: str
    form: str
    partition_by: tuple[str, ...] = Field(
        default=(), description="Columns that are folders' names: they are not in the files"
    )
    output_columns: tuple[Column, ...]
    output_content: str = Field(description="Content digest of the rows that were written")
    parts: tuple[ScoredPart, ...]
    captured: int = 0
    capture: str = ""
    started: datetime
    finished: datetime
    penstock: str

    @property
    def refused_rows(self) -> int:
        """How many rows were not scored."""
        return sum(each.rows for each in self.refused)
