"""The settings of the rule on slices, and the record of each part of the holdout."""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from penstock.gate.rule import Measurement, RuleSpec
from penstock.metrics.bounds import check_bounds, check_margin, check_metric
from penstock.records.estimate import Estimate


class SlicesSpec(RuleSpec):
    """Parts of the holdout, given or found, each held to a floor and to the champion.

    A slice is the rows that share a value of a column, or of several crossed. Numbers are cut at
    quantiles; of a column with many values the commonest are slices, the others one together.
    """

    columns: tuple[str | tuple[str, ...], ...] = Field(
        default=(),
        description="Slices to look at: a column, or a list of columns that are crossed. A column "
        "need not be one that the model takes",
    )
    find: int = Field(
        default=5,
        ge=0,
        le=50,
        description="How many of the weakest slices to look for in all columns and pairs of them",
    )
    metric: str = Field(
        default="",
        description="What is measured in each slice: accuracy, recall, log_loss or brier; of "
        "several classes accuracy or log_loss; of a regression r2 (against the variance of the "
        "whole holdout), rmse or mae. Empty takes the primary metric if it is one of these, else "
        "the first of them",
    )
    min_rows: int = Field(default=100, ge=10, description="Smaller slices are listed, not judged")
    levels: int = Field(
        default=20, ge=2, le=1000, description="Values of a column that become slices of their own"
    )
    at_least: float | None = Field(default=None, description="Floor of the metric in each slice")
    at_most: float | None = Field(default=None, description="The same where less is better")
    margin: float | None = Field(
        default=0.05,
        ge=0,
        description="No slice may be shown to be worse than the champion by more than this, in "
        "units of the metric; null compares with no champion",
    )
    alpha: float = Field(
        default=0.05,
        gt=0,
        lt=0.5,
        description="Probability of any false alarm, however many slices are tested (Holm's "
        "method). Named and found slices have half of it each",
    )

    @field_validator("columns")
    @classmethod
    def _crossed_once(
        cls, columns: tuple[str | tuple[str, ...], ...]
    ) -> tuple[str | tuple[str, ...], ...]:
        for one in columns:
            if isinstance(one, str):
                continue
            if not 1 <= len(one) <= 4 or len(set(one)) < len(one):
                raise ValueError("cross one to four different columns")
        return columns

    @model_validator(mode="after")
    def _asks_something(self) -> SlicesSpec:
        if self.at_least is not None and self.at_most is not None:
            raise ValueError("give at most one of at_least and at_most")
        if not self.columns and not self.find:
            raise ValueError("name columns, or let find be above 0")
        if self.metric:
            check_bounds(self.metric, at_least=self.at_least, at_most=self.at_most)
            if self.margin is not None:
                metric = check_metric(self.metric)
                check_margin("margin", self.margin, metric=metric, outcome="is never exceeded")
        return self


class Slice(Measurement):
    """One part of the holdout. `advantage` is oriented: above 0 the candidate is better.

    The p-values are adjusted by Holm's method for everything that was looked at: at most the
    policy's alpha flags.
    """

    name: str = Field(description="In words, for example `region = north and age below 30`")
    columns: tuple[str, ...]
    found: bool = Field(description="Found by looking, not named by the policy")
    rows: int = Field(description="That the figure rests on")
    estimate: Estimate | None = Field(default=None, description="None: too few rows to judge")
    advantage: Estimate | None = Field(default=None, description="Over the champion, on its rows")
    p_floor: float | None = Field(
        default=None, description="Adjusted p-value of `it meets the policy's floor`, one-sided"
    )
    p_worse: float | None = Field(
        default=None,
        description="Adjusted p-value of `it is not worse than the champion by more than the "
        "margin`, one-sided",
    )

    def flagged(self, *, alpha: float) -> bool:
        """Return whether a p-value says that the slice is bad."""
        return any(p is not None and p <= alpha for p in (self.p_floor, self.p_worse))


class Slices(Measurement):
    """The slices that are named here, the weakest first, of those that were looked at."""

    metric: str
    higher_is_better: bool
    looked_at: int = Field(description="How many were large enough to be judged, shown or not")
    named: int = Field(description="How many of them the policy names")
    too_small: int = Field(description="How many had too few rows and were skipped")
    unjudged: tuple[str, ...] = Field(
        default=(), description="What the policy names and has no slice large enough to be judged"
    )
    min_rows: int = Field(default=0, description="Fewer rows are too few; 0: not noted")
    omitted: int = Field(
        default=0,
        description="How many more are flagged and not listed here, most of them "
        "because their rows lie within one that is",
    )
    compared: bool = Field(description="Whether each was compared with the champion")
    floor: float | None = Field(default=None, description="That each was held to")
    margin: float | None = Field(default=None, description="That each was held to")
    alpha: float = Field(description="At most which adjusted p-value flags")
    slices: tuple[Slice, ...]
    notes: tuple[str, ...] = ()
