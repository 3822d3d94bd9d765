"""The answer of a PostgreSQL server, by ADBC and PostgreSQL's binary COPY."""

from __future__ import annotations

import decimal
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from penstock.data import arrow
from penstock.data.sql.arrow import (
    ArrowBlock,
    batches,
    connected,
    execute,
    module,
    of_type,
    query_reader,
    reason,
    schema_of,
    texts,
    times,
    whole,
)
from penstock.data.sql.columns import Cells, Objects, Plain, Unreadable
from penstock.data.sql.row_by_row import CONNECT, Block, failed, no_answer, no_table
from penstock.data.types.storage import check_unique
from penstock.errors import InputError, PenstockError
from penstock.records.dataset import ColumnType

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlalchemy import URL

_ROWS = 65_536
_BYTES = 4 << 20
_GONE = ("08", "28", "53", "57", "58")
"""Classes of SQLSTATE that are about the server and not the query."""

_LOST = re.compile(r"server closed|terminating connection|could not receive|SSL|timed? ?out")
_OUT_OF_RANGE = "22003"
_HYPHENS = (8, 13, 18, 23)


class PostgreSql:
    """Asks a server; the query runs in a transaction that writes nothing and is rolled back.

    A numeric that is to be a number is selected as a double, the nearest one: as a text it costs
    four times as much. Where one is NaN, infinite or beyond a double, all are selected as texts.

    Args:
        url: Its options are those of libpq.
        query: A SELECT, VALUES or TABLE.
        types: Of columns, as the user declares them.
        where: The address without secrets, for errors.

    Raises:
        Unreadable: If libpq would not take the options as SQLAlchemy does.
    """

    how = "through Arrow, by ADBC's driver for PostgreSQL"

    def __init__(
        self, url: URL, query: str, *, types: Mapping[str, ColumnType], where: str
    ) -> None:
        self._address = conninfo(url)
        # COPY puts it in parentheses, where nothing may end it and a comment must be ended.
        self._query = query.strip().rstrip("; \t\r\n") + "\n"
        self._types = types
        self._where = where
        self._as_texts = False
        self._doubles: frozenset[str] = frozenset()

    def blocks(self) -> Iterator[Block]:
        """See `Answer`."""
        import pyarrow as pa

        driver = module("adbc_driver_postgresql")
        import adbc_driver_manager as adbc

        hint = driver.StatementOptions.BATCH_SIZE_HINT_BYTES.value
        connecting = True
        try:
            with connected(driver, self._address) as connection:
                connecting = False
                execute(connection, "SET TRANSACTION READ ONLY")
                schema = schema_of(connection, self._query)
                check_unique(schema.names, where=f"{self._where}: query")
                self._doubles = frozenset() if self._as_texts else self._numerics(schema)
                query = _with_doubles(self._query, schema.names, self._doubles)
                with query_reader(connection, query, **{hint: str(_BYTES)}) as reader:
                    names = reader.schema.names
                    if not names:
                        raise no_table(self._where)
                    if names != schema.names:
                        raise Unreadable("the answer changes from one time to the next")
                    for batch in batches(reader, _ROWS):
                        yield ArrowBlock(names, batch, self._cells)
        except (adbc.Error, pa.ArrowException, OSError) as error:
            message = reason(error)
            if self._doubles and getattr(error, "sqlstate", None) == _OUT_OF_RANGE:
                raise self._again(message) from error
            raise Unreadable(message, self._error(error, message, connecting)) from error

    def _error(self, error: Exception, message: str, connecting: bool) -> PenstockError:
        """Return the message where no other way can query this server."""
        state = getattr(error, "sqlstate", None) or ""
        if connecting or state[:2] in _GONE or (not state and _LOST.search(message)):
            return no_answer(message, where=self._where)
        return failed(message, where=self._where)

    def _numerics(self, schema: pa.Schema) -> frozenset[str]:
        return frozenset(
            field.name
            for field in schema
            if _type(field) == "numeric" and self._types.get(field.name, "number") == "number"
        )

    def _again(self, why: str) -> Unreadable:
        self._as_texts = True
        return Unreadable(why, again=True)

    def _cells(self, field: pa.Field, array: pa.Array) -> Cells:
        import pyarrow.compute as pc

        if field.name in self._doubles and pc.all(pc.is_finite(array)).as_py() is False:
            raise self._again("a numeric is NaN or infinite")
        try:
            return _cells(field, array)
        except Unreadable as limit:
            limit.error = limit.error or InputError(
                f"not read through Arrow: {limit.reason}",
                where=f"{self._where}: query",
                remedy="Leave the column out by exclude, convert it in the query, for example by "
                "::text, or install psycopg, by which SQLAlchemy reads it.",
            )
            raise


def _type(field: pa.Field) -> str:
    """Return the name of a column's type in PostgreSQL."""
    return str((field.metadata or {}).get(b"POSTGRESQL:type", b"").decode())


def _with_doubles(query: str, names: Sequence[str], doubles: Collection[str]) -> str:
    """Return a query that gives some of its columns as doubles."""
    if not doubles:
        return query
    quoted = {name: '"' + name.replace('"', '""') + '"' for name in names}
    columns = ", ".join(
        f"{quoted[name]}::float8 AS {quoted[name]}" if name in doubles else quoted[name]
        for name in names
    )
    within = f"(\n{query}\n) AS answer ({', '.join(quoted.values())})"
    return f"SELECT {columns} FROM {within}"  # noqa: S608 - the user's own query


def _cells(field: pa.Field, array: pa.Array) -> Cells:
    """Return a column's values, by its type in PostgreSQL, as psycopg gives them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = _type(field)
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if kind in ("int2", "int4", "int8"):
        return whole(array)
    if kind == "float4":
        # psycopg reads the shortest text that is not its neighbour's: 1.1, not 1.10000002.
        return Plain(pc.cast(pc.cast(array, pa.string()), pa.float64()))
    if kind in ("float8", "bool"):
        return Plain(array)
    if kind == "numeric":
        return Plain(array, decimal.Decimal)
    if kind in ("date", "timestamp", "timestamptz"):
        return times(array)
    if kind == "uuid":
        return Plain(_uuids(array))
    return _other(field, array, kind)


def _other(field: pa.Field, array: pa.Array, kind: str) -> Cells:
    import pyarrow as pa

    if kind in ("json", "jsonb"):
        read = [None if text is None else json.loads(text) for text in array.to_pylist()]
        return Objects(read)
    if kind in ("bytea", "time") or pa.types.is_list(field.type):
        return Objects(array.to_pylist())
    if pa.types.is_string(field.type) and kind != "char":
        return texts(array)  # text, varchar, char(n), name, and the levels of an enum
    raise of_type(field, kind)


def _uuids(array: pa.Array) -> pa.Array:
    """Return UUIDs of 16 bytes as texts."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = len(array)
    stored = np.frombuffer(array.buffers()[1], dtype=np.uint8)
    raw = stored[16 * array.offset : 16 * (array.offset + rows)].reshape(rows, 16)
    digits = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
    letters = np.full((rows, 36), ord("-"), dtype=np.uint8)
    places = [at for at in range(36) if at not in _HYPHENS]
    letters[:, places[::2]], letters[:, places[1::2]] = digits[raw >> 4], digits[raw & 15]
    ends = np.arange(0, 36 * (rows + 1), 36, dtype=np.int32)
    found = pa.StringArray.from_buffers(rows, pa.py_buffer(ends), pa.py_buffer(letters))
    return pc.if_else(array.is_valid(), found, arrow.null(pa.string()))


def conninfo(url: URL) -> str:
    """Return an address as libpq takes it, of options as SQLAlchemy gives them to psycopg.

    Raises:
        Unreadable: If SQLAlchemy gives an option a meaning of its own.
    """
    options = dict(url.query)
    several = [
        name
        for name, value in options.items()
        if not isinstance(value, str)
        or name == "client_encoding"
        or (name == "host" and ":" in value)
    ]
    if several:
        raise Unreadable(f"the address has the option {several[0]}")
    given = url.translate_connect_args(username="user", database="dbname")
    settings = {"connect_timeout": CONNECT, **given, **options, "client_encoding": "UTF8"}
    return " ".join(f"{name}={_quoted(str(value))}" for name, value in settings.items())


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
