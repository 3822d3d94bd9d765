"""Label noise of the training part, from predictions on rows left out of each fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from penstock.records.health import Suspect, TrainingHealth
from penstock.training.crossval import Evaluated
from penstock.training.inputs import Problem

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


MOST_ROWS = 200_000
"""Rows that are looked at; of more every second, third, and so on."""


def training_health(
    problem: Problem,
    winner: Evaluated,
    *,
    linear: Evaluated,
    read: Callable[[np.ndarray], pd.DataFrame],
) -> TrainingHealth:
    """Return the estimated label noise, and the parts of the data whose labels look flipped.

    Args:
        problem: The training part.
        winner: The best setting, scored on the folds.
        linear: The linear model, scored on the same folds. Where most labels of a part were
            flipped, a flexible model learns it; a linear one has the same slopes everywhere.
        read: Returns all columns but the target of some rows: a part of the data may be one of a
            column that the model does not take.
    """
    if problem.task == "regression":
        return TrainingHealth(rows=len(winner.rows))
    from penstock.training.label_flips import find_flipped_labels
    from penstock.training.subgroups import subgroups_of

    # Evenly spread where there are many: the estimates would hardly change.
    chosen = slice(None, None, 1 + (len(winner.rows) - 1) // MOST_ROWS)
    rows = winner.rows[chosen]
    truth = problem.truth[rows]
    probabilities = _matrix(winner.predictions[chosen])
    parts = subgroups_of(read(rows))
    ordering = linear.predictions[chosen] if problem.task == "binary" else None
    suspects, flipped = find_flipped_labels(truth, probabilities, parts, linear=ordering)
    return TrainingHealth(
        rows=len(truth),
        label_noise=label_noise(truth, probabilities),
        flipped_labels=flipped,
        suspects=tuple(Suspect(name=s.name, rows=s.rows, flipped=s.flipped) for s in suspects),
        parts=sum(len(part.names) for part in parts),
    )


def label_noise(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the estimated share of wrong labels, by confident learning.

    A row counts as of class j if its probability of j is at least the mean probability of j over
    the rows labelled j; of several such classes the likeliest counts. The table of label by class
    is scaled to the number of rows of each label; the share off its diagonal is the estimate
    (Northcutt, Jiang and Chuang, Confident Learning, JAIR 2021). Rows that are merely hard count
    in part too, so it tends to be too high where classes overlap.

    Args:
        truth: Class codes, shape (n,).
        probabilities: Predicted while the row was left out, shape (n, classes).
    """
    import numpy as np

    classes = probabilities.shape[1]
    usual = np.array(
        [
            probabilities[truth == code, code].mean() if (truth == code).any() else np.inf
            for code in range(classes)
        ]
    )
    confident = np.where(probabilities >= usual - 1e-12, probabilities, -1.0)
    counted = confident.max(axis=1) >= 0
    cells = truth[counted] * classes + confident[counted].argmax(axis=1)
    table = np.bincount(cells, minlength=classes**2).reshape(classes, classes).astype(float)
    labelled, rows = table.sum(axis=1), np.bincount(truth, minlength=classes)
    scaled = table * (rows / np.maximum(labelled, 1))[:, None]
    return float(1 - np.trace(scaled) / max(scaled.sum(), 1))


def _matrix(scores: np.ndarray) -> np.ndarray:
    """Return probabilities by class code, shape (n, classes)."""
    import numpy as np

    return np.column_stack([1 - scores, scores]) if scores.ndim == 1 else scores
