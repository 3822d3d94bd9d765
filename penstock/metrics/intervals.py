"""The confidence interval of every metric. Imported only while evaluating.

`METHODS`, at the end, is the table: metric, method, source, and the function that makes it. How
often each interval holds the true value was simulated (docs/gate-statistics.md). All take rows for
independent, and none has no width where chance was at work. For two models on the same rows see
`penstock.metrics.comparisons`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from penstock.metrics import own, own_interval
from penstock.metrics.arrays import Floats
from penstock.metrics.bounds import MIN_CLASS_ROWS
from penstock.metrics.influence import f1_correlation, influences
from penstock.metrics.methods import (
    IDENTITY,
    LOG,
    LOGIT,
    Range,
    Transform,
    delta_method,
    median,
    mover,
    standard_error,
    unobserved_share,
    wilson,
)
from penstock.metrics.predictions import Predictions
from penstock.records.estimate import Estimate

RANKINGS = frozenset({"roc_auc", "roc_auc_ovr", "average_precision"})
"""Metrics of the order of the scores, which rest on the rows of the rarest class."""

LARGEST_EFFECT = {
    "roc_auc": 1.0,
    "roc_auc_ovr": 1.0,
    "average_precision": 2.0,
    "brier": 1.0,
    "log_loss": 36.0,
}
"""The most that a metric can change for each share of rows unlike all that were seen."""

_NONE = (0.0, 0.0)


@dataclass(frozen=True)
class MetricValue:
    """A metric of one model.

    Args:
        value: What it is.
        predictions: What it was computed from.
        influence: How much each row moves it, shape (n,); None where nothing needs it.
    """

    value: float
    predictions: Predictions
    influence: Floats | None


@dataclass(frozen=True)
class MetricEstimate(MetricValue):
    """A metric of one model with its interval.

    Args:
        estimate: Value and interval.
    """

    estimate: Estimate


@dataclass(frozen=True)
class Method:
    """How the interval of a metric is made.

    Args:
        name: The method.
        source: Where it was published.
        interval: The function: of the metric's value and what it was computed from, and the
            confidence.
    """

    name: str
    source: str
    interval: Callable[[MetricValue, float], Range]


def estimate_metrics(
    predictions: Predictions, values: Mapping[str, float], *, confidence: float
) -> dict[str, MetricEstimate]:
    """Return metrics of a model with their intervals.

    Args:
        predictions: Of the model.
        values: The metrics' values, finite (`penstock.metrics.weighted.compute`); only these are
            given intervals, and none of them should be in `too_few_rows`.
        confidence: Share of such intervals that hold the true value, between 0 and 1.
    """
    effects = influences(predictions, values)
    found = {}
    for metric, value in values.items():
        of = MetricValue(value, predictions, effects.get(metric))
        estimate = enclosing(value, _method(metric).interval(of, confidence))
        found[metric] = MetricEstimate(value, predictions, of.influence, estimate)
    return found


def _method(metric: str) -> Method:
    """Return the method of a metric; of the project's own nothing is known but its values."""
    if metric not in own.OWN:
        return METHODS[metric]
    return Method(
        "percentile bootstrap",
        "Efron and Tibshirani 1993",
        lambda of, confidence: own_interval.interval(
            metric, of.value, of.predictions, confidence=confidence
        ),
    )


def too_few_rows(predictions: Predictions) -> frozenset[str]:
    """Return the metrics that have no interval, because a class has below `MIN_CLASS_ROWS` rows."""
    if predictions.task == "regression" or predictions.rarest >= MIN_CLASS_ROWS:
        return frozenset()
    if predictions.task == "multiclass":
        return frozenset({"roc_auc_ovr", *own.OWN})
    return frozenset({*own.OWN, "roc_auc", "average_precision", "log_loss", "brier"})


def enclosing(value: float, ends: Range) -> Estimate:
    """Return an estimate; rounding must not put a value outside of its own interval."""
    low, high = ends
    return Estimate(value=value, low=min(low, value), high=max(high, value))


def _share(hits: float, trials: float, confidence: float) -> Estimate:
    low, high = wilson(hits, trials, confidence=confidence)
    return Estimate(value=hits / trials, low=low, high=high)


def _accuracy(of: MetricValue, confidence: float) -> Range:
    table = of.predictions.confusion
    return wilson(np.diagonal(table).sum(), table.sum(), confidence=confidence)


def _recall(of: MetricValue, confidence: float) -> Range:
    table = of.predictions.confusion
    positives = table[1].sum()
    return wilson(table[1, 1], positives, confidence=confidence) if positives else _NONE


def _precision(of: MetricValue, confidence: float) -> Range:
    table = of.predictions.confusion
    called = table[:, 1].sum()
    # By convention a precision of which nothing is predicted positive is 0.
    return wilson(table[1, 1], called, confidence=confidence) if called else _NONE


def _balanced_accuracy(of: MetricValue, confidence: float) -> Range:
    table = of.predictions.confusion
    right, actual = np.diagonal(table), table.sum(axis=1)
    present = np.flatnonzero(actual[: of.predictions.classes])
    recalls = [_share(right[code], actual[code], confidence) for code in present]
    return mover(recalls + _unknown_class(table))


def _f1(of: MetricValue, confidence: float) -> Range:
    table = of.predictions.confusion
    if not table[1].sum() + table[:, 1].sum():
        return _NONE
    positive = _f1_of_class(table, 1, confidence)
    return positive.low, positive.high


def _f1_macro(of: MetricValue, confidence: float) -> Range:
    table = of.predictions.confusion
    sizes = table.sum(axis=1)[: of.predictions.classes] + table.sum(axis=0)
    classes = np.flatnonzero(sizes).tolist()
    parts = [_f1_of_class(table, code, confidence) for code in classes] + _unknown_class(table)
    correlation = np.eye(len(parts))
    correlation[: len(classes), : len(classes)] = f1_correlation(table)[np.ix_(classes, classes)]
    return mover(parts, correlation=correlation)


def _f1_of_class(table: Floats, code: int, confidence: float) -> Estimate:
    """Return the F1 of a class: 2 J / (1 + J), with J its hits over its rows and predictions.

    J, the Jaccard index, is a share of counted rows, and F1 rises with it: the ends of the interval
    of the one are those of the other.
    """
    right = table[code, code]
    either = table[code].sum() + table[:, code].sum() - right
    jaccard = _share(right, either, confidence)
    value, low, high = (2 * j / (1 + j) for j in (jaccard.value, jaccard.low, jaccard.high))
    return Estimate(value=value, low=low, high=high)


def _unknown_class(table: Floats) -> list[Estimate]:
    """Return what a class that the model does not know counts as: none of its rows is right."""
    return [Estimate(value=0, low=0, high=0)] if table[-1].sum() else []


def _median_error(of: MetricValue, confidence: float) -> Range:
    errors = np.abs(of.predictions.scores - of.predictions.truth)
    return median(errors, confidence=confidence)


def _delta(
    metric: str, *, transform: Transform = IDENTITY, skewness: bool = False
) -> Callable[[MetricValue, float], Range]:
    """Return the delta method's interval of a metric; see `penstock.metrics.methods.delta_method`.

    Where no row differs from another the method says nothing: then others may exist that are too
    rare to be among these rows.
    """

    def interval(of: MetricValue, confidence: float) -> Range:
        assert of.influence is not None
        value, scores = of.value, of.predictions.scores
        perfect = metric in RANKINGS and min(value, 1 - value) < 1e-12
        if not perfect and standard_error(of.influence)[0] > 1e-12 * abs(value):
            return delta_method(
                value, of.influence, confidence=confidence, transform=transform, skewness=skewness
            )
        if (scores == scores[0]).all():
            return value, value  # It predicts the same for whatever row.
        step = unobserved_effect(metric, of.predictions, confidence=confidence)
        return max(value - step, 0.0), min(value + step, max(1.0, LARGEST_EFFECT.get(metric, 0.0)))

    return interval


def unobserved_effect(metric: str, of: Predictions, *, confidence: float) -> float:
    """Return how far rows that are too rare to be among these may move a metric."""
    rows = of.rarest if metric in RANKINGS else len(of.truth)
    return LARGEST_EFFECT.get(metric, 0.0) * unobserved_share(rows, confidence=confidence)


_WILSON, _DELTA = "Wilson's score interval", "delta method"
_MOVER = "Newcombe 1998; Zou and Donner 2008"
_DELONG = "DeLong, DeLong and Clarke-Pearson 1988; Sun and Xu 2014"
_SKEWNESS = f"{_DELTA}, corrected for skewness"
_HALL = "Hampel 1974; Hall 1992"

METHODS: dict[str, Method] = {
    "roc_auc": Method(
        "DeLong's standard error on the logit scale", _DELONG, _delta("roc_auc", transform=LOGIT)
    ),
    "average_precision": Method(
        f"{_DELTA} on the logit scale", "Hampel 1974", _delta("average_precision", transform=LOGIT)
    ),
    "accuracy": Method(_WILSON, "Wilson 1927", _accuracy),
    "balanced_accuracy": Method(
        f"{_WILSON} of each class, combined by MOVER", _MOVER, _balanced_accuracy
    ),
    "f1": Method(f"{_WILSON} of J, transformed by F1 = 2 J / (1 + J)", "Wilson 1927", _f1),
    "f1_macro": Method(
        "F1's of each class, combined by MOVER with their correlation", _MOVER, _f1_macro
    ),
    "precision": Method(f"{_WILSON} of the rows predicted positive", "Wilson 1927", _precision),
    "recall": Method(f"{_WILSON} of the positive rows", "Wilson 1927", _recall),
    "roc_auc_ovr": Method(
        "DeLong's standard error on the logit scale",
        _DELONG,
        _delta("roc_auc_ovr", transform=LOGIT),
    ),
    "log_loss": Method(_SKEWNESS, _HALL, _delta("log_loss", skewness=True)),
    "brier": Method(_SKEWNESS, _HALL, _delta("brier", skewness=True)),
    "r2": Method(_SKEWNESS, _HALL, _delta("r2", skewness=True)),
    "rmse": Method(
        f"{_SKEWNESS}, on the log scale", _HALL, _delta("rmse", transform=LOG, skewness=True)
    ),
    "mae": Method(_SKEWNESS, _HALL, _delta("mae", skewness=True)),
    "median_absolute_error": Method(
        "order statistics, by the binomial distribution", "Conover 1999", _median_error
    ),
    "mape": Method(_SKEWNESS, _HALL, _delta("mape", skewness=True)),
}
"""How the interval of each metric is made, in the order of `penstock.metrics.METRICS`."""
