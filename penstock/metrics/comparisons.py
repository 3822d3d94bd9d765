"""By how much one model's metric is above another's on the same rows. Imported while evaluating.

`METHODS`, at the end, is the table: metric, method, source, and the function that makes it. Rows
that are hard for both models cancel in their difference, so its interval is narrower than those of
the two models would suggest. For the interval of one model see `penstock.metrics.intervals`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from penstock.metrics import own
from penstock.metrics.arrays import Floats
from penstock.metrics.intervals import (
    LARGEST_EFFECT,
    MetricEstimate,
    enclosing,
    unobserved_effect,
)
from penstock.metrics.methods import (
    Range,
    delta_method,
    mcnemar,
    mover,
    mover_difference,
    p_equal,
    standard_error,
    tango,
)
from penstock.metrics.predictions import Predictions
from penstock.records.estimate import Estimate


@dataclass(frozen=True)
class Difference:
    """A metric of one model minus that of another, on the same rows.

    Args:
        estimate: Value and interval, not oriented: of a loss, above 0 the first model is worse.
        method: The method's name.
        p_equal: The p-value of `both are equal`; None where no test applies.
    """

    estimate: Estimate
    method: str
    p_equal: float | None


@dataclass(frozen=True)
class Method:
    """How the difference of a metric between two models on the same rows gets its interval.

    Args:
        name: The method, as records name it.
        source: Where it was published.
        interval: The function: of the two estimates and the confidence, to the interval and the
            p-value.
    """

    name: str
    source: str
    interval: Callable[[MetricEstimate, MetricEstimate, float], tuple[Range, float | None]]


def paired_difference(
    metric: str, one: MetricEstimate, other: MetricEstimate, *, confidence: float
) -> Difference:
    """Return by how much a metric of `one` is above that of `other`.

    Args:
        metric: Its name.
        one: From `penstock.metrics.intervals.estimate_metrics`, with influences.
        other: Likewise, of the same rows in the same order.
        confidence: Share of such intervals that hold the true difference, between 0 and 1.
    """
    method = _method(metric)
    ends, p = method.interval(one, other, confidence)
    value = one.value - other.value
    return Difference(enclosing(value, ends), method.name, p)


def _method(metric: str) -> Method:
    if metric not in own.OWN:
        return METHODS[metric]
    return Method(
        "paired percentile bootstrap",
        "Efron and Tibshirani 1993",
        lambda one, other, confidence: own.difference(one, other, metric, confidence=confidence),
    )


def _accuracy(one: MetricEstimate, other: MetricEstimate, confidence: float) -> tuple[Range, float]:
    every = np.ones(len(one.predictions.truth), dtype=bool)
    return _share(one.predictions, other.predictions, every, confidence)


def _recall(one: MetricEstimate, other: MetricEstimate, confidence: float) -> tuple[Range, float]:
    positive = one.predictions.truth == 1
    return _share(one.predictions, other.predictions, positive, confidence)


def _share(
    one: Predictions, other: Predictions, rows: np.ndarray, confidence: float
) -> tuple[Range, float]:
    more, fewer, count = _discordant(one, other, rows)
    return tango(more, fewer, count, confidence=confidence), mcnemar(more, fewer)


def _discordant(one: Predictions, other: Predictions, rows: np.ndarray) -> tuple[int, int, int]:
    """Return how many of `rows` only the first predicts right, only the second, and all."""
    more = int((rows & one.correct & ~other.correct).sum())
    return more, int((rows & ~one.correct & other.correct).sum()), int(rows.sum())


def _balanced_accuracy(
    one: MetricEstimate, other: MetricEstimate, confidence: float
) -> tuple[Range, None]:
    parts = []
    for code in np.unique(one.predictions.truth):
        if code == one.predictions.classes:
            parts.append(Estimate(value=0, low=0, high=0))
            continue
        more, fewer, count = _discordant(
            one.predictions, other.predictions, one.predictions.truth == code
        )
        low, high = tango(more, fewer, count, confidence=confidence)
        parts.append(Estimate(value=(more - fewer) / count, low=low, high=high))
    return mover(parts), None


def _combined(one: MetricEstimate, other: MetricEstimate, _confidence: float) -> tuple[Range, None]:
    """Return the interval from those of the two models and the correlation of their influences."""
    assert one.influence is not None
    assert other.influence is not None
    correlation = _correlation(one.influence, other.influence)
    return mover_difference(one.estimate, other.estimate, correlation=correlation), None


def _correlation(one: Floats, other: Floats) -> float:
    size = float(np.sqrt((one @ one) * (other @ other)))
    # Nothing is known where one does not vary: none is the cautious side of a difference.
    return float(np.clip(one @ other / size, -1, 1)) if size else 0.0


def _delta(
    metric: str, *, skewness: bool = False
) -> Callable[[MetricEstimate, MetricEstimate, float], tuple[Range, float]]:
    """Return the delta method's interval of a difference, whose influences are the differences."""

    def interval(
        one: MetricEstimate, other: MetricEstimate, confidence: float
    ) -> tuple[Range, float]:
        assert one.influence is not None
        assert other.influence is not None
        value = one.value - other.value
        change = one.influence - other.influence
        p = p_equal(value, change)
        if standard_error(change)[0] > 1e-12 * abs(value):
            return delta_method(value, change, confidence=confidence, skewness=skewness), p
        # The two agree on these rows; on others, too rare to be among them, they may not.
        largest = LARGEST_EFFECT.get(metric, 0.0)
        step = unobserved_effect(metric, one.predictions, confidence=confidence)
        return (max(value - step, -largest), min(value + step, largest)), p

    return interval


_TANGO = "Tango's score interval"
_PAIRED_SHARES = "Tango 1998; p-value: McNemar 1947, exact"
_MOVER = ("square-and-add of both intervals", "Newcombe 1998; Zou and Donner 2008")
_DELONG = ("DeLong", "DeLong, DeLong and Clarke-Pearson 1988; Sun and Xu 2014")
_DELTA = ("delta method", "Hampel 1974")

METHODS: dict[str, Method] = {
    "roc_auc": Method(*_DELONG, _delta("roc_auc")),
    "average_precision": Method(
        "delta method", "Hampel 1974; Hall 1992", _delta("average_precision", skewness=True)
    ),
    "accuracy": Method(_TANGO, _PAIRED_SHARES, _accuracy),
    "balanced_accuracy": Method(
        _TANGO, "Tango 1998 by class; combined: Zou and Donner 2008", _balanced_accuracy
    ),
    "f1": Method(*_MOVER, _combined),
    "f1_macro": Method(*_MOVER, _combined),
    "precision": Method(*_MOVER, _combined),
    "recall": Method(_TANGO, _PAIRED_SHARES, _recall),
    "roc_auc_ovr": Method(*_DELONG, _delta("roc_auc_ovr")),
    "log_loss": Method(*_DELTA, _delta("log_loss")),
    "brier": Method(*_DELTA, _delta("brier")),
    "r2": Method(*_DELTA, _delta("r2")),
    "rmse": Method(*_DELTA, _delta("rmse")),
    "mae": Method(*_DELTA, _delta("mae")),
    "median_absolute_error": Method(*_MOVER, _combined),
    "mape": Method(*_DELTA, _delta("mape")),
}
"""How the difference of each metric is made, in the order of `penstock.metrics.METRICS`."""
