"""By how much a version's metric is above the champion's on the same rows: by labels, or estimated.

The metric is the mean of the loss that the alarm on labels is about. With labels the difference is
paired (`penstock.metrics.comparisons`); without, it is that of two estimates, whose errors are
taken for independent. Both take rows for independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from penstock.errors import InputError
from penstock.monitoring.estimates.concept import CONFIDENCE, NORMAL, Concept
from penstock.monitoring.estimates.estimates import Estimated, NotEstimated
from penstock.monitoring.estimates.performance import estimate, loss_of, predictions_of
from penstock.records.baseline import Baseline
from penstock.records.estimate import Estimate

if TYPE_CHECKING:
    from penstock.metrics.intervals import MetricEstimate
    from penstock.metrics.predictions import Predictions

Floats = NDArray[np.float64]

METRICS = {
    "error": "accuracy",
    "brier": "brier",
    "absolute_error": "mae",
    "squared_error": "rmse",
}
"""The metric that is the mean of each loss, or its root."""


class Advantage(Protocol):
    """Compares versions with the champion, on rows that were chosen before."""

    @property
    def method(self) -> Literal["labels", "estimates"]:
        """How it is measured."""
        ...

    @property
    def metric(self) -> str:
        """Which metric."""
        ...

    @property
    def figure(self) -> float:
        """The champion's."""
        ...

    def of(
        self, baseline: Baseline, scores: Floats, *, confidence: float
    ) -> tuple[float, Estimate]:
        """Return a version's metric, and by how much it is above the champion's, not oriented.

        Args:
            baseline: The version's.
            scores: Its scores of the rows, shape (n,) or (n, classes).
            confidence: Share of such intervals that hold the true difference, between 0 and 1.

        Raises:
            InputError: If it cannot be measured.
        """
        ...


def metric_of(baseline: Baseline) -> str:
    """Return the metric by which versions are compared with one of this baseline."""
    return METRICS[loss_of(baseline)]


@dataclass(frozen=True)
class ByLabels:
    """By the labels of the rows.

    Attributes:
        metric: Which metric.
        labels: Of the rows.
        champion: The champion's metric.
    """

    metric: str
    labels: Sequence[Any]
    champion: MetricEstimate
    method: Literal["labels"] = "labels"

    @property
    def figure(self) -> float:
        """The champion's metric."""
        return self.champion.value

    def of(
        self, baseline: Baseline, scores: Floats, *, confidence: float
    ) -> tuple[float, Estimate]:
        """Return a version's metric, and by how much it is above the champion's."""
        from penstock.metrics.comparisons import paired_difference

        mine = _measured(predictions_of(scores, self.labels, baseline=baseline), self.metric)
        found = paired_difference(self.metric, mine, self.champion, confidence=confidence)
        return mine.value, found.estimate


@dataclass(frozen=True)
class ByEstimates:
    """By what is expected of the scores, with what labels of earlier windows have taught.

    Attributes:
        metric: Which metric.
        concept: What labels have taught of the champion's estimates; it is taken for every
            version's.
        champion: The champion's estimate.
    """

    metric: str
    concept: Concept | None
    champion: Estimated
    method: Literal["estimates"] = "estimates"

    @property
    def figure(self) -> float:
        """The champion's metric."""
        return self.champion.value

    def of(
        self, baseline: Baseline, scores: Floats, *, confidence: float
    ) -> tuple[float, Estimate]:
        """Return a version's metric, and by how much it is above the champion's."""
        mine = _estimated(scores, baseline, self.metric, self.concept)
        learned = (self.concept or Concept()).of(self.metric)
        reach = NormalDist().inv_cdf((1 + confidence) / 2) * learned.reach / NORMAL
        # The same rows may make both err alike; independent errors are the cautious side.
        variance = mine.error**2 + self.champion.error**2 + 2 * learned.variance
        half, value = reach * math.sqrt(variance), mine.value - self.champion.value
        return mine.value, Estimate(value=value, low=value - half, high=value + half)


def by_labels(scores: Floats, labels: Sequence[Any], *, champion: Baseline) -> ByLabels | None:
    """Return what compares by labels; None: too few rows are of one of the classes.

    Args:
        scores: The champion's scores of the rows that have labels.
        labels: Theirs.
        champion: Its baseline.

    Raises:
        InputError: If the labels are not of the model's classes.
    """
    from penstock.metrics.intervals import too_few_rows

    metric = metric_of(champion)
    of = predictions_of(scores, labels, baseline=champion)
    if metric in too_few_rows(of):
        return None
    return ByLabels(metric, labels, _measured(of, metric))


def by_estimates(scores: Floats, *, champion: Baseline, concept: Concept | None) -> ByEstimates:
    """Return what compares without labels.

    Args:
        scores: The champion's scores of the rows.
        champion: Its baseline.
        concept: What labels have taught of its estimates.

    Raises:
        InputError: If there is no estimate, for example because labels have contradicted it.
    """
    metric = metric_of(champion)
    return ByEstimates(metric, concept, _estimated(scores, champion, metric, concept))


def _measured(of: Predictions, metric: str) -> MetricEstimate:
    from penstock.metrics.intervals import estimate_metrics
    from penstock.metrics.weighted import compute

    return estimate_metrics(of, {metric: compute(of)[metric]}, confidence=CONFIDENCE)[metric]


def _estimated(
    scores: Floats, baseline: Baseline, metric: str, concept: Concept | None
) -> Estimated:
    found = estimate(scores, baseline=baseline, metric=metric, concept=concept)
    if isinstance(found, NotEstimated):
        raise InputError(found.reason, where=metric)
    return found
