"""The project file's sections on where rows come from and how they are split."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, NonNegativeInt, field_validator

from penstock.common.claims import CLAIM, claim_of
from penstock.records.dataset import ColumnType, Reading
from penstock.records.spec import Spec

NA_VALUES = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "?")

_EXACT = 2**53
"""Whole numbers below are exact as a float."""


class SourceSpec(Spec):
    """Where the table comes from and how to read it."""

    uri: str = Field(
        min_length=1,
        description="A file, folder or glob (local, http(s)://, s3://, gs://, abfs://), or, with "
        "`query`, a database as a SQLAlchemy URL. CSV, Parquet and JSON Lines are read, "
        "compressed or not. Also a source that keeps versions: delta://, iceberg://, dvc://, "
        "lakefs://",
    )
    version: str = Field(
        default="",
        description="What to read of a source that keeps versions; empty means the newest. "
        "`delta://`: a version's number, or a time; `iceberg://`: a snapshot's id, a branch or a "
        "tag; `dvc://`: a revision of Git. `lakefs://` has it in `uri`",
    )
    incremental: str = Field(
        default="",
        description="A folder in which each ingest keeps its dataset, so that the next one reads "
        "only files that came since; on a cluster `pvc://CLAIM/folder`. Empty: all is read",
    )
    query: str = Field(default="", description="SQL to run when `uri` is a database")
    format: Literal["auto", "csv", "parquet", "jsonl"] = Field(
        default="auto", description="auto goes by the file name"
    )
    delimiter: str = Field(default="", max_length=1, description="CSV: empty means detect it")
    encoding: str = Field(default="", description="Text files: empty means detect it")
    header: bool | Literal["auto"] = Field(
        default="auto",
        description="CSV: whether the first row holds the names of the columns; auto refuses a "
        "first row that looks like values",
    )
    names: tuple[str, ...] = Field(
        default=(),
        description="CSV: names of the columns, where the file has no row of names or others are "
        "wanted",
    )
    skip_lines: NonNegativeInt | Literal["auto"] = Field(
        default="auto",
        description="CSV: lines to leave out at the top; auto leaves out Excel's sep= line, "
        "comments and a title",
    )
    skip_last: NonNegativeInt | Literal["auto"] = Field(
        default="auto",
        description="CSV: lines to leave out at the end; auto refuses a last row that looks like "
        "a total",
    )
    comment: str = Field(
        default="", description="CSV: lines that begin with this text are left out"
    )
    na_values: tuple[str, ...] = Field(
        default=NA_VALUES, description="CSV: texts that stand for a missing value"
    )
    strip: bool = Field(default=True, description="CSV: remove white space around names and values")
    decimal: Literal["", ".", ","] = Field(
        default="", description="CSV: the decimal mark; empty means detect it for each column"
    )
    thousands: Literal["", ",", ".", " ", "'"] = Field(
        default="",
        description="CSV: the mark between groups of three digits; empty means detect it for each "
        "column",
    )
    types: dict[str, ColumnType] = Field(
        default_factory=dict,
        description="Storage types to use instead of the inferred: integer, number, boolean, "
        "string or datetime, by column",
    )
    formats: dict[str, str] = Field(
        default_factory=dict,
        description="CSV: how a column's values are written, where it is ambiguous: for times as "
        "in strptime (%d/%m/%Y), for numbers an example (1.234,5 or 1,234.5)",
    )
    columns: tuple[str, ...] = Field(
        default=(), description="Columns to read; empty means all of them"
    )
    exclude: tuple[str, ...] = Field(default=(), description="Columns to leave out")

    @field_validator("incremental")
    @classmethod
    def _is_a_folder(cls, given: str) -> str:
        if "://" in given and not (given.startswith(CLAIM) and claim_of(given)[0]):
            raise ValueError(f"a folder, or pvc://CLAIM/folder, is needed, got {given!r}")
        return given

    @field_validator("version", mode="before")
    @classmethod
    def _a_number_is_a_version(cls, given: object) -> object:
        """Take `version: 3` as YAML has it; from Kubeflow it arrives as 3.0."""
        if isinstance(given, float) and given.is_integer() and abs(given) < _EXACT:
            given = int(given)
        return str(given) if isinstance(given, int) and not isinstance(given, bool) else given


def settings_of(reading: Reading) -> dict[str, Any]:
    """Return the settings of a source that read texts as another table's were read.

    A CSV file of few rows need not show how its numbers and times are written.
    """
    from penstock.data.types.numbers import example_of

    return {
        "na_values": reading.na_values,
        "strip": reading.strip,
        "formats": {one.column: one.time or example_of(one) for one in reading.formats},
    }


class SplitSpec(Spec):
    """How rows are divided into the training part and the holdout."""

    method: Literal["auto", "stratified", "random", "time", "group"] = Field(
        default="auto",
        description="auto is stratified by the target for a classification and random for a "
        "regression",
    )
    column: str = Field(default="", description="The time column of `time`, the group of `group`")
    holdout: float = Field(default=0.2, gt=0, lt=1, description="Share of rows held out")
    seed: int = Field(default=20, ge=0, description="Seed of the draw")
    repeats: Literal["auto", "rows", "together"] = Field(
        default="auto",
        description="Rows that are equal but for the target. auto keeps copies together, which "
        "measured columns show, and splits rows that repeat by chance like any others. rows: all "
        "repeat by chance. together: all are copies",
    )
    drop_missing_target: bool = Field(
        default=False,
        description="Leave out rows without a target: they cannot be learned from or judged",
    )
