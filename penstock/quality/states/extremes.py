"""The smallest and the largest value of a column."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.quality.states.base import OnePass, Rows


@dataclass
class Extremes(OnePass):
    """Keeps the ends of a column of numbers or times.

    Args:
        column: Its name.
        least: The smallest value, a time as microseconds since 1970; None without a value.
        most: The largest.
    """

    column: str
    least: float | None = None
    most: float | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.column,)

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        numbers = rows.numbers(self.column)
        if len(numbers):
            # Minus zero is zero, whichever comes first.
            self._widen(numbers.min().item() + 0, numbers.max().item() + 0)

    def merge(self, other: Extremes) -> None:
        """Take in what another state saw."""
        if other.least is not None and other.most is not None:
            self._widen(other.least, other.most)

    def finish(self) -> Extremes:
        """Return both ends."""
        return self

    def _widen(self, least: float, most: float) -> None:
        self.least = least if self.least is None else min(self.least, least)
        self.most = most if self.most is None else max(self.most, most)
