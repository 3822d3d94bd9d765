"""Values of a column by their rank, exact, in bounded memory.

The first pass counts values by the 16 leading bits of their order: which bin holds a rank is known
then. The next counts the different values of these bins alone; where the bins hold many values, the
next 16 bits are counted first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.quality.states.base import OnePass, Rows

_DIGIT = 16
"""Bits of the order that one pass counts by."""

_BINS = 1 << _DIGIT
_PENDING = 1 << 20

_HELD = 1 << 22
"""Values of the bins of which the different ones are kept."""

_SIGN = np.uint64(1 << 63)


@dataclass(frozen=True)
class Place:
    """Where a quantile lies among n values in order.

    Args:
        share: The quantile's share of the values, from 0 to 1.
        between: Whether it lies between the values next to it, as far from each as the share says:
            a median is their mean. Else the nearer value is taken, of two equally near ones that
            with the even rank.
    """

    share: Fraction
    between: bool = False

    def ranks(self, count: int) -> tuple[int, ...]:
        """Return the ranks of the one or two values, from 0; none without values."""
        if not count:
            return ()
        exact = self.share * (count - 1)
        if not self.between:
            return (round(exact),)
        low = exact.numerator // exact.denominator
        return (low,) if exact.denominator == 1 else (low, low + 1)

    def value(self, values: Sequence[Any], count: int) -> Any:
        """Return the value of the place, unrounded, from those of its ranks; None without."""
        if len(values) < 2:
            return values[0] if values else None
        low, high = values
        if math.inf in (abs(low), abs(high)):
            return (low + high) / 2
        part = self.share * (count - 1) % 1
        return Fraction(low) + (Fraction(high) - Fraction(low)) * part


@dataclass(frozen=True)
class Sought:
    """A rank, and the bin that holds it.

    Args:
        rank: In the column, from 0.
        prefix: The leading bits of its value's order that are known: the bin.
        within: Its rank in the bin.
    """

    rank: int
    prefix: int
    within: int


@dataclass
class Histogram:
    """Counts the values of some bins by the next bits of their order.

    Args:
        column: A column of numbers or booleans.
        places: The places to return.
        bits: How many leading bits distinguish the bins; 0: one bin of all values.
        sought: The ranks in these bins; at first unknown.
        count: Values of the column, once they are known.
        counts: By bin, how many values have which next bits.
    """

    column: str
    places: tuple[Place, ...]
    bits: int = 0
    sought: tuple[Sought, ...] = ()
    count: int = 0
    counts: dict[int, npt.NDArray[np.int64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for prefix in {one.prefix for one in self.sought} or {0}:
            self.counts.setdefault(prefix, np.zeros(_BINS, np.int64))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.column,)

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        order = _order(rows.numbers(self.column))
        for prefix, counts in self.counts.items():
            inside = order if not self.bits else order[_leading(order, self.bits) == prefix]
            digits = _leading(inside, self.bits + _DIGIT) & np.uint64(_BINS - 1)
            counts += np.bincount(digits.astype(np.int64), minlength=_BINS)

    def merge(self, other: Histogram) -> None:
        """Take in what another state saw."""
        for prefix, counts in other.counts.items():
            self.counts[prefix] += counts

    def follow_up(self) -> Histogram | Binned:
        """Return the state that looks into the bins of the ranks."""
        count = self.count if self.bits else int(self.counts[0].sum())
        ranks = {rank for place in self.places for rank in place.ranks(count)}
        before = self.sought if self.bits else [Sought(rank, 0, rank) for rank in sorted(ranks)]
        sought = tuple(map(self._narrowed, before))
        bits = self.bits + _DIGIT
        held = sum(
            int(self.counts[prefix >> _DIGIT][prefix % _BINS])
            for prefix in {one.prefix for one in sought}
        )
        if held > _HELD and bits < 64:
            return Histogram(self.column, self.places, bits, sought, count)
        return Binned(self.column, self.places, count, sought, bits)

    def finish(self) -> None:
        """Return nothing: a later pass knows."""
        return

    def _narrowed(self, one: Sought) -> Sought:
        """Return in which smaller bin a rank is."""
        upto = np.cumsum(self.counts[one.prefix])
        digit = int(np.searchsorted(upto, one.within, side="right"))
        below = int(upto[digit] - self.counts[one.prefix][digit])
        return Sought(one.rank, (one.prefix << _DIGIT) + digit, one.within - below)


@dataclass
class Binned(OnePass):
    """The last pass: the different values of some bins, in order, and how often each is there.

    Args:
        column: A column of numbers or booleans.
        places: The places to return.
        count: Values of the column.
        sought: The ranks and their bins.
        bits: How many leading bits distinguish the bins.
    """

    column: str
    places: tuple[Place, ...]
    count: int
    sought: tuple[Sought, ...]
    bits: int
    values: list[npt.NDArray[Any]] = field(default_factory=list)
    counts: list[npt.NDArray[np.int64]] = field(default_factory=list)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.column,) if self.sought else ()

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        if not self.sought:
            return
        numbers = rows.numbers(self.column)
        leading = _leading(_order(numbers), self.bits)
        selected = np.zeros(len(numbers), dtype=bool)
        for prefix in {one.prefix for one in self.sought}:
            selected |= leading == prefix
        values, counts = np.unique(numbers[selected], return_counts=True)
        if len(values):
            self._append(values, counts)

    def merge(self, other: Binned) -> None:
        """Take in what another state saw."""
        for values, counts in zip(other.values, other.counts, strict=True):
            self._append(values, counts)

    def finish(self) -> tuple[float | Fraction | None, ...]:
        """Return the value of each place, None where the column has no value."""
        self._compact()
        found = {one.rank: self._at(one) for one in self.sought}
        return tuple(
            place.value([found[rank] for rank in place.ranks(self.count)], self.count)
            for place in self.places
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

    def _at(self, one: Sought) -> Any:
        inside = _leading(_order(self.values[0]), self.bits) == one.prefix
        upto = np.cumsum(self.counts[0][inside])
        return self.values[0][inside][np.searchsorted(upto, one.within, side="right")].item()


def _order(numbers: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    """Return 64 bits of each number: of a larger number they are never fewer."""
    bits = (numbers.astype(np.float64) + 0.0).view(np.int64)
    ordered = bits ^ ((bits >> 63) & np.int64(0x7FFFFFFFFFFFFFFF))
    return ordered.view(np.uint64) ^ _SIGN


def _leading(order: npt.NDArray[np.uint64], bits: int) -> npt.NDArray[np.uint64]:
    return order >> np.uint64(64 - bits)
