"""From scores to probabilities, by what happened on the holdout, with what is uncertain of that."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penstock.records.baseline import ErrorBins, ScoreBins

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """A straight line from bin to bin of the score; beyond the outer bins it goes on level.

    Args:
        scores: Mean score of each bin, rising, shape (k,).
        values: What the curve is there, shape (k,).
        variances: Of `values`, by the rows that they rest on, shape (k,).
    """

    scores: Floats
    values: Floats
    variances: Floats

    def at(self, scores: Floats) -> Floats:
        """Return the curve at each score, shape (n,)."""
        return np.interp(scores, self.scores, self.values)

    def variance_of_mean(self, scores: Floats, gradient: Floats) -> float:
        """Return what the curve's own uncertainty adds to the variance of a mean over rows.

        Args:
            scores: Shape (n,).
            gradient: How much the mean's term of each row moves with the curve there, shape (n,).
        """
        bins = len(self.scores)
        # Each row's value is shared by the bins to its left and right.
        left = np.clip(np.searchsorted(self.scores, scores, side="right") - 1, 0, max(bins - 2, 0))
        right = np.minimum(left + 1, bins - 1)
        width = np.where(right > left, self.scores[right] - self.scores[left], 1.0)
        share = np.clip((scores - self.scores[left]) / width, 0.0, 1.0)
        moved = np.bincount(left, weights=gradient * (1 - share), minlength=bins)
        moved += np.bincount(right, weights=gradient * share, minlength=bins)
        return float(((moved / len(scores)) ** 2) @ self.variances)


def calibration_curve(bins: ScoreBins) -> Curve:
    """Return how often what was scored was true, by score.

    The share of a bin is its hits and one row more that turned out as stated, over its rows and
    one: a beta posterior, whose variance is that of the curve. So no share is exactly 0 or 1.

    Args:
        bins: Counts of a classification.

    Example:
        >>> bins = ScoreBins(edges=(0.5, 1.0), rows=(99, 99), sums=(19.8, 79.2), hits=(20, 60))
        >>> calibration_curve(bins).at(np.array([0.2, 0.5, 0.8])).round(3).tolist()
        [0.202, 0.405, 0.608]
    """
    rows, hits = np.array(bins.rows, dtype=np.float64), np.array(bins.hits, dtype=np.float64)
    stated = _means(bins)
    shares = (hits + stated) / (rows + 1)
    return Curve(stated, shares, shares * (1 - shares) / (rows + 2))


def loss_curves(bins: ScoreBins, errors: ErrorBins, *, squared: bool) -> tuple[Curve, Curve]:
    """Return the mean loss of a regression by predicted value, and the variance of single losses.

    Args:
        bins: Counts of the predicted values.
        errors: Errors in the same bins.
        squared: Of squared errors; otherwise of absolute ones.
    """
    rows = np.array(bins.rows, dtype=np.float64)
    first, second = (
        (errors.squared, errors.fourth) if squared else (errors.absolute, errors.squared)
    )
    means = np.array(first) / rows
    spread = np.maximum(np.array(second) / rows - means**2, 0.0)
    scores = _means(bins)
    return Curve(scores, means, spread / rows), Curve(scores, spread, np.zeros(len(rows)))


def _means(bins: ScoreBins) -> Floats:
    """Return the mean score of each bin; rounding must not put it above the bin's own edge."""
    found = np.array(bins.sums) / np.array(bins.rows, dtype=np.float64)
    return np.maximum.accumulate(np.minimum(found, np.array(bins.edges)))
