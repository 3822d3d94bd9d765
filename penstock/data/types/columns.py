"""Whole columns of frames and requests as numpy arrays; each value as `value_of` says.

The shortcuts here are for speed: what they do not take is looked at value by value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from penstock.common.times import times_of
from penstock.data.types.value import Rules, expected, rules_of, value_of
from penstock.errors import InputError
from penstock.records.dataset import Column, ColumnType, Reading

if TYPE_CHECKING:
    import numpy as np

_NONE = type(None)
_PLAIN: dict[ColumnType, frozenset[type]] = {
    "integer": frozenset([int, float, _NONE]),
    "number": frozenset([int, float, _NONE]),
    "boolean": frozenset([bool, _NONE]),
    "string": frozenset([str, _NONE]),
    "datetime": frozenset([str, _NONE]),
}
"""Types of Python values that a column takes without a look at each."""

_LARGEST = 2.0**63
"""The largest integer of 64 bits, as the double that it becomes."""


class BadValue(Exception):  # noqa: N818 - who knows where the column comes from says what it is
    """The first value of a column that is none that it takes.

    Args:
        value: The value.
        row: Its row, counted from 0.
        rules: The column's.
    """

    def __init__(self, value: Any, row: int, rules: Rules) -> None:
        super().__init__(value, row, rules)
        self.value, self.row, self.rules = value, row, rules


class TypedColumns:
    """Turns the columns of a model's requests into arrays.

    Args:
        columns: Names and storage types.
        reading: How the texts of the training table were read: a text means what it meant there.
            None: that table had types of its own.
    """

    def __init__(self, columns: Iterable[Column], reading: Reading | None) -> None:
        columns = tuple(columns)
        self.rules = rules_of(columns, reading)
        self._numeric = tuple(c for c in columns if c.type in ("integer", "number", "boolean"))
        self._integers = [i for i, c in enumerate(self._numeric) if c.type == "integer"]
        self._texts = tuple(c.name for c in columns if c.type == "string")
        self._times = tuple(c.name for c in columns if c.type == "datetime")
        self._cleans = reading is not None and bool(reading.strip or reading.na_values)
        self._plain = tuple((c.name, _PLAIN[c.type]) for c in columns)

    def arrays(self, values: Mapping[str, list[Any]]) -> tuple[dict[str, Any], dict[str, int]]:
        """Return columns as a scorer takes them, and the missing values of each that has some.

        Args:
            values: All columns, lists of the same length; None stands for a missing value.

        Returns:
            By column: float64 with NaN (integer, number, boolean), a list of text or None (string),
            datetime64[us] with NaT (datetime).

        Raises:
            BadValue: If a value is none that its column takes.
        """
        typed = self._typed(values)
        arrays: dict[str, Any] = {name: typed[name] for name in self._texts}
        missing: dict[str, int] = {}
        if self._numeric:
            self._add_numbers(arrays, missing, typed)
        for name in self._times:
            arrays[name] = times_of(_read_all(typed[name], self.rules[name]))
        for name in (*self._texts, *self._times):
            nulls = _nulls(arrays[name])
            if nulls:
                missing[name] = nulls
        return arrays, missing

    def _typed(self, values: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        """Return the columns with texts as the training table's reader saw them."""
        typed = {name: values[name] for name, _ in self._plain}
        for name, plain in self._plain:
            given = values[name]
            if not plain.issuperset(map(type, given)):
                typed[name] = _read_all(given, self.rules[name])
            elif self._cleans and plain is _PLAIN["string"]:
                clean = self.rules[name].clean
                typed[name] = [None if text is None else clean(text) for text in given]
        return typed

    def _add_numbers(
        self, arrays: dict[str, Any], missing: dict[str, int], values: dict[str, list[Any]]
    ) -> None:
        import numpy as np

        # One block for all of them: numpy's cost is by the call where rows are few.
        block = np.array([values[c.name] for c in self._numeric], dtype=np.float64)
        if self._integers:
            whole = block[self._integers]
            # NaN is what None became.
            fits = (whole == np.trunc(whole)) & (np.abs(whole) < _LARGEST) | np.isnan(whole)
            for at, row in [] if fits.all() else np.argwhere(~fits).tolist():
                # As a double 2^63 is the largest integer of 64 bits, or one too many.
                name = self._numeric[self._integers[at]].name
                _read(values[name][row], row, self.rules[name])
        nulls = np.isnan(block).sum(axis=1).tolist()
        for column, numbers, count in zip(self._numeric, block, nulls, strict=True):
            arrays[column.name] = numbers
            if count:
                missing[column.name] = count


def to_array(values: Any, rules: Rules) -> np.ndarray:
    """Return a column's values as a pipeline takes them.

    Args:
        values: A list, a numpy or Arrow array, or a pandas Series.
        rules: The column's.

    Returns:
        integer, number, boolean: float64, NaN for missing, a boolean is 1 or 0; string: objects,
        text or None; datetime: datetime64[us] in UTC, NaT for missing.

    Raises:
        InputError: If a value is none that the column takes; the message names the column, the
            row (counted from 1) and the value.
    """
    try:
        return _array(_as_numpy(values), rules)
    except BadValue as bad:
        raise _refused(bad) from bad


def _array(array: np.ndarray, rules: Rules) -> np.ndarray:
    import numpy as np

    if rules.kind == "string":
        return _objects(array, rules)
    if rules.kind == "datetime":
        if array.dtype.kind == "M":
            return array.astype("datetime64[us]")
        found = _read_all(array, rules)
        plain = [None if time is None else time.replace(tzinfo=None) for time in found]
        return np.array(plain, dtype="datetime64[us]")
    if array.dtype.kind in ("b" if rules.kind == "boolean" else "iuf"):
        numbers: np.ndarray = array.astype(np.float64)
        unfit = np.isinf(numbers)
        if rules.kind == "integer":
            unfit |= (numbers != np.trunc(numbers)) & ~np.isnan(numbers)
            unfit |= np.abs(numbers) >= _LARGEST
        for row in np.flatnonzero(unfit).tolist():
            # As a double 2^63 is the largest integer of 64 bits, or one too many.
            _read(array[row], row, rules)
        return numbers
    found = _read_all(array, rules)
    return np.array([np.nan if value is None else value for value in found], dtype=np.float64)


def _objects(array: np.ndarray, rules: Rules) -> np.ndarray:
    import pandas as pd

    result = array.astype(object)
    result[pd.isna(result)] = None
    if pd.api.types.infer_dtype(result, skipna=True) not in ("string", "empty"):
        # One of them is no text, and is named.
        _read_all(result, rules)
    if rules.strip or rules.missing:
        result[:] = [None if text is None else rules.clean(text) for text in result]
    return result


def _read_all(values: Iterable[Any], rules: Rules) -> list[Any]:
    return [_read(value, row, rules) for row, value in enumerate(values)]


def _read(value: Any, row: int, rules: Rules) -> Any:
    try:
        return value_of(value, rules)
    except (ValueError, OverflowError):
        raise BadValue(value, row, rules) from None


def _refused(bad: BadValue) -> InputError:
    infinite = isinstance(bad.value, float) and math.isinf(bad.value)
    return InputError(
        f"{str(bad.value)[:80]!r} in row {bad.row + 1} is "
        + ("infinite" if infinite else f"not {expected(bad.rules)}"),
        where=f"column {bad.rules.name!r}",
        remedy="Replace it by a finite number or by null."
        if infinite
        else f"The model was trained with {bad.rules.kind} values here.",
    )


def _nulls(values: Any) -> int:
    if isinstance(values, list):
        return values.count(None)
    import numpy as np

    return int(np.isnat(values).sum())


def _as_numpy(values: Any) -> np.ndarray:
    import numpy as np

    if isinstance(values, np.ndarray):
        return values
    if isinstance(values, list | tuple):
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return array
    if hasattr(values, "dtype"):  # a pandas Series
        if hasattr(values.dtype, "tz"):
            return np.asarray(values.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy())
        extension = not isinstance(values.dtype, np.dtype)
        return np.asarray(values.to_numpy(dtype=object) if extension else values.to_numpy())
    return np.asarray(values.to_numpy(zero_copy_only=False))
