"""Simulated sources of tables for bench_split.py: rows repeat by chance, or because of copies.

A source gives fresh rows without end. A table of it is drawn, and in some its rows are copied, each
copy of an original chosen at random, until they are the share of the table that is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Columns = dict[str, np.ndarray]
Rows = tuple[Columns, np.ndarray]
"""Features and target."""

Draw = Callable[[int, np.random.Generator], Rows]


@dataclass(frozen=True)
class Source:
    """Where tables and fresh rows come from.

    Attributes:
        name: What the table calls it.
        draw: Fresh rows.
        rows: Rows of a table.
        copied: Share of them that are copies.
        regression: Whether the target is a number.
        inverted: Whether copies have the other class.
        twice: Whether the whole table is there twice.
    """

    name: str
    draw: Draw
    rows: int = 2_000
    copied: float = 0.0
    regression: bool = False
    inverted: bool = False
    twice: bool = False

    def table(self, rng: np.random.Generator) -> Rows:
        """Return a table, its rows in random order."""
        originals = max(2, round(self.rows * (1 - self.copied) / (1 + self.twice)))
        columns, target = self.draw(originals, rng)
        more = self.rows - originals
        again = np.arange(more) if self.twice else rng.integers(0, originals, more)
        place = np.concatenate([np.arange(originals), again])
        target = target[place]
        if self.inverted:
            target[originals:] = 1 - target[originals:]
        order = rng.permutation(len(place))
        return {n: v[place][order] for n, v in columns.items()}, target[order]


def _chance(score: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (rng.random(len(score)) < 1 / (1 + np.exp(-score))).astype(np.int64)


def categories(levels: int, columns: int = 3, *, number: bool = False, common: float = 0.0) -> Draw:
    """Return a source of category columns with effects of levels and of pairs of them.

    Args:
        levels: Of each column.
        columns: How many.
        number: Whether the target is a number.
        common: How much commoner the first levels are (exponent of Zipf's law).
    """
    effects = np.random.default_rng(levels * 100 + columns)
    single = effects.normal(0, 0.8, (columns, levels))
    pair = effects.normal(0, 0.6, (levels, levels))
    shares = (1.0 + np.arange(levels)) ** -common
    shares /= shares.sum()

    def draw(rows: int, rng: np.random.Generator) -> Rows:
        codes = rng.choice(levels, (columns, rows), p=shares)
        score = sum(single[j][codes[j]] for j in range(columns)) + pair[codes[0], codes[1]]
        target = score + rng.normal(0, 1, rows) if number else _chance(score - 0.5, rng)
        return {f"c{j}": np.array([f"l{k}" for k in codes[j]]) for j in range(columns)}, target

    return draw


def measured(columns: int = 5, *, number: bool = False, digits: int | None = None) -> Draw:
    """Return a source of measured columns, rounded or not."""

    def draw(rows: int, rng: np.random.Generator) -> Rows:
        x = rng.normal(size=(columns, rows))
        score = 1.5 * np.sin(2 * x[0]) + x[1] * x[2] + 0.5 * x[3 % columns]
        target = score + rng.normal(0, 1, rows) if number else _chance(score, rng)
        shown = x if digits is None else np.round(x, digits)
        return {f"m{j}": shown[j] for j in range(columns)}, target

    return draw


def profiles(many: int) -> Draw:
    """Return a source that draws from so many profiles, each with its own chance (buyers)."""
    fixed = np.random.default_rng(many)
    values, score = fixed.normal(size=(4, many)), fixed.normal(0, 1.2, many)

    def draw(rows: int, rng: np.random.Generator) -> Rows:
        place = rng.integers(0, many, rows)
        target = _chance(score[place] + values[0][place], rng)
        return {f"p{j}": values[j][place] for j in range(4)}, target

    return draw


def half_measured() -> Draw:
    """Return a source whose measured columns are missing in half of the rows."""
    few, many = categories(4), measured(4)

    def draw(rows: int, rng: np.random.Generator) -> Rows:
        first, label = few(rows, rng)
        second, other = many(rows, rng)
        missing = rng.random(rows) < 0.5
        empty = {name: np.where(missing, np.nan, values) for name, values in second.items()}
        return first | empty, np.where(missing, label, other)

    return draw


SOURCES = (
    Source("sampled, 64 cells", categories(4)),
    Source("sampled, 64 cells, some common", categories(4, common=1.5)),
    Source("sampled, 1,000 cells", categories(10)),
    Source("sampled, 8,000 cells", categories(20)),
    Source("sampled, 10 flags", categories(2, 10)),
    Source("sampled, 64 cells, regression", categories(4, number=True), regression=True),
    Source("sampled, 1,000 cells, regression", categories(10, number=True), regression=True),
    Source("sampled, 40 profiles", profiles(40)),
    Source("measured, no repeats", measured()),
    Source("copied, 10 %", measured(), copied=0.1),
    Source("copied, 30 %", measured(), copied=0.3),
    Source("copied, 60 %", measured(), copied=0.6),
    Source("copied, 90 %", measured(), rows=5_000, copied=0.9),
    Source("copied, 99 %", measured(), rows=20_000, copied=0.99),
    Source("copied, 30 %, regression", measured(number=True), copied=0.3, regression=True),
    Source(
        "copied, 90 %, regression",
        measured(number=True),
        rows=5_000,
        copied=0.9,
        regression=True,
    ),
    Source("copied, 30 %, one decimal", measured(4, digits=1), copied=0.3),
    Source("copied, 30 %, class inverted", measured(), copied=0.3, inverted=True),
    Source("half sampled, 20 % copied", half_measured(), copied=0.2),
    Source("64 cells, all rows twice", categories(4), twice=True),
)
