"""The rows of an SQL query as record batches."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.common.progress import log
from penstock.common.secrets import shown
from penstock.data.sources.columns import as_text, chosen, indexes, without, without_effect
from penstock.data.sources.reader import Again, Misread
from penstock.data.spec import SourceSpec
from penstock.data.sql.columns import Cells, Unreadable
from penstock.data.sql.duckdb import DuckDb
from penstock.data.sql.postgresql import PostgreSql
from penstock.data.sql.row_by_row import Answer, Block, RowByRow, statement_of, url_of
from penstock.data.sql.sqlite import SqLite
from penstock.data.types.objects import Kinds, UnstorableError, first_bad_value, settle_all
from penstock.data.types.value import TypeMismatch
from penstock.errors import InputError
from penstock.records.dataset import Assumption, ColumnType, Reading
from penstock.redaction import redact

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlalchemy import URL


class SqlReader:
    """Runs a query on a database; rows are fetched as they are needed.

    They come through Arrow where that gives surely the same values, and else row by row; `notes`
    and the log say which.

    Args:
        source: Its `uri` is a SQLAlchemy URL. References to secrets in it and in its query are
            resolved when the database is queried.

    Raises:
        InputError: If a reference leads nowhere.
    """

    def __init__(self, source: SourceSpec) -> None:
        self._source = source
        self._where = shown(source.uri, where="source.uri")
        self._types: dict[str, ColumnType | None] = {}
        self._indexes: list[Assumption] = []
        self._answer: Answer | None = None
        self._begun: Generator[Block] | None = None
        self._how = self._reported = ""

    def notes(self) -> list[str]:
        """Return how the source was read."""
        return [f"SQL: {redact(' '.join(self._source.query.split()))}", f"read {self._how}"]

    def assumptions(self) -> list[Assumption]:
        """Return what was assumed that could be otherwise."""
        return [*self._indexes, *without_effect(self._source, "a query")]

    def reading(self) -> Reading | None:
        """Return nothing: values have types of their own here."""
        return None

    def infer(self, *, whole: bool) -> None:
        """Settle the columns' types from the first rows of the result, or from all."""
        while True:
            try:
                self._infer(whole=whole)
                break
            except Unreadable as limit:
                self._take_rows(limit)
        if self._reported != self._how:
            self._reported = self._how
            log(f"the rows are read {self._how}")

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the result's rows."""
        import pyarrow as pa

        blocks, self._begun = self._begun or self._blocks(), None
        try:
            with contextlib.closing(blocks):
                for block in blocks:
                    arrays = [
                        block.cells(at).stored(kind, name=name, declared=self._declared(name))
                        for name, at, kind in self._places(block)
                    ]
                    yield pa.RecordBatch.from_arrays(arrays, list(self._types))
        except Unreadable as limit:
            self._take_rows(limit)
            raise Again from limit

    def explain(self, mismatch: TypeMismatch) -> InputError:
        """Return the error for a value that does not have its column's declared type."""
        while True:
            try:
                return self._explain(mismatch.column)
            except Unreadable as limit:
                self._take_rows(limit)

    def adapt(self, found: Misread) -> None:
        """Do nothing: only text files can be misread."""

    def _infer(self, *, whole: bool) -> None:
        self._begun = None
        kinds: dict[str, Kinds] = {}
        rows = 0
        with contextlib.ExitStack() as stack:
            blocks = stack.enter_context(contextlib.closing(self._blocks()))
            for block in blocks:
                if not kinds:
                    kinds = self._chosen(list(block.names))
                for at, name in enumerate(block.names):
                    if name in kinds and not self._declared(name):
                        self._count(block.cells(at), kinds[name], name, before=rows)
                rows += block.rows
                if not whole:
                    # The database is not queried again: what is begun goes on.
                    self._begun = _resumed(block, blocks)
                    stack.pop_all()
                    break
        self._types = settle_all(kinds, self._source.types)

    def _chosen(self, names: list[str]) -> dict[str, Kinds]:
        self._indexes = indexes(names, self._source)
        return {name: Kinds() for name in chosen(names, self._source, where=self._where)}

    def _places(self, block: Block) -> Iterator[tuple[str, int, ColumnType | None]]:
        """Yield the columns that are read with their places in a block and their types."""
        for at, name in enumerate(block.names):
            if name in self._types:
                yield name, at, self._types[name]

    def _explain(self, column: str) -> InputError:
        kind, before = self._types[column], 0
        with contextlib.closing(self._blocks()) as blocks:
            for block in blocks:
                values = block.cells(list(block.names).index(column)).values()
                at = first_bad_value(values, kind, declared=self._declared(column))
                if at is not None:
                    return InputError(
                        f"{values[at]!r:.80} is not of type {kind}",
                        where=f"{self._where}: row {before + at + 1}: column {column!r}",
                        remedy="Convert it in the query, or declare another type under types.",
                    )
                before += block.rows
        return InputError(
            "the result changes from one run of the query to the next", where=self._where
        )

    def _count(self, cells: Cells, found: Kinds, name: str, *, before: int) -> None:
        try:
            cells.count(
                found, lambda row: f"{self._where}: row {before + row + 1}: column {name!r}"
            )
        except UnstorableError as error:
            if error.whole:
                raise as_text(error, name, self._source) from error
            raise without(error, [name], self._source) from error

    def _declared(self, name: str) -> bool:
        return name in self._source.types

    def _blocks(self) -> Generator[Block]:
        if self._answer is None:
            self._answer = self._through_arrow()
            self._how = self._answer.how
        yield from self._answer.blocks()

    def _through_arrow(self) -> Answer:
        """Return what queries through Arrow.

        Raises:
            Unreadable: If nothing does.
        """
        url, statement = url_of(self._source), statement_of(self._source).compile()
        if statement.params:
            raise Unreadable("the query has parameters")
        kind, query = url.drivername, str(statement)
        if kind == "postgresql":
            return PostgreSql(url, query, types=self._source.types, where=self._where)
        if kind == "duckdb":
            return DuckDb(_file(url), query, where=self._where)
        if kind == "sqlite":
            return SqLite(_file(url), query, types=self._source.types, where=self._where)
        name, mark, driver = kind.partition("+")
        raise Unreadable(f"the address names {driver}" if mark else f"Arrow has none for {name}")

    def _take_rows(self, limit: Unreadable) -> None:
        """Have the rows come one by one from here on, or again where that is all it takes.

        Raises:
            InputError: If that cannot be, since no driver is installed.
            ServiceError: If that cannot be, and the database does not answer.
        """
        self._begun = None
        if limit.again:
            return
        rows = RowByRow(self._source, where=self._where)
        if limit.error is not None and not rows.has_driver():
            raise limit.error from limit
        self._answer = rows
        self._how = f"{rows.how}, since not through Arrow: {redact(limit.reason):.200}"


def _resumed(first: Block, rest: Generator[Block]) -> Generator[Block]:
    with contextlib.closing(rest):
        yield first
        yield from rest


def _file(url: URL) -> str:
    """Return the database file that an address names and nothing else.

    Raises:
        Unreadable: If it has options, or names no file that is there.
    """
    path = url.database or ""
    if url.query:
        raise Unreadable("the address has options")
    if url.host or not Path(path).is_file():
        raise Unreadable("the address names no file")
    return path
