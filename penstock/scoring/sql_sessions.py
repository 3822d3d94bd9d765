"""Databases that scores are appended to: one session each, with transactions of our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from penstock.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

TYPES: Mapping[str, Mapping[str, str]] = {
    "sqlite": {
        "integer": "BIGINT",
        "number": "DOUBLE",
        "boolean": "BOOLEAN",
        "string": "TEXT",
        "datetime": "TIMESTAMP",
    },
    "duckdb": {
        "integer": "BIGINT",
        "number": "DOUBLE",
        "boolean": "BOOLEAN",
        "string": "VARCHAR",
        "datetime": "TIMESTAMP WITH TIME ZONE",
    },
    "postgresql": {
        "integer": "BIGINT",
        "number": "DOUBLE PRECISION",
        "boolean": "BOOLEAN",
        "string": "TEXT",
        "datetime": "TIMESTAMP WITH TIME ZONE",
    },
}
"""By kind of database: how a storage type is declared."""


class Session(Protocol):
    """A connection, in which nothing is kept before `commit`."""

    kind: str

    def begin(self) -> None:
        """Begin a transaction."""

    def commit(self) -> None:
        """Keep what it did."""

    def rollback(self) -> None:
        """Undo what it did."""

    def execute(self, statement: str, values: Sequence[Any] = ()) -> None:
        """Run a statement."""

    def rows(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Return a query's rows."""

    def columns(self, table: str) -> dict[str, str]:
        """Return the columns of a table, each with the type that it was declared with."""

    def alters(self, kind: str, declared: str) -> bool:
        """Return whether a column of a declared type would change values of a storage type."""

    def append(self, table: str, rows: pa.Table) -> None:
        """Append rows to a table that has their columns."""

    def close(self) -> None:
        """Let the database go."""


def connect(address: str, *, where: str) -> Session:
    """Return a session with the database at a SQLAlchemy URL.

    Args:
        address: The URL, with its secrets.
        where: The same without, for errors.

    Raises:
        InputError: If it names no file, or an option that cannot be given on.
    """
    import sqlalchemy as sa

    from penstock.data.sql.columns import Unreadable

    url = sa.make_url(address)
    kind = url.drivername.partition("+")[0]
    if kind == "postgresql":
        from penstock.data.sql.postgresql import conninfo

        try:
            return PostgreSql(conninfo(url))
        except Unreadable as limit:
            raise InputError(str(limit.reason), where=where, remedy="Leave it out.") from limit
    if not url.database or url.database == ":memory:":
        raise InputError("the address names no file", where=where, remedy=f"Write {kind}:///FILE.")
    return Sqlite(url.database) if kind == "sqlite" else DuckDb(url.database)


def _converts(kind: str, declared: str) -> bool:
    """Return whether SQLite and DuckDB would make another value of one.

    They make 7 of the text 007 in a column of numbers, and DuckDB 0 of 0.4.
    """
    name = declared.upper()
    if kind == "string":
        return bool(name) and not any(part in name for part in ("CHAR", "CLOB", "TEXT", "STRING"))
    return kind == "number" and "INT" in name


def quoted(name: str) -> str:
    """Return a name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


class Sqlite:
    """SQLite, by Python's own module."""

    kind = "sqlite"

    def __init__(self, path: str) -> None:
        import sqlite3

        self._connection = sqlite3.connect(path, isolation_level=None, timeout=60)

    def begin(self) -> None:
        """See `Session`."""
        self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """See `Session`."""
        if self._connection.in_transaction:
            self._connection.execute("COMMIT")

    def rollback(self) -> None:
        """See `Session`."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def execute(self, statement: str, values: Sequence[Any] = ()) -> None:
        """See `Session`."""
        self._connection.execute(statement, values)

    def rows(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """See `Session`."""
        return self._connection.execute(query, values).fetchall()

    def columns(self, table: str) -> dict[str, str]:
        """See `Session`."""
        found = self._connection.execute(f"PRAGMA table_info({quoted(table)})")
        return {row[1]: row[2] for row in found}

    def alters(self, kind: str, declared: str) -> bool:
        """See `Session`."""
        return _converts(kind, declared)

    def append(self, table: str, rows: pa.Table) -> None:
        """See `Session`."""
        import pyarrow as pa
        import pyarrow.compute as pc

        columns = [
            pc.strftime(column, "%Y-%m-%d %H:%M:%S")
            if pa.types.is_timestamp(column.type)
            else column
            for column in rows.columns
        ]
        names = ", ".join(map(quoted, rows.column_names))
        marks = ", ".join("?" * len(columns))
        self._connection.executemany(
            f"INSERT INTO {quoted(table)} ({names}) VALUES ({marks})",  # noqa: S608
            zip(*(column.to_pylist() for column in columns), strict=True),
        )

    def close(self) -> None:
        """See `Session`."""
        self._connection.close()


class DuckDb:
    """DuckDB."""

    kind = "duckdb"

    def __init__(self, path: str) -> None:
        import duckdb

        self._connection = duckdb.connect(path)

    def begin(self) -> None:
        """See `Session`."""
        self._connection.begin()

    def commit(self) -> None:
        """See `Session`."""
        self._connection.commit()

    def rollback(self) -> None:
        """See `Session`."""
        self._connection.rollback()

    def execute(self, statement: str, values: Sequence[Any] = ()) -> None:
        """See `Session`."""
        self._connection.execute(statement, list(values))

    def rows(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """See `Session`."""
        found: list[tuple[Any, ...]] = self._connection.execute(query, list(values)).fetchall()
        return found

    def columns(self, table: str) -> dict[str, str]:
        """See `Session`."""
        described = self._connection.execute(f"DESCRIBE {quoted(table)}").fetchall()
        return {row[0]: row[1] for row in described}

    def alters(self, kind: str, declared: str) -> bool:
        """See `Session`."""
        return _converts(kind, declared)

    def append(self, table: str, rows: pa.Table) -> None:
        """See `Session`."""
        names = ", ".join(map(quoted, rows.column_names))
        self._connection.register("penstock_rows", rows)
        self._connection.execute(
            f"INSERT INTO {quoted(table)} ({names}) SELECT {names} FROM penstock_rows"  # noqa: S608
        )
        self._connection.unregister("penstock_rows")

    def close(self) -> None:
        """See `Session`."""
        self._connection.close()


class PostgreSql:
    """PostgreSQL, by ADBC, whose transactions begin by themselves."""

    kind = "postgresql"

    def __init__(self, address: str) -> None:
        from adbc_driver_postgresql import dbapi  # type: ignore[import-untyped]

        self._connection = dbapi.connect(address)
        self._cursor = self._connection.cursor()

    def begin(self) -> None:
        """See `Session`."""
        self._connection.rollback()

    def commit(self) -> None:
        """See `Session`."""
        self._connection.commit()

    def rollback(self) -> None:
        """See `Session`."""
        self._connection.rollback()

    def execute(self, statement: str, values: Sequence[Any] = ()) -> None:
        """See `Session`."""
        self._cursor.execute(statement, list(values) or None)

    def rows(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """See `Session`."""
        self._cursor.execute(query, list(values) or None)
        found: list[tuple[Any, ...]] = self._cursor.fetchall()
        return found

    def columns(self, table: str) -> dict[str, str]:
        """See `Session`."""
        query = (
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped"
        )
        return dict(self.rows(query, (quoted(table),)))

    def alters(self, kind: str, declared: str) -> bool:
        """See `Session`.

        Rows are copied in PostgreSQL's binary form, in which eight bytes of a number are taken for
        eight bytes of any other type: so the type must be the one that these tables are made with.
        """
        if kind == "string":
            return not declared.startswith(("text", "character varying"))
        return declared.upper() != TYPES["postgresql"][kind]

    def append(self, table: str, rows: pa.Table) -> None:
        """See `Session`."""
        self._cursor.adbc_ingest(table, rows, mode="append")

    def close(self) -> None:
        """See `Session`."""
        self._cursor.close()
        self._connection.close()
