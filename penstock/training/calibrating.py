"""Fit what puts a classifier's probabilities right, on rows that its folds held out.

**sigmoid**: a logistic function of the log-odds (of forests and estimators of a project's own,
whose probabilities may be 0 or 1, of the probability), with Platt's targets (Platt, Probabilistic
outputs for support vector machines, 1999).

**isotonic**: centred isotonic regression (Oron and Flournoy, Centered isotonic regression,
Statistics in Biopharmaceutical Research 2017): the blocks of the pool-adjacent-violators algorithm
(Zadrozny and Elkan, KDD 2002), joined at their centres by straight lines. Steps would make ties of
scores that differ, and a last digit beside a step another probability; a broken line does neither.
Blocks of few rows, and those that lie all but on one another, are joined. Platt's targets keep it
off 0 and 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from penstock.errors import InputError
from penstock.metrics.calibration import brier_of_classes, calibration_error, mean_of
from penstock.model.calibrated import CLIP, CalibratedClassifier, calibrated
from penstock.records.model import Calibration, CalibrationFigures, CalibrationMethod
from penstock.training.crossval import CrossValidation, Evaluated

Map = dict[str, np.ndarray]

WHERE = "training.calibration"

LEAST_ROWS = 1_000
"""Rows below which isotonic regression learns chance; scikit-learn's guide names that number."""

_OF_MARGINS = ("linear", "hist_gradient_boosting", "xgboost", "lightgbm")
"""Families whose probabilities are a function of a margin, and never 0 or 1 by counting."""

_BLOCKS = 200
"""Blocks at most: none has fewer than this part of the rows."""

_NEAR = 1e-5
"""Blocks whose centres are nearer are one: the last digits of a score must not matter."""

_FLAT = 1e-9
"""Scores that are nearer to one another are one: their last digits give no slope."""

_CONFIDENCE = 0.95
_BINS = 10


@dataclass(frozen=True)
class Calibrator:
    """Fitted maps.

    Args:
        maps: See `penstock.model.calibrated.CalibratedClassifier`.
        positive: Likewise.
        record: What is to be said of them.
    """

    maps: tuple[Map, ...]
    positive: int | None
    record: Calibration

    def around(self, fitted: Any) -> CalibratedClassifier:
        """Return a fitted classifier with its probabilities put right."""
        return CalibratedClassifier(fitted, list(self.maps), self.positive)

    def of(self, evaluated: Evaluated) -> Evaluated:
        """Return a setting with its predictions put right."""
        return replace(evaluated, predictions=calibrated(self.maps, evaluated.predictions))


def fit_calibrator(
    validation: CrossValidation, best: Evaluated, *, method: CalibrationMethod, seed: int
) -> Calibrator:
    """Return the maps for the setting that won, and how far probabilities are off with and without.

    The figures after calibration are of maps that were fitted on the other folds; of folds by time,
    on the earlier ones, so that the first is in neither figure. Nor is a fold that only folds
    without a class could judge.

    Args:
        validation: The folds.
        best: The setting, with its predictions for the rows held out.
        method: `sigmoid` or `isotonic`.
        seed: Of the draws behind the intervals.

    Raises:
        InputError: If there are too few rows, the folds hold out none of a class, or the scores do
            not rise with what they are of.
    """
    if method == "isotonic" and len(best.rows) < LEAST_ROWS:
        raise InputError(
            f"isotonic calibration needs {LEAST_ROWS:,} rows, and folds hold out "
            f"{len(best.rows):,}",
            where=WHERE,
            remedy="Use sigmoid, or bring more rows.",
        )
    problem = validation.problem
    log_odds = best.attempt.family in _OF_MARGINS
    fit = _fit_of(method, log_odds=log_odds)
    truth = problem.truth[best.rows]
    _require_classes(truth, problem.classes, "no fold holds out")
    maps = _maps(truth, best.predictions, fit)
    before, after = [], []
    folds = np.repeat(
        np.arange(len(validation.folds)), [len(fold.rows_out) for fold in validation.folds]
    )
    by_time = problem.fold_rule.kind == "time"
    for fold in range(1 if by_time else 0, len(validation.folds)):
        others = folds < fold if by_time else folds != fold
        if _lacking(truth[others], problem.classes):
            continue
        other_maps = _maps(truth[others], best.predictions[others], fit)
        before.append(np.flatnonzero(folds == fold))
        after.append(calibrated(other_maps, best.predictions[before[-1]]))
    if not before:
        earlier = folds < folds.max() if by_time else folds != folds.max()
        _require_classes(truth[earlier], problem.classes, "too few folds hold out")
    judged = np.concatenate(before)
    record = Calibration(
        method=method,
        rows=len(truth),
        judged=len(judged),
        before=_figures(truth[judged], best.predictions[judged], seed=seed),
        after=_figures(truth[judged], np.concatenate(after), seed=seed),
    )
    positive = problem.classes.index(problem.positive) if problem.positive is not None else None
    return Calibrator(maps, positive, record)


def _lacking(truth: np.ndarray, classes: Sequence[Any]) -> list[Any]:
    """Return the classes of which there is no row."""
    there = np.bincount(truth.astype(np.int64), minlength=len(classes))
    return [label for label, rows in zip(classes, there, strict=True) if not rows]


def _require_classes(truth: np.ndarray, classes: Sequence[Any], what: str) -> None:
    lacking = _lacking(truth, classes)
    if lacking:
        raise InputError(
            f"{what} a row of the class {lacking[0]!r}, so that it is not known how far its "
            "probability is off",
            where=WHERE,
            remedy="Cut the folds otherwise, bring more rows of it, or leave calibration at none.",
        )


def _fit_of(
    method: CalibrationMethod, *, log_odds: bool
) -> Callable[[np.ndarray, np.ndarray], Map]:
    if method == "isotonic":
        return isotonic_map
    return lambda happened, p: sigmoid_map(happened, p, log_odds=log_odds)


def _maps(
    truth: np.ndarray, scores: np.ndarray, fit: Callable[[np.ndarray, np.ndarray], Map]
) -> tuple[Map, ...]:
    if scores.ndim == 1:
        return (fit(truth == 1, scores),)
    return tuple(fit(truth == at, scores[:, at]) for at in range(scores.shape[1]))


def sigmoid_map(happened: np.ndarray, p: np.ndarray, *, log_odds: bool) -> Map:
    """Return the logistic function of a score under which what happened is likeliest.

    Args:
        happened: Whether it did, shape (n,).
        p: The probability that was given to it, shape (n,).
        log_odds: Whether the score is the log-odds of it, or the probability itself.

    Raises:
        InputError: If it does not rise with the score.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    score = p
    if log_odds:
        clipped = np.clip(p, CLIP, 1 - CLIP)
        score = np.log(clipped / (1 - clipped))
    if np.ptp(score) < _FLAT:
        raise _flat("sigmoid")
    centre, width = float(score.mean()), float(score.std())
    z, target = (score - centre) / width, _targets(happened)

    def loss(ab: np.ndarray) -> tuple[float, np.ndarray]:
        margin = ab[0] * z + ab[1]
        # Of the logistic loss; `logaddexp` does not overflow.
        value = np.logaddexp(0.0, margin) - target * margin
        gap = expit(margin) - target
        return float(value.mean()), np.array([(gap * z).mean(), gap.mean()])

    prior = float(np.log(target.mean() / (1 - target.mean())))
    slope, offset = minimize(loss, np.array([1.0, prior]), jac=True, method="L-BFGS-B").x
    if not slope > 0:
        raise _flat("sigmoid")
    return {
        "slope": np.array([slope / width]),
        "offset": np.array([offset - slope * centre / width]),
        "log_odds": np.array([log_odds]),
    }


def isotonic_map(happened: np.ndarray, p: np.ndarray) -> Map:
    """Return the broken line that rises with a score and is nearest to what happened.

    Args:
        happened: Whether it did, shape (n,).
        p: The probability that was given to it, shape (n,).

    Raises:
        InputError: If what happened does not rise with `p`.
    """
    from sklearn.isotonic import isotonic_regression

    target = _targets(happened)
    scores, place, rows = np.unique(p, return_inverse=True, return_counts=True)
    means = np.bincount(place, weights=target) / rows
    fitted = isotonic_regression(means, sample_weight=rows.astype(np.float64))
    x, y = _joined(scores, fitted, rows)
    if len(x) < 2:
        raise _flat("isotonic")
    # Beyond the outer centres the line goes on to the least and the most that a block can have.
    low, high = float(target.min()), float(target.max())
    if x[0] > _NEAR and y[0] > low:
        x, y = np.append(0.0, x), np.append(low, y)
    if x[-1] < 1 - _NEAR and y[-1] < high:
        x, y = np.append(x, 1.0), np.append(y, high)
    return {"x": x, "y": y}


def _targets(happened: np.ndarray) -> np.ndarray:
    """Return Platt's targets: as if one more row of each kind had been seen."""
    rows = int(happened.sum())
    return np.where(happened, (rows + 1) / (rows + 2), 1 / (len(happened) - rows + 2))


def _joined(
    scores: np.ndarray, fitted: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return centre and value of each block, those that are too small or too near joined."""
    block = np.cumsum(np.append(0, np.diff(fitted) > 0))
    weight = np.bincount(block, weights=rows)
    centre = np.bincount(block, weights=rows * scores) / weight
    value = np.bincount(block, weights=rows * fitted) / weight
    least = weight.sum() / _BLOCKS
    kept: list[list[float]] = []
    for one in zip(weight.tolist(), centre.tolist(), value.tolist(), strict=True):
        if kept and (kept[-1][0] < least or one[1] - kept[-1][1] < _NEAR):
            kept[-1] = _join(kept[-1], one)
        else:
            kept.append(list(one))
    if len(kept) > 1 and kept[-1][0] < least:
        last = kept.pop()
        kept[-1] = _join(kept[-1], last)
    _, x, y = np.array(kept).T
    return x, y


def _join(one: Sequence[float], other: Sequence[float]) -> list[float]:
    total = one[0] + other[0]
    return [
        total,
        *((one[0] * one[at] + other[0] * other[at]) / total for at in (1, 2)),
    ]


def _flat(method: str) -> InputError:
    return InputError(
        f"{method} calibration finds no score that rises with what happened: the model tells the "
        "classes apart no better than chance",
        where=WHERE,
        remedy="Leave it at none, and look at the features.",
    )


def _figures(truth: np.ndarray, scores: np.ndarray, *, seed: int) -> CalibrationFigures:
    if scores.ndim == 1:
        happened, stated = truth == 1, scores
        brier = mean_of((scores - happened) ** 2, confidence=_CONFIDENCE)
    else:
        happened, stated = scores.argmax(axis=1) == truth, scores.max(axis=1)
        brier = brier_of_classes(truth, scores, confidence=_CONFIDENCE)
    error = calibration_error(happened, stated, bins=_BINS, confidence=_CONFIDENCE, seed=seed)
    return CalibrationFigures(brier=brier, ece=error.estimate)
