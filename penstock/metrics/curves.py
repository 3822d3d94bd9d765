"""Curves over thresholds, reliability and confusion of a classification, as numbers.

Imported only while evaluating.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from penstock.metrics.arrays import Codes, Flags, Floats

CURVE_POINTS = 200
CALIBRATION_BINS = 10


@dataclass(frozen=True)
class ThresholdCurve:
    """What every threshold gives, from the highest score down; arrays of shape (m,).

    A row is predicted positive when its score is at or above `threshold`. The first threshold lies
    above all scores.

    Args:
        threshold: Falling.
        true_positives: Rows predicted positive that are.
        false_positives: Rows predicted positive that are not.
        positives: Rows of the positive class.
        negatives: All other rows.
    """

    threshold: Floats
    true_positives: Floats
    false_positives: Floats
    positives: int
    negatives: int

    @property
    def recall(self) -> Floats:
        """Share of the positives that are predicted positive."""
        return self.true_positives / self.positives

    @property
    def false_positive_rate(self) -> Floats:
        """Share of the negatives that are predicted positive."""
        return self.false_positives / self.negatives

    @property
    def precision(self) -> Floats:
        """Share of the rows predicted positive that are; NaN where none is."""
        with np.errstate(invalid="ignore"):
            return self.true_positives / (self.true_positives + self.false_positives)

    @property
    def f1(self) -> Floats:
        """Harmonic mean of precision and recall."""
        called = self.true_positives + self.false_positives
        return 2 * self.true_positives / (called + self.positives)

    @property
    def accuracy(self) -> Floats:
        """Share of all rows that are predicted right."""
        right = self.true_positives + self.negatives - self.false_positives
        return right / (self.positives + self.negatives)

    @property
    def f1_macro(self) -> Floats:
        """Mean of the F1 of the positive class and that of all other rows."""
        true_negatives = self.negatives - self.false_positives
        false_negatives = self.positives - self.true_positives
        sizes = true_negatives + false_negatives + self.negatives
        return (self.f1 + 2 * true_negatives / sizes) / 2

    @property
    def balanced_accuracy(self) -> Floats:
        """Mean of the shares of either class that are predicted right."""
        specificity = (self.negatives - self.false_positives) / self.negatives
        return (self.recall + specificity) / 2

    @property
    def predicted_positive(self) -> Floats:
        """Share of all rows that are predicted positive."""
        called = self.true_positives + self.false_positives
        return called / (self.positives + self.negatives)

    def index_of(self, threshold: float) -> int:
        """Return the position of the point that `threshold` gives."""
        return max(0, int((self.threshold >= threshold).sum()) - 1)

    def thinned(self) -> ThresholdCurve:
        """Return at most `CURVE_POINTS` points, evenly spaced along the ROC curve, ends kept."""
        length = self.recall + self.false_positive_rate
        places = np.linspace(0, length[-1], CURVE_POINTS)
        # Where the length does not grow between two points, the search may find the last twice.
        taken = np.unique(np.append(np.searchsorted(length, places), len(length) - 1))
        taken = taken[taken < len(length)]
        return ThresholdCurve(
            threshold=self.threshold[taken],
            true_positives=self.true_positives[taken],
            false_positives=self.false_positives[taken],
            positives=self.positives,
            negatives=self.negatives,
        )


def threshold_curve(positive: Flags, scores: Floats) -> ThresholdCurve:
    """Return what every distinct score gives as a threshold.

    Args:
        positive: Whether a row is of the positive class, shape (n,), both present.
        scores: Shape (n,).
    """
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], positive[order]
    last = np.flatnonzero(np.append(np.diff(ordered) != 0, True))
    true = np.append(0, np.cumsum(hits)[last]).astype(float)
    above = max(1.0, float(np.nextafter(ordered[0], np.inf)))
    return ThresholdCurve(
        threshold=np.append(above, ordered[last]),
        true_positives=true,
        false_positives=np.append(0, last + 1) - true,
        positives=int(hits.sum()),
        negatives=int(len(hits) - hits.sum()),
    )


@dataclass(frozen=True)
class Reliability:
    """Stated against observed, in bins of about equally many rows; arrays of shape (bins,).

    `low` and `high` are Wilson's 95 % interval of the observed share (Wilson 1927).
    """

    start: Floats
    end: Floats
    rows: Codes
    stated: Floats
    observed: Floats
    low: Floats
    high: Floats


def reliability(
    happened: np.ndarray, stated: Floats, *, bins: int = CALIBRATION_BINS
) -> Reliability:
    """Compare probabilities with what happened.

    Args:
        happened: Whether it did, shape (n,).
        stated: The probability given to it, shape (n,).
        bins: How many at most; equal probabilities are kept together.
    """
    from penstock.metrics.methods import wilson

    order = np.argsort(stated, kind="stable")
    ordered = stated[order]
    edges = np.linspace(0, len(ordered), bins + 1).astype(int)[1:-1]
    # Equal probabilities belong to one bin: a cut moves to where its value begins.
    starts = np.unique(np.append(0, np.searchsorted(ordered, ordered[edges])))
    rows = np.diff(np.append(starts, len(ordered)))
    hits = np.add.reduceat(happened[order].astype(float), starts)
    ends = [wilson(*bin_, confidence=0.95) for bin_ in zip(hits, rows, strict=True)]
    return Reliability(
        start=ordered[starts],
        end=ordered[np.append(starts[1:], len(ordered)) - 1],
        rows=rows,
        stated=np.add.reduceat(ordered, starts) / rows,
        observed=hits / rows,
        low=np.array([low for low, _ in ends]),
        high=np.array([high for _, high in ends]),
    )


def confusion(truth: Codes, predicted: Codes, *, classes: int) -> Codes:
    """Return how often each class (row) was predicted as each (column), shape (k + 1, k).

    The last row holds classes that the model does not know.
    """
    cells = np.bincount(truth * classes + predicted, minlength=(classes + 1) * classes)
    return cells.reshape(classes + 1, classes)
