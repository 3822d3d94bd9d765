"""Performance of a served model: estimated before labels come, measured when they have come.

The estimate is CBPE's (`penstock.monitoring.estimates.expected_metrics`), with an interval of three
parts:

- *sampling*: which of a window's rows turn out right, given their probabilities;
- *calibration*: the holdout's rows are finite, so the probabilities are not certain;
- *concept*: what a score means has changed since. It is learned from windows whose labels have come
  (`penstock.monitoring.estimates.concept`); without any, the interval is of the first two and says
  so.

It rests on the scores alone, so it holds where the inputs have moved and a score still means what
it did. Where labels contradict it, it is withdrawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from penstock.errors import InputError
from penstock.metrics.descriptions import SCALES, names_for
from penstock.metrics.losses import losses_by_name
from penstock.monitoring.estimates.concept import CONFIDENCE, Concept, MetricConcept
from penstock.monitoring.estimates.estimates import (
    BEYOND,
    Estimated,
    NotEstimated,
    Realized,
    is_number,
)
from penstock.monitoring.estimates.estimators import Found, binary, multiclass, regression
from penstock.monitoring.estimates.estimators import predicted as predicted
from penstock.records.baseline import Baseline

if TYPE_CHECKING:
    import pyarrow as pa

    from penstock.metrics.predictions import Predictions

Floats = NDArray[np.float64]

LEAST_ROWS = 30
"""Rows below which there is no interval that could be believed."""

LABELLED_WINDOWS = 5
"""Windows with labels before a regression is estimated: nothing but labels tells how far off."""

_ROUNDING = 1e-6


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
    with np.errstate(over="ignore", invalid="ignore"):
        found = _found(scores, baseline, metric, learned, to_compare=to_compare)
    if isinstance(found, NotEstimated):
        return found
    half = learned.reach * float(np.sqrt(found.variance + learned.variance))
    scale = SCALES[metric]
    estimated = Estimated(
        value=found.value,
        low=max(found.value - half, scale.lowest),
        high=min(found.value + half, scale.highest),
        method=found.method,
        note=_note(baseline, windows=learned.windows),
        error=float(np.sqrt(found.variance)),
        rows=len(scores),
    )
    return estimated if is_number(estimated) else BEYOND


def _found(
    scores: Floats, baseline: Baseline, metric: str, learned: MetricConcept, *, to_compare: bool
) -> Found | NotEstimated:
    if baseline.task == "regression":
        missing = 0 if to_compare else LABELLED_WINDOWS - learned.windows
        return regression(scores, baseline, metric, missing=missing)
    if baseline.task == "binary":
        return binary(scores, baseline, metric)
    return multiclass(scores, baseline, metric)


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
    # One absurd label is enough.
    with np.errstate(over="ignore", invalid="ignore"):
        value = compute(of)[metric]
        if not np.isfinite(value) or metric in too_few_rows(of):
            return NotEstimated(f"The {len(scores):,} rows with labels do not define {metric}.")
        try:
            found = estimate_metrics(of, {metric: value}, confidence=CONFIDENCE)[metric].estimate
        except ValidationError:
            # A record holds no end of an interval that is beyond all numbers.
            return BEYOND
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
