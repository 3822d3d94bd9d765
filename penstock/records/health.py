"""What was measured of whether a model's figures can be believed."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from penstock.records.base import Record, Value
from penstock.records.estimate import Estimate

FILE_NAME = "health.json"
"""Where a model folder holds what its training saw of its rows."""

SPLIT_NAME = "split.json"
"""Where it holds the record of the split that its training part comes from."""


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
    columns: int | None = Field(
        default=None, description="Columns whose values changed; None: an older release measured"
    )
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


class ColumnNote(Value):
    """What is to be said of one column."""

    column: str
    note: str


class Leakage(Value):
    """What would be absent when the model is used."""

    single_columns: tuple[ColumnFigure, ...] = Field(
        default=(), description="How well each column alone tells the target, the strongest first"
    )
    not_at_serving: tuple[str, ...] = Field(
        default=(), description="Columns that the model takes though the policy rules them out"
    )
    unknown: tuple[str, ...] = Field(
        default=(), description="Columns that the policy rules out and the holdout does not have"
    )
    overlap: str = Field(
        description="Empty: proved that no row is on both sides; else why it is not proved"
    )
    proof: str = Field(default="", description="How it was proved, in words")
    rows_in_both: int | None = Field(
        default=None, description="Holdout rows known to be training rows; None: not known"
    )
    by_chance: int = Field(
        default=0,
        description="As many such rows as chance explains where rows have few different values",
    )


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


class TrainingData(Value):
    """Health of the rows that a model learned from, and their drift from the champion's."""

    health: TrainingHealth | None = Field(
        default=None, description="None: the model does not carry it"
    )
    drift: tuple[ColumnFigure, ...] | None = Field(
        default=None,
        description="Population stability index by column, less what sampling alone gives, the "
        "largest first; None: not known",
    )
    drift_note: str = Field(default="", description="Why it is not known")
    incomparable: tuple[ColumnNote, ...] = Field(
        default=(), description="Columns whose drift cannot be told, and why"
    )
    new_columns: tuple[str, ...] = Field(
        default=(), description="Columns that the champion's training data does not have"
    )
