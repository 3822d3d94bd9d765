"""The estimates of each task, with the variance by sampling and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from penstock.monitoring.estimates.calibration_map import Curve, calibration_curve, loss_curves
from penstock.monitoring.estimates.estimates import NotEstimated
from penstock.monitoring.estimates.expected_metrics import (
    BINARY,
    MULTICLASS,
    Expected,
    Unlabelled,
    UnlabelledClasses,
)
from penstock.records.baseline import Baseline

Floats = NDArray[np.float64]

LEAST_OF_A_CLASS = 20
"""Expected rows of a class below which there is no interval that could be believed."""

MOST_OUTSIDE = 0.05
"""Share of a regression's predictions outside the holdout's from which it is not estimated."""


def predicted(scores: Floats, *, baseline: Baseline) -> NDArray[Any]:
    """Return predicted class codes, or the values of a regression; shape (n,)."""
    if baseline.task == "regression":
        return scores
    if baseline.task == "binary":
        return np.asarray(scores >= cast("float", baseline.threshold), dtype=np.int64)
    return np.asarray(scores.argmax(axis=1), dtype=np.int64)


@dataclass(frozen=True)
class Found:
    """An estimate.

    Attributes:
        value: Of the metric.
        variance: By sampling and calibration.
        method: How it was made.
    """

    value: float
    variance: float
    method: str


_CBPE = "CBPE: probabilities by the holdout's calibration"


def binary(scores: Floats, baseline: Baseline, metric: str) -> Found | NotEstimated:
    """Return the estimate of a metric of two classes; `scores` have shape (n,)."""
    curve = calibration_curve(baseline.scores[0])
    rows = Unlabelled(
        probability=curve.at(scores),
        flagged=predicted(scores, baseline=baseline) == 1,
        scores=scores,
    )
    lacking = _lacking(rows, metric)
    if lacking:
        return NotEstimated(lacking)
    found = BINARY[metric](rows)
    spread = rows.probability * (1 - rows.probability)
    sampling = float((spread * found.gradient**2).mean()) / len(scores)
    calibration = curve.variance_of_mean(scores, found.gradient)
    return Found(found.value, sampling + calibration, _CBPE)


_OF_POSITIVES = {"recall", "f1", "average_precision"}
_OF_BOTH = {"roc_auc", "balanced_accuracy", "f1_macro"}


def _lacking(rows: Unlabelled, metric: str) -> str:
    """Return why a metric cannot be estimated of so few positives or negatives; empty: it can."""
    positives = float(rows.probability.sum())
    counts = {
        "positive": (positives, metric in _OF_POSITIVES | _OF_BOTH),
        "negative": (len(rows.scores) - positives, metric in _OF_BOTH),
        "predicted positive": (float(rows.flagged.sum()), metric == "precision"),
    }
    for name, (count, needed) in counts.items():
        if needed and count < LEAST_OF_A_CLASS:
            return (
                f"{metric} rests on {name} rows, and about {count:,.0f} are expected among "
                f"{len(rows.scores):,}; {LEAST_OF_A_CLASS} are needed."
            )
    return ""


def multiclass(scores: Floats, baseline: Baseline, metric: str) -> Found | NotEstimated:
    """Return the estimate of a metric of more classes; `scores` have shape (n, classes)."""
    if metric == "accuracy" and baseline.predicted is not None:
        surest = scores.max(axis=1)
        curve = calibration_curve(baseline.predicted)
        right = curve.at(surest)
        sampling = float((right * (1 - right)).mean()) / len(scores)
        calibration = curve.variance_of_mean(surest, np.ones(len(scores)))
        return Found(float(right.mean()), sampling + calibration, _CBPE)
    rows, curves, total = _calibrated(scores, baseline)
    rarest = float(rows.probability.sum(axis=0).min())
    if metric != "log_loss" and rarest < LEAST_OF_A_CLASS:
        return NotEstimated(
            f"{metric} rests on every class, and of the rarest about {rarest:,.0f} rows are "
            f"expected; {LEAST_OF_A_CLASS} are needed."
        )
    found = MULTICLASS[metric](rows)
    return Found(found.value, _variance_of_classes(rows, found, curves, total), _CBPE)


def expected_value(scores: Floats, baseline: Baseline, worth: Floats) -> Found:
    """Return the mean that values of rows are expected to have, without labels.

    Args:
        scores: Shape (n,) or (n, classes).
        baseline: Of a classification.
        worth: Value of each row by its true class, shape (n, classes).
    """
    if baseline.task == "binary":
        curve = calibration_curve(baseline.scores[0])
        positive = curve.at(scores)
        gradient = worth[:, 1] - worth[:, 0]
        value = float((worth[:, 0] + positive * gradient).mean())
        sampling = float((positive * (1 - positive) * gradient**2).mean()) / len(scores)
        return Found(value, sampling + curve.variance_of_mean(scores, gradient), _CBPE)
    rows, curves, total = _calibrated(scores, baseline)
    value = float((rows.probability * worth).sum(axis=1).mean())
    found = Expected(value, worth)
    return Found(value, _variance_of_classes(rows, found, curves, total), _CBPE)


def _calibrated(
    scores: Floats, baseline: Baseline
) -> tuple[UnlabelledClasses, list[Curve], Floats]:
    """Return rows of more classes with their probabilities, the curves, and the sums of these."""
    curves = [calibration_curve(bins) for bins in baseline.scores]
    raw = np.stack([curve.at(scores[:, code]) for code, curve in enumerate(curves)], axis=1)
    total = raw.sum(axis=1, keepdims=True)
    rows = UnlabelledClasses(
        probability=raw / total,
        predicted=predicted(scores, baseline=baseline),
        scores=scores,
    )
    return rows, curves, total


def _variance_of_classes(
    rows: UnlabelledClasses, found: Expected, curves: Sequence[Curve], total: Floats
) -> float:
    mean = (rows.probability * found.gradient).sum(axis=1, keepdims=True)
    centred = found.gradient - mean
    sampling = float((rows.probability * centred**2).sum(axis=1).mean()) / len(total)
    # Each curve was divided by the sum of all: its part of the gradient by the chain rule.
    chained = centred / total
    calibration = sum(
        curve.variance_of_mean(rows.scores[:, code], chained[:, code])
        for code, curve in enumerate(curves)
    )
    return sampling + float(calibration)


def regression(
    scores: Floats, baseline: Baseline, metric: str, *, missing: int
) -> Found | NotEstimated:
    """Return the estimate of a regression's metric by the holdout's errors.

    Args:
        scores: Predicted values, shape (n,).
        baseline: Of the version.
        metric: Which.
        missing: How many more windows of labels are needed before it is given.
    """
    if metric not in ("mae", "rmse") or baseline.errors is None:
        return NotEstimated(
            f"{metric} cannot be estimated without labels: only mae and rmse follow from the "
            "errors by predicted value."
        )
    if missing > 0:
        return NotEstimated(
            "A regression states no uncertainty with its predictions. How far an estimate by the "
            "holdout's errors is off is learned from labels: those of "
            f"{missing} more windows are needed."
        )
    bins = baseline.scores[0]
    below, above = bins.sums[0] / bins.rows[0], bins.edges[-1]
    outside = float(((scores < below) | (scores > above)).mean())
    usual = bins.rows[0] / baseline.rows
    if outside > MOST_OUTSIDE + usual:
        return NotEstimated(
            f"{outside:.0%} of the predictions lie outside of the holdout's range, where no errors "
            "are known."
        )
    squared = metric == "rmse"
    curve, spread = loss_curves(bins, baseline.errors, squared=squared)
    value = float(curve.at(scores).mean())
    variance = float(spread.at(scores).mean()) / len(scores)
    variance += curve.variance_of_mean(scores, np.ones(len(scores)))
    method = "the holdout's errors, by predicted value"
    if squared:
        root = float(np.sqrt(value))
        return Found(root, variance / (4 * value) if value else 0.0, method)
    return Found(value, variance, method)
