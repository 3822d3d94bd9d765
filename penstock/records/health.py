"""What was measured of whether a model's figures can be believed."""

from __future__ import annotations

from pydantic import Field

from penstock.records.base import Value
from penstock.records.estimate import Estimate


class Calibration(Value):
    """Stated probabilities against what happened."""

    brier: Estimate
    ece: Estimate = Field(description="Expected calibration error over equal-mass bins")
    bins: int


class Disturbed(Value):
    """The primary metric when inputs are slightly off."""

    kind: str = Field(description="noise or missing")
    amount: float
    value: Estimate
    drop: Estimate = Field(description="How much is lost; oriented, above 0 it is worse")


class ColumnFigure(Value):
    """A figure of one column."""

    column: str
    value: float


class Leakage(Value):
    """What would be absent when the model is used."""

    single_columns: tuple[ColumnFigure, ...] = Field(
        default=(), description="How well each column alone ranks the target, the strongest first"
    )
    not_at_serving: tuple[str, ...] = Field(
        default=(), description="Columns that the model takes though the policy rules them out"
    )
    overlap: str = Field(
        description="Empty: proved that no row is on both sides; else why it is not proved"
    )


class Suspect(Value):
    """A part of the training data whose labels look flipped."""

    name: str
    rows: int
    flipped: float = Field(description="Share of its rows whose label looks wrong")


class TrainingHealth(Value):
    """What training saw of its own rows, by predictions on rows left out of each fit."""

    rows: int
    label_noise: float | None = Field(
        default=None, description="Estimated share of wrong labels; None for a regression"
    )
    poisoned: float = Field(
        default=0.0, description="Share of all rows that look flipped beyond what is so elsewhere"
    )
    suspects: tuple[Suspect, ...] = ()
    notes: tuple[str, ...] = ()


class TrainingData(Value):
    """Health of the rows that a model learned from, and their drift from the champion's."""

    health: TrainingHealth | None = None
    drift: tuple[ColumnFigure, ...] = Field(
        default=(), description="Population stability index by column, the largest first"
    )
    notes: tuple[str, ...] = ()
