"""Reads a version of a table whose values have types of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from penstock.data.sources.columns import chosen, without, without_effect
from penstock.data.sources.reader import Misread, Settled
from penstock.data.spec import SourceSpec
from penstock.data.types.storage import check_unique, columns_of, converted, storage_type
from penstock.data.types.value import TypeMismatch
from penstock.errors import InputError
from penstock.records.dataset import Assumption, Column, Reading

if TYPE_CHECKING:
    import pyarrow as pa

_ID = b"PARQUET:field_id"


class VersionedTable(Protocol):
    """A table at one version."""

    @property
    def title(self) -> str:
        """What it is, for people: `Delta version 3`."""

    @property
    def where(self) -> str:
        """Its address, without credentials."""

    def schema(self) -> pa.Schema:
        """Return its columns at this version."""

    def files(self) -> dict[str, str]:
        """Return its data files in the order of reading, each with what says that it is the same.

        A file whose rows are fewer than at another version, because some were deleted, is not.
        """

    def batches(
        self, names: Sequence[str], *, without: Collection[str]
    ) -> Iterator[pa.RecordBatch]:
        """Yield some columns of its rows, always in the same order; a few row groups at a time.

        Args:
            names: Which columns.
            without: Files whose rows are left out.
        """


@contextlib.contextmanager
def reading(
    where: str,
    title: str,
    *,
    errors: Callable[[str], contextlib.AbstractContextManager[None]],
    remedy: str,
) -> Iterator[None]:
    """Raise what reading a table's files raises as our errors; of one that is gone it is said.

    Args:
        where: The table's address.
        title: The table, for people.
        errors: Turns what the table's library raises into our errors.
        remedy: What to do where a file is gone.
    """
    try:
        with errors(where):
            yield
    except InputError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise InputError(f"a file of {title} is gone", where=where, remedy=remedy) from error


class TableReader:
    """Reads the chosen columns of a table and brings them to the storage types.

    Args:
        table: The table at one version.
        source: Which columns, and which types are declared.
    """

    def __init__(self, table: VersionedTable, source: SourceSpec) -> None:
        self._table = table
        self._source = source
        self._columns: tuple[Column, ...] = ()
        self._ids: dict[str, str] = {}

    def notes(self) -> list[str]:
        """Return how the table was read."""
        return [self._table.title]

    def assumptions(self) -> list[Assumption]:
        """Return what was assumed that could be otherwise."""
        return without_effect(self._source, "this table")

    def reading(self) -> Reading | None:
        """Return nothing: values have types of their own here."""
        return None

    def infer(self, *, whole: bool) -> None:  # noqa: ARG002 - the table says its types
        """Settle the columns from the table's schema."""
        import pyarrow as pa

        schema = self._table.schema()
        check_unique(schema.names, where=f"{self._table.where}: schema")
        names = chosen(schema.names, self._source, where=self._table.where)
        fields = [schema.field(name) for name in names]
        bad = [one.name for one in fields if storage_type(one.type) is None]
        try:
            stored = columns_of(pa.schema(fields))
        except InputError as error:
            located = InputError(
                error.what, where=f"{self._table.where}: {error.where}", remedy=error.remedy
            )
            raise without(located, bad, self._source) from error
        self._ids = {one.name: str((one.metadata or {}).get(_ID, b"")) for one in fields}
        declared = self._source.types
        self._columns = tuple(
            Column(name=column.name, type=declared.get(column.name, column.type))
            for column in stored
        )

    def settled(self) -> Settled:
        """Return the type of each column, and its identity where the table gives it one.

        A column of Iceberg that was dropped and made anew has another, and no value in old files.
        """
        return {column.name: f"{column.type} {self._ids[column.name]}" for column in self._columns}

    def continues(self, before: Settled) -> bool:
        """Return whether the table's columns are those of the version before."""
        return self.settled() == before

    def batches(self, without: Collection[str] = ()) -> Iterator[pa.RecordBatch]:
        """Yield the rows, but those of some files."""
        import pyarrow as pa

        names = [column.name for column in self._columns]
        for batch in self._table.batches(names, without=without):
            arrays = [self._typed(batch.column(one.name), one) for one in self._columns]
            yield pa.RecordBatch.from_arrays(arrays, names)

    def explain(self, mismatch: TypeMismatch) -> InputError:
        """Return an error; never called, since reading raises its own."""
        return InputError("a value does not have the declared type", where=mismatch.column)

    def adapt(self, found: Misread) -> None:
        """Do nothing: only text files can be misread."""

    def _typed(self, array: pa.Array, column: Column) -> pa.Array:
        import pyarrow as pa

        if storage_type(array.type) == column.type:
            return array
        try:
            return converted(array, column.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            reason = next(iter(str(error).splitlines()), "")
            raise InputError(
                f"values of type {array.type} cannot be read as {column.type}: {reason:.200}",
                where=f"{self._table.where}: column {column.name!r}",
                remedy="Declare another type under types, or none.",
            ) from error
