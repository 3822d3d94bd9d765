"""What is known of a dataset: its columns, its digest, where it came from."""

from __future__ import annotations

from collections.abc import Container, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field

from penstock.errors import InputError
from penstock.records.base import Record, Value
from penstock.records.origin import Origin

ColumnType = Literal["integer", "number", "boolean", "string", "datetime"]
"""How a column is stored: int64, float64, bool, UTF-8 text, or timestamp in microseconds, UTC."""

RECORD_NAME = "_dataset.json"
"""The record among the Parquet files: whatever reads the folder as Parquet passes it over."""

FILE_NAME = "dataset.json"
"""The training part's record in a model folder; also that of datasets which are older."""


class Level(Value):
    """A value of a column and how many rows hold it."""

    value: str
    rows: int


class Profile(Value):
    """Figures of one column, over the rows where it is not null.

    `minimum`, `maximum`, `mean`, `deviation` (sample standard deviation) and `quantiles` (at 5, 25,
    50, 75 and 95 %, approximate) are there for numbers; a boolean counts as 0 and 1; for a datetime
    only `earliest` and `latest` are; for text `shortest` and `longest` are lengths in characters.
    """

    nulls: int
    distinct: int = Field(description="Number of different values; approximate above 10,000")
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    deviation: float | None = None
    quantiles: tuple[float, ...] = ()
    earliest: datetime | None = None
    latest: datetime | None = None
    shortest: int | None = None
    longest: int | None = None
    top: tuple[Level, ...] = Field(default=(), description="The commonest values, at most ten")


class Column(Value):
    """A column's name and storage type."""

    name: str
    type: ColumnType


class ProfiledColumn(Column):
    """A column with what was seen in it."""

    profile: Profile


class Assumption(Value):
    """A reading of the source that was not the only possible one."""

    risk: Literal["high", "medium", "low"] = Field(
        description="high: values would be wrong if it does not hold; medium: a column would be of "
        "the wrong kind; low: worth knowing"
    )
    column: str = Field(default="", description="The column, or empty for the whole source")
    text: str = Field(description="What was assumed, and why, in one sentence")
    setting: str = Field(description="The setting of `source` that changes it, with an example")


class TextFormat(Value):
    """How the values of one column are written as text, where that is not the plain way.

    The plain way is `1234.5` for a number, `true` or `false`, ISO 8601 for a time.
    """

    column: str
    decimal: Literal[".", ","] = Field(default=".", description="The decimal mark")
    thousands: str = Field(default="", description="The mark between groups of three digits")
    affix: str = Field(
        default="", description="What stands with every number: a currency or a percent sign"
    )
    time: str = Field(default="", description="How a time is written, as in strptime")


class Reading(Value):
    """How texts become values: the same in a file, in a request and in a frame.

    A dataset from a source that has types of its own (Parquet, a database) has none: a text there
    is that text.
    """

    na_values: tuple[str, ...] = Field(description="Texts that stand for a missing value")
    strip: bool = Field(description="White space around a text does not count")
    formats: tuple[TextFormat, ...] = Field(
        default=(), description="Columns whose values are not written the plain way"
    )

    def of(self, names: Container[str]) -> Reading:
        """Return how the texts of these columns are read."""
        formats = tuple(one for one in self.formats if one.column in names)
        return self.model_copy(update={"formats": formats})


class DataFile(Value):
    """One Parquet file of a dataset."""

    name: str
    rows: int
    bytes: int


class RowSample(Value):
    """Rows of a dataset that are there as JSON lines too: evenly spread, in their order."""

    name: str
    rows: int
    digest: str = Field(description="`sha256:<hex>` of the file")


class Increment(Value):
    """What of a dataset was read anew, and what was taken from the one before."""

    before: str = Field(
        default="", description="Content digest of the dataset before; empty: nothing is taken"
    )
    reused_files: int = Field(default=0, description="Files of the source that were not read again")
    reused_rows: int = Field(default=0, description="Rows that are from them")
    new_files: int = Field(description="Files of the source that were read")
    new_rows: int = Field(description="Rows that are from them")
    why_whole: str = Field(
        default="", description="Why the whole source was read; empty: only what is new was"
    )


class Dataset(Record):
    """`_dataset.json`: the record beside the Parquet files of a dataset.

    `digest` is the data version: it depends on the column names, their types and the multiset of
    rows, and not on the order of files or rows, on how the rows are cut into files, or on the
    Parquet encoding.
    """

    KIND: ClassVar[str] = "dataset"

    content: str = Field(description="Content digest, `<algorithm>:<hex>`: the data version")
    rows: int
    columns: tuple[ProfiledColumn, ...]
    files: tuple[DataFile, ...]
    source: str = Field(description="Where the rows came from, without credentials")
    created: datetime
    notes: tuple[str, ...] = Field(
        default=(), description="What a reader should know: detected dialect, encoding, simulated …"
    )
    assumptions: tuple[Assumption, ...] = Field(
        default=(), description="How the source was read where it could be read otherwise"
    )
    reading: Reading | None = Field(
        default=None, description="How the texts of the source were read, if it holds texts"
    )
    parent: str | None = Field(
        default=None, description="Content digest of the dataset that this one is a part of"
    )
    part: Literal["train", "holdout"] | None = None
    sample: RowSample | None = Field(
        default=None, description="Rows as JSON lines, which the step `deploy` sends to the server"
    )
    origin: Origin | None = Field(
        default=None,
        description="How the same rows are read again. None: an older release wrote it, or the "
        "rows are not from a source",
    )
    increment: Increment | None = Field(
        default=None,
        description="What was reused and what is new, where `source.incremental` is set",
    )

    @staticmethod
    def record_in(folder: Path) -> Path | None:
        """Return where the record of a dataset's folder is, None if the folder is no dataset."""
        places = (folder / RECORD_NAME, folder / FILE_NAME)
        return next((place for place in places if place.is_file()), None)

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Return the record of a dataset's folder.

        Raises:
            InputError: If there is none: the path is a table that was not ingested, or nothing.
            IntegrityError: If it is a record of another kind or version.
        """
        place = cls.record_in(folder)
        if place is not None:
            return cls.read(place)
        if not folder.exists():
            raise InputError(
                "there is no dataset", where=str(folder), remedy="Name what ingest wrote."
            )
        what = "a file" if folder.is_file() else f"a folder without {RECORD_NAME}"
        raise InputError(
            f"this is {what}, and no dataset",
            where=str(folder),
            remedy="Ingest the table first: the component ingest reads an address, ingest_artifact "
            "what another component wrote.",
        )

    @property
    def version(self) -> str:
        """The dataset version: the content digest of the table that was ingested."""
        return self.parent or self.content

    @property
    def source_text(self) -> str:
        """Where the rows came from, with the version of a source that keeps versions."""
        reference = self.origin.reference if self.origin else None
        return f"{self.source}, {reference.text}" if reference else self.source

    @property
    def origin_of_parts(self) -> Origin | None:
        """What a dataset has as its origin that is made of rows of this one."""
        if self.origin is None or self.origin.content:
            return self.origin
        return self.origin.model_copy(update={"content": self.content})

    def column(self, name: str) -> ProfiledColumn | None:
        """Return the column called `name`, or None."""
        return next((column for column in self.columns if column.name == name), None)


class TrainingRows(Value):
    """What a split knows of the rows of its training part, so that training hashes none again."""

    files: str = Field(
        description="`sha256:<hex>` of the part's columns and the names and bytes of its files"
    )
    all_hashed: bool = Field(
        description="Whether every different row is hashed beside the part, or 500,000 of more"
    )
    known: float = Field(
        description="Share of fresh rows that would equal one of the part by chance (Good 1953)"
    )


class Split(Record):
    """What was proved of a split into a training part and a holdout.

    `train_rows + holdout_rows + copies_left_out + without_target` is the number of rows of the
    table.
    """

    KIND: ClassVar[str] = "split"

    method: Literal["stratified", "random", "time", "group"]
    column: str = Field(
        default="", description="The time or group column, where the method has one"
    )
    seed: int
    settings: dict[str, Any] | None = Field(
        default=None,
        description="Section `split`, defaults left out; None in records of older releases",
    )
    target: str = ""
    task: Literal["binary", "multiclass", "regression"] | None = Field(
        default=None, description="Task of the whole table's target"
    )
    parent: str
    train: str
    holdout: str
    train_rows: int
    holdout_rows: int
    share: float | None = Field(
        default=None, description="Share held out of the rows, copies counted once"
    )
    repeats: Literal["auto", "rows", "together"] = Field(
        default="rows", description="How repeated rows were classified"
    )
    duplicate_rows: int = Field(description="Rows that repeat an earlier row exactly")
    copied_rows: int = Field(
        default=0, description="Of these: copies, which stay on the side of the row they repeat"
    )
    copies_left_out: int = Field(
        default=0, description="Copies of holdout rows: judged once, so they are in neither part"
    )
    copies_in_both: int = Field(
        default=0, description="Rows with copies on both sides; 0 or the split fails"
    )
    rows_in_both: int = Field(
        description="Distinct rows on both sides: equal by chance, or at different times"
    )
    groups_in_both: int = Field(description="Groups present on both sides; 0 or the split fails")
    without_target: int = Field(
        default=0, description="Rows that were left out because their target is missing"
    )
    boundary: datetime | None = Field(default=None, description="First time in the holdout")
    training_rows: TrainingRows | None = Field(
        default=None, description="Of the training part; none in records of older releases"
    )
    notes: tuple[str, ...] = Field(default=(), description="What a reader should know")

    def counts(self) -> dict[str, int]:
        """Return where the rows of the table went; they add up to it."""
        return {
            "train": self.train_rows,
            "holdout": self.holdout_rows,
            "copies_left_out": self.copies_left_out,
            "without_target": self.without_target,
        }

    def line(self) -> str:
        """Return how many rows went where."""
        text = f"{self.train_rows:,} rows to train on, {self.holdout_rows:,} held out"
        share = self.holdout_rows / (self.train_rows + self.holdout_rows)
        text += f" ({share if self.share is None else self.share:.1%}, {self.method})"
        if self.copies_left_out:
            text += f", {self.copies_left_out:,} copies of these left out"
        if self.without_target:
            text += f", {self.without_target:,} without a target left out"
        return text

    def remarks(self) -> tuple[str, ...]:
        """Return what a reader of any figure should know of the rows behind it."""
        dropped = f"{self.without_target:,} rows without a target were left out by the split."
        return (
            *((dropped,) if self.without_target else ()),
            *((self.repeats_text,) if self.duplicate_rows else ()),
            *self.notes,
        )

    @property
    def repeats_text(self) -> str:
        """How many rows repeat, and what was made of them, in one or two sentences."""
        if not self.duplicate_rows:
            return "No row repeats."
        chance = self.duplicate_rows - self.copied_rows
        if not self.copied_rows:
            return f"{chance:,} rows repeat others by chance and were split like any rows."
        text = (
            f"{self.copied_rows:,} rows are copies of others: they stay on one side, and each "
            f"copied row is judged once ({self.copies_left_out:,} further copies of holdout rows "
            "are in neither part)."
        )
        if chance:
            text += f" {chance:,} more repeat by chance and were split like any rows."
        return text


def sorted_by_risk(assumptions: Iterable[Assumption]) -> list[Assumption]:
    """Return assumptions with the riskiest first."""
    return sorted(
        assumptions, key=lambda assumption: ("high", "medium", "low").index(assumption.risk)
    )
