"""The project file's section on experiments."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from penstock.common.durations import Duration
from penstock.records.spec import Spec


class ExperimentSpec(Spec):
    """An experiment (A/B) on a business KPI: who gets the challenger, and what is compared."""

    header: str = Field(
        default="x-user-id",
        pattern=r"^[A-Za-z0-9-]{1,64}$",
        description="Header of a request that holds the user's id; the same user gets the same "
        "version. A request without it gets the champion and is counted apart",
    )
    weight: int = Field(
        default=50, ge=1, le=50, description="Percent of users that get the challenger"
    )
    kpi: Literal["value", "cost"] = Field(
        default="value",
        description="value: the number `value` that is sent with feedback; cost: what `gate.cost` "
        "says that a decision is worth, once its label has come",
    )
    low: float = Field(
        default=0.0, description="The least that a user's KPI counts; what is below counts as this"
    )
    high: float = Field(
        default=1.0, description="The most that it counts; of a cost matrix both are known"
    )
    better: Literal["higher", "lower"] = Field(
        default="higher", description="Which value is the better one; of a cost it is the higher"
    )
    per_user: Literal["mean", "sum"] = Field(
        default="mean", description="What a user with several rows counts as: one observation"
    )
    missing: Literal["skip", "zero"] = Field(
        default="skip",
        description="A user of whom no value has come: left out, or 0, as one who buys nothing",
    )
    window: Duration = Field(
        default="1d",
        description="Time from a user's first request within which labels and values count: 1h, 7d",
    )
    unit: str = Field(default="", max_length=20, description="Of the value, for example EUR")
    baseline: float | None = Field(
        default=None, description="The KPI's mean of today; of a rate, how often it is 1"
    )
    sd: float | None = Field(
        default=None,
        gt=0,
        description="Standard deviation of the KPI over users, of the arm where it is larger; "
        "empty: of a rate of `baseline`",
    )
    effect: float | None = Field(
        default=None, gt=0, description="The smallest difference that is to be seen"
    )
    power: float = Field(
        default=0.8, gt=0.5, lt=1, description="How surely it is seen by the planned users"
    )
    confidence: float = Field(
        default=0.95, gt=0.5, lt=1, description="Of the reading, over all looks together"
    )
    days: float = Field(
        default=28.0, gt=0, le=365, description="After which it is stopped, whatever is shown"
    )
    ends: Literal["stopped", "decided"] = Field(
        default="stopped",
        description="stopped: somebody stops it; decided: it stops once the reading is decided",
    )
    every: Duration = Field(default="1m", description="Time between two looks: 10s, 1m")

    @model_validator(mode="after")
    def _has_a_range(self) -> ExperimentSpec:
        if self.low >= self.high:
            raise ValueError(f"low: {self.low:g} is not below high, {self.high:g}")
        if self.kpi == "cost" and (self.missing, self.better) != ("skip", "higher"):
            raise ValueError(
                "kpi: a cost has no value without a label, and the higher one is better: leave "
                "missing and better out"
            )
        return self
