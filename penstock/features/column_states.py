"""What a pass over the rows finds of times, and of whole numbers that may be row numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from penstock.quality.states.base import OnePass, Rows

if TYPE_CHECKING:
    import numpy as np

_DAY = 86_400_000_000


@dataclass(frozen=True)
class Calendar:
    """What the times of a column span.

    Args:
        days: From the first to the last.
        varying: Parts of the calendar that have more than one value.
    """

    days: float
    varying: tuple[str, ...]


@dataclass
class CalendarParts(OnePass):
    """What times span, and which parts of the calendar vary in them.

    Args:
        column: A column of times.
        least: The first, in microseconds since 1970; None without a time.
        most: The last.
        parts: The smallest and the largest value of each part.
    """

    column: str
    least: int | None = None
    most: int | None = None
    parts: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.column,)

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        from penstock.features.transformers import PARTS, datetime_part

        times = rows.numbers(self.column)
        if not len(times):
            return
        self._widen(int(times.min()), int(times.max()))
        for part in PARTS:
            low, high = self.parts.get(part, (0.0, 0.0))
            if part not in self.parts or low == high:
                values = datetime_part(times.view("datetime64[us]"), part)
                self._add(part, float(values.min()), float(values.max()))

    def merge(self, other: CalendarParts) -> None:
        """Take in what another state saw."""
        if other.least is not None and other.most is not None:
            self._widen(other.least, other.most)
        for part, (low, high) in other.parts.items():
            self._add(part, low, high)

    def finish(self) -> Calendar:
        """Return the span, 0 without times, and the parts that vary."""
        from penstock.features.transformers import PARTS

        varying = tuple(p for p in PARTS if p in self.parts and len(set(self.parts[p])) > 1)
        if self.least is None or self.most is None:
            return Calendar(0.0, varying)
        return Calendar((self.most - self.least) / _DAY, varying)

    def _widen(self, least: int, most: int) -> None:
        self.least = least if self.least is None else min(self.least, least)
        self.most = most if self.most is None else max(self.most, most)

    def _add(self, part: str, low: float, high: float) -> None:
        before = self.parts.get(part, (low, high))
        self.parts[part] = (min(before[0], low), max(before[1], high))


@dataclass
class Numbered(OnePass):
    """Whether no two rows have the same whole number, by one bit for each that there may be.

    Args:
        column: A column of whole numbers without missing values.
        least: The smallest.
        most: The largest.
        rows: Rows.
        seen: Which numbers there are, eight in a byte.
    """

    column: str
    least: int
    most: int
    rows: int = 0
    seen: np.ndarray | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.column,)

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        import numpy as np

        places = (rows.numbers(self.column) - self.least).astype(np.int64)
        self.rows += len(places)
        bits = np.left_shift(1, places & 7).astype(np.uint8)
        np.bitwise_or.at(self._bits(), places >> 3, bits)

    def merge(self, other: Numbered) -> None:
        """Take in what another state saw."""
        self.rows += other.rows
        seen = self._bits()
        seen |= other._bits()

    def finish(self) -> bool:
        """Return whether there are as many numbers as rows."""
        import numpy as np

        return int(np.bitwise_count(self._bits()).sum(dtype=np.int64)) == self.rows

    def _bits(self) -> np.ndarray:
        import numpy as np

        if self.seen is None:
            self.seen = np.zeros((self.most - self.least) // 8 + 1, dtype=np.uint8)
        return self.seen
