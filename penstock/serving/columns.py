"""JSON values, column by column, to the arrays that a scorer takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NoReturn

import numpy as np

from penstock.records.dataset import Column, ColumnType
from penstock.serving.mistakes import RequestError, show

Columns = Mapping[str, list[Any]]
"""Values by column name, all lists of the same length; None stands for a missing value."""

UnseenPolicy = Literal["accept", "reject"]

_NONE = type(None)
_TYPES: dict[ColumnType, frozenset[type]] = {
    "integer": frozenset([int, float, _NONE]),
    "number": frozenset([int, float, _NONE]),
    "boolean": frozenset([bool, _NONE]),
    "string": frozenset([str, _NONE]),
    "datetime": frozenset([str, _NONE]),
}
_EXPECTED: dict[ColumnType, str] = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "text",
    "datetime": 'a time in ISO 8601, such as "2026-01-31T12:00:00Z"',
}
# The largest 64-bit integer, as the double that it becomes.
_LARGEST = 2.0**63


@dataclass(frozen=True)
class Batch:
    """The rows of one request as a scorer takes them.

    Attributes:
        arrays: By column: float64 with NaN (integer, number, boolean), lists of text or None
            (string), datetime64[us] with NaT (datetime).
        rows: How many rows.
        missing: Missing values by column, where there are any.
        unseen: Values that training did not see, by column, where there are any.
    """

    arrays: dict[str, Any]
    rows: int
    missing: dict[str, int]
    unseen: dict[str, int]


class Intake:
    """What one model's columns may hold.

    Args:
        columns: The model's raw columns.
        levels: Values that training saw, by column, for the categories.
        unseen: What becomes of another value in one of those: accept it, as training treats a
            level that it does not know, or reject the request.
    """

    def __init__(
        self,
        columns: Iterable[Column],
        *,
        levels: Mapping[str, frozenset[str]],
        unseen: UnseenPolicy = "accept",
    ) -> None:
        self.columns = tuple(columns)
        self.names = frozenset(column.name for column in self.columns)
        self._levels = dict(levels)
        self._reject = unseen == "reject"
        self._numeric = tuple(c for c in self.columns if c.type in ("integer", "number", "boolean"))
        self._integers = [i for i, c in enumerate(self._numeric) if c.type == "integer"]
        self._texts = tuple(c for c in self.columns if c.type == "string")
        self._times = tuple(c for c in self.columns if c.type == "datetime")
        self._allowed = tuple((c.name, _TYPES[c.type]) for c in self.columns)

    def convert(self, values: Columns, *, row: str) -> Batch:
        """Return the columns of a request as arrays.

        Args:
            values: All of the model's columns, of the same length.
            row: How an error names a row: `{}` is its index, counted from 0.

        Raises:
            RequestError: Naming the row, the column and the value that does not fit; 422 for an
                unseen value where those are rejected.
        """
        for name, allowed in self._allowed:
            if not allowed.issuperset(map(type, values[name])):
                self._blame(values, row)
        arrays: dict[str, Any] = {column.name: values[column.name] for column in self._texts}
        missing: dict[str, int] = {}
        if self._numeric:
            self._add_numbers(arrays, missing, values, row)
        for column in self._times:
            arrays[column.name] = self._moments(values, column.name, row)
        for column in (*self._texts, *self._times):
            nulls = values[column.name].count(None)
            if nulls:
                missing[column.name] = nulls
        rows = len(values[self.columns[0].name])
        return Batch(arrays=arrays, rows=rows, missing=missing, unseen=self._unseen(values, row))

    def _add_numbers(
        self, arrays: dict[str, Any], missing: dict[str, int], values: Columns, row: str
    ) -> None:
        # One block for all of them: numpy's cost is by the call where rows are few.
        block = np.array([values[c.name] for c in self._numeric], dtype=np.float64)
        if self._integers:
            whole = block[self._integers]
            # NaN is what None became.
            fits = (whole == np.trunc(whole)) & (np.abs(whole) <= _LARGEST) | np.isnan(whole)
            if not fits.all():
                self._blame(values, row)
        nulls = np.isnan(block).sum(axis=1).tolist()
        for column, numbers, count in zip(self._numeric, block, nulls, strict=True):
            arrays[column.name] = numbers
            if count:
                missing[column.name] = count

    def _moments(self, values: Columns, name: str, row: str) -> np.ndarray:
        try:
            moments = [None if text is None else _moment(text) for text in values[name]]
        except (ValueError, OverflowError):
            self._blame(values, row)
        return np.array(moments, dtype="datetime64[us]")

    def _unseen(self, values: Columns, row: str) -> dict[str, int]:
        counts = {}
        for name, known in self._levels.items():
            foreign = set(values[name]) - known
            foreign.discard(None)
            if foreign:
                if self._reject:
                    _refuse_level(values[name], foreign, name=name, row=row)
                counts[name] = sum(value in foreign for value in values[name])
        return counts

    def _blame(self, values: Columns, row: str) -> NoReturn:
        """Find the first value that does not fit, and name it."""
        for index in range(len(values[self.columns[0].name])):
            for column in self.columns:
                value = values[column.name][index]
                if value is not None and not _fits(value, column.type):
                    raise RequestError(
                        f"{row.format(index)}, column {show(column.name)}: expected "
                        f"{_EXPECTED[column.type]}, got {show(value)}"
                    )
        raise AssertionError("every value fits")


def _refuse_level(values: list[Any], foreign: set[str], *, name: str, row: str) -> NoReturn:
    index = next(i for i, value in enumerate(values) if value in foreign)
    raise RequestError(
        f"{row.format(index)}, column {show(name)}: {show(values[index])} is not a value that the "
        "model was trained with, and this server rejects those",
        status=422,
    )


def _fits(value: Any, kind: ColumnType) -> bool:
    if type(value) not in _TYPES[kind]:
        return False
    check = _CHECKS.get(kind)
    return check is None or check(value)


def _is_whole(value: float) -> bool:
    return float(value).is_integer() and abs(float(value)) <= _LARGEST


def _is_moment(text: str) -> bool:
    try:
        _moment(text)
    except (ValueError, OverflowError):
        return False
    return True


_CHECKS: dict[ColumnType, Callable[[Any], bool]] = {"integer": _is_whole, "datetime": _is_moment}


def _moment(text: str) -> datetime:
    """Return ISO 8601 text as a time in UTC without a zone; without one it is UTC already."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
