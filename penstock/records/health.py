"""What training saw of its rows, and figures of single columns."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, model_validator

from penstock.records.base import Record, Value, renamed

FILE_NAME = "health.json"
"""Where a model folder holds what its training saw of its rows."""

SPLIT_NAME = "split.json"
"""Where it holds the record of the split that its training part comes from."""


class ColumnFigure(Value):
    """A figure of one column."""

    column: str
    value: float


class ColumnNote(Value):
    """A note on one column."""

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
    flipped_labels: float | None = Field(
        default=None,
        # Digests of evaluations hold it.
        serialization_alias="poisoned",
        description="Share of the rows that look flipped beyond what is so elsewhere; None for a "
        "regression",
    )
    suspects: tuple[Suspect, ...] = ()
    parts: int = Field(default=0, description="Parts of the data that were looked at")

    @model_validator(mode="before")
    @classmethod
    def _as_recorded(cls, given: Any) -> Any:
        return renamed(given, flipped_labels="poisoned")
