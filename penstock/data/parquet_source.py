"""Parquet files as record batches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from penstock.data.columns import check_declared, check_same_columns
from penstock.data.signals import Misfit, Misread
from penstock.data.sources import SourceFile
from penstock.data.spec import SourceSpec
from penstock.data.storage import arrow_type, columns_of, storage_type
from penstock.errors import InputError
from penstock.records.dataset import Assumption, Column, ColumnType, Reading

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_ROWS = 65_536
_BUFFER = 1 << 20


class ParquetReader:
    """Reads files of the same columns; whole numbers in one are numbers if they are in another.

    Raises:
        InputError: If a file is damaged, columns differ, or a type cannot be stored.
    """

    def __init__(self, files: Sequence[SourceFile], source: SourceSpec) -> None:
        self._files = files
        self._source = source
        self._columns: tuple[Column, ...] = ()

    def notes(self) -> list[str]:
        """Return how the files were read, in words."""
        return ["Parquet" if len(self._files) == 1 else f"Parquet ({len(self._files)} files)"]

    def assumptions(self) -> list[Assumption]:
        """Return what was assumed that could be otherwise."""
        return []

    def reading(self) -> Reading | None:
        """Return nothing: values have types of their own here."""
        return None

    def infer(self, *, whole: bool) -> None:  # noqa: ARG002 - a Parquet file says its types
        """Settle the columns from the files' own schemas."""
        found = [(file, self._schema(file)) for file in self._files]
        first, columns = found[0]
        names = [column.name for column in columns]
        types: dict[str, ColumnType] = {column.name: column.type for column in columns}
        for file, others in found[1:]:
            check_same_columns(names, [c.name for c in others], first=first.name, other=file.name)
            for column in others:
                types[column.name] = _common(column, types[column.name], file, first)
        check_declared(self._source.types, names, where=first.name)
        types.update(self._source.types)
        self._columns = tuple(Column(name=name, type=kind) for name, kind in types.items())

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows, in the files' order."""
        for file in self._files:
            with self._opened(file) as parquet:
                names = [column.name for column in self._columns]
                for batch in parquet.iter_batches(batch_size=_ROWS, columns=names):
                    yield self._cast(batch, file)

    def explain(self, misfit: Misfit) -> InputError:
        """Return an error; never called, since `_cast` raises its own."""
        return InputError("a value does not have the declared type", where=misfit.column)

    def adapt(self, found: Misread) -> None:
        """Do nothing: only text files can be misread."""

    def _schema(self, file: SourceFile) -> tuple[Column, ...]:
        with self._opened(file) as parquet:
            try:
                return columns_of(parquet.schema_arrow)
            except InputError as error:
                raise InputError(
                    error.what, where=f"{file.name}: {error.where}", remedy=error.remedy
                ) from error

    def _cast(self, batch: pa.RecordBatch, file: SourceFile) -> pa.RecordBatch:
        """Bring what differs between files, or is declared, to the common type."""
        import pyarrow as pa
        import pyarrow.compute as pc

        arrays = []
        for column in self._columns:
            array = batch.column(column.name)
            wanted = arrow_type(column.type)
            if array.type != wanted and self._differs(array, column):
                try:
                    array = pc.cast(array, wanted)
                except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                    raise InputError(
                        f"values of type {array.type} cannot be read as {column.type}: {error}",
                        where=f"{file.name}: column {column.name!r}",
                        remedy="Declare another type under types, or none.",
                    ) from error
            arrays.append(array)
        return pa.RecordBatch.from_arrays(arrays, [column.name for column in self._columns])

    def _differs(self, array: pa.Array, column: Column) -> bool:
        return storage_type(array.type) != column.type

    @contextlib.contextmanager
    def _opened(self, file: SourceFile) -> Iterator[pq.ParquetFile]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            # Read through a small buffer, or a row group's columns would be in memory at once.
            with pq.ParquetFile(file.path, buffer_size=_BUFFER, pre_buffer=False) as parquet:
                yield parquet
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(
                f"the Parquet file is damaged or cut short: {error}",
                where=file.name,
                remedy="Fetch or write it again.",
            ) from error


def _common(column: Column, known: ColumnType, file: SourceFile, first: SourceFile) -> ColumnType:
    """Return the type that holds a column of two files.

    Raises:
        InputError: If there is none.
    """
    if column.type == known:
        return known
    if {column.type, known} == {"integer", "number"}:
        return "number"
    raise InputError(
        f"the column is {column.type} here and {known} in {first.name}",
        where=f"{file.name}: column {column.name!r}",
        remedy="Write the files with one type, or declare one that holds both under types, for "
        f"example {{{column.name}: string}}.",
    )
