"""What a source names, found and ready to be read: files, a table, the answer to a query."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock.data.sources.files import checked, found_files
from penstock.data.sources.reader import ContinuingReader, FoundFile, Reader, SourceFile
from penstock.data.spec import SourceSpec
from penstock.data.table.disk import disk_errors
from penstock.data.versioned.opening import kind_of, opened_version, require_unversioned
from penstock.data.versioned.table_reader import TableReader, VersionedTable
from penstock.records.origin import DataReference


@dataclass(frozen=True)
class SourceFiles:
    """The files that a source is made of, so that only some need to be read.

    Attributes:
        marks: Returns the key of each in the order of reading, and what is another text as soon as
            its content is another; an empty one: nothing says.
        reader: Makes a reader that has these files at least, with any settings.
        named: Returns what readers call some of them, as far as they have them.
    """

    marks: Callable[[], dict[str, str]]
    reader: Callable[[SourceSpec, Collection[str]], ContinuingReader]
    named: Callable[[Collection[str]], set[str]]


@dataclass(frozen=True)
class Opened:
    """A source that is ready to be read.

    Attributes:
        reader: Makes a reader of its files, table or query, with any settings.
        pinned: The source that reads the same again, as far as its address can say it.
        reference: The version that is read, where the source keeps versions.
        files: Its files; None: it is the answer to a query.
    """

    reader: Callable[[SourceSpec], Reader]
    pinned: SourceSpec
    reference: DataReference | None = None
    files: SourceFiles | None = None


@contextlib.contextmanager
def opened(source: SourceSpec, *, beside: Path) -> Iterator[Opened]:
    """Yield what makes readers of a source.

    Args:
        source: The source.
        beside: Remote files are copied into a folder beside it for as long as the block lasts.

    Raises:
        InputError: If the source is absent, or it is not known how to read it.
        ServiceError: If a store cannot be reached.
    """
    if kind_of(source.uri):
        with disk_errors(beside), opened_version(source, beside=beside) as found:
            files = _of_table(found.table) if found.table else _of_files(found.files)
            yield _opened(files, found.pinned, found.reference)
        return
    require_unversioned(source)
    if source.query:
        from penstock.data.sql.reader import SqlReader

        yield Opened(SqlReader, source)
        return
    with disk_errors(beside), found_files(source, beside=beside) as located:
        yield _opened(_of_files(located), source)


def _opened(
    files: SourceFiles, pinned: SourceSpec, reference: DataReference | None = None
) -> Opened:
    return Opened(lambda settings: files.reader(settings, ()), pinned, reference, files)


def _of_table(table: VersionedTable) -> SourceFiles:
    return SourceFiles(
        marks=table.files, reader=lambda settings, _: TableReader(table, settings), named=set
    )


def _of_files(found: Sequence[FoundFile]) -> SourceFiles:
    def reader(settings: SourceSpec, keys: Collection[str]) -> ContinuingReader:
        wanted = [file.taken() for file in found if not keys or file.key in keys]
        return _reader(checked(wanted, settings), settings)

    return SourceFiles(
        marks=lambda: {file.key: file.mark() for file in found},
        reader=reader,
        named=lambda keys: {f.taken().name for f in found if f.is_here and f.key in keys},
    )


def _reader(files: list[SourceFile], source: SourceSpec) -> ContinuingReader:
    if files[0].format == "parquet":
        from penstock.data.parquet import ParquetReader

        return ParquetReader(files, source)
    if files[0].format == "jsonl":
        from penstock.data.jsonl import JsonlReader

        return JsonlReader(files, source)
    from penstock.data.csv.reader import CsvReader

    return CsvReader(files, source)
