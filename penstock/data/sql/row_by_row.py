"""The answer to a query row by row, by SQLAlchemy and the database's own driver."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from penstock.common.secrets import resolve, shown
from penstock.data.spec import SourceSpec
from penstock.data.sql.columns import Cells, Objects
from penstock.data.types.storage import check_unique
from penstock.errors import InputError, PenstockError, ServiceError
from penstock.redaction import redact

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine, TextClause

_ROWS = 16_384
CONNECT = 10
"""Seconds that a server may take to answer a connection."""

_DRIVERS = ("postgresql+psycopg", "postgresql+psycopg2")


class Block(Protocol):
    """Some rows of an answer."""

    @property
    def names(self) -> Sequence[str]:
        """The columns of the answer."""

    @property
    def rows(self) -> int:
        """How many there are."""

    def cells(self, at: int) -> Cells:
        """Return the values of a column, counted from 0."""


class Answer(Protocol):
    """A query on a database, run anew each time that its rows are read."""

    how: str
    """In words, as the end of "read …"."""

    def blocks(self) -> Iterator[Block]:
        """Yield the rows, at least one block; close the iterator where not all are needed."""


def url_of(source: SourceSpec) -> URL:
    """Return the address of a source, with the secrets that it refers to.

    Raises:
        InputError: If it is none, or a reference leads nowhere.
    """
    import sqlalchemy as sa
    from sqlalchemy import exc

    where = shown(source.uri, where="source.uri")
    try:
        return sa.make_url(resolve(source.uri, where="source.uri"))
    except exc.ArgumentError as error:
        raise _no_database(error, where) from error
    except ValueError as error:
        # It quotes what it takes for the port, and that may be the end of a password.
        raise InputError(
            "not a database URL: what stands for its port is no number",
            where=where,
            remedy="Percent-encode the password (@ is %40, : is %3A, / is %2F), or refer to it "
            "as it is: ${env:NAME}.",
        ) from error


def statement_of(source: SourceSpec) -> TextClause:
    """Return the query of a source, with the secrets that it refers to."""
    from sqlalchemy import text

    return text(resolve(source.query, where="source.query"))


def no_table(where: str) -> InputError:
    """Return the error for a statement that is not one of those that give rows."""
    return InputError(
        "the query returns no table", where=f"{where}: query", remedy="Write a SELECT."
    )


@dataclass(frozen=True)
class _Rows:
    names: Sequence[str]
    rows: int
    columns: Sequence[Sequence[Any]]

    def cells(self, at: int) -> Cells:
        return Objects(self.columns[at])


class RowByRow:
    """Asks by SQLAlchemy; rows are fetched as they are needed.

    Args:
        source: Its address and query.
        where: The address without secrets, for errors.
    """

    how = "row by row, by SQLAlchemy"

    def __init__(self, source: SourceSpec, *, where: str) -> None:
        self._source = source
        self._where = where

    def has_driver(self) -> bool:
        """Whether SQLAlchemy knows this kind of database and its driver is installed."""
        try:
            self._engine(url_of(self._source)).dispose()
        except InputError:
            return False
        return True

    def blocks(self) -> Iterator[Block]:
        """See `Answer`.

        Raises:
            InputError: If there is no such database or driver, or the query is wrong.
            ServiceError: If the database does not answer.
        """
        with self._connected() as connection:
            streaming = connection.execution_options(stream_results=True, max_row_buffer=_ROWS)
            result = streaming.execute(statement_of(self._source))
            if not result.returns_rows:
                raise no_table(self._where)
            names = list(result.keys())
            check_unique(names, where=f"{self._where}: query")
            rows = result.fetchmany(_ROWS)
            yield _Rows(names, len(rows), list(zip(*rows, strict=True)) or [()] * len(names))
            while rows := result.fetchmany(_ROWS):
                yield _Rows(names, len(rows), list(zip(*rows, strict=True)))

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Connection]:
        from sqlalchemy import exc

        url = url_of(self._source)
        self._check_present(url)
        engine = self._engine(url)
        try:
            with engine.connect() as connection:
                if url.get_backend_name() == "sqlite":
                    # Outside a transaction it would keep what a wrong query writes.
                    connection.exec_driver_sql("PRAGMA query_only = ON")
                yield connection
        except PenstockError:
            raise
        except exc.SQLAlchemyError as error:
            raise self._failure(error) from error
        finally:
            engine.dispose()

    def _engine(self, url: URL) -> Engine:
        """Return what connects, by the first driver of the database that is installed."""
        import sqlalchemy as sa
        from sqlalchemy import exc

        # Releases of SQLAlchemy differ in the driver that they take where the address names none.
        drivers = _DRIVERS if url.drivername == "postgresql" else (url.drivername,)
        for driver in drivers:
            try:
                found = url.set(drivername=driver)
                return sa.create_engine(found, connect_args=_limits(url), poolclass=sa.NullPool)
            except (exc.ArgumentError, exc.NoSuchModuleError, ImportError) as error:
                if driver == drivers[-1]:
                    raise _no_database(error, self._where) from error
        raise AssertionError(drivers)

    def _check_present(self, url: URL) -> None:
        """Refuse a database file that is absent: drivers would make an empty one."""
        from pathlib import Path

        name = url.get_backend_name()
        path = url.database
        if name not in ("sqlite", "duckdb") or path in (None, "", ":memory:"):
            return
        if not path.startswith("file:") and not Path(path).is_file():
            raise InputError(
                "there is no such database file",
                where=str(path),
                remedy=f"Correct the path; relative ones start at {Path.cwd()}.",
            )

    def _failure(self, error: Exception) -> PenstockError:
        """Tell a query that is wrong from a database that does not answer."""
        from sqlalchemy import exc

        original = getattr(error, "orig", None) or error
        reason = next(iter(redact(str(original)).splitlines()), type(original).__name__)
        local = self._where.startswith(("sqlite", "duckdb"))
        if isinstance(error, exc.InterfaceError) or (
            isinstance(error, exc.OperationalError) and not local
        ):
            return no_answer(reason, where=self._where)
        return failed(reason, where=self._where)


def no_answer(reason: str, *, where: str) -> ServiceError:
    """Return the error for a database that cannot be reached or refuses."""
    return ServiceError(
        f"the database does not answer: {reason:.300}",
        where=where,
        remedy="Check that it is running and that the URL and credentials are right.",
    )


def failed(reason: str, *, where: str) -> InputError:
    """Return the error for a query that the database does not take."""
    return InputError(
        f"the query failed: {reason:.300}",
        where=f"{where}: query",
        remedy="Correct the query; it must be valid in this database.",
    )


def _no_database(error: Exception, where: str) -> InputError:
    return InputError(
        f"not a database that can be read: {error}",
        where=where,
        remedy="Give a SQLAlchemy URL, for example sqlite:///data.db or postgresql://host/name, "
        "and install its driver.",
    )


def _limits(url: Any) -> dict[str, Any]:
    """Return the settings that bound the time to connect, where a driver has them."""
    if url.get_backend_name() in ("postgresql", "mysql", "mariadb"):
        return {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT}
    return {"read_only": True} if url.get_backend_name() == "duckdb" else {}
