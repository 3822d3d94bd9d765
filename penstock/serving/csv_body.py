"""A CSV body of MLflow's `/invocations`, as columns."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable
from itertools import islice
from typing import Any

from penstock.records.dataset import ColumnType
from penstock.serving.columns import Columns, Intake
from penstock.serving.request_errors import RequestError, check_count, difference

# As JSON has them: a zero before more digits is no number, but a code such as 00501.
_WHOLE = re.compile(r"[+-]?(0|[1-9]\d{0,39})", re.ASCII)
_DECIMAL = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_TRUTHS = {"true": True, "false": False, "True": True, "False": False}


def csv_columns(body: bytes, *, intake: Intake, max_rows: int) -> tuple[Columns, str]:
    """Return the columns of a CSV table with a header row, as `DataFrame.to_csv` writes one.

    Where the training table held texts, fields are read as those were. Otherwise a field of no
    characters is a missing value; a number, `true` or `false` (`True`, `False`) is
    read where the column holds such; every other field stays text, which the column then judges. A
    first column without a name is pandas' index and left out.

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
        if intake.texts:
            columns[column.name] = list(fields[column.name])
            continue
        read = _READERS[column.type]
        columns[column.name] = [read(field) if field else None for field in fields[column.name]]
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


def _number(field: str) -> Any:
    if _WHOLE.fullmatch(field):
        return int(field)
    number = float(field) if _DECIMAL.fullmatch(field) else math.inf
    return number if math.isfinite(number) else field


def _truth(field: str) -> Any:
    return _TRUTHS.get(field, field)


def _text(field: str) -> Any:
    return field


_READERS: dict[ColumnType, Callable[[str], Any]] = {
    "integer": _number,
    "number": _number,
    "boolean": _truth,
    "string": _text,
    "datetime": _text,
}
