"""Rows of a data frame in a model's columns: each value as the server would read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.errors import InputError
from penstock.records.model import Model
from penstock.scoring.columns import ColumnReader, Typed, readers_of
from penstock.scoring.refusals import RefusedRow
from penstock.scoring.source import Rows
from penstock.serving.request_errors import difference

if TYPE_CHECKING:
    import pandas as pd


def rows_of_frame(frame: pd.DataFrame, record: Model) -> Rows:
    """Return the rows of a data frame as a model reads them.

    Args:
        frame: It has the model's columns; others are not looked at. NaN and None are missing.
        record: The model.

    Raises:
        InputError: If a column is not there, or a value is one that the server would refuse; the
            message names the first such row, counted from 1, and its column.
    """
    import pyarrow as pa

    names = [column.name for column in record.columns]
    there = set(map(str, frame.columns)) & set(names)
    if len(there) < len(names):
        raise InputError(
            difference(there, names, where="the data frame"),
            where="data frame",
            remedy=f"Its columns are: {', '.join(map(str, frame.columns))}.",
        )
    readers = readers_of(record.columns, record.reading, csv=False)
    arrays = []
    for reader in readers:
        found = _typed(reader, frame[reader.column.name])
        if found.bad:
            row = min(found.bad)
            raise InputError(
                f"{found.bad[row]}; the server would refuse this row",
                where=f"row {row + 1:,}, column {reader.column.name!r}",
                remedy="Correct it, or leave the row out.",
            )
        arrays.append(found.values)
    typed = pa.RecordBatch.from_arrays(arrays, names)
    nothing = pa.RecordBatch.from_arrays([pa.nulls(len(frame))], [""])
    return Rows(typed, nothing, (), _refusal)


def _typed(reader: ColumnReader, values: pd.Series) -> Typed:
    import pandas as pd
    import pyarrow as pa

    try:
        given = pa.array(values, from_pandas=True)
    except pa.ArrowException:
        # Values of several types, which only one by one can be looked at.
        missing = pd.isna(values)
        return reader.of_objects(
            [None if gone else value for value, gone in zip(values, missing, strict=True)]
        )
    return reader.typed(given)


def _refusal(row: int, column: str, reason: str) -> RefusedRow:
    return RefusedRow(row=row, where=f"row {row + 1:,}", column=column, reason=reason, values={})
