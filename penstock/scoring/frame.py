"""Rows of a data frame in a model's columns: each value as the server would read it."""

from __future__ import annotations

import contextlib
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
        InputError: If it is no data frame, a column is not there or there twice, or a value is one
            that the server would refuse; the message names the first such row, counted from 1, and
            its column.
    """
    import pandas as pd
    import pyarrow as pa

    if not isinstance(frame, pd.DataFrame):
        raise InputError(
            f"rows are a pandas DataFrame, not a {type(frame).__name__}",
            where="rows",
            remedy="Make one of them: pandas.DataFrame(rows).",
        )
    names = [column.name for column in record.columns]
    given = [str(label) for label in frame.columns]
    there = set(given) & set(names)
    if len(there) < len(names):
        raise InputError(
            difference(there, names, where="the data frame"),
            where="data frame",
            remedy=f"Its columns are: {', '.join(given)}.",
        )
    twice = [name for name in names if given.count(name) > 1]
    if twice:
        raise InputError(
            f"it has {given.count(twice[0])} columns {twice[0]!r}, and which is meant is not known",
            where="data frame",
            remedy="Leave the others out, or rename them.",
        )
    readers = readers_of(record.columns, record.reading, csv=False)
    arrays = []
    for reader in readers:
        # By its place: a label need not be text.
        found = _typed(reader, frame.iloc[:, given.index(reader.column.name)])
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

    given = None
    # What is of several types, too large, or no whole text is looked at one by one.
    with contextlib.suppress(pa.ArrowException, ValueError, OverflowError):
        given = pa.array(values, from_pandas=True)
    # A period's or an interval's array would be read as the numbers that it is stored as.
    if given is None or isinstance(given.type, pa.BaseExtensionType):
        missing = pd.isna(values)
        return reader.of_objects(
            [None if gone else value for value, gone in zip(values, missing, strict=True)]
        )
    return reader.typed(given)


def _refusal(row: int, column: str, reason: str) -> RefusedRow:
    return RefusedRow(row=row, where=f"row {row + 1:,}", column=column, reason=reason, values={})
