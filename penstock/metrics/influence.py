"""Influence functions: how much each row moves a metric. Imported only while evaluating.

The influence of a row is the first-order effect of a little more weight on it, times the number of
rows (F. R. Hampel, The influence curve and its role in robust estimation, 1974). The mean of a
metric's influences is 0, and their variance over the number of rows is the metric's variance. Of
two models on the same rows, the influences on the difference of a metric are the differences of the
influences.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from penstock.metrics.arrays import Codes, Flags, Floats
from penstock.metrics.predictions import Predictions

RANKINGS_OF_TWO = frozenset({"roc_auc", "average_precision"})
"""Metrics of the order of two classes' scores: their influences come of one sort."""


def influences(predictions: Predictions, metrics: Collection[str]) -> dict[str, Floats]:
    """Return how much each row moves the metrics, shape (n,) each, by metric.

    The metrics without one here are counted shares, whose intervals and differences need none.

    Args:
        predictions: Of one model.
        metrics: Metrics of its task. If one ranking of two classes is among them, both are made.
    """
    if predictions.task == "regression":
        every = regression(predictions.truth.astype(np.float64), predictions.scores)
        return {name: every[name] for name in metrics if name in every}
    made = _of_classes(predictions)
    found = {name: made[name]() for name in metrics if name in made}
    if RANKINGS_OF_TWO & set(metrics):
        found |= ranking(predictions.truth == 1, predictions.scores)
    return found


def _of_classes(predictions: Predictions) -> dict[str, Callable[[], Floats]]:
    """Return what makes the influences on each metric of a classification, but on the rankings."""
    truth = predictions.truth.astype(np.int64, copy=False)
    predicted = predictions.predicted.astype(np.int64, copy=False)
    return {
        "log_loss": lambda: mean(predictions.losses["log_loss"]),
        "brier": lambda: mean(predictions.losses["brier"]),
        "f1_macro": lambda: f1_macro(predictions.confusion)[truth, predicted],
        "precision": lambda: precision(truth, predicted),
        "f1": lambda: f1(truth, predicted),
        "roc_auc_ovr": lambda: one_versus_rest(truth, predictions.scores),
    }


def ranking(positive: Flags, scores: Floats) -> dict[str, Floats]:
    """Return the influences on the area under the ROC curve and on average precision.

    Args:
        positive: Whether a row is of the positive class, shape (n,), both present.
        scores: Shape (n,).
    """
    found = _Ranks.of(positive, scores)
    return {"roc_auc": found.area(), "average_precision": found.average_precision()}


@dataclass(frozen=True)
class _Ranks:
    """Rows by the distinct scores, from the lowest up. Each influence drops what it needed.

    Args:
        positive: Whether a row is of the positive class, shape (n,).
        ranks: Which of the distinct scores a row has, shape (n,).
        true: Rows of the positive class by distinct score.
        false: The others.
    """

    positive: Flags
    ranks: Codes
    true: Floats
    false: Floats

    @classmethod
    def of(cls, positive: Flags, scores: Floats) -> _Ranks:
        values, ranks = np.unique(scores, return_inverse=True)
        found = np.bincount(ranks, weights=positive, minlength=len(values))
        true = np.asarray(found, dtype=np.float64)
        return cls(positive, ranks, true, np.bincount(ranks, minlength=len(values)) - true)

    def area(self) -> Floats:
        """Return DeLong's structural components (1988), found by ranks (Sun and Xu 2014)."""
        rows, positives, negatives = len(self.positive), self.true.sum(), self.false.sum()
        # The share of the other class that is ordered right.
        above = (np.cumsum(self.false) - self.false / 2) / negatives
        below = 1 - (np.cumsum(self.true) - self.true / 2) / positives
        area = float(self.true @ above / positives)
        found: Floats = np.where(
            self.positive,
            (above[self.ranks] - area) * (rows / positives),
            (below[self.ranks] - area) * (rows / negatives),
        )
        return found

    def average_precision(self) -> Floats:
        """Return the influences on average precision."""
        rows, positives = len(self.positive), self.true.sum()
        flagged = np.cumsum((self.true + self.false)[::-1])[::-1] / rows
        precision = np.cumsum(self.true[::-1])[::-1] / rows / flagged
        share = positives / rows
        average = float(self.true @ precision / positives)
        # A row counts in the precision at every positive that scores no higher than it does.
        found: Floats = (precision + np.cumsum(self.true / flagged) / rows - average)[self.ranks]
        found *= self.positive
        found -= (np.cumsum(self.true * precision / flagged) / rows)[self.ranks]
        found /= share
        return found


def one_versus_rest(truth: Codes, scores: Floats) -> Floats:
    """Return the influences on the mean over the classes of the area of each against the rest.

    Args:
        truth: Class codes, shape (n,).
        scores: Shape (n, k), each class present.
    """
    classes = scores.shape[1]
    total = np.zeros(len(truth))
    for code in range(classes):
        total += _Ranks.of(truth == code, scores[:, code]).area()
    return np.asarray(total / classes)


def mean(losses: Floats) -> Floats:
    """Return the influences on a mean."""
    return np.asarray(losses - losses.mean())


def precision(truth: Codes, predicted: Codes) -> Floats:
    """Return the influences on the share of the rows called positive (1) that are."""
    flagged = predicted == 1
    if not flagged.any():
        return np.zeros(len(truth))
    hit = truth == 1
    share = hit[flagged].mean()
    return np.asarray(flagged * (hit - share) / flagged.mean())


def f1(truth: Codes, predicted: Codes) -> Floats:
    """Return the influences on the F1 of class 1; zeros where it is neither there nor predicted."""
    size: Floats = (truth == 1).astype(np.float64) + (predicted == 1)
    if not size.any():
        return size
    hit = (truth == 1) & (predicted == 1)
    return np.asarray((2 * hit - size * (2 * hit.sum() / size.sum())) / size.mean())


def f1_macro(table: Floats) -> Floats:
    """Return by cell the influences on the mean F1 of the classes that are there or predicted.

    Args:
        table: Rows by true class (the last: none that the model knows) and predicted class, shape
            (k + 1, k).
    """
    rows, known = table.sum(), table.shape[1]
    actual, given = table.sum(axis=1), table.sum(axis=0)
    sizes = actual[:known] + given
    right = np.diagonal(table)
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = np.where(sizes > 0, 2 * right / sizes, 0.0)
        part = np.where(sizes > 0, rows / sizes, 0.0)
    of_truth = np.append(scores * part, 0.0)
    found = -(of_truth[:, None] + (scores * part)[None, :])
    found[np.arange(known), np.arange(known)] += 2 * part
    counted = int((sizes > 0).sum()) + bool(actual[known])
    return np.asarray(found / counted)


def f1_correlation(table: Floats) -> Floats:
    """Return the correlation of the F1 of the classes, shape (k, k), 1 where it is not known.

    A row moves the F1 of two classes at once only where one is taken for the other.
    """
    rows, known = table.sum(), table.shape[1]
    square = table[:known]
    sizes = table.sum(axis=1)[:known] + table.sum(axis=0)
    right = np.diagonal(square)
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = 2 * right / sizes
        step = scores * rows / sizes
        covariance = (square + square.T) / rows * np.outer(step, step)
        wrong = (sizes - 2 * right) / rows
        own = right / rows * ((2 - 2 * scores) * rows / sizes) ** 2 + wrong * step**2
        related = covariance / np.sqrt(np.outer(own, own))
    related[~np.isfinite(related)] = 1.0
    np.fill_diagonal(related, 1.0)
    return np.asarray(np.clip(related, -1, 1))


def regression(truth: Floats, predicted: Floats) -> dict[str, Floats]:
    """Return the influences on what a regression's errors give, where each is defined.

    Args:
        truth: Shape (n,).
        predicted: Shape (n,).
    """
    error = predicted - truth
    squares, sizes = error**2, np.abs(error)
    centred = (truth - truth.mean()) ** 2
    variance, squared = centred.mean(), squares.mean()
    found = {"mae": mean(sizes), "rmse": np.zeros(len(truth)), "r2": np.zeros(len(truth))}
    if squared > 0:
        found["rmse"] = (squares - squared) / (2 * np.sqrt(squared))
    if variance > 0:
        found["r2"] = -(squares - centred * (squared / variance)) / variance
    if (truth != 0).all():
        found["mape"] = mean(np.abs(error / truth))
    # Up to a factor, the density there: enough for a correlation.
    found["median_absolute_error"] = mean((sizes > np.median(sizes)).astype(float))
    return found
