"""The rows of an SQL query as record batches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from penstock.data.columns import as_text, check_unique, chosen, indexes, without, without_effect
from penstock.data.signals import Misfit, Misread
from penstock.data.spec import SourceSpec
from penstock.data.values import Kinds, first_misfit, settle_all, to_array
from penstock.errors import InputError, PenstockError, ServiceError
from penstock.records.dataset import Assumption, ColumnType, Reading
from penstock.redaction import redact
from penstock.secrets import resolve, shown

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlalchemy import Connection

_ROWS = 16_384
_CONNECT = 10


class SqlReader:
    """Runs a query on a database; rows are fetched as they are needed.

    Args:
        source: Its `uri` is a SQLAlchemy URL. References to secrets in it and in its query are
            resolved when the database is asked.

    Raises:
        InputError: If a reference leads nowhere.
    """

    def __init__(self, source: SourceSpec) -> None:
        self._source = source
        self._where = shown(source.uri, where="source.uri")
        self._types: dict[str, ColumnType | None] = {}
        self._indexes: list[Assumption] = []

    def notes(self) -> list[str]:
        """Return how the source was read."""
        return [f"SQL: {redact(' '.join(self._source.query.split()))}"]

    def assumptions(self) -> list[Assumption]:
        """Return what was assumed that could be otherwise."""
        return [*self._indexes, *without_effect(self._source, "a query")]

    def reading(self) -> Reading | None:
        """Return nothing: values have types of their own here."""
        return None

    def infer(self, *, whole: bool) -> None:
        """Settle the columns' types from the first rows of the result, or from all."""
        kinds: dict[str, Kinds] = {}
        rows = 0
        for names, batch in self._results():
            if not kinds:
                kinds = {n: Kinds() for n in chosen(names, self._source, where=self._where)}
                self._indexes = indexes(names, self._source)
            counted = [
                (at, name, kinds[name])
                for at, name in enumerate(names)
                if name in kinds and name not in self._source.types
            ]
            for row in batch:
                rows += 1
                for at, name, found in counted:
                    self._count(found, row[at], name, rows)
            if not whole:
                break
        self._types = settle_all(kinds, self._source.types)

    def _count(self, found: Kinds, value: Any, name: str, row: int) -> None:
        try:
            found.add(value, f"{self._where}: row {row}: column {name!r}")
        except InputError as error:
            if isinstance(value, int):
                raise as_text(error, name, self._source) from error
            raise without(error, [name], self._source) from error

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the result's rows."""
        import pyarrow as pa

        for names, rows in self._results():
            columns = zip(*rows, strict=True) if rows else ([] for _ in names)
            arrays = [
                to_array(list(values), self._types[name], name=name, declared=self._declared(name))
                for name, values in zip(names, columns, strict=True)
                if name in self._types
            ]
            yield pa.RecordBatch.from_arrays(arrays, list(self._types))

    def explain(self, misfit: Misfit) -> InputError:
        """Return the error for a value that does not have its column's declared type."""
        kind, before = self._types[misfit.column], 0
        for names, rows in self._results():
            values = [row[names.index(misfit.column)] for row in rows]
            at = first_misfit(values, kind, declared=self._declared(misfit.column))
            if at is not None:
                return InputError(
                    f"{values[at]!r:.80} is not of type {kind}",
                    where=f"{self._where}: row {before + at + 1}: column {misfit.column!r}",
                    remedy="Convert it in the query, or declare another type under types.",
                )
            before += len(rows)
        return InputError(
            "the result changes from one run of the query to the next", where=self._where
        )

    def adapt(self, found: Misread) -> None:
        """Do nothing: only text files can be misread."""

    def _declared(self, name: str) -> bool:
        return name in self._source.types

    def _results(self) -> Iterator[tuple[list[str], list[Any]]]:
        """Yield the column names with some rows at a time, at least once."""
        from sqlalchemy import text

        with self._connected() as connection:
            streaming = connection.execution_options(stream_results=True, max_row_buffer=_ROWS)
            result = streaming.execute(text(resolve(self._source.query, where="source.query")))
            if not result.returns_rows:
                raise InputError(
                    "the query returns no table",
                    where=f"{self._where}: query",
                    remedy="Write a SELECT.",
                )
            names = list(result.keys())
            check_unique(names, where=f"{self._where}: query")
            rows = result.fetchmany(_ROWS)
            yield names, list(rows)
            while rows := result.fetchmany(_ROWS):
                yield names, list(rows)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Connection]:
        import sqlalchemy as sa
        from sqlalchemy import exc

        try:
            url = self._url()
            self._check_present(url)
            engine = sa.create_engine(url, connect_args=_limits(url), poolclass=sa.NullPool)
        except (exc.ArgumentError, exc.NoSuchModuleError, ImportError) as error:
            raise InputError(
                f"not a database that can be read: {error}",
                where=self._where,
                remedy="Give a SQLAlchemy URL, for example sqlite:///data.db or "
                "postgresql://host/name, and install its driver.",
            ) from error
        try:
            with engine.connect() as connection:
                yield connection
        except PenstockError:
            raise
        except exc.SQLAlchemyError as error:
            raise self._failure(error) from error
        finally:
            engine.dispose()

    def _url(self) -> Any:
        import sqlalchemy as sa

        try:
            return sa.make_url(resolve(self._source.uri, where="source.uri"))
        except ValueError as error:
            # It quotes what it takes for the port, and that may be the end of a password.
            raise InputError(
                "not a database URL: what stands for its port is no number",
                where=self._where,
                remedy="Percent-encode the password (@ is %40, : is %3A, / is %2F), or refer to it "
                "as it is: ${env:NAME}.",
            ) from error

    def _check_present(self, url: Any) -> None:
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
            return ServiceError(
                f"the database does not answer: {reason:.300}",
                where=self._where,
                remedy="Check that it is running and that the URL and credentials are right.",
            )
        return InputError(
            f"the query failed: {reason:.300}",
            where=f"{self._where}: query",
            remedy="Correct the query; it must be valid in this database.",
        )


def _limits(url: Any) -> dict[str, Any]:
    """Return the settings that bound the time to connect, where a driver has them."""
    if url.get_backend_name() in ("postgresql", "mysql", "mariadb"):
        return {"connect_timeout": _CONNECT}
    return {"read_only": True} if url.get_backend_name() == "duckdb" else {}
