"""The same table by each reader: through Arrow as row by row, values, types, nulls and errors.

An address that names a driver or has an option is read row by row, so one database gives both.
"""

from __future__ import annotations

import datetime as dt
import decimal
import random
import sqlite3
import struct
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from needs import missing
from postgresql_server import PASSWORD, connect, programs, server

from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec
from penstock.data.sql import row_by_row as sql_rows
from penstock.data.table import read_table
from penstock.errors import InputError, PenstockError, ServiceError

Table = dict[str, tuple[str, list[Any]]]
"""Types and values of columns by name."""

_TYPES: dict[str, tuple[str, str, str]] = {
    # Here, in DuckDB, in PostgreSQL, and in SQLite, which knows neither booleans nor times.
    "integer": ("BIGINT", "bigint", "INTEGER"),
    "small": ("SMALLINT", "smallint", "INTEGER"),
    "double": ("DOUBLE", "double precision", "REAL"),
    "real": ("FLOAT", "real", "REAL"),
    "numeric": ("DECIMAL(18, 4)", "numeric", "NUMERIC"),
    "wide": ("DECIMAL(38, 12)", "numeric(38, 12)", "REAL"),
    "boolean": ("BOOLEAN", "boolean", "BOOLEAN"),
    "date": ("DATE", "date", "TEXT"),
    "timestamp": ("TIMESTAMP", "timestamp", "TEXT"),
    "zoned": ("TIMESTAMPTZ", "timestamptz", "TEXT"),
    "text": ("VARCHAR", "text", "TEXT"),
    "times": ("VARCHAR", "varchar(40)", "TEXT"),
    "uuid": ("UUID", "uuid", "TEXT"),
}
_FIRST, _LAST = dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30)
_MADE: dict[str, st.SearchStrategy[Any]] = {
    "integer": st.integers(-(2**63), 2**63 - 1),
    "small": st.integers(-(2**15), 2**15 - 1),
    "double": st.floats(allow_infinity=False),
    "real": st.floats(allow_infinity=False, width=32),
    "numeric": st.decimals(-(10**13), 10**13, places=4),
    "wide": st.decimals(-(10**25), 10**25, places=12),
    "boolean": st.booleans(),
    "date": st.dates(_FIRST.date(), _LAST.date()),
    "timestamp": st.datetimes(_FIRST, _LAST),
    "zoned": st.datetimes(_FIRST, _LAST, timezones=st.just(dt.UTC)),
    "text": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
    | st.sampled_from(["2026-01-02", "2026-01-02\n", "12", "NA", "", "a'b", "2026-13-45"]),
    "times": st.datetimes(_FIRST, _LAST).map(str) | st.dates(_FIRST.date()).map(str),
    "uuid": st.uuids(),
}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    folder = programs()
    if folder is None:
        missing("PostgreSQL is not here.", remedy="On Debian or Ubuntu: apt install postgresql")
    with server(folder) as found:
        yield found


def pg(port: int, *, driver: str = "", password: str = PASSWORD, name: str = "postgres") -> str:
    return f"postgresql{driver}://me:{quote(password, safe='')}@127.0.0.1:{port}/{name}"


def both(uri: str) -> tuple[str, str]:
    """Return the address that is read through Arrow, and that of the same by SQLAlchemy."""
    kind, _, rest = uri.partition(":")
    driver = {"sqlite": "+pysqlite", "postgresql": "+psycopg2"}.get(kind)
    return uri, f"{kind}{driver}:{rest}" if driver else f"{uri}?access_mode=read_only"


def outcome(uri: str, folder: Path, **given: Any) -> tuple[Any, str]:
    """Return what is read, or the error without the address, and how it was read."""
    source = SourceSpec.parse({"uri": uri, "query": "select * from t", **given}, where="source")
    output = folder / uuid.uuid4().hex
    try:
        dataset = ingest(source, output=output)
    except PenstockError as error:
        place = f"{error.where}: ".partition(": ")[2]
        return (type(error).__name__, place, error.what, error.remedy), ""
    columns = [(c.name, c.type, c.profile.nulls) for c in dataset.columns]
    return (dataset.content, columns, read_table(output).to_pylist()), dataset.notes[1]


def same(uri: str, folder: Path, **given: Any) -> tuple[Any, str]:
    """Check that both readers give the same; return it, and how the address was read."""
    through, by_rows = both(uri)
    (found, how), (expected, said) = (
        outcome(through, folder, **given),
        outcome(by_rows, folder, **given),
    )
    assert found == expected
    assert not said or said.startswith("read row by row, by SQLAlchemy")
    return found, how


def in_duckdb(folder: Path, table: Table) -> str:
    path = folder / f"{uuid.uuid4().hex}.duckdb"
    with duckdb.connect(str(path)) as database:
        columns = ", ".join(f'"{name}" {_TYPES[kind][0]}' for name, (kind, _) in table.items())
        database.execute(f"create table t ({columns})")
        database.executemany(
            f"insert into t values ({', '.join('?' * len(table))})", rows_of(table)
        )
    return f"duckdb:///{path}"


def in_sqlite(folder: Path, table: Table) -> str:
    columns = ", ".join(f'"{name}" {_TYPES[kind][2]}' for name, (kind, _) in table.items())
    rows = [[_for_sqlite(value) for value in row] for row in rows_of(table)]
    return sqlite(folder, f"create table t ({columns})", *rows)


def sqlite(folder: Path, create: str, *rows: Any) -> str:
    path = folder / f"{uuid.uuid4().hex}.db"
    with sqlite3.connect(path) as database:
        database.execute(create)
        for row in rows[:1]:
            marks = ", ".join("?" * len(row))
            database.executemany(f"insert into t values ({marks})", rows)
    database.close()
    return f"sqlite:///{path}"


def in_postgresql(port: int, table: Table) -> str:
    database = connect(port)
    cursor = database.cursor()
    columns = ", ".join(f'"{name}" {_TYPES[kind][1]}' for name, (kind, _) in table.items())
    cursor.execute(f"drop table if exists t; create table t ({columns})")
    for row in rows_of(table):
        values = [str(one) if isinstance(one, uuid.UUID) else one for one in row]
        cursor.execute(f"insert into t values ({', '.join(['%s'] * len(table))})", values)
    database.close()
    return pg(port)


def rows_of(table: Table) -> list[tuple[Any, ...]]:
    return list(zip(*(values for _, values in table.values()), strict=True))


def _for_sqlite(value: Any) -> Any:
    if isinstance(value, decimal.Decimal):
        return float(value)
    return str(value) if isinstance(value, dt.date | uuid.UUID) else value


def a_table() -> Table:
    """Return every type, with every seventh value missing."""
    chance = random.Random(7)
    moments = [_FIRST, _LAST, dt.datetime(1969, 12, 31, 23, 59, 59, 999_999)]
    moments += [
        dt.datetime(2026, 1, 1) + dt.timedelta(microseconds=chance.getrandbits(50))
        for _ in range(57)
    ]
    amounts = [decimal.Decimal(chance.getrandbits(55)).scaleb(-4) for _ in range(60)]
    short = struct.unpack("60f", struct.pack("60f", *(chance.gauss(0, 9) for _ in range(60))))
    columns: Table = {
        "integer": ("integer", [chance.getrandbits(63) - 2**62 for _ in range(60)]),
        "small": ("small", list(range(60))),
        "double": ("double", [chance.gauss(0, 1e5) for _ in range(59)] + [float("nan")]),
        "real": ("real", list(short)),
        "numeric": ("numeric", amounts),
        "wide": ("wide", [amount * 10**8 + amount / 10**8 for amount in amounts]),
        "boolean": ("boolean", [n % 3 == 0 for n in range(60)]),
        "date": ("date", [moment.date() for moment in moments]),
        "timestamp": ("timestamp", moments),
        "zoned": ("zoned", [moment.replace(tzinfo=dt.UTC) for moment in moments]),
        "text": ("text", ["", "NA", "12", "Grüße, 世界", "a'b", "x" * 500] * 10),
        "times": ("times", [str(moment) for moment in moments]),
        "uuid": ("uuid", [uuid.UUID(int=chance.getrandbits(128)) for _ in range(60)]),
        "nothing": ("integer", [None] * 60),
    }
    return {
        name: (kind, [None if (at + n) % 7 == 0 else one for n, one in enumerate(values)])
        for at, (name, (kind, values)) in enumerate(columns.items())
    }


def test_duckdb_gives_the_same_by_both_readers(tmp_path: Path) -> None:
    (_, columns, _), how = same(in_duckdb(tmp_path, a_table()), tmp_path)

    assert how == "read through Arrow, by DuckDB"
    assert [kind for _, kind, _ in columns] == [
        *("integer", "integer", "number", "number", "number", "number", "boolean"),
        *("datetime", "datetime", "datetime", "string", "datetime", "string", "string"),
    ]


def test_sqlite_gives_the_same_by_both_readers(tmp_path: Path) -> None:
    (_, columns, _), how = same(in_sqlite(tmp_path, a_table()), tmp_path)

    assert how == "read through Arrow, by ADBC's driver for SQLite"
    assert {name: kind for name, kind, _ in columns}["boolean"] == "integer"


@pytest.mark.xdist_group("postgresql")
def test_postgresql_gives_the_same_by_both_readers(tmp_path: Path, port: int) -> None:
    table = a_table()
    (_, columns, rows), how = same(in_postgresql(port, table), tmp_path)

    assert how == "read through Arrow, by ADBC's driver for PostgreSQL"
    # A `real` is read as its shortest text, so 1.1 is 1.1; DuckDB's driver gives the float itself.
    table.pop("real")
    (_, others, same_rows), _ = outcome(in_duckdb(tmp_path, table), tmp_path)
    assert [one for one in columns if one[0] != "real"] == others
    assert [{k: v for k, v in row.items() if k != "real"} for row in rows] == same_rows


@st.composite
def _tables(draw: st.DrawFn) -> Table:
    rows = draw(st.integers(1, 6))
    kinds = draw(st.lists(st.sampled_from(sorted(_TYPES)), min_size=1, max_size=8))
    return {
        f"c{at}": (kind, draw(st.lists(st.none() | _MADE[kind], min_size=rows, max_size=rows)))
        for at, kind in enumerate(kinds)
    }


@pytest.mark.long
@pytest.mark.xdist_group("postgresql")
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(table=_tables())
def test_any_table_is_the_same_by_each_reader(tmp_path: Path, port: int, table: Table) -> None:
    for uri in (in_duckdb(tmp_path, table), in_sqlite(tmp_path, table), in_postgresql(port, table)):
        same(uri, tmp_path)


THROUGH, ROWS = "read through Arrow", "read row by row"
LONG = pytest.mark.long


@pytest.mark.parametrize(
    ("query", "how"),
    [
        ("select 1::hugeint as a, sum(i) as b, count(*) as c from range(5) t(i)", THROUGH),
        ("select (2::hugeint ** 70)::hugeint as a", ""),
        ("select 18446744073709551615::ubigint as a", ""),
        ("select 'a'::enum('a', 'b') as a, null as b, uuid() is null as c", THROUGH),
        ("select '1960-01-01 01:02:03.123456789'::timestamp_ns as a", THROUGH),
        ("select '2026-01-01'::timestamp_s as a, '2026-01-01'::timestamp_ms as b", THROUGH),
        ("select 'infinity'::date as a", ROWS),
        ("select '-infinity'::timestamp as a", ROWS),
        ("select date '0044-01-01 (BC)' as a", ROWS),
        ("select '5'::json as a", ROWS),
        ("select '101'::bit as a, 7::bignum as b", ROWS),
        ("select union_value(a := 1) as a", ROWS),
        ("select [1] as a", ""),
        ("select 'x'::blob as a", ""),
        ("select time '01:02:03' as a", ""),
        ("select interval 1 day as a", ""),
        ("select 'nan'::double as a", THROUGH),
        ("select 'inf'::double as a", ""),
        ("select 1 as a, 2 as a", ""),
        ("select * from nowhere", ""),
        ("select * from pa", ""),
        ("selekt 1", ""),
        ("select 1 as a; select 2 as a", ROWS),
        ("select 1 as a where false", ""),
        ("select i, 'x' || i as s from range(70000) t(i) order by i desc; -- last first", THROUGH),
        pytest.param(
            "select if(i < 70000, '2026-01-01', 'x') as a from range(70001) t(i)",
            THROUGH,
            marks=LONG,
        ),
        pytest.param(
            "select if(i < 70000, null, i) as a from range(70001) t(i)",
            THROUGH,
            marks=LONG,
        ),
        ("select 1 // 0 as a, cast('x' as integer) as b", ""),
        ("select i, if(i = 70000, error('no'), 'y') as a from range(80000) t(i)", ""),
        ("from range(3)", THROUGH),
        ("create table u (c integer)", ""),
        ("select :a", ""),
    ],
)
def test_what_duckdb_answers_is_the_same_by_both(query: str, how: str, tmp_path: Path) -> None:
    uri = in_duckdb(tmp_path, {"a": ("integer", [1])})

    found, read = same(uri, tmp_path, query=query)

    assert read.startswith(how) if how else found[0].endswith("Error")


@pytest.mark.parametrize(
    ("create", "rows", "query", "how"),
    [
        ("a integer, b", [(1, "x"), (2, "y")], "select * from t", THROUGH),
        ("a", [(1,), ("x",)], "select * from t", ""),
        ("a", [("x",), (1,)], "select * from t", ""),
        ("a", [("x",), (0.5,), (None,)], "select * from t", ""),
        ("a", [("x",), (b"y",)], "select * from t", ""),
        ("a", [(b"y",), (b"\xff",)], "select * from t", ""),
        ("a", [(1,), (0.5,), (None,), (2**53 + 1,)], "select * from t", THROUGH),
        ("a", [(n,) for n in range(20_000)] + [(0.5,)], "select * from t", ROWS),
        pytest.param("a", [(None,)] * 20_000 + [("x",)], "select * from t", ROWS, marks=LONG),
        ("a", [("x",)] * 20_000 + [(7,)], "select * from t", ""),
        pytest.param("a", [("x",)] * 20_000 + [(b"y",)], "select * from t", "", marks=LONG),
        ("a, b", [("x", 1), (7, 2)], "select * from t", ""),
        ("a, b", [("x", 1)] * 20_000 + [(7, 2)], "select * from t", ""),
        pytest.param(
            "a, b", [(0.5, "x")] * 20_000 + [(0.5, b"")], "select * from t", "", marks=LONG
        ),
        pytest.param(
            "a, b", [(None, "x")] * 20_000 + [(1, 0.5)], "select * from t", "", marks=LONG
        ),
        ("a, b, c", [("x", "", 1)] * 20_000 + [(None, None, None)], "select * from t", THROUGH),
        ("a integer, b", [("x", "x"), ("7", "y")], "select * from t", ""),
        ("a text collate nocase, b real", [("x", 1), (7, 2)], "select * from t", THROUGH),
        ("a", [("2026-01-02",)] * 20_000 + [("",)], "select * from t", THROUGH),
        ("a", [("2026-01-02 03:04:05.123456789+02",), ("2026-01-02",)], "select * from t", THROUGH),
        ("a", [("2026-13-45",)], "select * from t", ""),
        ("a", [("0000-01-01",)], "select * from t", ""),
        ("a", [("2026-01-02\n",), ("2026-01-02",)], "select * from t", THROUGH),
        ("a", [("x",)], "select cast(x'ff' as text) as a", ""),
        ("a", [("x",)], "select * from t where a is null", ""),
        ("a", [("x",), ("y",)], "values ('b', 1), ('a', 2)", THROUGH),
        ("a", [("x",), ("y",)], "with u as (select a from t) select * from u -- ends", THROUGH),
        ("a", [("x",), ("y",)], "select * from t; -- ends", ROWS),
        ("a", [("x",), ("y",)], "select a as \"b c\", a as \"d.e\", 1 as \"d.e \" from t", THROUGH),
        ("a", [("x",), ("y",)], "select a, a as A from t", THROUGH),
        ("a", [("x",), ("y",)], "select a, a from t", ""),
        ("a", [("x",), ("y",)], "select * from t; select 1", ""),
        ("a", [("x",), ("y",)], "pragma table_info(t)", ROWS),
        ("a", [("x",), ("y",)], "select 1 as a) union all select * from (select 2", ""),
        ("a", [(9e999,), (-0.0,)], "select * from t", ""),
        ("a", [(n % 7,) for n in range(30_000)], "select * from t order by -a, -rowid", THROUGH),
        ("a", [("x",)], "select * from nowhere", ""),
        ("a", [("x",)], "create table u (c)", ""),
    ],
)  # fmt: skip
def test_what_sqlite_answers_is_the_same_by_both(
    create: str, rows: list[Any], query: str, how: str, tmp_path: Path
) -> None:
    uri = sqlite(tmp_path, f"create table t ({create})", *rows)

    found, read = same(uri, tmp_path, query=query)

    assert read.startswith(how) if how else found[0].endswith("Error")


PG_QUERIES = [
    ("select 4000000000::oid as a", ROWS),
    ("select '12.5'::money as a, 'pg_class'::regclass as b, '1.2.3.4'::inet as c", ROWS),
    ("select 'a'::\"char\" as a", ROWS),
    ("select 'a'::char(3) as a, 'b'::name as b, 'c'::varchar as c", THROUGH),
    ("select 'b'::mood as a, 1.5::positive as b", THROUGH),
    ("select 1.1::real as a, 1e-45::real as b, null::real as c", THROUGH),
    ("select g::numeric / 7 as a, (-g)::numeric(9, 3) as b from generate_series(1, 9) g", THROUGH),
    ("select 1e30::numeric as a, 1e-30::numeric as b, 0.00::numeric as c", THROUGH),
    ("select 'nan'::numeric as a", ""),
    ("select 1e400::numeric as a", ""),
    ("select 'infinity'::numeric as a", ""),
    ("select 1e-400::numeric as a", THROUGH),
    ("select (g % 3)::numeric / 7 as a, g::numeric(9, 2) as \"b \"\"c\" "
     "from generate_series(1, 9) g", THROUGH),
    pytest.param(
        "select 1e400::numeric as a, g as b from generate_series(1, 70000) g", "",
        marks=LONG,
    ),
    ("select null::numeric as a, 'x' as b union all select 'nan', 'y'", ""),
    pytest.param(
        "select case g when 70000 then 'nan' else g / 7.0 end as a "
        "from generate_series(1, 70000) g",
        "",
        marks=LONG,
    ),
    ("select 'infinity'::float8 as a", ""),
    ("select 'nan'::float8 as a, 1 as b", THROUGH),
    ("select 'infinity'::date as a", ROWS),
    ("select '-infinity'::timestamp as a", ROWS),
    ("select '\\x00'::bytea as a", ""),
    ("select array[1, 2] as a", ""),
    ("select '{\"a\": 1}'::json as a", ""),
    ("select g::text::jsonb as a from generate_series(1, 3) g", THROUGH),
    ("select '1 day'::interval as a", ""),
    ("select '01:02:03'::time as a", ""),
    ("select null as a, null::uuid as b, null::numeric as c, null::timestamptz as d", THROUGH),
    ("select 1 as a, 2 as a", ""),
    ("select * from nowhere", ""),
    ("selekt 1", ""),
    ("select 1 / (5 - g) as a from generate_series(1, 10) g", ""),
    ("show server_version", ""),
    ("explain select 1", ""),
    ("select 1 as a; select 2 as a", ROWS),
    ("select 1 as a -- ends", THROUGH),
    ("select 1 as a; -- ends", ROWS),
    ("values (1, 'x'), (2, 'y')", THROUGH),
    ("select 1 as a where false", ""),
    ("create table made (a integer)", ""),
    ("insert into kept values (1) returning a", ""),
    ("select g as a, 'x' || g as b from generate_series(1, 70000) g order by -g", THROUGH),
    ("select to_char(g, 'FM00000') || '-01-01' as a from generate_series(9999, 70000) g", THROUGH),
    ("select '2026-01-01' as a union all select repeat('x', g) from generate_series(0, 9) g",
     THROUGH),
]  # fmt: skip


@pytest.fixture(scope="module")
def asked(port: int) -> int:
    database = connect(port)
    database.cursor().execute(
        "create type mood as enum ('a', 'b'); create domain positive as numeric(9, 2) "
        "check (value > 0); create table kept (a integer); set timezone = 'Europe/Berlin'"
    )
    database.close()
    return port


@pytest.mark.xdist_group("postgresql")
@pytest.mark.parametrize(("query", "how"), PG_QUERIES)
def test_what_postgresql_answers_is_the_same_by_both(
    query: str, how: str, asked: int, tmp_path: Path
) -> None:
    found, read = same(pg(asked), tmp_path, query=query)

    assert read.startswith(how) if how else found[0].endswith("Error")
    database = connect(asked)
    cursor = database.cursor()
    cursor.execute("select count(*) from kept")
    assert cursor.fetchone() == (0,)
    database.close()


@pytest.mark.xdist_group("postgresql")
@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"password": "a wrong/pass:word"}, ServiceError, "password authentication failed"),
        ({"name": "nowhere"}, ServiceError, 'database "nowhere" does not exist'),
        ({"name": "postgres?no_such_option=1"}, InputError, "no_such_option"),
    ],
)
@pytest.mark.parametrize("alone", [False, True], ids=["", "without psycopg"])
def test_a_server_that_refuses(
    change: dict[str, str], error: type[PenstockError], said: str, alone: bool, port: int,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if alone:
        # As in an image: psycopg is no part of the extra.
        monkeypatch.setattr(sql_rows, "_DRIVERS", ("postgresql+absent",))
    source = SourceSpec(uri=pg(port, **change), query="select 1 as a")

    with pytest.raises(PenstockError, match=said) as caught:
        ingest(source, output=tmp_path / "out")

    assert isinstance(caught.value, error if not alone else PenstockError)
    for secret in (PASSWORD, "pass/word", "pass%2Fword"):
        assert secret not in str(caught.value) + capsys.readouterr().out


@pytest.mark.xdist_group("postgresql")
def test_postgresql_without_psycopg(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_rows, "_DRIVERS", ("postgresql+absent",))

    (_, columns, _), how = outcome(pg(port), tmp_path, query="select 1 as a")
    assert columns == [("a", "integer", 0)]
    assert how.startswith(THROUGH)
    for query, what in {
        "select 1 as a, '1 day'::interval as b": "column 'b' is of type interval",
        "select * from nowhere": 'the query failed: relation "nowhere" does not exist',
    }.items():
        (kind, place, said, _), _ = outcome(pg(port), tmp_path, query=query)
        assert (kind, place) == ("InputError", "query: ")
        assert what in said


# Each type that a database has, and each that may be declared.
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, marks=() if name == "numeric" or kind == "datetime" else LONG)
        for name in ("small", "double", "numeric", "date", "times")
        for kind in ("string", "number", "integer", "boolean", "datetime")
    ],
)
def test_a_declared_type_means_the_same_by_both(name: str, kind: str, tmp_path: Path) -> None:
    table = {name: a_table()[name]}
    same(in_duckdb(tmp_path, table), tmp_path, types={name: kind})
    same(in_sqlite(tmp_path, table), tmp_path, types={name: kind})


@pytest.mark.xdist_group("postgresql")
def test_a_declared_type_means_the_same_in_postgresql(port: int, tmp_path: Path) -> None:
    table = a_table()
    uri = in_postgresql(port, table)
    for kind in ("string", "integer"):
        types = dict.fromkeys(("small", "numeric", "boolean", "date", "uuid", "times"), kind)
        same(uri, tmp_path, query="select * from t", types=types)
        for name in ("small", "numeric", *(["zoned"] if kind == "string" else [])):
            same(uri, tmp_path, query=f'select "{name}" from t', types={name: kind})


def test_answers_that_are_left_early_break_nothing_later(tmp_path: Path) -> None:
    # The process died in one of these, from memory of an answer that an error had kept.
    for name, column in a_table().items():
        uri = in_duckdb(tmp_path, {name: column})
        outcome(uri, tmp_path, types={name: "boolean"})


def test_the_query_is_asked_once(tmp_path: Path) -> None:
    uri = in_duckdb(tmp_path, {"a": ("integer", [1])})

    (_, _, rows), _ = outcome(uri, tmp_path, query="select uuid() as a from range(3)")
    assert len(rows) == 3
