"""How many rows keep to a condition, and the first that do not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from penstock.data import arrow
from penstock.quality.outcome import DRAWN
from penstock.quality.states.base import OnePass, Rows, plain

if TYPE_CHECKING:
    import pyarrow as pa


class Condition(Protocol):
    """Something that each row keeps to or not."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""

    def __call__(self, rows: Rows) -> pa.BooleanArray:
        """Return for each row whether it keeps to it; null if the row does not count."""


@dataclass
class Kept(OnePass):
    """Counts rows by a condition.

    Args:
        condition: What each row should keep to.
        checked: Rows that count.
        unexpected: Rows among these that do not keep to it.
        drawn: The first 200 of these: number of the row and its values.
    """

    condition: Condition
    checked: int = 0
    unexpected: int = 0
    drawn: list[tuple[int, Any]] = field(default_factory=list)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return self.condition.columns

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        kept = self.condition(rows)
        self.checked += len(kept) - kept.null_count
        broken = kept.false_count
        self.unexpected += broken
        if broken:
            self.drawn = draw(self.drawn, rows, kept, self.columns)

    def merge(self, other: Kept) -> None:
        """Take in what another state saw."""
        self.checked += other.checked
        self.unexpected += other.unexpected
        self.drawn = first(self.drawn + other.drawn)

    def finish(self) -> Kept:
        """Return the counts."""
        return self


def draw(
    drawn: list[tuple[int, Any]], rows: Rows, kept: pa.BooleanArray, columns: tuple[str, ...]
) -> list[tuple[int, Any]]:
    """Return the first 200 broken rows among those drawn and those of a batch.

    Args:
        drawn: Broken rows of other batches.
        rows: The batch.
        kept: For each of its rows, whether it is right; null counts as right.
        columns: Whose values to draw: of one its value, of several all by name.
    """
    import pyarrow.compute as pc

    if is_drawn(drawn, rows):
        return drawn
    at = np.flatnonzero(arrow.flags(pc.invert(kept)))[:DRAWN]
    taken = [rows.column(name) for name in columns]
    if len(columns) == 1:
        values: list[Any] = [plain(taken[0][int(row)]) for row in at]
    else:
        values = [
            {name: plain(array[int(row)]) for name, array in zip(columns, taken, strict=True)}
            for row in at
        ]
    return first(drawn + list(zip(rows.numbers_in_table[at].tolist(), values, strict=True)))


def is_drawn(drawn: list[tuple[int, Any]], rows: Rows) -> bool:
    """Return whether 200 rows are drawn, all from before a batch."""
    return len(drawn) == DRAWN and rows.start > drawn[-1][0]


def first(drawn: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """Return the first 200 rows by their number."""
    return sorted(drawn, key=lambda one: one[0])[:DRAWN]
