"""What was measured of a model on the holdout."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from penstock.errors import InputError
from penstock.records.base import Record, Value
from penstock.records.model import Task


class Estimate(Value):
    """A figure and its bootstrap interval."""

    value: float
    low: float
    high: float


class Scores(Value):
    """One model's metrics on the holdout."""

    name: str = Field(description="candidate, majority, mean, linear or champion")
    description: str
    model: str = Field(description="Digest of the model's folder")
    metrics: dict[str, Estimate]


class Comparison(Value):
    """Candidate against another model on the same rows, resampled together.

    `advantage` is oriented: above 0 the candidate is better, whatever the metric.
    """

    against: str
    metric: str
    advantage: Estimate


class Evaluation(Record):
    """The record that the gate reads."""

    KIND: ClassVar[str] = "evaluation"

    task: Task
    metric: str = Field(description="The primary metric")
    higher_is_better: dict[str, bool] = Field(description="For every metric that is reported")
    dataset: str = Field(description="Content digest of the holdout")
    model: str = Field(description="Digest of the candidate's folder")
    rows: int
    confidence: float = Field(description="Of every interval, between 0 and 1")
    resamples: int
    seed: int
    threshold: float | None = None
    champion: str = Field(default="", description="`models:/name/version` of the champion, if any")
    scores: tuple[Scores, ...]
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()

    @property
    def candidate(self) -> Scores:
        """The candidate's scores.

        Raises:
            InputError: If there are none.
        """
        scores = self.scores_of("candidate")
        if scores is None:
            raise InputError("the evaluation has no scores of the candidate")
        return scores

    def scores_of(self, name: str) -> Scores | None:
        """Return the scores of one model by its name here, or None."""
        return next((scores for scores in self.scores if scores.name == name), None)

    def comparison(self, *, against: str, metric: str) -> Comparison | None:
        """Return one comparison, or None when it was not made."""
        return next(
            (c for c in self.comparisons if c.against == against and c.metric == metric), None
        )
