"""The settings of the rule on training data, and the record of what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from penstock.gate.rule import Measurement, RuleSpec
from penstock.records.decision import Severity
from penstock.records.health import ColumnFigure, ColumnNote, TrainingHealth


class TrainingDataSpec(RuleSpec):
    """Whether the rows that a model learned from look right: each bound is a rule of its own."""

    FORMER: ClassVar[Mapping[str, str]] = {"poisoned_at_most": "flipped_labels_at_most"}

    severity: Severity = "warn"
    label_noise_at_most: float | None = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="Estimated share of wrong labels (confident learning); null looks at none",
    )
    flipped_labels_at_most: float | None = Field(
        default=0.02,
        # Digests of policies hold it, also of those that leave the default.
        serialization_alias="poisoned_at_most",
        gt=0,
        lt=1,
        description="Share of rows whose label looks flipped within one part of the data, beyond "
        "what is so elsewhere; null looks for none",
    )
    drift_at_most: float | None = Field(
        default=0.25,
        gt=0,
        description="Population stability index of any column that the model or the champion "
        "takes, and of the target, against the champion's training data; null compares none",
    )


class TrainingData(Measurement):
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
        default=(), description="Columns whose drift is not known, and why"
    )
    new_columns: tuple[str, ...] = Field(
        default=(), description="Columns that the champion's training data does not have"
    )
