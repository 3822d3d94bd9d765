"""What the plots of a classification show, as numbers. Imported only while evaluating."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from penstock.metrics.weighted import Codes, Floats

CURVE_POINTS = 200
CALIBRATION_BINS = 10


@dataclass(frozen=True)
class Cuts:
    """What every threshold would give, from the highest score down; arrays of shape (m,).

    A row is called positive when its score is at or above `threshold`. The first threshold lies
    above all scores.
    """

    threshold: Floats
    found: Floats
    false: Floats
    positives: int
    negatives: int

    @property
    def recall(self) -> Floats:
        """Share of the positives that are found."""
        return self.found / self.positives

    @property
    def fall_out(self) -> Floats:
        """Share of the others that are called positive."""
        return self.false / self.negatives

    @property
    def precision(self) -> Floats:
        """Share of the rows called positive that are; NaN where none is called so."""
        with np.errstate(invalid="ignore"):
            return self.found / (self.found + self.false)

    @property
    def f1(self) -> Floats:
        """Harmonic mean of precision and recall."""
        return 2 * self.found / (self.found + self.false + self.positives)

    @property
    def accuracy(self) -> Floats:
        """Share of all rows that are called what they are."""
        right = self.found + self.negatives - self.false
        return right / (self.positives + self.negatives)

    @property
    def flagged(self) -> Floats:
        """Share of all rows that are called positive."""
        return (self.found + self.false) / (self.positives + self.negatives)

    def at(self, threshold: float) -> int:
        """Return the position of the cut that `threshold` makes."""
        return max(0, int((self.threshold >= threshold).sum()) - 1)

    def thinned(self) -> Cuts:
        """Return at most `CURVE_POINTS` cuts, at even distances along the ROC curve, ends kept."""
        way = self.recall + self.fall_out
        wanted = np.linspace(0, way[-1], CURVE_POINTS)
        # Where the way does not grow between two cuts, the search may find the last twice.
        taken = np.unique(np.append(np.searchsorted(way, wanted), len(way) - 1))
        taken = taken[taken < len(way)]
        return Cuts(
            threshold=self.threshold[taken],
            found=self.found[taken],
            false=self.false[taken],
            positives=self.positives,
            negatives=self.negatives,
        )


def cuts(positive: np.ndarray, scores: Floats) -> Cuts:
    """Return what every distinct score gives as a threshold.

    Args:
        positive: Whether a row is of the positive class, shape (n,), both present.
        scores: Shape (n,).
    """
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], positive[order]
    last = np.flatnonzero(np.append(np.diff(ordered) != 0, True))
    found = np.append(0, np.cumsum(hits)[last]).astype(float)
    above = max(1.0, float(np.nextafter(ordered[0], np.inf)))
    return Cuts(
        threshold=np.append(above, ordered[last]),
        found=found,
        false=np.append(0, last + 1) - found,
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
    order = np.argsort(stated, kind="stable")
    ordered = stated[order]
    edges = np.linspace(0, len(ordered), bins + 1).astype(int)[1:-1]
    # Equal probabilities belong to one bin: a cut moves to where its value begins.
    starts = np.unique(np.append(0, np.searchsorted(ordered, ordered[edges])))
    rows = np.diff(np.append(starts, len(ordered)))
    share = np.add.reduceat(happened[order].astype(float), starts) / rows
    z = 1.959964
    centre = (share + z**2 / (2 * rows)) / (1 + z**2 / rows)
    half = z * np.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2)) / (1 + z**2 / rows)
    return Reliability(
        start=ordered[starts],
        end=ordered[np.append(starts[1:], len(ordered)) - 1],
        rows=rows,
        stated=np.add.reduceat(ordered, starts) / rows,
        observed=share,
        low=np.maximum(centre - half, 0.0),
        high=np.minimum(centre + half, 1.0),
    )


def confusion(truth: Codes, predicted: Codes, *, classes: int) -> Codes:
    """Return how often each class (row) was predicted as each (column), shape (k + 1, k).

    The last row holds classes that the model does not know.
    """
    cells = np.bincount(truth * classes + predicted, minlength=(classes + 1) * classes)
    return cells.reshape(classes + 1, classes)
