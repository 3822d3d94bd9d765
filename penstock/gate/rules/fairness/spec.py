"""The settings of a rule on groups of people, and the record of each group."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from penstock.gate.rule import Measurement, RuleSpec
from penstock.records.estimate import Estimate

GroupMetric = Literal[
    "selection_rate",
    "true_positive_rate",
    "false_positive_rate",
    "equalized_odds",
    "accuracy",
    "mean_error",
    "mean_absolute_error",
]


class FairnessSpec(RuleSpec):
    """A bound on the spread of one figure over the groups of one or more sensitive columns."""

    columns: tuple[str, ...] = Field(
        min_length=1,
        description="Sensitive columns; several are crossed. The model need not take them. A "
        "missing value is a group",
    )
    metric: GroupMetric = Field(
        default="selection_rate",
        description="selection_rate (demographic parity), true_positive_rate (equal opportunity), "
        "false_positive_rate, equalized_odds (the wider of the last two), accuracy; of a "
        "regression mean_error or mean_absolute_error",
    )
    difference_at_most: float | None = Field(
        default=None,
        ge=0,
        description="Largest minus smallest group. The estimate is compared; its interval is "
        "reported",
    )
    ratio_at_least: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Smallest over largest group, for example 0.8. Not for mean_error",
    )
    min_rows: int = Field(
        default=50,
        ge=1,
        description="A group in which fewer rows bear on the figure (of a true positive rate: "
        "fewer positives) is flagged and left out of the spread",
    )

    @model_validator(mode="after")
    def _bounded(self) -> FairnessSpec:
        if self.difference_at_most is None and self.ratio_at_least is None:
            raise ValueError("give difference_at_most, ratio_at_least or both")
        if self.metric == "mean_error" and self.ratio_at_least is not None:
            raise ValueError("mean errors lie above and below 0: give difference_at_most only")
        errors = self.metric in ("mean_error", "mean_absolute_error")
        if not errors and self.difference_at_most is not None and self.difference_at_most >= 1:
            raise ValueError(
                f"difference_at_most: a {self.metric} lies between 0 and 1, so a difference of at "
                f"most {self.difference_at_most:g} is always met"
            )
        if self.ratio_at_least == 0:
            raise ValueError("ratio_at_least: no ratio is below 0, so 0 is always met")
        if len(set(self.columns)) < len(self.columns):
            raise ValueError("name each column once")
        return self


class Group(Measurement):
    """One group and its figures."""

    name: str = Field(description="In words, for example `sex = Female and race = Black`")
    rows: int
    small: bool = Field(
        description="Fewer rows that the figure rests on than the policy requires: left out of "
        "the spread"
    )
    figures: dict[str, float | None] = Field(
        description="By metric; None where the group does not define it"
    )


class Fairness(Measurement):
    """The spread of one figure over the groups of some columns."""

    columns: tuple[str, ...]
    metric: str
    min_rows: int = Field(description="Below which a group counts as small")
    groups: tuple[Group, ...] = Field(description="The smallest figure first, small groups last")
    difference: Estimate | None = Field(
        default=None, description="Largest minus smallest; None: fewer than two groups judged"
    )
    ratio: Estimate | None = Field(
        default=None,
        description="Smallest over largest; None: fewer than two groups judged, or a metric that "
        "has none",
    )
    notes: tuple[str, ...] = ()
