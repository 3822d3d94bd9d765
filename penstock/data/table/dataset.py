"""Datasets on disk: the one writer, and the readers."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from penstock.common import files
from penstock.data.table.disk import disk_errors
from penstock.data.table.placed import damaged, opened, parquet_file
from penstock.data.types.storage import arrow_schema
from penstock.errors import InputError, IntegrityError
from penstock.records.dataset import Assumption, Column, Dataset, Reading
from penstock.records.origin import Origin

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from penstock.data.hashing.digest import RowDigest
    from penstock.data.table.writer import RowsBefore, Writer

_ROWS = 65_536
_COLUMNS = 64
_CELLS = 1 << 22
"""Values that `iter_columns` holds at once, or one column if that has more: 32 MB of numbers."""


@dataclass(frozen=True)
class Part:
    """A row group of a file of a dataset: all that a process on another machine must know of it.

    Args:
        place: The folder of the file: a path, or an address of a store that fsspec knows.
        file: The file's name.
        size: Its bytes, as the dataset's record has them.
        group: Its row group, from 0.
        start: Number in the dataset of the first of its rows, from 0.
    """

    place: str
    file: str
    size: int
    group: int
    start: int


def read_dataset(folder: Path) -> Dataset:
    r"""Read a dataset's record and check that its files are the ones it lists.

    Args:
        folder: The folder with `_dataset.json` and the Parquet files.

    Raises:
        InputError: If there is no readable record.
        IntegrityError: If a listed file is absent, is no Parquet, or has another size or number of
            rows. (Equal sizes with other content are found only by digesting the rows again, as
            `split` does.)

    Example:
        >>> from penstock.data.ingest import ingest
        >>> from penstock.data.spec import SourceSpec
        >>> _ = Path("cities.csv").write_text("city\nBonn\nKiel\n")
        >>> written = ingest(SourceSpec(uri="cities.csv"), output=Path("cities"))
        penstock| 2 rows, 1 columns, rows1:...
        >>> read_dataset(Path("cities")).content == written.content
        True
    """
    dataset = Dataset.of(folder)
    for listed in dataset.files:
        path = folder / listed.name
        if not path.is_file():
            raise IntegrityError(
                f"the data file {listed.name!r} is missing",
                where=str(folder),
                remedy="Ingest the data again.",
            )
        size = path.stat().st_size
        rows = _rows_in(path) if size == listed.bytes else -1
        if rows != listed.rows:
            found = f"{size:,} bytes" if rows < 0 else f"{rows:,} rows"
            raise IntegrityError(
                f"the file has {found}, its record says {listed.bytes:,} bytes and "
                f"{listed.rows:,} rows",
                where=str(path),
                remedy="It was changed after it was written: ingest the data again.",
            )
    return dataset


def read_table(folder: Path, columns: Sequence[str] | None = None) -> pa.Table:
    r"""Return a dataset as one Arrow table, its rows in the order of the files.

    Args:
        folder: The dataset.
        columns: Which columns, in which order; None for all.

    Raises:
        InputError: If there is no record, or a column is not in it.
        IntegrityError: See `read_dataset`.

    Example:
        >>> from penstock.data.ingest import ingest
        >>> from penstock.data.spec import SourceSpec
        >>> _ = Path("rows.csv").write_text("n,city\n1,Bonn\n2,Kiel\n")
        >>> _ = ingest(SourceSpec(uri="rows.csv"), output=Path("rows"))
        penstock| 2 rows, 2 columns, rows1:...
        >>> read_table(Path("rows"), ["city"]).to_pydict()
        {'city': ['Bonn', 'Kiel']}
    """
    import pyarrow as pa

    dataset = read_dataset(folder)
    schema = arrow_schema(_select(dataset, columns, folder))
    return pa.Table.from_batches(_batches(folder, dataset, schema, _ROWS), schema)


def iter_batches(
    folder: Path,
    columns: Sequence[str] | None = None,
    rows: int = _ROWS,
    *,
    coded: Sequence[str] = (),
) -> Iterator[pa.RecordBatch]:
    """Yield a dataset's rows in batches of at most `rows`; memory does not grow with the dataset.

    Args:
        folder: The dataset.
        columns: Which columns, in which order; None for all.
        rows: Most rows of a batch.
        coded: Text columns that are yielded as a dictionary and indices, which is cheaper where
            few values repeat.

    Raises:
        InputError: If there is no record, or a column is not in it.
        IntegrityError: See `read_dataset`.
    """
    dataset = read_dataset(folder)
    schema = arrow_schema(_select(dataset, columns, folder))
    yield from _batches(folder, dataset, schema, rows, coded)


def parts_of(folder: Path) -> list[Part]:
    """Return the row groups of a dataset's files, in their order.

    Raises:
        InputError: If there is no readable record.
        IntegrityError: See `read_dataset`.
    """
    import pyarrow.parquet as pq

    parts, start = [], 0
    for listed in read_dataset(folder).files:
        metadata = pq.read_metadata(folder / listed.name)
        for group in range(metadata.num_row_groups):
            parts.append(Part(str(folder), listed.name, listed.bytes, group, start))
            start += metadata.row_group(group).num_rows
    return parts


def iter_parts(
    parts: Sequence[Part], columns: Sequence[Column], *, coded: Sequence[str] = ()
) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Yield the rows of some parts of a dataset in batches, each with the number of its first row.

    Args:
        parts: Which, where they lie.
        columns: Which columns, in which order, as the dataset's record has them.
        coded: See `iter_batches`.

    Raises:
        IntegrityError: If a file is not there or not as its record says, or cannot be read.
        ServiceError: If the store where it lies cannot be reached, or refuses.
    """
    schema = _coded(arrow_schema(columns), coded)
    for (place, name, size), some in itertools.groupby(
        parts, key=lambda part: (part.place, part.file, part.size)
    ):
        with opened(place, name, size=size, coded=coded) as (file, shown):
            for part in some:
                start = part.start
                for batch in _read(file, shown, schema, _ROWS, [part.group]):
                    yield batch, start
                    start += batch.num_rows


def iter_columns(folder: Path, columns: Sequence[str]) -> Iterator[tuple[str, pa.ChunkedArray]]:
    """Yield columns of a dataset one after another, whole; a few are read from the files at once.

    To read each by itself would parse the files' footers once for each column, which costs where
    there are many columns of few rows. Of many rows one column is held at a time.

    Args:
        folder: The dataset.
        columns: Which columns, in which order.

    Raises:
        InputError: If there is no record, or a column is not in it.
        IntegrityError: See `read_dataset`.
    """
    import pyarrow as pa

    dataset = read_dataset(folder)
    chosen = _select(dataset, columns, folder)
    width = max(1, min(_COLUMNS, _CELLS // max(dataset.rows, 1)))
    for start in range(0, len(chosen), width):
        schema = arrow_schema(chosen[start : start + width])
        table = pa.Table.from_batches(_batches(folder, dataset, schema, _ROWS), schema)
        yield from zip(table.column_names, table.columns, strict=True)


def write_dataset(
    batches: Iterable[pa.RecordBatch | pa.Table],
    *,
    output: Path,
    source: str,
    notes: Sequence[str] = (),
    assumptions: Sequence[Assumption] = (),
    reading: Reading | None = None,
    parent: str | None = None,
    part: Literal["train", "holdout"] | None = None,
    sample_of: int | None = None,
    origin: Origin | None = None,
) -> Dataset:
    """Write batches of rows as a dataset: Parquet files, and a record with digest and profile.

    All batches have the columns of the first. Integers, floats and decimals of any width,
    booleans, text, dates and timestamps are brought to the five storage types; NaN becomes null.

    Args:
        batches: The rows.
        output: The folder to make; must not hold anything.
        source: Where the rows came from, for people, without credentials.
        notes: What a reader of the record should know.
        assumptions: How the source was read where it could be read otherwise.
        reading: How its texts were read, if it holds texts.
        parent: Content digest of the dataset that this one is a part of.
        part: Which part.
        sample_of: How many rows there will be, if some are to be written as JSON lines too.
        origin: How the same rows are read again.

    Raises:
        InputError: If there are no rows, a column cannot be stored, a number is infinite, or the
            disk is full. Nothing is left behind then.
    """
    with writing(output, sample_of=sample_of) as writer:
        for batch in batches:
            writer.add(batch)
        return writer.finish(
            source=source,
            notes=notes,
            assumptions=tuple(assumptions),
            reading=reading,
            parent=parent,
            part=part,
            origin=origin,
        )


@contextlib.contextmanager
def writing(
    output: Path,
    *,
    digest: RowDigest | None = None,
    sample_of: int | None = None,
    begin: Callable[[Path], RowsBefore] | None = None,
) -> Iterator[Writer]:
    """Yield what takes the rows of a dataset; its `finish` makes the record.

    The folder appears when the block ends, and only if it ends without an error.

    Args:
        output: The folder to make; must not hold anything.
        digest: The digest of all rows that will come, where their hashes are known.
        sample_of: How many rows will come: some are written as JSON lines too, see
            `penstock.data.sample`. None writes none.
        begin: Puts the files of rows that are written already into the folder, and says what they
            hold.

    Raises:
        InputError: If the disk is full, or the folder holds something.
    """
    from penstock.data.table.writer import Writer

    with (
        disk_errors(output),
        files.whole_folder(output) as folder,
        contextlib.closing(
            Writer(
                folder,
                digest=digest,
                sample_of=sample_of,
                before=begin(folder) if begin else None,
            )
        ) as writer,
    ):
        yield writer


def _rows_in(path: Path) -> int:
    with parquet_file(path) as file:
        return int(file.metadata.num_rows)


def _select(dataset: Dataset, names: Sequence[str] | None, folder: Path) -> list[Column]:
    if names is None:
        return list(dataset.columns)
    chosen: list[Column] = []
    for name in names:
        column = dataset.column(name)
        if column is None:
            raise InputError(
                f"the dataset has no column {name!r}",
                where=str(folder),
                remedy=f"Its columns are: {', '.join(c.name for c in dataset.columns)}.",
            )
        chosen.append(column)
    return chosen


def _batches(
    folder: Path, dataset: Dataset, schema: pa.Schema, rows: int, coded: Sequence[str] = ()
) -> Iterator[pa.RecordBatch]:
    schema = _coded(schema, coded)
    for listed in dataset.files:
        with parquet_file(folder / listed.name, coded=coded) as file:
            yield from _read(file, str(folder / listed.name), schema, rows, None)


def _coded(schema: pa.Schema, coded: Sequence[str]) -> pa.Schema:
    import pyarrow as pa

    for name in coded:
        at = schema.get_field_index(name)
        schema = schema.set(at, pa.field(name, pa.dictionary(pa.int32(), pa.string())))
    return schema


def _read(
    file: pq.ParquetFile, name: str, schema: pa.Schema, rows: int, groups: list[int] | None
) -> Iterator[pa.RecordBatch]:
    batches = file.iter_batches(batch_size=rows, row_groups=groups, columns=schema.names)
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except (OSError, ValueError) as error:  # Arrow's own are both.
            raise damaged(error, where=name) from error
        yield batch.select(schema.names).cast(schema)
