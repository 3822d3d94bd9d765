"""Exact sums: of the values of a column, and of their squares.

A double is `m * 2^e` with a whole `m` of 53 bits. The `m` of each exponent are added up as whole
numbers, so no order of addition and no cut of the rows changes a sum, which a double would round
at every step. A sum is rounded once, when it is finished.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from penstock.quality.states.base import OnePass, Rows

_BITS = 53
_LEAST = 1074
"""Exponents, as `frexp` gives them, begin above minus this."""

_LIMB = 18
"""Three of these make a mantissa; sums of their products over a batch stay exact in doubles."""

_PIECE = 1 << 15
"""Rows at a time, for the same reason."""

_WHOLE = 21
"""Bits of a third of a whole number."""

_SMALL = 1 << 23
"""Squares of whole numbers below this add up in 64 bits, over the rows of a piece."""


@dataclass(frozen=True)
class Moments:
    """A column's sums.

    Args:
        count: Values.
        total: Their sum.
        squares: The sum of their squares.
        infinite: The sum of infinite values, if there are any.
    """

    count: int
    total: Fraction
    squares: Fraction
    infinite: float = 0.0

    def sum(self, *, whole: bool) -> float:
        """Return the sum as a whole number, or as a double that is rounded once."""
        if self.infinite:
            return self.infinite
        return int(self.total) if whole else rounded(self.total)

    def mean(self) -> float | None:
        """Return the mean, rounded once; None without a value."""
        if self.infinite:
            return self.infinite
        return rounded(self.total / self.count) if self.count else None

    def deviation(self) -> float | None:
        """Return the sample standard deviation, rounded once; None where there is none."""
        if self.count < 2 or self.infinite:
            return None
        spread = self.squares * self.count - self.total * self.total
        return square_root(spread / (self.count * (self.count - 1)))


@dataclass
class Sums(OnePass):
    """Adds up a column of numbers or booleans.

    Args:
        column: Its name.
        squared: Whether squares are needed too.
    """

    column: str
    squared: bool = False
    count: int = 0
    totals: Counter[int] = field(default_factory=Counter)
    squares: Counter[int] = field(default_factory=Counter)
    infinite: float = 0.0

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.column,)

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        numbers = rows.numbers(self.column)
        self.count += len(numbers)
        for start in range(0, len(numbers), _PIECE):
            piece = numbers[start : start + _PIECE]
            if piece.dtype == np.int64:
                self._add_whole(piece)
            else:
                self._add_doubles(piece)

    def merge(self, other: Sums) -> None:
        """Take in what another state saw."""
        self.count += other.count
        self.totals.update(other.totals)
        self.squares.update(other.squares)
        self.infinite += other.infinite

    def finish(self) -> Moments:
        """Return the sums."""
        total, squares = _assembled(self.totals), _assembled(self.squares)
        return Moments(self.count, total, squares, self.infinite)

    def _add_whole(self, numbers: npt.NDArray[np.int64]) -> None:
        high, low = numbers >> 32, numbers & 0xFFFFFFFF
        self.totals[0] += (int(high.sum()) << 32) + int(low.sum())
        if not self.squared or not len(numbers):
            return
        if int(numbers.min()) > -_SMALL and int(numbers.max()) < _SMALL:
            self.squares[0] += int(np.dot(numbers, numbers))
            return
        limbs = (numbers >> 2 * _WHOLE, numbers >> _WHOLE & _mask(_WHOLE), numbers & _mask(_WHOLE))
        for power, product in _square(limbs).items():
            self.squares[0] += int(product.sum()) << power * _WHOLE

    def _add_doubles(self, numbers: npt.NDArray[np.float64]) -> None:
        finite = np.isfinite(numbers)
        if not finite.all():
            self.infinite += float(numbers[~finite].sum())
            numbers = numbers[finite]
        mantissas, exponents = np.frexp(numbers)
        whole = np.ldexp(mantissas, _BITS).astype(np.int64)
        places = exponents.astype(np.int64) + _LEAST
        high, low = whole >> 27, whole & _mask(27)
        for power, part in ((27, high), (0, low)):
            _count(self.totals, places, part, shift=power, scale=_LEAST + _BITS, times=1)
        if self.squared:
            limbs = (whole >> 2 * _LIMB, whole >> _LIMB & _mask(_LIMB), whole & _mask(_LIMB))
            for power, part in _square(limbs).items():
                shift = power * _LIMB
                _count(self.squares, places, part, shift=shift, scale=_LEAST + _BITS, times=2)


def _mask(bits: int) -> int:
    return (1 << bits) - 1


def _square(limbs: tuple[npt.NDArray[np.int64], ...]) -> dict[int, npt.NDArray[np.int64]]:
    """Return the limbs of the squares of whole numbers given in three limbs, highest first."""
    a, b, c = limbs
    return {4: a * a, 3: 2 * a * b, 2: 2 * a * c + b * b, 1: 2 * b * c, 0: c * c}


def _count(
    sums: Counter[int],
    places: npt.NDArray[np.int64],
    parts: npt.NDArray[np.int64],
    *,
    shift: int,
    scale: int,
    times: int,
) -> None:
    """Add whole numbers to the sums of their powers of two.

    Args:
        sums: By power of two.
        places: The power of each, counted from `scale` below; taken `times` times.
        parts: The whole numbers.
        shift: A power that all of them have besides.
        scale: What is to be taken off a place.
        times: 2 for squares.
    """
    found = np.bincount(places, weights=parts)
    for place in np.flatnonzero(found):
        sums[times * (int(place) - scale) + shift] += int(found[place])


def _assembled(sums: Counter[int]) -> Fraction:
    least = min(sums, default=0)
    total = sum(part << (power - least) for power, part in sums.items())
    return Fraction(total << least) if least >= 0 else Fraction(total, 1 << -least)


def rounded(value: Fraction) -> float:
    """Return the double next to a fraction; infinite where none is so large."""
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value)


def square_root(value: Fraction) -> float:
    """Return the double next to the square root of a fraction."""
    if not value:
        return 0.0
    # Scaled so that the whole root has more bits than a double, and one more says if it is exact.
    bits = max(0, 130 - value.numerator.bit_length() + value.denominator.bit_length())
    bits += bits % 2
    scaled = (value.numerator << bits) // value.denominator
    root = math.isqrt(scaled)
    inexact = root * root != scaled or (value.numerator << bits) % value.denominator != 0
    return rounded(Fraction(2 * root + inexact, 1 << (bits // 2 + 1)))
