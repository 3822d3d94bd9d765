"""A condition on single rows that depends on a figure of the whole column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.data import arrow
from penstock.quality.conditions import Between, Constant, where_present
from penstock.quality.states.base import Rows, State
from penstock.quality.states.kept import Condition, Kept
from penstock.quality.states.sums import Moments
from penstock.quality.values import Interval
from penstock.records.dataset import ColumnType

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class Derived:
    """Finds a figure first, then counts the rows that keep to what follows from it.

    Args:
        inner: Finds the figure.
        condition: Makes the condition of it; a value that pickle can hold.
    """

    inner: State
    condition: Callable[[Any], Condition]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return self.inner.columns

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        self.inner.update(rows)

    def merge(self, other: Derived) -> None:
        """Take in what another state saw."""
        self.inner.merge(other.inner)

    def follow_up(self) -> State:
        """Return the state of the next pass."""
        further = self.inner.follow_up()
        if further is not None:
            return replace(self, inner=further)
        return Kept(self.condition(self.inner.finish()))

    def finish(self) -> None:
        """Return nothing: a later pass knows."""
        return


@dataclass(frozen=True)
class Near:
    """A number is nearer to a middle than so many units, or exactly there where that is none.

    Args:
        column: The column.
        middle: A number.
        unit: What distance is measured in.
        limit: How many units.
        below: Whether any distance below the middle is near.
    """

    column: str
    middle: float
    unit: float
    limit: float
    below: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    def __call__(self, rows: Rows) -> pa.BooleanArray:
        """Return for each row whether it holds."""
        column = rows.column(self.column)
        distance = (arrow.numbers(column).astype(np.float64) - self.middle) / self.unit
        near = (distance if self.below else np.abs(distance)) < self.limit
        return where_present(column, arrow.booleans(near))


@dataclass(frozen=True)
class ZScores:
    """What follows of mean and standard deviation for z-scores.

    Args:
        column: The column.
        threshold: What a z-score is to be less than.
        double_sided: Whether its size is meant.
    """

    column: str
    threshold: float
    double_sided: bool

    def __call__(self, found: Moments) -> Condition:
        """Return the condition; without a spread there are no z-scores, and every value holds."""
        mean, deviation = found.mean(), found.deviation()
        if mean is None or not deviation:
            return Constant(self.column, holds=True)
        if self.double_sided:
            return Near(self.column, mean, deviation, abs(self.threshold))
        return Near(self.column, mean, deviation, self.threshold, below=True)


@dataclass(frozen=True)
class FromMean:
    """What follows of mean and standard deviation for outliers: `|x - mean| < multiplier * sd`.

    Args:
        column: The column.
        multiplier: How many standard deviations.
        kind: The column's type.
    """

    column: str
    multiplier: float
    kind: ColumnType

    def __call__(self, found: Moments) -> Condition:
        """Return the condition; without a standard deviation every value holds."""
        mean, deviation = found.mean(), found.deviation()
        if mean is None or deviation is None:
            return Constant(self.column, holds=True)
        reach = self.multiplier * deviation
        if reach <= 0:
            ends = {"min_value": mean, "max_value": mean}
            return Between(self.column, Interval.of(ends, self.kind))
        return Near(self.column, mean, 1.0, reach)


@dataclass(frozen=True)
class Fences:
    """What follows of both quartiles for outliers: Tukey's fences, themselves inside.

    Args:
        column: The column.
        multiplier: How many interquartile ranges beyond a quartile.
        kind: The column's type.
    """

    column: str
    multiplier: float
    kind: ColumnType

    def __call__(self, found: tuple[float | Fraction | None, ...]) -> Condition:
        """Return the condition, its fences unrounded; without quartiles every value holds."""
        first, third = found
        if first is None or third is None:
            return Constant(self.column, holds=True)
        low, high = Fraction(first), Fraction(third)
        # 0.1 is meant as a tenth, and not as the double next to it.
        reach = Fraction(repr(self.multiplier)) * (high - low)
        ends = {"min_value": low - reach, "max_value": high + reach}
        return Between(self.column, Interval.of(ends, self.kind))
