"""How much each column moved one row's score away from the mean: Shapley values.

The value of a set of columns is the mean score of the background rows with those columns taken
from the row that is explained (Strumbelj & Kononenko, 2014, "Explaining prediction models and
individual predictions with feature contributions"). A column's contribution is its Shapley value
in that game (Shapley, 1953, "A value for n-person games"): what it adds on average over all orders
in which columns can be taken over. With few columns all sets are scored and the values are exact;
otherwise orders are sampled (Castro, Gomez & Tejada, 2009, "Polynomial calculation of the Shapley
value based on sampling"), each together with its reverse, which cancels much of the sampling error
(Mitchell et al., 2022, "Sampling permutations for Shapley value estimation"). Either way the
contributions sum to the row's score less the mean score of the background.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

EXACT_COLUMNS = 9
"""Up to so many columns all of their sets are scored."""

PERMUTATION_PAIRS = 24
"""Orders that are sampled otherwise, each with its reverse; of many columns fewer."""

MOST_SETS = 2_400
"""Sets of columns that are scored at most, unless one order and its reverse have more: each costs
scores of the whole background, and there are twice as many sets in an order as columns."""

BACKGROUND_ROWS = 64
"""Rows of the background that are used, at most."""

_ROWS_AT_ONCE = 16_384

Score = Callable[[Mapping[str, Any]], np.ndarray]


@dataclass(frozen=True)
class Explanation:
    """Why one row got its score.

    Attributes:
        score: The row's score.
        base: Mean score of the background rows.
        contributions: By column, in the unit of the score; they sum to `score - base`.
        method: Whether all sets of columns were scored, or orders were sampled.
        sets: How many sets of columns were scored.
        background: How many background rows each of them was scored on.
    """

    score: float
    base: float
    contributions: dict[str, float]
    method: Literal["exact", "sampled"]
    sets: int
    background: int


def explain(
    score: Score,
    row: Mapping[str, Any],
    background: Mapping[str, Any],
    *,
    seed: int = 0,
    pairs: int | None = None,
) -> Explanation:
    """Return the contributions of one row's columns to its score.

    Args:
        score: Gives one score a row for columns of n rows, shape (n,).
        row: By column, arrays or lists of length 1, as `score` takes them.
        background: By column, the rows to compare with, of the same kinds and of any one length.
        seed: Of the orders that are sampled.
        pairs: How many orders, each with its reverse; None: 24, or of more than 50 columns as many
            as have 2,400 sets.

    Raises:
        ValueError: If the contributions do not sum to the difference, which no input should do.
    """
    names = list(row)
    width = len(names)
    exact = width <= EXACT_COLUMNS
    if pairs is None:
        pairs = max(1, min(PERMUTATION_PAIRS, MOST_SETS // (2 * width)))
    orders = [] if exact else list(_orders(width, pairs=pairs, seed=seed))
    sets = range(1 << width) if exact else sorted(set(_prefixes(orders)))
    values = dict(zip(sets, _values(score, row, background, names, sets), strict=True))
    found = _exact(values, width) if exact else _sampled(values, orders, width)
    total, base = values[(1 << width) - 1], values[0]
    if not math.isclose(sum(found), total - base, rel_tol=1e-6, abs_tol=1e-9):
        raise ValueError(f"contributions sum to {sum(found)!r}, not {total - base!r}")
    return Explanation(
        score=total,
        base=base,
        contributions=dict(zip(names, found, strict=True)),
        method="exact" if exact else "sampled",
        sets=len(values),
        background=len(background[names[0]]),
    )


def _orders(width: int, *, pairs: int, seed: int) -> Iterator[list[int]]:
    chance = random.Random(seed)  # noqa: S311 - the same row is to give the same explanation
    for _ in range(pairs):
        order = list(range(width))
        chance.shuffle(order)
        yield order
        yield order[::-1]


def _prefixes(orders: Sequence[Sequence[int]]) -> Iterator[int]:
    """Yield every set that an order passes through, as a bit mask."""
    for order in orders:
        taken = 0
        yield taken
        for column in order:
            taken |= 1 << column
            yield taken


def _values(
    score: Score,
    row: Mapping[str, Any],
    background: Mapping[str, Any],
    names: Sequence[str],
    sets: Sequence[int],
) -> list[float]:
    """Return the mean score of the background for each set of columns taken from the row."""
    height = len(background[names[0]])
    step = max(1, _ROWS_AT_ONCE // height)
    means: list[float] = []
    for start in range(0, len(sets), step):
        part = sets[start : start + step]
        columns = {
            name: _mixed(row[name], background[name], [bool(s >> i & 1) for s in part])
            for i, name in enumerate(names)
        }
        means += score(columns).reshape(len(part), height).mean(axis=1).tolist()
    return means


def _mixed(own: Any, others: Any, taken: Sequence[bool]) -> Any:
    """Return a column for all sets one after another: the row's value where it is taken."""
    mask = np.array(taken)[:, None]
    if isinstance(others, np.ndarray):
        return np.where(mask, own, others).ravel()
    texts = np.where(mask, np.array(own, dtype=object), np.array(others, dtype=object))
    return texts.ravel().tolist()


def _exact(values: Mapping[int, float], width: int) -> list[float]:
    weights = [
        math.factorial(size) * math.factorial(width - size - 1) / math.factorial(width)
        for size in range(width)
    ]
    return [
        math.fsum(
            weights[s.bit_count()] * (values[s | 1 << column] - values[s])
            for s in range(1 << width)
            if not s >> column & 1
        )
        for column in range(width)
    ]


def _sampled(
    values: Mapping[int, float], orders: Sequence[Sequence[int]], width: int
) -> list[float]:
    sums = [0.0] * width
    for order in orders:
        taken = 0
        for column in order:
            sums[column] += values[taken | 1 << column] - values[taken]
            taken |= 1 << column
    return [total / len(orders) for total in sums]
