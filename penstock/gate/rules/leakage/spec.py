"""The settings of the rule on leakage, and the record of what is measured."""

from __future__ import annotations

from pydantic import Field

from penstock.gate.rule import Measurement, RuleSpec
from penstock.records.decision import Severity
from penstock.records.health import ColumnFigure

NOT_LOOKED_FOR = "not asked"
"""What an evaluation records in the place of a proof where the policy does not require one."""


class LeakageSpec(RuleSpec):
    """Whether figures may rest on what will not be there in use: each part is a rule of its own."""

    single_column: float | None = Field(
        default=0.99,
        gt=0.5,
        le=1,
        description="No column alone may predict the target this well (area under the ROC curve; "
        "of a regression, squared rank correlation); null looks at none",
    )
    single_column_severity: Severity = Field(
        default="warn",
        description="Of that bound alone: in a table that is easy to classify, one column may "
        "do so legitimately",
    )
    not_at_serving: tuple[str, ...] = Field(
        default=(), description="Columns that are not known when a prediction is made"
    )
    overlap: bool = Field(
        default=True,
        description="It must be proved that no holdout row is a training row, beyond rows that "
        "are equal by chance: by the split that made both, or by hashes of the training rows that "
        "the model carries",
    )


class Leakage(Measurement):
    """What would be absent when the model is used."""

    single_columns: tuple[ColumnFigure, ...] = Field(
        default=(), description="How well each column alone predicts the target, the best first"
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
