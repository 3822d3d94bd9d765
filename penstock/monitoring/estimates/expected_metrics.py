"""Metrics of rows whose labels are not known: what the metric is expected to be, by probabilities.

Confidence-based performance estimation (CBPE): each row counts as right with the probability that
it is (W. Kuberski et al., NannyML; J. Białek et al., Estimating model performance under covariate
shift without labels, 2024, arXiv:2401.08348). A ratio is the ratio of the expected counts. The
gradients are those of `penstock.metrics.influence`, with probabilities for labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penstock.metrics.losses import log_loss

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Expected:
    """A metric as it is expected to be.

    Args:
        value: The metric.
        gradient: By how much it moves with the probability of each row, times the number of rows:
            of two classes shape (n,), of more (n, classes).
    """

    value: float
    gradient: Floats


@dataclass(frozen=True)
class Unlabelled:
    """Rows of two classes without labels; arrays of shape (n,).

    Args:
        probability: That the row is positive.
        flagged: Whether it is predicted positive.
        scores: What the model stated.
    """

    probability: Floats
    flagged: NDArray[np.bool_]
    scores: Floats


@dataclass(frozen=True)
class UnlabelledClasses:
    """Rows of more classes without labels.

    Args:
        probability: Of each class, shape (n, classes); each row adds up to 1.
        predicted: Class codes, shape (n,).
        scores: What the model stated, shape (n, classes).
    """

    probability: Floats
    predicted: Codes
    scores: Floats


def _accuracy(of: Unlabelled) -> Expected:
    right = np.where(of.flagged, of.probability, 1 - of.probability)
    return Expected(float(right.mean()), np.where(of.flagged, 1.0, -1.0))


def _precision(of: Unlabelled) -> Expected:
    share = of.flagged.mean()
    return Expected(float((of.probability * of.flagged).mean() / share), of.flagged / share)


def _recall(of: Unlabelled) -> Expected:
    positives = of.probability.mean()
    value = float((of.probability * of.flagged).mean() / positives)
    return Expected(value, (of.flagged - value) / positives)


def _specificity(of: Unlabelled) -> Expected:
    found = _recall(Unlabelled(1 - of.probability, ~of.flagged, of.scores))
    return Expected(found.value, -found.gradient)


def _f1(of: Unlabelled) -> Expected:
    size = of.probability.mean() + of.flagged.mean()
    value = float(2 * (of.probability * of.flagged).mean() / size)
    return Expected(value, (2.0 * of.flagged - value) / size)


def _balanced_accuracy(of: Unlabelled) -> Expected:
    return _mean(_recall(of), _specificity(of))


def _f1_macro(of: Unlabelled) -> Expected:
    other = _f1(Unlabelled(1 - of.probability, ~of.flagged, of.scores))
    return _mean(_f1(of), Expected(other.value, -other.gradient))


def _mean(one: Expected, other: Expected) -> Expected:
    return Expected((one.value + other.value) / 2, (one.gradient + other.gradient) / 2)


def _log_loss(of: Unlabelled) -> Expected:
    positive, negative = log_loss(of.scores), log_loss(1 - of.scores)
    value = float((of.probability * positive + (1 - of.probability) * negative).mean())
    return Expected(value, positive - negative)


def _brier(of: Unlabelled) -> Expected:
    positive, negative = (1 - of.scores) ** 2, of.scores**2
    value = float((of.probability * positive + (1 - of.probability) * negative).mean())
    return Expected(value, positive - negative)


def _roc_auc(of: Unlabelled) -> Expected:
    values, ranks = np.unique(of.scores, return_inverse=True)
    size = len(values)
    true = np.bincount(ranks, weights=of.probability, minlength=size)
    false = np.bincount(ranks, weights=1 - of.probability, minlength=size)
    positives, negatives = true.sum(), false.sum()
    # By distinct score: the share of the other class that is ordered right.
    above = (np.cumsum(false) - false / 2) / negatives
    below = 1 - (np.cumsum(true) - true / 2) / positives
    area = float(true @ above / positives)
    rows = len(of.scores)
    gradient = (above - area) * (rows / positives) - (below - area) * (rows / negatives)
    return Expected(area, gradient[ranks])


def _average_precision(of: Unlabelled) -> Expected:
    values, ranks = np.unique(of.scores, return_inverse=True)
    size, rows = len(values), len(of.scores)
    true = np.bincount(ranks, weights=of.probability, minlength=size)
    flagged = np.cumsum(np.bincount(ranks, minlength=size)[::-1])[::-1]
    precision = np.cumsum(true[::-1])[::-1] / flagged
    positives = true.sum()
    average = float(true @ precision / positives)
    gain = np.cumsum(true / flagged)
    gradient = (precision + gain - average) * (rows / positives)
    return Expected(average, gradient[ranks])


BINARY: dict[str, Callable[[Unlabelled], Expected]] = {
    "roc_auc": _roc_auc,
    "average_precision": _average_precision,
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "f1": _f1,
    "f1_macro": _f1_macro,
    "precision": _precision,
    "recall": _recall,
    "log_loss": _log_loss,
    "brier": _brier,
}
"""Metrics of two classes that can be estimated."""


def _by_class(
    of: UnlabelledClasses, metric: Callable[[Unlabelled], Expected], classes: NDArray[np.intp]
) -> Expected:
    """Return the mean over classes of a metric of each against the rest."""
    gradient = np.zeros(of.probability.shape)
    total = 0.0
    for code in classes:
        one = metric(Unlabelled(of.probability[:, code], of.predicted == code, of.scores[:, code]))
        gradient[:, code] = one.gradient / len(classes)
        total += one.value / len(classes)
    return Expected(total, gradient)


def _present(of: UnlabelledClasses) -> NDArray[np.intp]:
    """Return the classes of which at least half a row is expected, or that are predicted."""
    rows = of.probability.sum(axis=0)
    given = np.bincount(of.predicted, minlength=len(rows))
    return np.flatnonzero((rows >= 0.5) | (given > 0))


def _log_loss_of_classes(of: UnlabelledClasses) -> Expected:
    losses = log_loss(of.scores)
    return Expected(float((of.probability * losses).sum(axis=1).mean()), losses)


MULTICLASS: dict[str, Callable[[UnlabelledClasses], Expected]] = {
    "balanced_accuracy": lambda of: _by_class(of, _recall, _present(of)),
    "f1_macro": lambda of: _by_class(of, _f1, _present(of)),
    "roc_auc_ovr": lambda of: _by_class(of, _roc_auc, np.arange(of.scores.shape[1])),
    "log_loss": _log_loss_of_classes,
}
"""Metrics of more classes that can be estimated, besides accuracy, which has a curve of its own."""
