"""Rows as the typed frame that training and serving both see."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from penstock.common.times import times_of
from penstock.data import arrow
from penstock.data.table import iter_batches, read_dataset, read_table
from penstock.data.types.columns import to_array
from penstock.data.types.value import rules_of
from penstock.errors import InputError, absent_column
from penstock.records.dataset import Column, Reading

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    # Arrow has no types that mypy could see.
    Rows: TypeAlias = Any | pa.Table | pa.RecordBatch | pd.DataFrame | Mapping[str, Sequence[Any]]


def to_frame(rows: Rows, columns: Sequence[Column], reading: Reading | None = None) -> pd.DataFrame:
    """Return the named columns of `rows`, in that order, as training and serving both see them.

    integer, number and boolean become float64 with NaN for a missing value (a boolean is 1 or 0);
    string becomes objects that are text or None; datetime becomes datetime64[us] in UTC without a
    zone, NaT for missing. None, NaN and pandas' NA all count as missing. A datetime may also be
    ISO 8601 text. Columns that are not named are left out.

    Args:
        rows: An Arrow table or batch, a pandas frame, or lists of values by column name.
        columns: What to take.
        reading: How the texts of the columns' source were read: a text in `rows` then means what
            it means there. None: rows of a dataset, or of a source with types of its own.

    Raises:
        InputError: If a column is absent, there is no row, or a value cannot be converted or is
            infinite; the message names the column, the row (counted from 1) and the value.
    """
    import pandas as pd

    _check_names(_names(rows), columns)
    rules = rules_of(columns, reading)
    taken = {column.name: to_array(rows[column.name], rules[column.name]) for column in columns}
    check_rows(taken, columns)
    if not all(len(values) for values in taken.values()):
        raise InputError("there is no row", where="input rows")
    return pd.DataFrame(taken, copy=False)


def typed_frame(arrays: Mapping[str, Any], columns: Sequence[Column]) -> pd.DataFrame:
    """Return columns whose values are of their types already as the same frame.

    Args:
        arrays: By name, all of one length. integer, number, boolean: float64, NaN for missing;
            string: a list of text or None; datetime: aware datetimes or None, or datetime64[us].
        columns: What to take.

    Raises:
        InputError: If a column is absent, or the columns have different lengths.
    """
    import numpy as np
    import pandas as pd

    check_rows(arrays, columns)
    taken = {}
    for column in columns:
        values = arrays[column.name]
        if column.type == "string":
            taken[column.name] = np.array(values, dtype=object)
        elif column.type == "datetime":
            taken[column.name] = times_of(values)
        else:
            taken[column.name] = np.asarray(values, dtype=np.float64)
    return pd.DataFrame(taken, copy=False)


def check_rows(given: Mapping[str, Any], columns: Sequence[Column]) -> None:
    """Check that every column that a model takes was given, all of one length.

    Raises:
        InputError: If one was not; the message names them all. Or if the lengths differ.
    """
    _check_names(given, columns)
    if len({len(given[column.name]) for column in columns}) > 1:
        lengths = {column.name: len(given[column.name]) for column in columns}
        raise InputError(f"columns of different lengths: {lengths}", where="input rows")


def _check_names(given: Container[str], columns: Sequence[Column]) -> None:
    absent = [column.name for column in columns if column.name not in given]
    if absent:
        raise InputError(
            f"missing columns: {', '.join(map(repr, absent))}",
            where="input rows",
            remedy="Give every column that the model was trained with; a value may be null.",
        )


def _names(rows: Rows) -> set[str]:
    if hasattr(rows, "column_names"):
        return set(rows.column_names)
    return set(rows.keys())


def read_frame(folder: Path, names: Sequence[str]) -> pd.DataFrame:
    """Return columns of a dataset as `to_frame` converts them.

    Raises:
        InputError: If a column is not in it.
    """
    dataset = read_dataset(folder)
    columns = [column for column in dataset.columns if column.name in names]
    return to_frame(read_table(folder, names), columns)


def read_rows(folder: Path, names: Sequence[str], places: np.ndarray) -> pd.DataFrame:
    """Return some rows of a dataset as `to_frame` converts them; no others are held meanwhile.

    Args:
        folder: The dataset.
        names: Which columns, in which order.
        places: Numbers of the rows, from 0, in any order; that of the result.

    Raises:
        InputError: If a column is not in it.
    """
    import numpy as np
    import pyarrow as pa

    of = {column.name: column for column in read_dataset(folder).columns}
    order = np.argsort(places, kind="stable")
    ascending, start = places[order], 0
    taken: list[pa.RecordBatch] = []
    for batch in iter_batches(folder, names):
        first, last = np.searchsorted(ascending, [start, start + len(batch)])
        if last > first:
            taken.append(batch.take(arrow.integers(ascending[first:last] - start)))
        start += len(batch)
    frame = to_frame(pa.Table.from_batches(taken), [of[name] for name in names])
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return frame.iloc[back].reset_index(drop=True)


def read_arrays(folder: Path, names: Collection[str], *, where: str) -> dict[str, np.ndarray]:
    """Return columns by name: numbers as float64 (NaN for missing), texts as objects (None).

    Args:
        folder: The dataset.
        names: Which columns; none is allowed.
        where: What needs them, for the error.

    Raises:
        InputError: If a column is not in the dataset, or is a time.
    """
    columns = {column.name: column for column in read_dataset(folder).columns}
    for name in sorted(names):
        if name not in columns:
            raise absent_column(name, columns, where=where)
        if columns[name].type == "datetime":
            raise InputError(
                f"the column {name!r} holds times, with which nothing can be computed", where=where
            )
    if not names:
        return {}
    frame = read_frame(folder, sorted(names))
    return {str(name): values.to_numpy() for name, values in frame.items()}
