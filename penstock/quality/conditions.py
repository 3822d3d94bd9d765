"""The conditions that expectations put on single rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from penstock.data import arrow
from penstock.quality.patterns import asked, matches
from penstock.quality.states.base import Rows
from penstock.quality.values import Interval, Members

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class _OfColumn:
    """A condition on the values of one column."""

    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)


@dataclass(frozen=True)
class Missing(_OfColumn):
    """A value is missing, or, negated, is there."""

    negated: bool

    def __call__(self, rows: Rows) -> pa.BooleanArray:
        """Return for each row whether it holds."""
        column = rows.column(self.column)
        return column.is_valid() if self.negated else column.is_null()


@dataclass(frozen=True)
class Between(_OfColumn):
    """A number or time lies in an interval."""

    interval: Interval

    def __call__(self, rows: Rows) -> pa.BooleanArray:
        """Return for each row whether it holds."""
        return within(rows.column(self.column), self.interval)


@dataclass(frozen=True)
class Lengths(_OfColumn):
    """The number of characters of a text, or of a whole number in digits, lies in an interval."""

    interval: Interval

    def __call__(self, rows: Rows) -> pa.BooleanArray:
        """Return for each row whether it holds."""
        return rows.each(self.column, self._of)

    def _of(self, values: pa.Array) -> pa.BooleanArray:
        import pyarrow as pa
        import pyarrow.compute as pc

        lengths = pc.utf8_length(_texts(values))
        return within(lengths.cast(pa.int64()), self.interval)


@dataclass(frozen=True)
class Among:
    """A value is one of a set, or, negated, none of it."""

    members: Members
    negated: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The column."""
        return (self.members.column,)

    def __call__(self, rows: Rows) -> pa.BooleanArray:
        """Return for each row whether it holds."""
        return rows.each(self.members.column, self._of)

    def _of(self, values: pa.Array) -> pa.BooleanArray:
        import pyarrow.compute as pc

        found = pc.is_in(values, value_set=self.members.array())
        return where_present(values, pc.invert(found) if self.negated else found)


@dataclass(frozen=True)
class Matching(_OfColumn):
    """A text, or a whole number in digits, matches patterns: any, all, or, negated, none."""

    patterns: tuple[str, ...]
    every: bool = False
    negated: bool = False

    def __call__(self, rows: Rows) -> pa.BooleanArray:
        """Return for each row whether it holds."""
        return rows.each(self.column, self._of)

    def _of(self, values: pa.Array) -> pa.BooleanArray:
        import pyarrow.compute as pc

        texts = _texts(values)
        found = matches(texts, self.patterns[0])
        for pattern in self.patterns[1:]:
            gather = pc.and_ if self.every else pc.or_
            found = gather(found, matches(texts, pattern))
        return pc.invert(found) if self.negated else found


@dataclass(frozen=True)
class Readable(_OfColumn):
    """A text can be read: as JSON, or as a time that is written in a given way.

    Args:
        column: A column of texts.
        form: How a time is written, as in strptime; None: as JSON.
    """

    form: str | None = None

    def __call__(self, rows: Rows) -> pa.BooleanArray:
        """Return for each row whether it holds."""
        return rows.each(self.column, self._of)

    def _of(self, values: pa.Array) -> pa.BooleanArray:
        return asked(values, self._is_read)

    def _is_read(self, text: str) -> bool:
        try:
            if self.form is None:
                json.loads(text)
            else:
                datetime.strptime(text, self.form)
        except (ValueError, RecursionError):
            return False
        return True


@dataclass(frozen=True)
class Constant(_OfColumn):
    """Every value holds, or none does: for what the type of a column decides."""

    holds: bool

    def __call__(self, rows: Rows) -> pa.BooleanArray:
        """Return for each row whether it holds."""
        return rows.each(self.column, self._of)

    def _of(self, values: pa.Array) -> pa.BooleanArray:
        return where_present(values, arrow.booleans(np.full(len(values), self.holds)))


@dataclass(frozen=True)
class Compared:
    """A value equals that of another column, or is greater; a missing one does neither.

    Args:
        left: A column.
        right: One of the same type, or both numbers.
        equal: Whether equal values hold.
        greater: Whether a greater value on the left does.
        ignore: Which rows do not count: those where `all` or `any` of both are missing, or `none`.
    """

    left: str
    right: str
    equal: bool
    greater: bool
    ignore: str

    @property
    def columns(self) -> tuple[str, ...]:
        """Both columns."""
        return (self.left, self.right)

    def __call__(self, rows: Rows) -> pa.BooleanArray:
        """Return for each row whether it holds."""
        import pyarrow as pa
        import pyarrow.compute as pc

        left, right = rows.column(self.left), rows.column(self.right)
        if left.type != right.type:
            holds = self._of_numbers(left, right)
        else:
            if pa.types.is_boolean(left.type):
                left, right = left.cast(pa.uint8()), right.cast(pa.uint8())
            compare = pc.equal
            if self.greater:
                compare = pc.greater_equal if self.equal else pc.greater
            holds = arrow.flags(compare(left, right))
        return counting((left, right), holds, self.ignore)

    def _of_numbers(self, left: pa.Array, right: pa.Array) -> npt.NDArray[np.bool_]:
        """Return whether it holds between whole numbers and doubles, rounding neither."""
        one, other = arrow.numbers(left), arrow.numbers(right)
        whole_left = one.dtype == np.int64
        whole, doubles = (one, other) if whole_left else (other, one)
        near = whole.astype(np.float64)
        sign = np.sign(near - doubles).astype(np.int64)
        for row in np.flatnonzero((sign == 0) & (np.abs(near) >= 2.0**53)):
            exact, double = int(whole[row]), int(doubles[row])
            sign[row] = (exact > double) - (exact < double)
        sign = sign if whole_left else -sign
        both = arrow.flags(left.is_valid()) & arrow.flags(right.is_valid())
        holds: npt.NDArray[np.bool_] = both & (
            ((sign == 0) & self.equal) | ((sign > 0) & self.greater)
        )
        return holds


@dataclass(frozen=True)
class Totalling:
    """Numbers of several columns add up to a figure; with a missing one they do not.

    Doubles are added from left to right, whole numbers exactly.
    """

    names: tuple[str, ...]
    total: float
    ignore: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns."""
        return self.names

    def __call__(self, rows: Rows) -> pa.BooleanArray:
        """Return for each row whether it holds."""
        arrays = [rows.column(name) for name in self.names]
        numbers = [arrow.numbers(array) for array in arrays]
        holds = _equal(_sum(numbers), self.total)
        for array in arrays:
            holds &= arrow.flags(array.is_valid())
        return counting(arrays, holds, self.ignore)


def within(array: pa.Array, interval: Interval) -> pa.BooleanArray:
    """Return for each number or time whether it lies in an interval; null where it is null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers = array.view(pa.int64()) if pa.types.is_timestamp(array.type) else array
    low, high = interval.low, interval.high
    if pa.types.is_integer(numbers.type):
        least, most = -(2**63), 2**63 - 1
        if (low or 0) > most or (high or 0) < least:
            return where_present(array, arrow.booleans(np.zeros(len(array), dtype=bool)))
        low = None if low is None or low <= least else low
        high = None if high is None or high >= most else high
    found = None
    for bound, compare in ((low, pc.greater_equal), (high, pc.less_equal)):
        if bound is not None:
            holds = compare(numbers, arrow.number(bound, numbers.type))
            found = holds if found is None else pc.and_(found, holds)
    return where_present(array, array.is_valid()) if found is None else found


def _texts(array: pa.Array) -> pa.StringArray:
    import pyarrow as pa

    return array if pa.types.is_string(array.type) else array.cast(pa.string())


def where_present(column: pa.Array, holds: pa.BooleanArray) -> pa.BooleanArray:
    """Return a condition, null where the column is."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not column.null_count:
        return holds
    return pc.if_else(column.is_valid(), holds, arrow.null(pa.bool_()))


def counting(arrays: Any, holds: npt.NDArray[np.bool_], ignore: str) -> pa.BooleanArray:
    """Return a condition on several columns, null in the rows that do not count."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = arrow.booleans(holds)
    if ignore == "none":
        return found
    absent = [arrow.flags(array.is_null()) for array in arrays]
    gather = np.logical_or if ignore == "any" else np.logical_and
    ignored = arrow.booleans(gather.reduce(absent))
    return pc.if_else(ignored, arrow.null(pa.bool_()), found)


def _sum(numbers: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    kind: npt.DTypeLike = np.int64
    if any(column.dtype != np.int64 for column in numbers):
        kind = np.float64
    elif sum(map(_largest, numbers)) >= 2**63:
        kind = object
    total = np.zeros(len(numbers[0]), dtype=kind)
    for column in numbers:
        total = total + column.astype(kind)
    return total


def _largest(numbers: npt.NDArray[np.int64]) -> int:
    """Return how far whole numbers lie from zero."""
    return max(abs(int(numbers.min(initial=0))), abs(int(numbers.max(initial=0))))


def _equal(numbers: npt.NDArray[Any], value: float) -> npt.NDArray[np.bool_]:
    """Return which numbers equal a value, which NumPy would round to their type."""
    exact = int(value) if value == int(value) else value
    if numbers.dtype == np.float64 and float(exact) != exact:
        return np.zeros(len(numbers), dtype=bool)
    return np.asarray(numbers == exact, dtype=bool)
