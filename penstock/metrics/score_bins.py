"""Scores counted in bins, in which later scores can be counted too. For evaluating only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from penstock.metrics.arrays import Codes, Flags, Floats
from penstock.records.baseline import ErrorBins, ScoreBins

MOST_BINS = 50
ROWS_A_BIN = 50
"""About how many rows a bin is to hold. Of so few the share of hits has a standard error of 0.07 at
most, and over all bins these cancel."""

HITS_A_BIN = 10
"""Rows of the rarer outcome that a bin is to hold, so that a rare class does not fall into one."""


def score_edges(
    scores: Floats,
    hits: Flags | None,
    *,
    threshold: float | None = None,
    most: int = MOST_BINS,
) -> Floats:
    """Return rising edges of bins, shape (k,), the last the highest score.

    Each holds about as much as any other of all rows and of the rarer outcome's together, so that
    bins are finer where that outcome lies. Rows on the two sides of the threshold never share one.

    Args:
        scores: Shape (n,), at least one.
        hits: Whether what was scored was true, shape (n,); None: a regression.
        threshold: Score from which the positive class is predicted.
        most: How many at most, besides those at the ends and at the threshold.
    """
    bins = min(most, max(1, len(scores) // ROWS_A_BIN))
    weights = np.full(len(scores), 1 / len(scores))
    if hits is not None:
        rarer = hits if 2 * hits.sum() < len(hits) else ~hits
        found = int(rarer.sum())
        weights[rarer] += 1 / max(found, HITS_A_BIN * bins)
    order = np.argsort(scores)
    reached = np.cumsum(weights[order])
    # Beyond the mean of an outer bin nothing is known: these are cut smaller.
    ends = np.array([0.25, 0.5]) if bins > 1 else np.empty(0)
    levels = np.concatenate([ends, np.arange(1, bins), bins - ends[::-1]]) / bins
    last = np.searchsorted(reached, levels * reached[-1])
    edges = np.unique(np.append(scores[order[np.minimum(last, len(scores) - 1)]], scores.max()))
    if threshold is not None and scores.min() < threshold <= scores.max():
        # A score at the threshold is predicted positive: the edge is the number just below it.
        edges = np.unique(np.append(edges, np.nextafter(threshold, -np.inf)))
    return np.asarray(edges)


def score_bins(scores: Floats, hits: Flags | None, edges: Floats) -> ScoreBins:
    """Return the counts of rows in bins; those without any row are joined with the next.

    Args:
        scores: Shape (n,).
        hits: Whether what was scored was true, shape (n,); None: a regression.
        edges: Rising, shape (k,), the last at or above every score.
    """
    places = np.searchsorted(edges, scores, side="left")
    rows = np.bincount(places, minlength=len(edges))
    kept = rows > 0
    return ScoreBins(
        edges=tuple(edges[kept].tolist()),
        rows=tuple(rows[kept].tolist()),
        sums=_sums(places, scores, kept),
        hits=() if hits is None else tuple(map(int, _sums(places, hits, kept))),
    )


def error_bins(scores: Floats, errors: Floats, edges: Floats) -> ErrorBins:
    """Return the sums of a regression's errors in the bins of `score_bins`.

    Args:
        scores: Predicted values, shape (n,).
        errors: Absolute errors, shape (n,).
        edges: See `score_bins`.
    """
    places = np.searchsorted(edges, scores, side="left")
    kept = np.bincount(places, minlength=len(edges)) > 0
    return ErrorBins(
        absolute=_sums(places, errors, kept),
        squared=_sums(places, errors**2, kept),
        fourth=_sums(places, errors**4, kept),
    )


def _sums(places: Codes, values: NDArray[np.generic], kept: Flags) -> tuple[float, ...]:
    found = np.bincount(places, weights=values.astype(np.float64), minlength=len(kept))
    return tuple(found[kept].tolist())
