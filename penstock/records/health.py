"""What was measured of whether a model's figures can be believed."""

from __future__ import annotations

from pydantic import Field

from penstock.records.base import Value
from penstock.records.estimate import Estimate


class Calibration(Value):
    """Stated probabilities against what happened."""

    of: str = Field(
        description="positive class: its stated probability. top label: of several classes, the "
        "probability given to the one that is predicted, against whether it is right"
    )
    brier: Estimate = Field(
        description="Mean squared distance of the stated probability from what happened; of "
        "several classes summed over them, from 0 to 2"
    )
    ece: Estimate = Field(
        description="Expected calibration error over equal-mass bins, freed of what chance alone "
        "adds to it"
    )
    plain_ece: float = Field(description="The same as counted, which is too high in few rows")
    bins: int = Field(description="How many; fewer than asked for where scores are equal")


class Disturbed(Value):
    """The primary metric when inputs are slightly off."""

    kind: str = Field(description="noise or missing")
    amount: float
    rows: int = Field(description="How many were disturbed: all, or a sample of the holdout")
    before: float = Field(description="The figure on the same rows undisturbed")
    value: Estimate | None = Field(default=None, description="None: the model gave no answers")
    drop: Estimate | None = Field(
        default=None, description="How much is lost; oriented, above 0 it is worse"
    )
    failed: str = Field(default="", description="What the model said instead of answering")


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
