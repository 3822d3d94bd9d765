"""Calendar parts of a time by whole-number arithmetic. Imported only inside functions that convert.

ONNX divides whole numbers towards zero; its Mod has the sign of the divisor. So a quotient is
rounded down by taking the remainder off first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from penstock.export._graph import Graph
from penstock.features.transformers import PARTS

_HOUR = 3_600_000_000
_DAY = 24 * _HOUR

_TO_MARCH_OF_YEAR_0 = 719_468
_ERA = 146_097
"""Days of 400 years, after which the calendar repeats."""


def calendar(graph: Graph, times: str, parts: Sequence[Sequence[str]]) -> str:
    """Return calendar parts as `penstock.features.transformers.DatetimeParts` gives them.

    Args:
        graph: Where they are added.
        times: int64 microseconds since 1970 UTC, the least int64 for missing, shape (n, t).
        parts: For each of the t columns, its parts.

    Returns:
        float64, NaN where missing, shape (n, number of parts).
    """
    sums = _Sums(graph)
    least = graph.constant(np.iinfo(np.int64).min)
    missing = graph.node("Equal", times, least)
    known = graph.node("Where", missing, graph.constant(np.int64(0)), times)
    days = sums.quotient(known, _DAY)
    year, month, day = _civil(sums, days)
    whole = {
        "year": year,
        "month": month,
        "day": day,
        # 1970-01-01 was a Thursday.
        "weekday": sums.remainder(sums.plus(days, 3), 7),
        "hour": sums.quotient(sums.remainder(known, _DAY), _HOUR),
    }
    used = [part for part in PARTS if any(part in names for names in parts)]
    nan = graph.constant(np.float64(np.nan))
    blocks = [graph.node("Where", missing, nan, graph.double(whole[part])) for part in used]
    order = [
        used.index(part) * len(parts) + column
        for column, names in enumerate(parts)
        for part in names
    ]
    return graph.columns(graph.beside(blocks), order)


class _Sums:
    """int64 arithmetic of a value with a constant, or with another value."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def plus(self, left: str, right: str | int) -> str:
        return self._graph.node("Add", left, self._value(right))

    def minus(self, left: str, right: str | int) -> str:
        return self._graph.node("Sub", left, self._value(right))

    def times(self, left: str, right: int) -> str:
        return self._graph.node("Mul", left, self._value(right))

    def remainder(self, left: str, right: int) -> str:
        """Return the remainder, which is never negative."""
        return self._graph.node("Mod", left, self._value(right))

    def quotient(self, left: str, right: int) -> str:
        """Return the quotient, rounded down."""
        return self.ratio(self.minus(left, self.remainder(left, right)), right)

    def ratio(self, left: str, right: int) -> str:
        """Return the quotient of what is not negative or divides without a remainder."""
        return self._graph.node("Div", left, self._value(right))

    def where(self, condition: str, left: str, right: str) -> str:
        return self._graph.node("Where", condition, left, right)

    def below(self, left: str, right: int) -> str:
        return self._graph.node("Less", left, self._value(right))

    def _value(self, given: str | int) -> str:
        return given if isinstance(given, str) else self._graph.constant(np.int64(given))


def _civil(sums: _Sums, days: str) -> tuple[str, str, str]:
    """Return year, month and day of the month of days since 1970-01-01.

    Howard Hinnant, chrono-Compatible Low-Level Date Algorithms, `civil_from_days`:
    https://howardhinnant.github.io/date_algorithms.html#civil_from_days
    Its year begins in March, so that a leap day is the last of it.
    """
    shifted = sums.plus(days, _TO_MARCH_OF_YEAR_0)
    era = sums.quotient(shifted, _ERA)
    day_of_era = sums.remainder(shifted, _ERA)
    leaps = sums.plus(
        sums.minus(sums.ratio(day_of_era, 36_524), sums.ratio(day_of_era, 1_460)),
        sums.times(sums.ratio(day_of_era, 146_096), -1),
    )
    year_of_era = sums.ratio(sums.plus(day_of_era, leaps), 365)
    before = sums.plus(
        sums.times(year_of_era, 365),
        sums.minus(sums.ratio(year_of_era, 4), sums.ratio(year_of_era, 100)),
    )
    day_of_year = sums.minus(day_of_era, before)
    shifted_month = sums.ratio(sums.plus(sums.times(day_of_year, 5), 2), 153)
    until = sums.ratio(sums.plus(sums.times(shifted_month, 153), 2), 5)
    day = sums.plus(sums.minus(day_of_year, until), 1)
    month = sums.where(
        sums.below(shifted_month, 10),
        sums.plus(shifted_month, 3),
        sums.minus(shifted_month, 9),
    )
    year = sums.plus(year_of_era, sums.times(era, 400))
    return sums.where(sums.below(month, 3), sums.plus(year, 1), year), month, day
