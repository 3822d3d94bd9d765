"""What a model's predictions looked like on the holdout: what later windows are compared with."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from penstock.records.base import Record, Value
from penstock.records.model import Label, Task

FILE_NAME = "baseline.json"
"""Where the evidence of a version holds it."""


class ScoreBins(Value):
    """Rows by bin of a score. Counts of further rows in the same edges may be added to these.

    `rows[i]` rows lie above `edges[i - 1]` and at or below `edges[i]`, as in a `Reference`. A
    later score beyond the last edge belongs to the last bin.
    """

    edges: tuple[float, ...] = Field(description="Rising; the last is the maximum")
    rows: tuple[int, ...]
    sums: tuple[float, ...] = Field(description="Sum of the scores of the bin's rows")
    hits: tuple[int, ...] = Field(
        default=(),
        description="Rows in which the scored class, or the prediction, was the true one. Empty: a "
        "regression",
    )

    @model_validator(mode="after")
    def _whole(self) -> ScoreBins:
        sizes = {len(self.edges), len(self.rows), len(self.sums), len(self.hits) or len(self.rows)}
        if len(sizes) > 1 or not self.rows or min(self.rows) < 1:
            raise ValueError("every bin has an edge, at least one row, a sum and its hits")
        if any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError("edges rise")
        return self


class ErrorBins(Value):
    """Errors of a regression by bin of the predicted value. Sums: see `ScoreBins`."""

    absolute: tuple[float, ...] = Field(description="Sum of the absolute errors")
    squared: tuple[float, ...] = Field(description="Sum of the squared errors")
    fourth: tuple[float, ...] = Field(description="Sum of the errors to the fourth power")


class LossFigure(Value):
    """A loss of single rows: its mean, and the standard deviation over rows."""

    mean: float
    deviation: float


class GroupColumn(Value):
    """How the values of a sensitive column fall into levels, the same for any rows.

    A category's level is the place of its text in `values`; any other text is the level after
    them. A number's is how many of the rising `cuts` are at or below it. A missing value is the
    last level.
    """

    name: str
    kind: Literal["category", "number"]
    values: tuple[str, ...] = ()
    cuts: tuple[float, ...] = Field(default=(), description="Of times: microseconds since 1970")

    @property
    def size(self) -> int:
        """How many levels there are."""
        return 2 + (len(self.values) if self.kind == "category" else len(self.cuts))


class Group(Value):
    """The holdout's rows of one group."""

    name: str = Field(description="In words, for example `sex = Female and age below 30`")
    levels: tuple[int, ...] = Field(description="One for each column of the groups")
    rows: int
    scores: ScoreBins = Field(
        description="Of the positive class, of many classes of the predicted one, or of the value"
    )
    confusion: tuple[tuple[int, ...], ...] = Field(
        default=(),
        description="Two classes: rows by true class (the last: none that the model knows) and "
        "predicted class. Otherwise empty",
    )
    losses: dict[str, LossFigure] = Field(description="As those of the baseline")


class Groups(Value):
    """The groups that a rule on fairness compares."""

    columns: tuple[GroupColumn, ...]
    groups: tuple[Group, ...] = Field(description="The largest first")


class Baseline(Record):
    """`baseline.json`: how a model scored the holdout, and how right it was.

    Made by the evaluate step; its digest is in the evaluation, so in what was decided on. From it
    performance is estimated before labels come (`penstock.monitoring.estimates.performance`), and
    the scores, losses and groups of later rows are compared with it. It holds counts and sums,
    and no rows.
    """

    KIND: ClassVar[str] = "baseline"

    task: Task
    target: str
    metric: str = Field(description="The primary metric")
    model: str = Field(description="Digest of the model's folder")
    dataset: str = Field(description="Content digest of the holdout")
    rows: int
    classes: tuple[Label, ...] = Field(
        default=(), description="In the order of the codes: of two classes the positive one last"
    )
    threshold: float | None = Field(
        default=None, description="Two classes: score from which the positive one is predicted"
    )
    scores: tuple[ScoreBins, ...] = Field(
        description="Two classes: of the positive one. More: of each class. A regression: of the "
        "predicted value"
    )
    predicted: ScoreBins | None = Field(
        default=None, description="More than two classes: of the predicted class, and if it is true"
    )
    errors: ErrorBins | None = Field(default=None, description="A regression: by bin of `scores`")
    confusion: tuple[tuple[int, ...], ...] = Field(
        default=(),
        description="Rows by true class (the last: none that the model knows) and predicted class; "
        "empty: a regression, or more than 50 classes",
    )
    losses: dict[str, LossFigure] = Field(
        description="By name: error (1 where the prediction is wrong), log_loss, brier; of a "
        "regression absolute_error and squared_error"
    )
    fairness: tuple[Groups, ...] = Field(
        default=(), description="For each rule on fairness that the policy had"
    )
    notes: tuple[str, ...] = ()
