"""How the columns of a dataset are distributed, compact enough to travel with a model."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from penstock.records.base import Record
from penstock.records.dataset import Column, Level

FILE_NAME = "reference.json"
"""Where a model folder holds the distribution of the columns that it learned from."""

ROWS_NAME = "rows.npy"
"""Where it holds hashes of the rows: sorted unsigned 64-bit integers, as NumPy writes them. Whoever
has the folder can check whether a row that they know was trained on; no row can be read from it."""


class ReferenceColumn(Column):
    """How often each part of a column's values occurs.

    Numbers and times (seconds since 1970) are cut at up to 100 quantiles: `counts[i]` rows lie
    above `edges[i - 1]` and at or below `edges[i]`. Numbers of few different values, each of which
    occurs often, are `exact`: every value is an edge. Text and booleans are counted by level.
    """

    nulls: int
    edges: tuple[float, ...] = Field(default=(), description="Rising; the last is the maximum")
    counts: tuple[int, ...] = ()
    exact: bool = Field(default=False, description="Whether the edges are all different values")
    levels: tuple[Level, ...] = Field(default=(), description="The commonest, at most 50")
    others: int = Field(default=0, description="Rows of any other level")


class Reference(Record):
    """`reference.json`: the columns of the rows that a model learned from, its target among them.

    Enough for a population stability index against any later rows.
    """

    KIND: ClassVar[str] = "reference"

    dataset: str = Field(description="Content digest of the rows")
    rows: int
    columns: tuple[ReferenceColumn, ...]
    hashes: Literal["all", "lowest"] = Field(
        default="all",
        description="Whether every different row is hashed beside, or the lowest 500,000 hashes "
        "of more: by chance, so to say",
    )
    known: float = Field(
        default=0.0,
        description="Share of fresh rows from the same source that would equal one of these by "
        "chance (Good 1953)",
    )

    def column(self, name: str) -> ReferenceColumn | None:
        """Return the column called `name`, or None."""
        return next((column for column in self.columns if column.name == name), None)
