"""A CSV body of MLflow's `/invocations`, as columns."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterable
from itertools import islice
from typing import Any

from penstock.data.types.value import Rules, value_of
from penstock.records.dataset import Column, ColumnType
from penstock.serving.columns import Columns, Intake
from penstock.serving.request_errors import RequestError, check_count, difference

_EMPTY = frozenset([""])


def csv_columns(body: bytes, *, intake: Intake, max_rows: int) -> tuple[Columns, str]:
    """Return the columns of a CSV table with a header row, as `DataFrame.to_csv` writes one.

    Fields are read as the texts of a file are: where the training table held texts, as those were;
    otherwise the plain way, a field of no characters being a missing value. A first column without
    a name is pandas' index and left out.

    Args:
        body: The table, in UTF-8, with commas.
        intake: The model's columns.
        max_rows: Rows that are taken at most.

    Returns:
        The columns, and how an error names one of their rows.

    Raises:
        RequestError: If it is no such table, or its columns are not the model's; 413 for too many
            rows.
    """
    try:
        lines = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        header = next(lines, [])
        # One more than is taken shows that there are too many.
        rows = list(islice((line for line in lines if line), max_rows + 1))
    except UnicodeDecodeError as error:
        raise RequestError(f"the CSV body is not UTF-8: {error}") from error
    except csv.Error as error:
        raise RequestError(f"the body is not valid CSV: {error}") from error
    if header[:1] == [""]:
        header, rows = header[1:], [row[1:] for row in rows]
    _check(header, rows, intake=intake, max_rows=max_rows)
    fields = dict(zip(header, zip(*rows, strict=True), strict=True))
    columns = {}
    for column in intake.columns:
        given = list(fields[column.name])
        columns[column.name] = given if intake.texts else _read(given, column)
    return columns, "CSV row {}"


def _check(header: list[str], rows: list[list[str]], *, intake: Intake, max_rows: int) -> None:
    if len(set(header)) < len(header):
        raise RequestError("the CSV header names a column twice")
    if intake.names != set(header):
        names = [column.name for column in intake.columns]
        raise RequestError(difference(header, names, where="the CSV header"))
    check_count(len(rows), max_rows=max_rows)
    for index, row in enumerate(rows):
        if len(row) != len(header):
            raise RequestError(
                f"CSV row {index} has {len(row)} fields, and the header {len(header)}"
            )


def _read(given: list[str], column: Column) -> list[Any]:
    """Return what fields mean in a column; one that means nothing stays, and is refused there."""
    if column.type == "datetime":
        # As JSON has it, which has no times.
        return [field or None for field in given]
    kinds: list[ColumnType] = [column.type]
    if column.type == "integer":
        # 30.0 is whole as JSON has it, and pandas writes so beside a missing value.
        kinds.append("number")
    rules = [Rules(column.name, k, texts=True, missing=_EMPTY, declared=False) for k in kinds]
    return [_value(field, rules) for field in given]


def _value(field: str, kinds: Iterable[Rules]) -> Any:
    for rules in kinds:
        with contextlib.suppress(ValueError):
            return value_of(field, rules)
    return field
