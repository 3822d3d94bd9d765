"""What became of every raw column."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from penstock.records.base import Record
from penstock.records.dataset import Column, Level
from penstock.records.model import OwnCode

FILE_NAME = "features.json"
TRANSFORMER_NAME = "features.skops"

FeatureKind = Literal["number", "category", "boolean", "datetime", "text", "drop"]


class FeatureColumn(Column):
    """A raw column, what it is taken for, why, and what it yields."""

    kind: FeatureKind
    chosen: Literal["inferred", "declared"]
    reason: str = Field(description="Why it is taken for this, in words")
    missing: int = Field(description="Rows of the training part where it is missing")
    distinct: int = Field(
        description="Different values in the training part; approximate above 10,000"
    )
    levels: tuple[Level, ...] = Field(
        default=(), description="Category: levels kept, the commonest first"
    )
    rare_levels: int = Field(
        default=0, description="Category: levels treated as one; approximate above 10,000"
    )
    rare_rows: int = Field(default=0, description="Category: rows that hold one of those")
    outputs: tuple[str, ...] = Field(
        default=(), description="Names of the features it yields, in order"
    )


class Features(Record):
    """`features.json`: the record beside the fitted transformer, `features.skops`.

    `columns` has every column of the training part but the target, in its order. The transformer
    takes those whose kind is not `drop`, in that order; its output has one column for each of
    `outputs`, in that order.
    """

    KIND: ClassVar[str] = "features"

    dataset: str = Field(description="Content digest of the training part it was fitted on")
    target: str
    rows: int
    columns: tuple[FeatureColumn, ...]
    outputs: tuple[str, ...]
    transformer: str = Field(description="Digest of features.skops")
    settings: dict[str, Any] | None = Field(
        default=None,
        description="Section `features`, defaults left out; None in records of older releases",
    )
    code: OwnCode | None = Field(
        default=None,
        description="The project's own code that made the transformer, in the folder `code` beside "
        "this file. None: it is Penstock's",
    )

    def inputs(self) -> tuple[Column, ...]:
        """Return the raw columns that the transformer takes, in order."""
        return tuple(
            Column(name=column.name, type=column.type)
            for column in self.columns
            if column.kind != "drop"
        )
