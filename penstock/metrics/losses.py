"""Losses of single rows, whose mean over rows is a metric. Imported only while evaluating."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock.metrics.arrays import Floats
from penstock.records.model import Task

ROW_METRICS: dict[Task, tuple[str, ...]] = {
    "binary": ("accuracy", "recall", "log_loss", "brier"),
    "multiclass": ("accuracy", "log_loss"),
    "regression": ("r2", "rmse", "mae"),
}
"""By task, the metrics that `row_losses` knows: means over rows, or one step from it."""


def log_loss(probability: Floats) -> Floats:
    """Return -ln of the probability given to the true class, shape (n,).

    Args:
        probability: Shape (n,); clipped to [eps, 1 - eps] of float64, as scikit-learn's `log_loss`
            does, so that no loss is above 36.04.

    Example:
        >>> log_loss(np.array([1.0, 0.5, 0.0])).round(2).tolist()
        [0.0, 0.69, 36.04]
    """
    smallest = np.finfo(np.float64).eps
    return np.asarray(-np.log(np.clip(probability, smallest, 1 - smallest)))


def class_losses(task: Task, truth: NDArray[Any], scores: Floats) -> dict[str, Floats]:
    """Return the loss of each row by metric: log loss, and of two classes the Brier score too.

    Args:
        task: Of the model; a regression has none of these.
        truth: Class codes, shape (n,). The number of classes stands for a class that the model
            does not know: it was given the probability 0, and in the Brier score it is neither.
        scores: Probability of the positive class, shape (n,), or of every class, (n, k).

    Returns:
        Arrays of shape (n,).
    """
    if task == "regression":
        return {}
    if task == "binary":
        given = np.select([truth == 1, truth == 0], [scores, 1 - scores], 0.0)
        # Half the squared distances summed over both classes: an unknown class is neither.
        of_neither = (scores**2 + (1 - scores) ** 2) / 2
        squares = np.where(truth > 1, of_neither, (scores - (truth == 1)) ** 2)
        return {"log_loss": log_loss(given), "brier": squares}
    padded = np.append(scores, np.zeros((len(scores), 1)), axis=1)
    return {"log_loss": log_loss(padded[np.arange(len(truth)), truth])}


def losses_by_name(
    task: Task, truth: NDArray[Any], scores: Floats, predicted: NDArray[Any]
) -> dict[str, Floats]:
    """Return every loss of each row that a baseline keeps and a monitor watches.

    Args:
        task: Of the model.
        truth: See `row_losses`.
        scores: See `class_losses`.
        predicted: See `row_losses`.

    Returns:
        Arrays of shape (n,): error (1 where the prediction is wrong), log_loss and, of two classes,
        brier; of a regression absolute_error and squared_error.
    """
    if task == "regression":
        error = truth - scores
        return {"absolute_error": np.abs(error), "squared_error": error**2}
    wrong = np.asarray(predicted != truth, dtype=np.float64)
    return {"error": wrong, **class_losses(task, truth, scores)}


def row_losses(
    metric: str, *, task: Task, truth: NDArray[Any], scores: Floats, predicted: NDArray[Any]
) -> Floats:
    """Return the loss of each row, shape (n,); less is better.

    `accuracy` and `recall` are 1 minus its mean, `rmse` is the root of its mean. `r2` is 1 minus
    its mean, which measures against the variance of all of `truth`: over parts of the rows the
    losses then add up to that of the whole.

    Args:
        metric: One of `ROW_METRICS`.
        task: Of the model.
        truth: Class codes or, of a regression, values; shape (n,).
        scores: See `class_losses`; of a regression the predicted values.
        predicted: Predicted class codes, or the values; shape (n,).
    """
    if metric in ("accuracy", "recall"):
        return np.asarray(predicted != truth, dtype=np.float64)
    if metric in ("brier", "log_loss"):
        return class_losses(task, truth, scores)[metric]
    error = np.abs(scores - truth)
    if metric == "mae":
        return np.asarray(error)
    return np.asarray(error**2 / (truth.var() if metric == "r2" else 1.0))
