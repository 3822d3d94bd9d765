"""The first step: whatever holds a table becomes a dataset version."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from penstock.data.disk import disk_errors
from penstock.data.signals import Misfit, Misread
from penstock.data.sources import SourceFile, local_files, redacted
from penstock.data.spec import SourceSpec
from penstock.data.table import write_dataset
from penstock.errors import InputError
from penstock.progress import say
from penstock.records.dataset import Assumption, Dataset, Reading

if TYPE_CHECKING:
    import pyarrow as pa


class Reader(Protocol):
    """What a kind of source must do."""

    def infer(self, *, whole: bool) -> None:
        """Settle the columns' types, from the first rows or from all."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in these types; raise Misfit where one does not hold."""

    def explain(self, misfit: Misfit) -> InputError:
        """Return what to tell about a value that no inferred or declared type admits."""

    def adapt(self, found: Misread) -> None:
        """Read a text file from here on as it turned out to be written."""

    def notes(self) -> list[str]:
        """Return how the source was read."""

    def assumptions(self) -> list[Assumption]:
        """Return what was assumed of it that could be otherwise."""

    def reading(self) -> Reading | None:
        """Return how its texts were read, if it holds texts."""


def ingest(source: SourceSpec, *, output: Path) -> Dataset:
    """Read a table from files or a database and write it as a dataset.

    Rows stream through: memory does not grow with the table. Types are inferred from the first
    block of rows; a later value that does not fit makes the reader look at all rows and begin
    again. Several files are one table when they have the same columns; their types are reconciled.

    Args:
        source: What to read and how.
        output: The folder to make: Parquet files and `dataset.json`. It must not hold anything.

    Returns:
        The record: content digest, profile of each column, how the source was read.

    Raises:
        InputError: If the source is absent, empty, damaged, ragged, or holds values that cannot be
            what their column is; the message names file, line and column. Nothing is left behind.
        ServiceError: If a store or database cannot be reached.
    """
    if source.query:
        from penstock.data.sql_source import SqlReader

        dataset = _write(SqlReader(source), source, output)
    else:
        with disk_errors(output), local_files(source, beside=output) as files:
            dataset = _write(_reader(files, source), source, output)
    say(f"{dataset.rows:,} rows, {len(dataset.columns)} columns, {dataset.content}")
    return dataset


def _reader(files: list[SourceFile], source: SourceSpec) -> Reader:
    if files[0].format == "parquet":
        from penstock.data.parquet_source import ParquetReader

        return ParquetReader(files, source)
    if files[0].format == "jsonl":
        from penstock.data.jsonl_source import JsonlReader

        return JsonlReader(files, source)
    from penstock.data.csv_source import CsvReader

    return CsvReader(files, source)


def _write(reader: Reader, source: SourceSpec, output: Path) -> Dataset:
    """Infer and write; where a value does not fit what was inferred, look at all rows once."""
    whole = False
    while True:
        try:
            reader.infer(whole=whole)
            return write_dataset(
                reader.batches(),
                output=output,
                source=redacted(source.uri),
                notes=reader.notes(),
                assumptions=reader.assumptions(),
                reading=reader.reading(),
            )
        except Misfit as misfit:
            if whole or misfit.column in source.types:
                raise reader.explain(misfit) from misfit
            whole = True
        except Misread as found:
            reader.adapt(found)
