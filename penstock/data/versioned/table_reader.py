"""Reads a version of a table whose values have types of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from penstock.data.sources.columns import chosen, without, without_effect
from penstock.data.sources.reader import Misread
from penstock.data.spec import SourceSpec
from penstock.data.types.storage import check_unique, columns_of, converted, storage_type
from penstock.data.types.value import TypeMismatch
from penstock.errors import InputError
from penstock.records.dataset import Assumption, Column, Reading

if TYPE_CHECKING:
    import pyarrow as pa


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

    def batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield some columns of its rows, always in the same order; a few row groups at a time."""


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
        declared = self._source.types
        self._columns = tuple(
            Column(name=column.name, type=declared.get(column.name, column.type))
            for column in stored
        )

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows."""
        import pyarrow as pa

        names = [column.name for column in self._columns]
        for batch in self._table.batches(names):
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
