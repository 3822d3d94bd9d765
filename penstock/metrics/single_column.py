"""How well one column alone predicts the target. Imported only while evaluating."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pandas import factorize
from scipy.stats import rankdata

from penstock.metrics.arrays import Codes, Flags, Floats
from penstock.records.model import Task

FOLDS = 5
BINS = 20

_SMOOTHING = 5.0
"""Rows of the overall mean that a level's mean is drawn towards."""


def strength(values: npt.NDArray[Any], truth: npt.NDArray[Any], *, task: Task, seed: int) -> float:
    """Return how well a column alone predicts the target: from 0 (a regression) or 0.5 to 1.

    Two classes: the area under the ROC curve. More: the mean over the classes of that of each
    against the rest, weighed by their rows. A regression: the squared rank correlation.

    A number ranks rows by its value, either way round, what is missing first or last; for more
    classes, and for two beside that, it is cut into 20 ranges. A range or a level ranks rows by the
    mean target of its other rows: five folds, each scored by the other four, drawn towards the
    overall mean. So an identifier, whose every value is new, predicts nothing.

    Args:
        values: Shape (n,): float64, texts or times; NaN, None or NaT for missing.
        truth: As `penstock.gate.holdout.Holdout.truth`.
        task: What the target is.
        seed: Of the folds.
    """
    numbers, missing, levels = _read(values)
    if task == "regression":
        target = rankdata(truth)
        levelled = _correlation(_rates(levels, target, _folds(len(truth), seed)), target)
        ranked = _ranked(numbers, missing, lambda scores: _correlation(scores, target))
        return max(levelled if numbers is None else 0.0, ranked)
    folds = _folds(len(truth), seed, truth)
    codes = np.unique(truth)
    if task == "binary":
        codes = codes[codes == 1]
    areas = [_area(_rates(levels, truth == code, folds), truth == code) for code in codes]
    weights = [(truth == code).sum() for code in codes]
    best = float(np.average(areas, weights=weights)) if len(codes) else 0.5
    if task == "binary":
        best = max(best, _ranked(numbers, missing, lambda s: _either(_area(s, truth == 1))))
    return max(0.5, best)


def _read(values: npt.NDArray[Any]) -> tuple[Floats | None, Flags, Codes]:
    """Return a column as numbers if it is one, where it is missing, and its levels or ranges."""
    if values.dtype == object:
        # Not NumPy's own text, which gives every row the room of the longest.
        levels = np.asarray(factorize(values)[0], dtype=np.int64) + 1
        return None, levels == 0, levels
    if values.dtype.kind == "M":
        missing = np.isnat(values)
        numbers = values.astype("datetime64[us]").astype(np.int64).astype(np.float64)
    else:
        numbers = values.astype(np.float64)
        missing = np.isnan(numbers)
    known = np.sort(numbers[~missing])
    cuts = np.unique(known[(np.arange(1, BINS) * len(known)) // BINS]) if len(known) else known
    levels = np.searchsorted(cuts, numbers, side="left") + 1
    return numbers, missing, np.where(missing, 0, levels)


def _ranked(numbers: Floats | None, missing: Flags, figure: Any) -> float:
    if numbers is None or missing.all():
        return 0.0
    known = numbers[~missing]
    ends = (known.min() - 1, known.max() + 1) if missing.any() else (0.0,)
    return max(float(figure(np.where(missing, end, numbers))) for end in ends)


def _folds(rows: int, seed: int, truth: npt.NDArray[Any] | None = None) -> Codes:
    """Return the fold of each row; each class is spread evenly over them."""
    order = np.random.default_rng(seed).permutation(rows)
    if truth is not None:
        order = order[np.argsort(truth[order], kind="stable")]
    folds = np.empty(rows, dtype=np.int64)
    folds[order] = np.arange(rows) % FOLDS
    return folds


def _rates(levels: Codes, target: npt.NDArray[Any], folds: Codes) -> Floats:
    """Return for each row the mean target of its level in the other folds."""
    size = int(levels.max()) + 1
    target = target.astype(np.float64)
    overall = target.mean()
    cells = levels * FOLDS + folds
    sums = np.bincount(cells, weights=target, minlength=size * FOLDS).reshape(size, FOLDS)
    rows = np.bincount(cells, minlength=size * FOLDS).reshape(size, FOLDS)
    other_sums = sums.sum(axis=1, keepdims=True) - sums
    other_rows = rows.sum(axis=1, keepdims=True) - rows
    means = (other_sums + _SMOOTHING * overall) / (other_rows + _SMOOTHING)
    return np.asarray(means.ravel()[cells])


def _area(scores: Floats, positive: Flags) -> float:
    a, b = int(positive.sum()), int((~positive).sum())
    if not a * b:
        return 0.5
    return float((rankdata(scores)[positive].sum() - a * (a + 1) / 2) / (a * b))


def _either(area: float) -> float:
    return max(area, 1 - area)


def _correlation(scores: Floats, target: Floats) -> float:
    ranks = rankdata(scores)
    deviations = ranks.std() * target.std()
    if deviations <= 0:
        return 0.0
    return float((((ranks - ranks.mean()) * (target - target.mean())).mean() / deviations) ** 2)
