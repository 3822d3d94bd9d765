"""Bootstrap intervals: percentile, and by test inversion. Imported only while evaluating.

**Percentile** (`replicate`, `percentile_interval`), of several models on the same rows. Rows are
drawn with replacement, as many as there are, and all models are measured on each draw: what they
find hard together then cancels in their difference. The draw is not stratified, so that the shares
of the classes vary as they would in another sample of that size. (Efron and Tibshirani, An
Introduction to the Bootstrap, 1993, chapters 6 and 13.) It takes rows for independent.

**Test inversion** (`inverted_interval`), of distances that chance alone makes larger. A sum of
distances, or the spread of several groups, is above 0 even where nothing is wrong, and a bootstrap
of it is higher still: its interval would never hold 0. So the test is inverted instead: the true
distances are taken for the observed ones times one factor, and the interval holds every factor
under which the observed value is within the tails (Carpenter, Test inversion bootstrap confidence
intervals, Journal of the Royal Statistical Society B, 1999).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from penstock.metrics.arrays import Floats
from penstock.metrics.weighted import Statistic, weighted_metrics
from penstock.records.estimate import Estimate

_BLOCK = 100_000
"""Weights held at once, where they fit: blocks that stay in the processor's cache are faster."""

_LEAST = 4
"""Resamples in a block of many rows: the losses are read from memory once for each block."""

_HALVINGS = 40
_FURTHEST = 1e6


def resample_weights(rows: int, *, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield how often each row is drawn, in blocks of shape (b, rows) of bounded size.

    Args:
        rows: Rows there are, and rows drawn in each resample.
        resamples: How many in all blocks together.
        seed: The same seed gives the same draws.
    """
    generator = np.random.default_rng(seed)
    size = max(_LEAST, _BLOCK // rows)
    for start in range(0, resamples, size):
        block = np.empty((min(size, resamples - start), rows))
        for weights in block:
            drawn = generator.integers(0, rows, rows, dtype=np.int32)
            weights[:] = np.bincount(drawn, minlength=rows)
        yield block


def replicate(
    models: Mapping[str, Sequence[Statistic]], *, rows: int, resamples: int, seed: int
) -> dict[str, dict[str, Floats]]:
    """Return every metric of every model on every resample.

    Args:
        models: Each model's statistics on the same rows, by its name.
        rows: How many rows.
        resamples: How many resamples.
        seed: Of the draws.

    Returns:
        By model and metric, arrays of shape (resamples,); NaN where a resample does not define it.
    """
    parts: dict[str, dict[str, list[Floats]]] = {name: {} for name in models}
    for weights in resample_weights(rows, resamples=resamples, seed=seed):
        for name, statistics in models.items():
            for metric, values in weighted_metrics(statistics, weights).items():
                parts[name].setdefault(metric, []).append(values)
    return {
        name: {metric: np.concatenate(blocks) for metric, blocks in metrics.items()}
        for name, metrics in parts.items()
    }


def percentile_interval(value: float, replicates: Floats, *, confidence: float) -> Estimate:
    """Return a value with its percentile interval over the resamples that define it.

    Args:
        value: The value on all rows.
        replicates: The value on each resample, shape (resamples,), at least one finite.
        confidence: Share of such intervals that hold the true value, between 0 and 1.
    """
    defined = replicates[np.isfinite(replicates)]
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(value=float(value), low=float(low), high=float(high))


def expected_factor(drawn: Callable[[float], Floats], observed: float) -> float:
    """Return the factor under which what was observed would be expected; 0 if it is less than that.

    Args:
        drawn: Draws of the value if the true distances were the observed ones times its argument:
            the same random numbers whatever it is.
        observed: The observed value.
    """
    return _smallest(lambda factor: drawn(factor).mean() >= observed)


def inverted_interval(
    drawn: Callable[[float], Floats], observed: float, *, confidence: float
) -> tuple[float, float]:
    """Return the ends between which the true value lies with this confidence.

    Args:
        drawn: See `expected_factor`.
        observed: The observed value.
        confidence: Of the interval, between 0 and 1.
    """
    tail = (1 - confidence) / 2
    low = _smallest(lambda factor: np.quantile(drawn(factor), 1 - tail) >= observed)
    high = _smallest(lambda factor: np.quantile(drawn(factor), tail) >= observed)
    # What is closer together than chance leaves equals is no proof of being equal.
    chance = float(np.quantile(drawn(0.0), 1 - tail))
    return min(low, 1.0) * observed, max(high * observed, observed, chance)


def _smallest(enough: Callable[[float], bool | np.bool_]) -> float:
    if enough(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while not enough(high) and high < _FURTHEST:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
