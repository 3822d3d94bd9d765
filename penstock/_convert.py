"""One raw column to the array that the pipeline takes. Imported only where rows are converted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from penstock.errors import InputError
from penstock.records.dataset import Column
from penstock.times import times_of

_EXPECTED = {
    "integer": "a number",
    "number": "a number",
    "boolean": "true or false",
    "string": "text",
    "datetime": "a time (ISO 8601)",
}


def convert(values: Any, column: Column) -> np.ndarray:
    """Return one column's values as `penstock.model.to_frame` describes."""
    return _CONVERTERS[column.type](_array(values), column)


def checked_frame(columns: Mapping[str, Any], wanted: Sequence[Column]) -> pd.DataFrame:
    """Return `penstock.model.LoadedModel.scores_of`'s columns as the pipeline's input frame."""
    taken = {column.name: _checked(columns[column.name], column) for column in wanted}
    return pd.DataFrame(taken, copy=False)


def _checked(values: Any, column: Column) -> np.ndarray:
    if column.type == "string":
        return np.array(values, dtype=object)
    if column.type != "datetime":
        return np.asarray(values, dtype=np.float64)
    return times_of(values)


def _array(values: Any) -> np.ndarray:
    if isinstance(values, pd.Series):
        if isinstance(values.dtype, pd.DatetimeTZDtype):
            return values.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
        if isinstance(values.dtype, pd.api.extensions.ExtensionDtype):
            return values.to_numpy(dtype=object)
        return values.to_numpy()
    if isinstance(values, np.ndarray):
        return values
    if hasattr(values, "to_numpy"):
        return np.asarray(values.to_numpy(zero_copy_only=False))
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _number(array: np.ndarray, column: Column) -> np.ndarray:
    if array.dtype.kind in "iuf":
        result = array.astype(np.float64)
    else:
        result = _each(array, column, _to_number)
    infinite = np.isinf(result)
    if infinite.any():
        row = int(infinite.argmax())
        raise InputError(
            f"{int(infinite.sum())} infinite value(s), the first in row {row + 1}",
            where=f"column {column.name!r}",
            remedy="Replace it by a finite number or by null.",
        )
    return result


def _boolean(array: np.ndarray, column: Column) -> np.ndarray:
    if array.dtype.kind == "b":
        return array.astype(np.float64)
    return _each(array, column, _to_boolean)


def _string(array: np.ndarray, column: Column) -> np.ndarray:
    result = array.astype(object)
    result[pd.isna(result)] = None
    if pd.api.types.infer_dtype(result, skipna=True) not in ("string", "empty"):
        for row, value in enumerate(result):
            if value is not None and not isinstance(value, str):
                _refuse(value, row, column)
    return result


def _datetime(array: np.ndarray, column: Column) -> np.ndarray:
    if array.dtype.kind == "M":
        return array.astype("datetime64[us]")
    result = np.full(len(array), np.datetime64("NaT"), dtype="datetime64[us]")
    for row, value in enumerate(array):
        if not _is_missing(value):
            result[row] = _to_datetime(value, row, column)
    return result


def _to_datetime(value: Any, row: int, column: Column) -> np.datetime64:
    if isinstance(value, int | float | bool | np.number | np.bool_):
        _refuse(value, row, column)
    try:
        time = pd.Timestamp(value)
        if time.tzinfo is not None:
            time = time.tz_convert("UTC").tz_localize(None)
        return time.to_datetime64()
    except (ValueError, TypeError, OverflowError):
        _refuse(value, row, column)


def _each(array: np.ndarray, column: Column, one: Callable[[Any], float | None]) -> np.ndarray:
    result = np.empty(len(array), dtype=np.float64)
    for row, value in enumerate(array):
        number = np.nan if _is_missing(value) else one(value)
        if number is None:
            _refuse(value, row, column)
        result[row] = number
    return result


def _to_number(value: Any) -> float | None:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        return None
    return float(value)


def _to_boolean(value: Any) -> float | None:
    known = isinstance(value, bool | np.bool_ | int | float | np.number) and value in (0, 1)
    return float(value) if known else None


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or value != value


def _refuse(value: Any, row: int, column: Column) -> NoReturn:
    raise InputError(
        f"{str(value)[:80]!r} in row {row + 1} is not {_EXPECTED[column.type]}",
        where=f"column {column.name!r}",
        remedy=f"The model was trained with {column.type} values here.",
    )


_CONVERTERS: dict[str, Callable[[np.ndarray, Column], np.ndarray]] = {
    "integer": _number,
    "number": _number,
    "boolean": _boolean,
    "string": _string,
    "datetime": _datetime,
}
