"""Bounds and sets of values as a column's type can hold them, without rounding any."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.data import arrow
from penstock.records.dataset import ColumnType

if TYPE_CHECKING:
    import pyarrow as pa

MISSING = 0
"""The place of a missing value."""

_LEAST, _MOST = -(2**63), 2**63 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Interval:
    """The values from `low` to `high`, both included; None leaves an end open.

    Args:
        low: The smallest, in the column's own type: a whole number, a double, or microseconds.
        high: The largest. Below `low`, no value lies in the interval.
    """

    low: float | None
    high: float | None

    @classmethod
    def of(cls, kwargs: Mapping[str, Any], kind: ColumnType) -> Interval:
        """Return the interval that an expectation's bounds leave a type.

        A whole number is compared to 2.5 as such, and a double to 2^53 + 1 too: neither is rounded
        to the other's type.

        Args:
            kwargs: `min_value`, `max_value`, `strict_min`, `strict_max`: numbers, or times for
                datetime.
            kind: The column's type: integer, number or datetime.
        """
        low, high = kwargs.get("min_value"), kwargs.get("max_value")
        above, below = bool(kwargs.get("strict_min")), bool(kwargs.get("strict_max"))
        if kind == "datetime":
            low, high = _microseconds(low), _microseconds(high)
        inward = _from_double if kind == "number" else _from_whole
        return cls(
            None if low is None else inward(low, strict=above, up=True),
            None if high is None else inward(high, strict=below, up=False),
        )


def _from_whole(bound: float, *, strict: bool, up: bool) -> int:
    """Return the first whole number on the inner side of a bound."""
    if up:
        inner = math.floor(bound) + 1 if strict else math.ceil(bound)
    else:
        inner = math.ceil(bound) - 1 if strict else math.floor(bound)
    return inner


def _from_double(bound: float, *, strict: bool, up: bool) -> float:
    """Return the first double on the inner side of a bound."""
    try:
        near = float(bound)
    except OverflowError:
        near = math.copysign(math.inf, bound)
    outside = near < bound if up else near > bound
    if outside or (strict and near == bound):
        return math.nextafter(near, math.inf if up else -math.inf)
    return near


def _microseconds(time: datetime | None) -> int | None:
    return None if time is None else (time - _EPOCH) // _MICROSECOND


def time_of(microseconds: int) -> datetime | str:
    """Return a time; as text where Python has none so early or late."""
    try:
        return _EPOCH + microseconds * _MICROSECOND
    except OverflowError:
        return f"{np.datetime64(microseconds, 'us')}+00:00"


@dataclass(frozen=True)
class Members:
    """A column and a set of values.

    Args:
        column: The column's name.
        kind: Its type.
        values: The set, each as Python holds it: see `fits`. None stands for a missing value.
    """

    column: str
    kind: ColumnType
    values: tuple[Any, ...]

    @property
    def impossible(self) -> bool:
        """Whether there is a value that no row of the column could hold."""
        return any(_stored(value, self.kind) is None for value in self.values)

    def places(self) -> list[int | None]:
        """Return the place of each value in `array`, from 1; None if no row could hold it."""
        stored = [_stored(value, self.kind) for value in self.values]
        order = {value: at for at, value in enumerate(_held(stored), 1)}
        return [
            MISSING if value is None else order.get(held)
            for value, held in zip(self.values, stored, strict=True)
        ]

    def array(self) -> pa.Array:
        """Return the different values that the column could hold, in its Arrow type."""
        return _array(self.kind, _held(_stored(value, self.kind) for value in self.values))


def _held(stored: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(value for value in stored if value is not None))


def fits(value: Any, kind: ColumnType) -> bool:
    """Return whether a value is of a kind that values of a column are compared to."""
    if kind in ("integer", "number"):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, {"boolean": bool, "string": str, "datetime": datetime}[kind])


def _stored(value: Any, kind: ColumnType) -> Any:
    """Return a value as the column would hold it, None if it cannot."""
    if value is None:
        return None
    if kind == "integer":
        whole = isinstance(value, int) or value.is_integer()
        return int(value) if whole and _LEAST <= value <= _MOST else None
    if kind == "number":
        near = _from_double(value, strict=False, up=True)
        # Minus zero is zero.
        return near + 0.0 if near == value else None
    if kind == "datetime":
        return _microseconds(value)
    if kind == "string":
        return value if _is_text(value) else None
    return value


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


@functools.lru_cache(maxsize=256)
def _array(kind: ColumnType, values: tuple[Any, ...]) -> pa.Array:
    import pyarrow as pa

    held = list(values)
    if kind == "string":
        return arrow.texts(held)
    if kind == "boolean":
        return arrow.booleans(np.array(held, dtype=bool))
    if kind == "integer":
        return arrow.integers(np.array(held, dtype=np.int64))
    if kind == "datetime":
        return arrow.integers(np.array(held, dtype=np.int64)).view(pa.timestamp("us", tz="UTC"))
    doubles = np.array(held, dtype=np.float64)
    return pa.Array.from_buffers(pa.float64(), len(doubles), [None, pa.py_buffer(doubles)])
