"""Percentile bootstrap of several models on the same rows. Imported only while evaluating.

Rows are drawn with replacement, as many as there are, and all models are measured on each draw:
what they find hard together then cancels in their difference. The draw is not stratified, so that
the shares of the classes vary as they would in another sample of that size. (Efron and Tibshirani,
An Introduction to the Bootstrap, 1993, chapters 6 and 13.) It takes rows for independent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from penstock.metrics.weighted import Floats, Statistic, measure
from penstock.records.estimate import Estimate

_BLOCK = 100_000
"""Weights held at once, where they fit: blocks that stay in the processor's cache are faster."""

_LEAST = 4
"""Resamples in a block of many rows: the losses are read from memory once for each block."""


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
            for metric, values in measure(statistics, weights).items():
                parts[name].setdefault(metric, []).append(values)
    return {
        name: {metric: np.concatenate(blocks) for metric, blocks in metrics.items()}
        for name, metrics in parts.items()
    }


def estimate(value: float, replicates: Floats, *, confidence: float) -> Estimate:
    """Return a figure with its percentile interval over the resamples that define it.

    Args:
        value: The figure on all rows.
        replicates: The figure on each resample, shape (resamples,), at least one finite.
        confidence: Share of such intervals that hold the true figure, between 0 and 1.
    """
    defined = replicates[np.isfinite(replicates)]
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(value=float(value), low=float(low), high=float(high))
