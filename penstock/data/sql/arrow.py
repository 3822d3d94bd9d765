"""What is common to the answers that come as Arrow arrays, without a Python object for each value.

DuckDB gives them itself; PostgreSQL and SQLite do by ADBC, Arrow's own interface to databases. What
they cannot give, or not surely with the values that SQLAlchemy's drivers give, is `Unreadable`, and
SQLAlchemy reads instead.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from penstock.data.sql.columns import Cells, Plain, Unreadable
from penstock.data.types.times import of_the_calendar

if TYPE_CHECKING:
    import pyarrow as pa
    from adbc_driver_manager import AdbcConnection

Make = Callable[["pa.Field", "pa.Array"], Cells]
"""How a database's column becomes `Cells`; raises Unreadable where it cannot."""

_PREFIX = re.compile(
    r"^(?:[A-Z_]+: )?(?:\[\w+\] )?(?:Failed to [^:]*: )?(?:could not begin COPY: )?"
    r"(?:(?:ERROR|FATAL):\s+)?"
)


@dataclass(frozen=True)
class ArrowBlock:
    """A record batch; its columns are read when they are requested."""

    names: Sequence[str]
    batch: pa.RecordBatch
    make: Make

    @property
    def rows(self) -> int:
        """How many there are."""
        return int(self.batch.num_rows)

    def cells(self, at: int) -> Cells:
        """See `Block`."""
        return self.make(self.batch.schema.field(at), self.batch.column(at))


def batches(reader: pa.RecordBatchReader, rows: int) -> Iterator[pa.RecordBatch]:
    """Yield an answer's batches in pieces of at most `rows`, an empty one where it has no row."""
    import pyarrow as pa

    empty = True
    for batch in reader:
        for start in range(0, batch.num_rows, rows):
            empty = False
            yield batch.slice(start, rows)
    if empty:
        nothing = [pa.nulls(0, field.type) for field in reader.schema]
        yield pa.RecordBatch.from_arrays(nothing, schema=reader.schema)


def whole(array: pa.Array) -> Plain:
    """Return whole numbers.

    Raises:
        Unreadable: If one does not fit into 64 bits.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        return Plain(pc.cast(array, pa.int64()))
    except pa.ArrowInvalid as error:
        raise Unreadable("a whole number has more than 64 bits") from error


def texts(array: pa.Array) -> Plain:
    """Return texts.

    Raises:
        Unreadable: If one is not UTF-8.
    """
    import pyarrow as pa

    try:
        array.validate(full=True)
    except pa.ArrowInvalid as error:
        raise Unreadable("a text is not UTF-8") from error
    return Plain(array)


def times(array: pa.Array) -> Plain:
    """Return dates as they are, and timestamps as of microseconds.

    Raises:
        Unreadable: If one is infinite or outside the years 1 to 9999.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    try:
        if pa.types.is_date(kind):
            of_the_calendar(pc.cast(array, pa.timestamp("us")))
            return Plain(array)
        nanoseconds = kind.unit == "ns"  # The drivers cut them off, too.
        found = pc.cast(array, pa.timestamp("us", kind.tz), safe=not nanoseconds)
        return Plain(of_the_calendar(found))
    except ValueError as error:  # Arrow's own is one.
        raise Unreadable("a time is infinite or outside the years 1 to 9999") from error


def of_type(field: pa.Field, kind: object) -> Unreadable:
    """Return what to raise for a column of a type that is not read here."""
    return Unreadable(f"column {field.name!r} is of type {kind}")


def reason(error: BaseException) -> str:
    """Return a database's message, without what its client puts before and behind it."""
    message = next(iter(str(error).splitlines()), "") or type(error).__name__
    return _PREFIX.sub("", message)


@contextlib.contextmanager
def connected(driver: ModuleType, address: str) -> Iterator[AdbcConnection]:
    """Yield a connection by an ADBC driver; what is done on it is rolled back."""
    from adbc_driver_manager import AdbcConnection

    with driver.connect(address) as database, AdbcConnection(database) as connection:
        connection.set_autocommit(False)
        yield connection


@contextlib.contextmanager
def query_reader(
    connection: AdbcConnection, query: str, **options: Any
) -> Iterator[pa.RecordBatchReader]:
    """Yield the reader of a query's answer; it may be left before its end."""
    import pyarrow as pa
    from adbc_driver_manager import AdbcStatement

    with AdbcStatement(connection) as statement:
        statement.set_options(**options)
        statement.set_sql_query(query)
        stream, _ = statement.execute_query()
        with pa.RecordBatchReader.from_stream(stream) as reader:
            yield reader


def schema_of(connection: AdbcConnection, query: str) -> pa.Schema:
    """Return the schema of a query's answer; the query is not run."""
    import pyarrow as pa
    from adbc_driver_manager import AdbcStatement

    with AdbcStatement(connection) as statement:
        statement.set_sql_query(query)
        return pa.schema(statement.execute_schema())


def execute(connection: AdbcConnection, statement: str) -> None:
    """Run a statement that gives no rows."""
    from adbc_driver_manager import AdbcStatement

    with AdbcStatement(connection) as prepared:
        prepared.set_sql_query(statement)
        prepared.execute_update()


def module(name: str) -> ModuleType:
    """Import a driver.

    Raises:
        Unreadable: If it is not installed.
    """
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Unreadable(f"{name} is not installed") from error
