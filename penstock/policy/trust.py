"""Rules on whether a model's figures can be believed: calibration, stability, leakage, its data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from penstock.policy.rules import Rule, Severity


class CalibrationRule(Rule):
    """Whether stated probabilities are what happens.

    Of two classes the probability of the positive one is judged; of several, that of the class
    which is predicted (top label).
    """

    brier_at_most: float | None = Field(
        default=None,
        gt=0,
        le=2,
        description="Brier score; of several classes summed over them, up to 2",
    )
    ece_at_most: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Expected calibration error, over equal-mass bins, freed of what chance alone "
        "adds to it in few rows",
    )
    bins: int = Field(default=10, ge=2, le=100, description="Of the calibration error")
    on: Literal["estimate", "interval"] = Field(
        default="estimate",
        description="estimate compares the figure, interval the upper end of its interval",
    )

    @model_validator(mode="after")
    def _bounded(self) -> CalibrationRule:
        if self.brier_at_most is None and self.ece_at_most is None:
            raise ValueError("give brier_at_most, ece_at_most or both")
        return self


class StabilityRule(Rule):
    """How much of the primary metric may be lost when inputs are slightly off."""

    severity: Severity = "warn"
    noise: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Noise added to each number, as a share of its standard deviation; 0: none",
    )
    missing: float = Field(
        default=0.05, ge=0, le=1, description="Share of values set to missing; 0: none"
    )
    drop_at_most: float = Field(
        default=0.05, ge=0, description="In units of the primary metric, for either"
    )

    @model_validator(mode="after")
    def _disturbs(self) -> StabilityRule:
        if self.noise == 0 and self.missing == 0:
            raise ValueError("let noise or missing be above 0")
        return self


class LeakageRule(Rule):
    """Whether figures may rest on what will not be there in use: each part is a rule of its own."""

    single_column: float | None = Field(
        default=0.99,
        gt=0.5,
        le=1,
        description="No column alone may tell the target this well (area under the ROC curve; of "
        "a regression, squared rank correlation); null looks at none",
    )
    single_column_severity: Severity = Field(
        default="warn",
        description="Of that bound alone: in a table that is easy to tell apart, one column may "
        "tell by right",
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


class TrainingDataRule(Rule):
    """Whether the rows that a model learned from look right: each bound is a rule of its own."""

    severity: Severity = "warn"
    label_noise_at_most: float | None = Field(
        default=0.2,
        gt=0,
        le=1,
        description="Estimated share of wrong labels (confident learning); null looks at none",
    )
    poisoned_at_most: float | None = Field(
        default=0.02,
        gt=0,
        le=1,
        description="Share of rows whose label looks flipped within one part of the data, beyond "
        "what is so elsewhere; null looks for none",
    )
    drift_at_most: float | None = Field(
        default=0.25,
        gt=0,
        description="Population stability index of any column that the model or the champion "
        "takes, and of the target, against the champion's training data; null compares none",
    )
