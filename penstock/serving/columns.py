"""JSON values, column by column, to the arrays that a scorer takes.

What a value means is said by `penstock.data.types`; here are only shortcuts for whole columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import numpy as np

from penstock.common.times import times_of
from penstock.data.types.value import expected, rules_of, value_of
from penstock.records.dataset import Column, ColumnType, Reading
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
        reading: How the texts of the training table were read: a text in a request means what it
            meant there. None: that table had types of its own.
        levels: Values that training saw, by column, for the categories.
        unseen: What becomes of another value in one of those: accept it, as training treats a
            level that it does not know, or reject the request.
    """

    def __init__(
        self,
        columns: Iterable[Column],
        *,
        reading: Reading | None = None,
        levels: Mapping[str, frozenset[str]],
        unseen: UnseenPolicy = "accept",
    ) -> None:
        self.columns = tuple(columns)
        self.names = frozenset(column.name for column in self.columns)
        self._levels = dict(levels)
        self._reject = unseen == "reject"
        self.texts = reading is not None
        self._rules = rules_of(self.columns, reading)
        self._numeric = tuple(c for c in self.columns if c.type in ("integer", "number", "boolean"))
        self._integers = [i for i, c in enumerate(self._numeric) if c.type == "integer"]
        self._texts = tuple(c for c in self.columns if c.type == "string")
        self._times = tuple(c for c in self.columns if c.type == "datetime")
        self._cleans = reading is not None and bool(reading.strip or reading.na_values)
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
        values = self._typed(values, row)
        arrays: dict[str, Any] = {column.name: values[column.name] for column in self._texts}
        missing: dict[str, int] = {}
        if self._numeric:
            self._add_numbers(arrays, missing, values, row)
        for column in self._times:
            moments = [
                self._read(v, column.name, i, row) for i, v in enumerate(values[column.name])
            ]
            arrays[column.name] = times_of(moments)
        for column in (*self._texts, *self._times):
            nulls = _nulls(arrays[column.name])
            if nulls:
                missing[column.name] = nulls
        rows = len(values[self.columns[0].name])
        unseen = self._unseen(arrays, row)
        return Batch(arrays=arrays, rows=rows, missing=missing, unseen=unseen)

    def _typed(self, values: Columns, row: str) -> Columns:
        """Return the columns with texts as the training table's reader saw them."""
        typed = {name: values[name] for name, _ in self._allowed}
        for name, allowed in self._allowed:
            given = values[name]
            if not allowed.issuperset(map(type, given)):
                typed[name] = [self._read(value, name, i, row) for i, value in enumerate(given)]
            elif self._cleans and allowed is _TYPES["string"]:
                clean = self._rules[name].clean
                typed[name] = [None if text is None else clean(text) for text in given]
        return typed

    def _read(self, value: Any, name: str, index: int, row: str) -> Any:
        rules = self._rules[name]
        try:
            return value_of(value, rules)
        except (ValueError, OverflowError):
            raise RequestError(
                f"{row.format(index)}, column {show(name)}: expected {expected(rules)}, got "
                f"{show(value)}"
            ) from None

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
                at, index = (int(place) for place in np.argwhere(~fits)[0])
                name = self._numeric[self._integers[at]].name
                self._read(values[name][index], name, index, row)
        nulls = np.isnan(block).sum(axis=1).tolist()
        for column, numbers, count in zip(self._numeric, block, nulls, strict=True):
            arrays[column.name] = numbers
            if count:
                missing[column.name] = count

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


def _nulls(values: Any) -> int:
    if isinstance(values, list):
        return values.count(None)
    return int(np.isnat(values).sum())


def _refuse_level(values: list[Any], foreign: set[str], *, name: str, row: str) -> NoReturn:
    index = next(i for i, value in enumerate(values) if value in foreign)
    raise RequestError(
        f"{row.format(index)}, column {show(name)}: {show(values[index])} is not a value that the "
        "model was trained with, and this server rejects those",
        status=422,
    )
