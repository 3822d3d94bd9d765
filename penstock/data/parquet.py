"""Parquet files as record batches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from penstock.data.sources.columns import (
    as_text,
    check_same_columns,
    chosen,
    indexes,
    is_unnamed_index,
    without,
    without_effect,
)
from penstock.data.sources.reader import Misread, SourceFile
from penstock.data.spec import SourceSpec
from penstock.data.types.storage import check_unique, columns_of, converted, storage_type
from penstock.data.types.value import TypeMismatch
from penstock.errors import InputError, ReadingError
from penstock.records.dataset import Assumption, Column, ColumnType, Reading

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_ROWS = 65_536
_BUFFER = 1 << 20


class _Type(NamedTuple):
    """A column's storage type, if a value was seen, and the file that it is from."""

    type: ColumnType | None
    file: SourceFile


class ParquetReader:
    """Reads files of the same columns; whole numbers in one are numbers if they are in another.

    Raises:
        InputError: If a file is damaged, columns differ, or a type cannot be stored.
    """

    def __init__(self, files: Sequence[SourceFile], source: SourceSpec) -> None:
        self._files = files
        self._source = source
        self._columns: tuple[Column, ...] = ()
        self._assumptions: list[Assumption] = []

    def notes(self) -> list[str]:
        """Return how the files were read, in words."""
        return ["Parquet" if len(self._files) == 1 else f"Parquet ({len(self._files)} files)"]

    def assumptions(self) -> list[Assumption]:
        """Return what was assumed that could be otherwise."""
        return [*self._assumptions, *without_effect(self._source, "Parquet")]

    def reading(self) -> Reading | None:
        """Return nothing: values have types of their own here."""
        return None

    def infer(self, *, whole: bool) -> None:  # noqa: ARG002 - a Parquet file says its types
        """Settle the columns from the files' own schemas."""
        import pyarrow as pa

        first, schema = self._files[0], self._schema(self._files[0])
        names = chosen(schema.names, self._source, where=first.name)
        self._assumptions = [*indexes(schema.names, self._source), *_named_indexes(schema, names)]
        found = {name: _Type(None, first) for name in names}
        for file in self._files:
            others = schema if file is first else self._schema(file)
            check_same_columns(schema.names, others.names, first=first.name, other=file.name)
            empty = self._empty(file)
            fields = pa.schema([others.field(name) for name in names if name not in empty])
            for column in self._stored(fields, file):
                found[column.name] = self._common(column, found[column.name], file)
            for name in self._large(file).intersection(names).difference(self._source.types):
                found[name] = _Type("string", file)
                self._assumptions.append(_long_numbers(name))
        self._columns = tuple(
            Column(name=name, type=self._source.types.get(name) or known.type or "string")
            for name, known in found.items()
        )

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows, in the files' order."""
        for file in self._files:
            with self._opened(file) as parquet:
                names = [column.name for column in self._columns]
                for batch in parquet.iter_batches(batch_size=_ROWS, columns=names):
                    yield self._cast(batch, file)

    def explain(self, mismatch: TypeMismatch) -> InputError:
        """Return an error; never called, since `_cast` raises its own."""
        return InputError("a value does not have the declared type", where=mismatch.column)

    def adapt(self, found: Misread) -> None:
        """Do nothing: only text files can be misread."""

    def _schema(self, file: SourceFile) -> pa.Schema:
        with self._opened(file) as parquet:
            check_unique(parquet.schema_arrow.names, where=f"{file.name}: schema")
            return parquet.schema_arrow

    def _empty(self, file: SourceFile) -> set[str]:
        """Return the columns without any value, as far as a file with others must say."""
        if len(self._files) == 1:
            return set()
        with self._opened(file) as parquet:
            return _without_values(parquet)

    def _large(self, file: SourceFile) -> set[str]:
        """Return the columns that hold whole numbers of 64 bits without a sign, and need them."""
        with self._opened(file) as parquet:
            return _unsigned(parquet)

    def _stored(self, schema: pa.Schema, file: SourceFile) -> tuple[Column, ...]:
        """Return how columns are stored.

        Raises:
            ReadingError: If some cannot be.
        """
        bad = [field.name for field in schema if storage_type(field.type) is None]
        try:
            return columns_of(schema)
        except InputError as error:
            located = InputError(
                error.what, where=f"{file.name}: {error.where}", remedy=error.remedy
            )
            raise without(located, bad, self._source) from error

    def _common(self, column: Column, known: _Type, file: SourceFile) -> _Type:
        """Return the type that holds a column of two files.

        Raises:
            ReadingError: If there is none.
        """
        if known.type is None:
            return _Type(column.type, file)
        if column.type == known.type or column.name in self._source.types:
            return known
        if {column.type, known.type} == {"integer", "number"}:
            return _Type("number", known.file)
        raise ReadingError(
            f"the column is {column.type} here and {known.type} in {known.file.name}",
            where=f"{file.name}: column {column.name!r}",
            remedy="Write the files with one type, or declare one that holds both, for example "
            f"types: {{{column.name}: string}}.",
            proposal={"types": {**self._source.types, column.name: "string"}},
        )

    def _cast(self, batch: pa.RecordBatch, file: SourceFile) -> pa.RecordBatch:
        """Bring what differs between files, or is declared, to the common type."""
        import pyarrow as pa

        arrays = []
        for column in self._columns:
            array = batch.column(column.name)
            try:
                if storage_type(array.type) != column.type:
                    array = converted(array, column.type)
                elif array.type == pa.uint64():
                    array = array.cast(pa.int64())
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise self._type_mismatch(column, array.type, file, error) from error
            arrays.append(array)
        return pa.RecordBatch.from_arrays(arrays, [column.name for column in self._columns])

    def _type_mismatch(
        self, column: Column, kind: pa.DataType, file: SourceFile, error: Exception
    ) -> InputError:
        reason = next(iter(str(error).splitlines()), "")
        mismatch = InputError(
            f"values of type {kind} cannot be read as {column.type}: {reason:.200}",
            where=f"{file.name}: column {column.name!r}",
            remedy="Convert it in the source, or declare another type under types, or none.",
        )
        if column.name in self._source.types or str(kind) != "uint64":
            return mismatch
        return as_text(mismatch, column.name, self._source)

    @contextlib.contextmanager
    def _opened(self, file: SourceFile) -> Iterator[pq.ParquetFile]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            # Read through a small buffer, or a row group's columns would be in memory at once.
            with pq.ParquetFile(
                file.path,
                buffer_size=_BUFFER,
                pre_buffer=False,
                # Of pages that have one; by Parquet's standard it is optional.
                page_checksum_verification=True,
            ) as parquet:
                yield parquet
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(
                f"the Parquet file is damaged or cut short: {error}",
                where=file.name,
                remedy="Fetch or write it again.",
            ) from error


def _named_indexes(schema: pa.Schema, names: Sequence[str]) -> list[Assumption]:
    """Return what to say of columns that pandas calls an index with a name."""
    found = (schema.pandas_metadata or {}).get("index_columns", ())
    return [
        Assumption(
            risk="medium",
            column=name,
            text=f"{name!r} is the index of a pandas table and has a name; it was read as a column",
            setting=f"exclude: [{name}]",
        )
        for name in found
        if name in names and not is_unnamed_index(name)
    ]


def _long_numbers(name: str) -> Assumption:
    return Assumption(
        risk="medium",
        column=name,
        text=f"{name!r} holds whole numbers above 2^63, which were read as text, so that they stay "
        "exact",
        setting=f"types: {{{name}: number}} rounds them, exclude: [{name}] leaves them out",
    )


def _figures(parquet: pq.ParquetFile) -> Iterator[tuple[str, list[Any]]]:
    """Yield each column of plain values with its figures, row group by row group."""
    metadata = parquet.metadata
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    for at in range(metadata.num_columns):
        yield metadata.schema.column(at).path, [group.column(at).statistics for group in groups]


def _unsigned(parquet: pq.ParquetFile) -> set[str]:
    """Return the unsigned columns with a value that no signed integer of 64 bits holds."""
    import pyarrow as pa

    unsigned = {field.name for field in parquet.schema_arrow if field.type == pa.uint64()}
    if not unsigned:
        return set()
    return {
        name
        for name, figures in _figures(parquet)
        if name in unsigned and any(f and f.has_min_max and int(f.max) >= 2**63 for f in figures)
    }


def _without_values(parquet: pq.ParquetFile) -> set[str]:
    """Return the columns that are null in every row, as the file's figures say."""
    import pyarrow as pa

    empty = {field.name for field in parquet.schema_arrow if pa.types.is_null(field.type)}
    for name, figures in _figures(parquet):
        if all(f is not None and f.has_null_count and not f.num_values for f in figures):
            empty.add(name)
    return empty
