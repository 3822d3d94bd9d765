"""What training saw of its rows, and figures of single columns."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from penstock.records.base import Record, Value

FILE_NAME = "health.json"
"""Where a model folder holds what its training saw of its rows."""

SPLIT_NAME = "split.json"
"""Where it holds the record of the split that its training part comes from."""


class ColumnFigure(Value):
    """A figure of one column."""

    column: str
    value: float


class ColumnNote(Value):
    """What is to be said of one column."""

    column: str
    note: str


class Suspect(Value):
    """A part of the training data whose labels look flipped."""

    name: str
    rows: int
    flipped: float = Field(description="Share of its rows whose label looks wrong")


class TrainingHealth(Record):
    """`health.json`: what training saw of its rows, by predictions on rows left out of each fit."""

    KIND: ClassVar[str] = "health"

    rows: int = Field(description="Rows that were predicted while they were left out")
    label_noise: float | None = Field(
        default=None, description="Estimated share of wrong labels; None for a regression"
    )
    poisoned: float | None = Field(
        default=None,
        description="Share of the rows that look flipped beyond what is so elsewhere; None for a "
        "regression",
    )
    suspects: tuple[Suspect, ...] = ()
    parts: int = Field(default=0, description="Parts of the data that were looked at")
