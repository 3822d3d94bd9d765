"""Performance of a served model: estimated before labels come, measured when they have come.

The estimate is CBPE's (`penstock.monitoring.expected_metrics`), with an interval of three parts:

- *sampling*: which of a window's rows turn out right, given their probabilities;
- *calibration*: the holdout's rows are finite, so the probabilities are not certain;
- *concept*: what a score means has changed since. It is learned from windows whose labels have come
  (`penstock.monitoring.concept`); without any, the interval is of the first two and says so.

It rests on the scores alone, so it holds where the inputs have moved and a score still means what
it did. Where labels contradict it, it is withdrawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from penstock.errors import InputError
from penstock.metrics.descriptions import SCALES, names_for
from penstock.metrics.losses import losses_by_name
from penstock.monitoring.calibration_map import calibration_curve, loss_curves
from penstock.monitoring.concept import CONFIDENCE, Concept
from penstock.monitoring.expected_metrics import (
    BINARY,
    MULTICLASS,
    Expected,
    Unlabelled,
    UnlabelledClasses,
)
from penstock.records.baseline import Baseline

if TYPE_CHECKING:
    import pyarrow as pa

    from penstock.metrics.predictions import Predictions

Floats = NDArray[np.float64]

LEAST_ROWS = 30
LEAST_OF_A_CLASS = 20
"""Rows, of a class expected rows, below which there is no interval that could be believed."""

LABELLED_WINDOWS = 5
"""Windows with labels before a regression is estimated: nothing but labels tells how far off."""

_ROUNDING = 1e-6

MOST_OUTSIDE = 0.05
"""Share of a regression's predictions outside the holdout's from which it is not estimated."""


@dataclass(frozen=True)
class Estimated:
    """A metric without labels.

    Attributes:
        value: What it is expected to be.
        low: Lower end of the interval for the metric that labels of these rows would give, 95 %.
        high: Upper end.
        method: How it was made.
        note: What a reader must know of it; may be empty.
        error: Standard error by sampling and calibration, without the concept's part.
        rows: Rows that it is of.
    """

    value: float
    low: float
    high: float
    method: str
    note: str
    error: float
    rows: int


@dataclass(frozen=True)
class NotEstimated:
    """Why there is no figure, in a sentence."""

    reason: str


@dataclass(frozen=True)
class Realized:
    """A metric by labels.

    Attributes:
        value: What it is.
        low: Lower end of its interval for rows of this kind, 95 % (`penstock.metrics.intervals`).
        high: Upper end.
        rows: Rows with labels.
        losses: Of each row by the names of `Baseline.losses`, shape (n,) each, in the order given.
    """

    value: float
    low: float
    high: float
    rows: int
    losses: dict[str, Floats]


def estimate(
    scores: Floats,
    *,
    baseline: Baseline,
    metric: str,
    concept: Concept | None = None,
    to_compare: bool = False,
) -> Estimated | NotEstimated:
    """Return what a metric is expected to be on rows without labels.

    Args:
        scores: Of two classes the probability of the positive one, of a regression the value, shape
            (n,); of more classes the probability of each, shape (n, classes).
        baseline: Of the version that scored them.
        metric: One of the task, for example `accuracy`.
        concept: What labels of earlier windows have taught; None: none have come.
        to_compare: Return what is not to be shown too, because labels have contradicted it or have
            not confirmed it yet: `learn` compares it with labels.

    Raises:
        InputError: If the metric is not one of the task, or the scores are of another shape or not
            finite.

    Example:
        >>> from penstock.records.baseline import ScoreBins
        >>> bins = ScoreBins(
        ...     edges=(0.1, 0.9), rows=(5000, 5000), sums=(500, 4500), hits=(450, 4550)
        ... )
        >>> baseline = Baseline(
        ...     task="binary", target="y", metric="accuracy", model="sha256:0", dataset="rows1:0",
        ...     rows=10_000, classes=("no", "yes"), threshold=0.5, scores=(bins,), losses={},
        ... )
        >>> scores = np.array([0.1] * 500 + [0.9] * 300 + [0.5] * 200)
        >>> found = estimate(scores, baseline=baseline, metric="accuracy")
        >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
        (0.828, 0.806, 0.85)
    """
    _check(scores, baseline, metric)
    learned = (concept or Concept()).of(metric)
    if learned.withdrawn and not to_compare:
        return NotEstimated(
            f"The estimate of {metric} is withdrawn: labels disagree with it more often than "
            f"chance explains, in {learned.misses:,} of {learned.windows:,} windows. What a score "
            "means has changed."
        )
    if len(scores) < LEAST_ROWS:
        return NotEstimated(f"{len(scores):,} rows are too few; {LEAST_ROWS} are needed.")
    if baseline.task == "regression":
        missing = 0 if to_compare else LABELLED_WINDOWS - learned.windows
        found = _regression(scores, baseline, metric, missing=missing)
    elif baseline.task == "binary":
        found = _binary(scores, baseline, metric)
    else:
        found = _multiclass(scores, baseline, metric)
    if isinstance(found, NotEstimated):
        return found
    half = learned.reach * float(np.sqrt(found.variance + learned.variance))
    scale = SCALES[metric]
    return Estimated(
        value=found.value,
        low=max(found.value - half, scale.lowest),
        high=min(found.value + half, scale.highest),
        method=found.method,
        note=_note(baseline, windows=learned.windows),
        error=float(np.sqrt(found.variance)),
        rows=len(scores),
    )


def realized(
    scores: Floats, labels: Sequence[Any] | pa.Array, *, baseline: Baseline, metric: str
) -> Realized | NotEstimated:
    """Return a metric of rows whose labels have come, and their losses for the detector.

    Args:
        scores: See `estimate`.
        labels: The true class or value of each row, without missing ones, shape (n,).
        baseline: Of the version that scored them.
        metric: One of the task.

    Raises:
        InputError: As `estimate` does, or if there are not as many labels as scores.
    """
    from penstock.metrics.intervals import estimate_metrics, too_few_rows
    from penstock.metrics.weighted import compute

    _check(scores, baseline, metric)
    if not len(scores):
        return NotEstimated("No row has a label.")
    of = predictions_of(scores, labels, baseline=baseline)
    value = compute(of)[metric]
    if not np.isfinite(value) or metric in too_few_rows(of):
        return NotEstimated(f"The {len(scores):,} rows with labels do not define {metric}.")
    found = estimate_metrics(of, {metric: value}, confidence=CONFIDENCE)[metric].estimate
    losses = losses_by_name(baseline.task, of.truth, scores, of.predicted)
    return Realized(found.value, found.low, found.high, len(scores), losses)


def loss_of(baseline: Baseline) -> str:
    """Return which of the baseline's losses to watch: the bounded one nearest its primary metric.

    A loss without bound lets one row outweigh a block.
    """
    if baseline.task == "regression":
        return "absolute_error" if baseline.metric in _ABSOLUTE else "squared_error"
    ranked = {"roc_auc", "average_precision", "log_loss", "brier"}
    return "brier" if baseline.task == "binary" and baseline.metric in ranked else "error"


_ABSOLUTE = {"mae", "median_absolute_error", "mape"}


def predictions_of(
    scores: Floats, labels: Sequence[Any] | pa.Array, *, baseline: Baseline
) -> Predictions:
    """Return scores and labels as the metrics take them.

    A class that the model does not know gets the code after the known ones.

    Raises:
        InputError: If there are not as many labels as scores, a label is missing, none is a class
            of the model or, of a regression, one is no finite number.
    """
    from penstock.metrics.predictions import Predictions

    if len(labels) != len(scores):
        raise InputError(f"{len(scores):,} scores but {len(labels):,} labels", where="labels")
    return Predictions(
        task=baseline.task,
        truth=_truth(labels, baseline),
        scores=scores,
        predicted=predicted(scores, baseline=baseline),
        classes=len(baseline.classes),
    )


def predicted(scores: Floats, *, baseline: Baseline) -> NDArray[Any]:
    """Return predicted class codes, or the values of a regression; shape (n,)."""
    if baseline.task == "regression":
        return scores
    if baseline.task == "binary":
        return np.asarray(scores >= cast("float", baseline.threshold), dtype=np.int64)
    return np.asarray(scores.argmax(axis=1), dtype=np.int64)


def _truth(labels: Sequence[Any] | pa.Array, baseline: Baseline) -> NDArray[Any]:
    plain = labels if isinstance(labels, Sequence) else labels.to_pylist()
    if any(label is None for label in plain):
        raise InputError(
            "a label is missing", where="labels", remedy="Leave out the rows without a label."
        )
    if baseline.task == "regression":
        try:
            numbers = np.asarray(plain, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputError("a label is no number", where="labels") from error
        if not np.isfinite(numbers).all():
            raise InputError("a label is not a finite number", where="labels")
        return numbers
    codes = {label: code for code, label in enumerate(baseline.classes)}
    truth = np.array([codes.get(label, len(codes)) for label in plain], dtype=np.int64)
    if len(truth) and (truth == len(codes)).all():
        # Text for numbers, say: every prediction would count as wrong.
        raise InputError(
            f"none of the {len(truth):,} labels, such as {plain[0]!r}, is a class of the model",
            where="labels",
            remedy=f"The model knows {', '.join(map(repr, baseline.classes[:10]))}: send labels of "
            "that type.",
        )
    return truth


def _check(scores: Floats, baseline: Baseline, metric: str) -> None:
    known = names_for(baseline.task)
    if metric not in known:
        raise InputError(
            f"{metric!r} is not a metric of a {baseline.task} model",
            where="metric",
            remedy=f"Use one of: {', '.join(known)}.",
        )
    columns = (len(baseline.classes),) if baseline.task == "multiclass" else ()
    if scores.shape[1:] != columns:
        raise InputError(
            f"the scores of a {baseline.task} model have shape {('n', *columns)}, not "
            f"{scores.shape}",
            where="scores",
        )
    if not np.isfinite(scores).all():
        raise InputError("a score is not finite", where="scores")
    if baseline.task != "regression" and (np.abs(scores - 0.5) > 0.5 + _ROUNDING).any():
        raise InputError(
            f"scores from {scores.min():g} to {scores.max():g} are no probabilities",
            where="scores",
        )


@dataclass(frozen=True)
class _Found:
    value: float
    variance: float
    method: str


_CBPE = "CBPE: probabilities by the holdout's calibration"


def _binary(scores: Floats, baseline: Baseline, metric: str) -> _Found | NotEstimated:
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
    return _Found(found.value, sampling + calibration, _CBPE)


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


def _multiclass(scores: Floats, baseline: Baseline, metric: str) -> _Found | NotEstimated:
    if metric == "accuracy" and baseline.predicted is not None:
        surest = scores.max(axis=1)
        curve = calibration_curve(baseline.predicted)
        right = curve.at(surest)
        sampling = float((right * (1 - right)).mean()) / len(scores)
        calibration = curve.variance_of_mean(surest, np.ones(len(scores)))
        return _Found(float(right.mean()), sampling + calibration, _CBPE)
    curves = [calibration_curve(bins) for bins in baseline.scores]
    raw = np.stack([curve.at(scores[:, code]) for code, curve in enumerate(curves)], axis=1)
    total = raw.sum(axis=1, keepdims=True)
    rows = UnlabelledClasses(
        probability=raw / total,
        predicted=predicted(scores, baseline=baseline),
        scores=scores,
    )
    rarest = float(rows.probability.sum(axis=0).min())
    if metric != "log_loss" and rarest < LEAST_OF_A_CLASS:
        return NotEstimated(
            f"{metric} rests on every class, and of the rarest about {rarest:,.0f} rows are "
            f"expected; {LEAST_OF_A_CLASS} are needed."
        )
    found = MULTICLASS[metric](rows)
    return _Found(found.value, _variance_of_classes(rows, found, curves, total), _CBPE)


def _variance_of_classes(
    rows: UnlabelledClasses, found: Expected, curves: list[Any], total: Floats
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


def _regression(
    scores: Floats, baseline: Baseline, metric: str, *, missing: int
) -> _Found | NotEstimated:
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
        return _Found(root, variance / (4 * value) if value else 0.0, method)
    return _Found(value, variance, method)


def _note(baseline: Baseline, *, windows: int) -> str:
    notes = []
    if not windows:
        notes.append(
            "No labels have come yet: the interval holds no term for a changed concept, and is too "
            "narrow where there is one."
        )
    unseen = sum(baseline.confusion[-1]) if baseline.confusion else 0
    if unseen:
        notes.append(
            f"{unseen / baseline.rows:.1%} of the holdout's rows were of classes that the model "
            "does not know; the estimate takes them for known ones."
        )
    return " ".join(notes)
