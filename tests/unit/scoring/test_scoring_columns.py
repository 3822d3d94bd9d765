"""A value of a table means what it means to the server: in JSON, in CSV, and by whole columns."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from penstock.data.types.storage import arrow_type
from penstock.records.dataset import Column, ColumnType, Reading, TextFormat
from penstock.scoring.columns import ColumnReader, scorer_arrays
from penstock.serving.columns import Intake
from penstock.serving.csv_body import csv_columns
from penstock.serving.request_errors import RequestError

READING = Reading(
    na_values=("", "NA"),
    strip=True,
    formats=(
        TextFormat(column="n", decimal=",", thousands=".", affix="EUR"),
        TextFormat(column="t", time="%d/%m/%Y"),
    ),
)
KINDS: dict[str, ColumnType] = {
    "i": "integer", "n": "number", "m": "number", "b": "boolean", "s": "string", "t": "datetime"
}  # fmt: skip
TEXTS = [
    "", "NA", " 8 ", "3", "3.0", "3.5", "007", "-0", "1e3", "+5", "\u22121,5 EUR", "1.234,5 EUR",
    "12", "nan", "inf", "-inf", "1_0", "yes", "F", "TRUE", "maybe", "clerk", "\u00e4\u2713",
    "9223372036854775807", "9223372036854775808", "2026-01-31", "31/01/2026", "2026-02-30",
    "2026-01-31T12:00:00Z", "2026-01-31 12:00:00.1234567+5", "2026-01-31T12:00+25:00", "0001-01-01",
]  # fmt: skip
VALUES: list[Any] = [
    *TEXTS, None, 0, 1, 2, 3.0, 3.5, True, False, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 1e300,
    [1], {},
]  # fmt: skip


def by_server(column: Column, reading: Reading | None, value: Any, *, as_csv: bool) -> Any:
    """What the server hands to its model; an error where it refuses."""
    intake = Intake([column], reading=reading, levels={})
    try:
        given: Any = {column.name: [value]}
        if as_csv:
            stream = io.StringIO()
            csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([[column.name], [value]])
            given, _ = csv_columns(stream.getvalue().encode(), intake=intake, max_rows=9)
        return intake.convert(given, row="{}").arrays[column.name]
    except RequestError as error:
        return error


def same(found: Any, expected: Any) -> bool:
    found, expected = np.asarray(found), np.asarray(expected)
    if found.dtype.kind in "fM":
        return found.tobytes() == expected.tobytes()
    return found.tolist() == expected.tolist()


@pytest.mark.parametrize("reading", [READING, None])
@pytest.mark.parametrize("name", KINDS)
def test_json_values(name: str, reading: Reading | None) -> None:
    column = Column(name=name, type=KINDS[name])
    reader = ColumnReader(column, reading, csv=False)
    for value in VALUES:
        expected = by_server(column, reading, value, as_csv=False)
        typed = reader.of_objects([value])
        if isinstance(expected, RequestError):
            assert list(typed.bad) == [0], value
            if isinstance(value, str):
                assert expected.message.endswith(typed.bad[0])
        else:
            batch = pa.RecordBatch.from_arrays([typed.values], [name])
            assert not typed.bad, value
            assert same(scorer_arrays(batch, [column])[name], expected), value


@pytest.mark.parametrize("reading", [READING, None])
@pytest.mark.parametrize("name", KINDS)
def test_csv_texts_alone_and_among_others(name: str, reading: Reading | None) -> None:
    """A column that is converted at once, and one of which a value is at fault, are the same."""
    column = Column(name=name, type=KINDS[name])
    reader = ColumnReader(column, reading, csv=True)
    # What the CSV reader hands on: its texts are null where nothing stands.
    texts = [None if text == "" else text for text in TEXTS]
    together = reader.typed(pa.array(texts, pa.string()))
    for row, text in enumerate(TEXTS):
        expected = by_server(column, reading, text, as_csv=True)
        for typed, at in ((together, row), (reader.typed(pa.array(texts[row : row + 1])), 0)):
            if isinstance(expected, RequestError):
                assert at in typed.bad, text
                continue
            assert at not in typed.bad, text
            batch = pa.RecordBatch.from_arrays([typed.values.slice(at, 1)], [name])
            assert same(scorer_arrays(batch, [column])[name], expected), text


@pytest.mark.parametrize("name", KINDS)
def test_arrays_of_other_types(name: str) -> None:
    """A table's types may be others than the model's: what loses nothing is taken."""
    column = Column(name=name, type=KINDS[name])
    reader = ColumnReader(column, None, csv=False)
    for kind in ("integer", "number", "boolean", "string"):
        values = {
            "integer": [0, 1, None, 7], "number": [0.0, 1.0, None, 2.5], "boolean": [True, None],
            "string": ["clerk", None, "2026-01-31"],
        }[kind]  # fmt: skip
        array = pa.array(values, arrow_type(kind))  # type: ignore[arg-type]
        for given in (array, array.dictionary_encode()):
            typed = reader.typed(given)
            for row, value in enumerate(values):
                expected = by_server(column, None, value, as_csv=False)
                assert (row in typed.bad) == isinstance(expected, RequestError), (kind, value)
    assert list(ColumnReader(column, None, csv=False).typed(pa.nulls(3)).bad) == []
