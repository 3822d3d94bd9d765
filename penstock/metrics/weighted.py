"""How every metric of a holdout is computed, for any weights of its rows. For evaluating only.

A weight says how often a row is in a resample; with weights of one these are the metrics on the
rows themselves (`compute`). They equal scikit-learn's with `sample_weight`, and besides count rows
of a class that the model does not know, at which scikit-learn's stop. Sorting is done once, so many
resamples cost a pass over the rows each. A metric that the weighted rows do not define is NaN.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np

from penstock.metrics.arrays import Codes, Flags, Floats
from penstock.metrics.own import OWN, OwnStatistic
from penstock.metrics.predictions import Predictions


class Statistic(Protocol):
    """Metrics that share their sums."""

    def __call__(self, weights: Floats) -> dict[str, Floats]:
        """Return each metric, shape (b,), under `weights`, shape (b, n)."""


def compute(predictions: Predictions) -> dict[str, float]:
    """Return every metric of the task on all rows; NaN where they do not define it."""
    ones = np.ones((1, len(predictions.truth)))
    found = weighted_metrics(statistics_of(predictions), ones)
    return {metric: float(values[0]) for metric, values in found.items()}


def statistics_of(predictions: Predictions) -> Iterator[Statistic]:
    """Yield what computes the metrics of the task, each made when it is asked for: they are large.

    Args:
        predictions: Of the model.
    """
    truth, scores = predictions.truth, predictions.scores
    if predictions.task == "regression":
        yield Errors(truth, scores)
        yield MedianError(np.abs(scores - truth))
    else:
        binary = predictions.task == "binary"
        if binary:
            yield Ranking(truth == 1, scores)
        yield Labels(truth, predictions.predicted, classes=predictions.classes, binary=binary)
        yield Means(predictions.losses)
        if not binary:
            yield OneVersusRest(truth, scores)
    if OWN:
        yield OwnStatistic(predictions)


def weighted_metrics(statistics: Iterable[Statistic], weights: Floats) -> dict[str, Floats]:
    """Return every metric, shape (b,), under `weights`, shape (b, n)."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return {name: v for one in statistics for name, v in one(weights).items()}


class Means:
    """Weighted means of columns of losses, each of shape (n,)."""

    def __init__(self, losses: dict[str, Floats]) -> None:
        self._names = tuple(losses)
        self._losses = np.stack(list(losses.values()), axis=1)

    def __call__(self, weights: Floats) -> dict[str, Floats]:
        """Return each metric, shape (b,), under `weights`, shape (b, n)."""
        means = weights @ self._losses / weights.sum(axis=1, keepdims=True)
        return dict(zip(self._names, means.T, strict=True))


class Labels:
    """What predicted classes give: accuracy, and precision, recall and F1 by class.

    Args:
        truth: Class codes, shape (n,); `classes` itself stands for a class the model cannot name,
            whose rows are wrong whatever is predicted.
        predicted: Class codes, shape (n,).
        classes: How many classes the model knows.
        binary: Whether class 1 is the positive class of two.
    """

    def __init__(self, truth: Codes, predicted: Codes, *, classes: int, binary: bool) -> None:
        self._codes = truth * classes + predicted
        self._shape = (classes + 1, classes)
        self._binary = binary

    def __call__(self, weights: Floats) -> dict[str, Floats]:
        """Return each metric, shape (b,), under `weights`, shape (b, n)."""
        known = self._shape[1]
        table = _cell_weights(weights, self._codes, (known + 1) * known).reshape(-1, *self._shape)
        right = np.diagonal(table, axis1=1, axis2=2)
        actual, given = table.sum(axis=2), table.sum(axis=1)
        # scikit-learn: recall over the classes that are there, F1 over those there or predicted,
        # and 0 for a precision of which nothing was predicted.
        recall = np.append(right, np.zeros((len(right), 1)), axis=1) / actual
        f1 = 2 * right / (actual[:, :-1] + given)
        unseen = np.where(actual[:, -1:] > 0, 0.0, np.nan)
        found = {
            "accuracy": right.sum(axis=1) / actual.sum(axis=1),
            "balanced_accuracy": _mean_of_defined(recall),
            "f1_macro": _mean_of_defined(np.append(f1, unseen, axis=1)),
        }
        if self._binary:
            precision = right[:, 1] / given[:, 1]
            found["precision"] = np.where(given[:, 1] > 0, precision, 0.0)
            found["recall"] = recall[:, 1]
            found["f1"] = np.where(actual[:, 1] + given[:, 1] > 0, f1[:, 1], 0.0)
        return found


class Ranking:
    """Area under the ROC curve and average precision.

    The area is the Mann-Whitney form: the share of (positive, negative) pairs in which the positive
    scores higher, ties counting half (Hanley and McNeil 1982). Average precision is the sum over
    the distinct scores of the gain in recall times the precision there, as scikit-learn's.

    Args:
        positive: Whether a row is of the positive class, shape (n,).
        scores: Shape (n,).
    """

    def __init__(self, positive: Flags, scores: Floats) -> None:
        values, ranks = np.unique(scores, return_inverse=True)
        self._codes = ranks.astype(np.int64) * 2 + positive
        self._distinct = len(values)

    def __call__(self, weights: Floats) -> dict[str, Floats]:
        """Return each metric, shape (b,), under `weights`, shape (b, n)."""
        counts = _cell_weights(weights, self._codes, 2 * self._distinct)
        counts = counts.reshape(-1, self._distinct, 2)
        negatives, positives = counts[:, :, 0], counts[:, :, 1]
        all_negatives, all_positives = negatives.sum(axis=1), positives.sum(axis=1)
        below = np.cumsum(negatives, axis=1) - negatives / 2
        area = np.einsum("bc,bc->b", positives, below) / (all_positives * all_negatives)
        true = np.cumsum(positives[:, ::-1], axis=1)
        called = true + np.cumsum(negatives[:, ::-1], axis=1)
        # Scores that a resample leaves out at the top have neither; they gain no recall.
        precision = true / np.maximum(called, 1e-300)
        average = np.einsum("bc,bc->b", positives[:, ::-1], precision) / all_positives
        return {"roc_auc": area, "average_precision": average}


class OneVersusRest:
    """The mean over the classes of the area under the ROC curve of each against the rest.

    Args:
        truth: Class codes, shape (n,).
        scores: Shape (n, k).
    """

    def __init__(self, truth: Codes, scores: Floats) -> None:
        classes = range(scores.shape[1])
        self._classes = [Ranking(truth == code, scores[:, code]) for code in classes]

    def __call__(self, weights: Floats) -> dict[str, Floats]:
        """Return each metric, shape (b,), under `weights`, shape (b, n)."""
        areas = [ranking(weights)["roc_auc"] for ranking in self._classes]
        return {"roc_auc_ovr": np.mean(areas, axis=0)}


class Errors:
    """What a regression's errors give.

    Args:
        truth: Shape (n,).
        predicted: Shape (n,).
    """

    def __init__(self, truth: Floats, predicted: Floats) -> None:
        error = predicted - truth
        # Centred, so that the variation is not the small difference of two large sums.
        centred = truth - truth.mean()
        losses = {"squared": error**2, "mae": np.abs(error), "first": centred, "second": centred**2}
        if (truth != 0).all():
            losses["mape"] = np.abs(error / truth)
        self._means = Means(losses)

    def __call__(self, weights: Floats) -> dict[str, Floats]:
        """Return each metric, shape (b,), under `weights`, shape (b, n)."""
        means = self._means(weights)
        squared, second = means.pop("squared"), means.pop("second")
        variance = second - means.pop("first") ** 2
        # What is left of a constant target is rounding.
        constant = variance <= 1e-14 * np.maximum(second, 1e-300)
        r2 = 1 - squared / np.where(constant, np.nan, variance)
        return {"r2": r2, "rmse": np.sqrt(squared), **means}


class MedianError:
    """The median of the absolute errors: of an even number of rows, the mean of the middle two.

    Args:
        errors: Absolute errors, shape (n,).
    """

    def __init__(self, errors: Floats) -> None:
        values, codes = np.unique(errors, return_inverse=True)
        self._values, self._codes = values, codes.astype(np.int64)

    def __call__(self, weights: Floats) -> dict[str, Floats]:
        """Return each metric, shape (b,), under `weights`, shape (b, n)."""
        upto = np.cumsum(_cell_weights(weights, self._codes, len(self._values)), axis=1)
        middle = (upto[:, -1] + 1) / 2
        low = (upto < np.floor(middle)[:, None]).sum(axis=1)
        high = (upto < np.ceil(middle)[:, None]).sum(axis=1)
        return {"median_absolute_error": (self._values[low] + self._values[high]) / 2}


def _cell_weights(weights: Floats, codes: Codes, cells: int) -> Floats:
    """Return the weight in every cell, shape (b, cells)."""
    return np.stack([np.bincount(codes, weights=row, minlength=cells) for row in weights])


def _mean_of_defined(values: Floats) -> Floats:
    defined = np.isfinite(values)
    total = np.where(defined, values, 0.0).sum(axis=1)
    return np.asarray(total / defined.sum(axis=1))
