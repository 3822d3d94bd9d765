"""Values of a column by their rank, exact, in two passes and bounded memory.

The first pass counts values by the 16 leading bits of their order: which bin holds a rank is known
then. The second counts the different values of these bins alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.quality.states.base import OnePass, Rows

_BINS = 1 << 16
_PENDING = 1 << 20


@dataclass(frozen=True)
class Place:
    """Where a quantile lies among n values in order.

    Args:
        share: The quantile's share of the values, from 0 to 1.
        middle: Whether it is the mean of both values next to it, as a median is; else the nearer
            value is taken, of two equally near ones that with the even rank.
    """

    share: Fraction
    middle: bool = False

    def ranks(self, count: int) -> tuple[int, ...]:
        """Return the ranks of the one or two values, from 0; none without values."""
        if not count:
            return ()
        exact = self.share * (count - 1)
        if not self.middle:
            return (round(exact),)
        low = exact.numerator // exact.denominator
        return (low,) if exact.denominator == 1 else (low, low + 1)


@dataclass
class Histogram:
    """The first pass: how many values there are in each bin.

    Args:
        column: A column of numbers or booleans.
        places: The places to return.
    """

    column: str
    places: tuple[Place, ...]
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, np.int64))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.column,)

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        self.counts += np.bincount(_bins(rows.numbers(self.column)), minlength=_BINS)

    def merge(self, other: Histogram) -> None:
        """Take in what another state saw."""
        self.counts += other.counts

    def follow_up(self) -> Binned:
        """Return the state that looks into the bins of the ranks."""
        upto = np.cumsum(self.counts)
        count = int(upto[-1])
        ranks = sorted({rank for place in self.places for rank in place.ranks(count)})
        bins = np.searchsorted(upto, ranks, side="right")
        below = {int(one): int(upto[one] - self.counts[one]) for one in bins}
        lookups = [
            (int(one), rank - below[int(one)], rank) for one, rank in zip(bins, ranks, strict=True)
        ]
        return Binned(self.column, self.places, count, tuple(lookups))

    def finish(self) -> None:
        """Return nothing: the second pass knows."""
        return


@dataclass
class Binned(OnePass):
    """The second pass: the different values of some bins, in order, and how often each is there.

    Args:
        column: A column of numbers or booleans.
        places: The places to return.
        count: Values of the column.
        lookups: Bin, rank in the bin and rank in the column.
    """

    column: str
    places: tuple[Place, ...]
    count: int
    lookups: tuple[tuple[int, int, int], ...]
    values: list[npt.NDArray[Any]] = field(default_factory=list)
    counts: list[npt.NDArray[np.int64]] = field(default_factory=list)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.column,) if self.lookups else ()

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        if not self.lookups:
            return
        numbers = rows.numbers(self.column)
        selected = np.zeros(_BINS, dtype=bool)
        selected[[one for one, _, _ in self.lookups]] = True
        values, counts = np.unique(numbers[selected[_bins(numbers)]], return_counts=True)
        if len(values):
            self._append(values, counts)

    def merge(self, other: Binned) -> None:
        """Take in what another state saw."""
        for values, counts in zip(other.values, other.counts, strict=True):
            self._append(values, counts)

    def finish(self) -> tuple[float | None, ...]:
        """Return the value of each place, None where the column has no value."""
        self._compact()
        found = {rank: self._at(one, within) for one, within, rank in self.lookups}
        return tuple(
            _between([found[rank] for rank in place.ranks(self.count)]) for place in self.places
        )

    def _append(self, values: npt.NDArray[Any], counts: npt.NDArray[np.int64]) -> None:
        self.values.append(values)
        self.counts.append(counts)
        if sum(map(len, self.values[1:])) > _PENDING + len(self.values[0]):
            self._compact()

    def _compact(self) -> None:
        if len(self.values) > 1:
            values, inverse = np.unique(np.concatenate(self.values), return_inverse=True)
            sums = np.zeros(len(values), np.int64)
            np.add.at(sums, inverse, np.concatenate(self.counts))
            self.values, self.counts = [values], [sums]

    def _at(self, one: int, within: int) -> Any:
        inside = _bins(self.values[0]) == one
        upto = np.cumsum(self.counts[0][inside])
        return self.values[0][inside][np.searchsorted(upto, within, side="right")].item()


def _bins(numbers: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the bin of each number: a larger number is never in a lower bin."""
    bits = (numbers.astype(np.float64) + 0.0).view(np.int64)
    ordered = bits ^ ((bits >> 63) & np.int64(0x7FFFFFFFFFFFFFFF))
    return (ordered >> 48) + (_BINS >> 1)


def _between(values: Sequence[Any]) -> Any:
    if not values:
        return None
    if len(values) == 1:
        return values[0]
    if any(value in (float("inf"), float("-inf")) for value in values):
        return sum(values) / 2
    return float((Fraction(values[0]) + Fraction(values[1])) / 2)
