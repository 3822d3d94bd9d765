"""A value means the same in a file, in a request and in a row of a database, or nothing in all."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from penstock.data.ingest import ingest
from penstock.data.spec import NA_VALUES, SourceSpec
from penstock.data.table import read_table
from penstock.errors import InputError
from penstock.records.dataset import Column, ColumnType, Reading
from penstock.serving.columns import Intake
from penstock.serving.csv_body import csv_columns
from penstock.serving.request_errors import RequestError

KINDS: list[ColumnType] = ["integer", "number", "boolean", "string", "datetime"]
READING = Reading(na_values=NA_VALUES, strip=True)
REFUSED = "refused"

TEXTS = [
    *("1", "+2", "-0", "007", "00501", "9223372036854775807", "9223372036854775808", "3.0", "1e3"),
    *(".5", "5.", "1.50", "1e308", "1e309", "inf", "-Infinity", "nan", "0x10", "1,5", "1_0"),
    *("true", "False", "TRUE", "t", "yes", "N", "0", "tRUE", "on", "\u22125", "\u0663"),
    *("2026-01-31", "2026-01-31 12:00", "2026-01-31T12:00:00.1234567Z", "31/12/2025"),
    *("2026-02-30", "0000-01-01", "9999-12-31T23:59:59Z", "2026-01-31T24:00:00"),
    *("2026-01-31T12:00:00+05:30", "word", " pad ", "\ttab", "NA", "null", "", "a,b", 'say "x"'),
]
"""Ways of writing values of every type, and what comes near to them."""

TYPED: dict[str, st.SearchStrategy[Any]] = {
    "integer": st.integers(-(2**63), 2**63 - 1),
    "number": st.floats(allow_nan=False, allow_infinity=False, min_value=-1e150, max_value=1e150),
    "boolean": st.booleans(),
}


class Routes:
    """The four ways by which a value comes in."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._made = 0
        self.reading = READING

    def file(self, text: str, kind: ColumnType) -> Any:
        path = self._fresh("csv")
        path.write_text(_table(text), encoding="utf-8")
        return self._stored(SourceSpec(uri=str(path), header=True, types={"x": kind}))

    def row(self, value: Any, kind: ColumnType) -> Any:
        path = self._fresh("db")
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE t (x, k)")
            database.execute("INSERT INTO t VALUES (?, 1)", (value,))
        database.close()
        source = SourceSpec(uri=f"sqlite:///{path}", query="SELECT * FROM t", types={"x": kind})
        return self._stored(source)

    def parquet(self, text: str, kind: ColumnType) -> Any:
        path = self._fresh("parquet")
        pq.write_table(pa.table({"x": [text], "k": [1]}), path)
        return self._stored(SourceSpec(uri=str(path), types={"x": kind}))

    def _stored(self, source: SourceSpec) -> Any:
        folder = self._fresh("dataset")
        self.reading = READING
        try:
            self.reading = ingest(source, output=folder).reading or READING
        except InputError:
            return REFUSED
        return _plain(read_table(folder, ["x"]).column("x")[0].as_py())

    def _fresh(self, suffix: str) -> Path:
        self._made += 1
        return self._home / f"{self._made}.{suffix}"


def _table(text: str) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows([["x", "k"], [text, "1"]])
    return written.getvalue()


def _intake(kind: ColumnType, reading: Reading | None) -> Intake:
    columns = [Column(name="x", type=kind), Column(name="k", type="integer")]
    return Intake(columns, reading=reading, levels={})


def _by_json(value: Any, kind: ColumnType, reading: Reading | None) -> Any:
    return _asked(_intake(kind, reading), lambda: {"x": [json.loads(json.dumps(value))], "k": [1]})


def _by_csv(text: str, kind: ColumnType, reading: Reading | None) -> Any:
    intake = _intake(kind, reading)
    return _asked(intake, lambda: csv_columns(_table(text).encode(), intake=intake, max_rows=1)[0])


def _asked(intake: Intake, columns: Callable[[], Any]) -> Any:
    try:
        value = intake.convert(columns(), row="row {}").arrays["x"][0]
    except RequestError:
        return REFUSED
    return _plain(value.item() if isinstance(value, np.generic) else value)


def _plain(value: Any) -> Any:
    """Return a value as all routes can have it: numbers and booleans are doubles for a model."""
    if isinstance(value, bool | int | float):
        return None if value != value else float(value)
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=None)
    return value


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> Routes:
    return Routes(tmp_path_factory.mktemp("routes"))


QUICK = settings(
    deadline=None,
    database=None,
    derandomize=True,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@QUICK
@given(
    text=st.sampled_from(TEXTS) | st.from_regex(r"\A[-+]?[0-9]{1,4}([.,][0-9]{0,3})?%?\Z"),
    kind=st.sampled_from(KINDS),
)
@example(text="00501", kind="integer")
@example(text="yes", kind="boolean")
@example(text="\u22125", kind="number")
@example(text="2026-01-31T12:00:00.1234567Z", kind="datetime")
def test_a_text_means_the_same_wherever_it_stands(
    routes: Routes, text: str, kind: ColumnType
) -> None:
    in_file = routes.file(text, kind)
    reading = routes.reading

    assert _by_json(text, kind, reading) == in_file
    assert _by_csv(text, kind, reading) == in_file
    # Typed sources have no texts for missing values, no white space that does not count, and one
    # way to write a number.
    if text == text.strip() and text not in NA_VALUES and not reading.formats:
        assert routes.row(text, kind) == in_file
        assert routes.parquet(text, kind) == in_file


@pytest.mark.long
@QUICK
@given(st.sampled_from(sorted(TYPED)).flatmap(lambda k: st.tuples(st.just(k), TYPED[k])))
def test_a_typed_value_means_the_same_wherever_it_stands(
    routes: Routes, case: tuple[ColumnType, Any]
) -> None:
    kind, value = case
    in_file = routes.file(json.dumps(value), kind)

    assert in_file == float(value)
    assert _by_json(value, kind, READING) == _by_json(value, kind, None) == in_file
    assert _by_csv(json.dumps(value), kind, None) == in_file
    assert routes.row(value, kind) == in_file
