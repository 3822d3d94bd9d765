"""Which rows are learned from where there are more than `training.max_rows`."""

from __future__ import annotations

import numpy as np

LEAST = 100
"""Rows of a class that are taken whatever its share, or all that there are."""

_SAID = 1.05
"""How many times its share a class has in a sample before that is said: quotas are rounded."""


def sampled(target: np.ndarray, *, rows: int, by_class: bool, seed: int) -> np.ndarray:
    """Return the places of a sample of rows, in ascending order.

    Args:
        target: The target of every row, shape (n,), more than `rows`.
        rows: How many to draw; a few more where some classes have next to no row.
        by_class: Whether each class keeps its share, rounded down, or 100 rows if that is more.
        seed: Of the draw: the same rows in the same order give the same sample.

    Example:
        >>> target = np.repeat(["a", "b"], [900, 300])
        >>> chosen = sampled(target, rows=400, by_class=True, seed=1)
        >>> np.unique(target[chosen], return_counts=True)[1].tolist()
        [300, 100]
    """
    chance = np.random.default_rng(seed)
    if not by_class:
        return np.sort(chance.choice(len(target), rows, replace=False))
    _, codes, counts = np.unique(target, return_inverse=True, return_counts=True)
    quotas = np.maximum(counts * rows // len(target), np.minimum(counts, LEAST))
    # The rows in random order, then by class: the first of each are drawn.
    order = chance.permutation(len(target))
    order = order[np.argsort(codes[order], kind="stable")]
    starts = np.cumsum(counts) - counts
    rank = np.arange(len(target)) - np.repeat(starts, counts)
    return np.sort(order[rank < np.repeat(quotas, counts)])


def more_often(target: np.ndarray, chosen: np.ndarray) -> dict[str, float]:
    """Return the classes that are more frequent in a sample than in all rows, and how many times.

    Args:
        target: The class of every row, shape (n,).
        chosen: Places of the sample's rows.

    Example:
        >>> more_often(np.repeat(["a", "b"], [999_000, 1_000]), np.arange(998_000, 999_100))
        {'b': 90.9}
    """
    classes, codes = np.unique(target, return_inverse=True)
    whole, drawn = (np.bincount(rows, minlength=len(classes)) for rows in (codes, codes[chosen]))
    times = drawn / whole * (len(target) / len(chosen))
    found = zip(classes.tolist(), times.tolist(), strict=True)
    return {str(label): float(f"{many:.3g}") for label, many in found if many > _SAID}
