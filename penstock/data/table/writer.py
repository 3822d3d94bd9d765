"""What turns batches into Parquet files, a digest and profiles."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.data.hashing.digest import RowDigest
from penstock.data.profile.profiler import TableProfiler
from penstock.data.sample import Gatherer
from penstock.data.types.storage import columns_of, to_storage
from penstock.errors import InputError
from penstock.records.dataset import RECORD_NAME, Column, DataFile, Dataset, ProfiledColumn

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

PART_ROWS = 4_000_000
"""Rows after which another file is begun."""

GROUP_ROWS = 131_072
"""Rows of a Parquet row group, as far as batches allow."""

_DELTA, _COUNTED = "DELTA_BINARY_PACKED", ("integer", "datetime")
"""Encoding of columns of these types whose values differ, beside PLAIN with Snappy: half the CPU to
write, a third to read, a hundredth of the bytes where values ascend. Random 64 bits cost 1.6."""


class Writer:
    """Takes batches in, writes row groups, and gathers digest and profiles on the way.

    Batches are profiled in one thread and row groups written in another, in order, while the caller
    gets the next batch; a few at most are waiting.

    Args:
        folder: Where to write; it exists.
        digest: The digest of all rows that will come, where their hashes are known: these are not
            taken again.
        sample_of: How many rows will come, if some are to be written as JSON lines too.

    Attributes:
        folder: Where it writes.
    """

    def __init__(
        self, folder: Path, *, digest: RowDigest | None = None, sample_of: int | None = None
    ) -> None:
        self.folder = folder
        self._digest = digest
        self._sample = None if sample_of is None else Gatherer(sample_of)
        self._columns: tuple[Column, ...] = ()
        self._profiler: TableProfiler | None = None
        self._parquet: pq.ParquetWriter | None = None
        self._pending: list[pa.RecordBatch] = []
        self._rows: list[int] = []
        self._profiling = SerialExecutor()
        self._writing = SerialExecutor()

    def add(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Take in a batch; it is written when a row group is full."""
        import pyarrow as pa

        for piece in batch.to_batches() if isinstance(batch, pa.Table) else (batch,):
            if self._profiler is None:
                self._columns = columns_of(piece.schema)
                self._profiler = TableProfiler(self._columns, digest=self._digest)
            if self._sample is not None:
                self._sample.add(piece)
            if piece.num_rows:
                self._profiling.put(self._profile, piece, self._profiler)

    def close(self) -> None:
        """Drop what is waiting and close the file that is being written, if any."""
        self._profiling.stop()
        self._writing.stop()
        self._close_file()

    def _profile(self, piece: pa.RecordBatch, profiler: TableProfiler) -> None:
        import pyarrow as pa

        stored = [to_storage(piece.column(c.name), c) for c in self._columns]
        profiler.add(stored)
        self._pending.append(pa.RecordBatch.from_arrays(stored, [c.name for c in self._columns]))
        if sum(waiting.num_rows for waiting in self._pending) >= GROUP_ROWS:
            self._flush(profiler)

    def _flush(self, profiler: TableProfiler) -> None:
        group, self._pending = self._pending, []
        if group:
            self._writing.put(self._write, group, profiler.repetitive())

    def _write(self, group: list[pa.RecordBatch], repetitive: list[str]) -> None:
        """Write a row group, beginning another file when one is full."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._parquet is None:
            name = f"part-{len(self._rows):05d}.parquet"
            differing = {column.name for column in self._columns if column.type in _COUNTED}
            self._parquet = pq.ParquetWriter(
                self.folder / name,
                group[0].schema,
                compression="snappy",
                write_statistics=False,
                use_dictionary=repetitive,
                column_encoding=dict.fromkeys(differing.difference(repetitive), _DELTA),
                write_page_checksum=True,
            )
            self._rows.append(0)
        table = pa.Table.from_batches(group)
        self._parquet.write_table(table, row_group_size=table.num_rows)
        self._rows[-1] += table.num_rows
        if self._rows[-1] >= PART_ROWS:
            self._close_file()

    def _close_file(self) -> None:
        if self._parquet is not None:
            parquet, self._parquet = self._parquet, None
            parquet.close()

    def finish(self, **facts: Any) -> Dataset:
        """Write what is left, and the record with some facts besides, and return it.

        Raises:
            InputError: If there were no rows, or a number is infinite.
        """
        profiler = self._profiler
        if profiler is not None:
            self._profiling.put(self._flush, profiler)
            self._profiling.finish()
            self._writing.finish()
            self._close_file()
        if profiler is None or not self._rows:
            raise InputError(
                "there are no rows",
                where=str(facts["source"]),
                remedy="A table needs at least one row below its column names.",
            )
        columns = profiler.columns()
        dataset = Dataset(
            content=profiler.digest.content(),
            rows=sum(self._rows),
            columns=columns,
            files=tuple(self._listing()),
            created=datetime.now(UTC),
            notes=tuple(
                dict.fromkeys([*facts.pop("notes", ()), *_warnings(columns, sum(self._rows))])
            ),
            sample=self._sample.write(self.folder) if self._sample is not None else None,
            **facts,
        )
        dataset.write(self.folder / RECORD_NAME)
        return dataset

    def _listing(self) -> Iterator[DataFile]:
        for number, rows in enumerate(self._rows):
            name = f"part-{number:05d}.parquet"
            yield DataFile(name=name, rows=rows, bytes=(self.folder / name).stat().st_size)


class SerialExecutor:
    """Does jobs one after another in a thread of its own; at most two wait."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._jobs: deque[Future[None]] = deque()

    def put(self, job: Callable[..., None], *arguments: Any) -> None:
        """Add a job; raise what an earlier one raised."""
        self._jobs.append(self._pool.submit(job, *arguments))
        while len(self._jobs) > 2:
            self._jobs.popleft().result()

    def finish(self) -> None:
        """Wait for all jobs; raise what one raised."""
        while self._jobs:
            self._jobs.popleft().result()

    def stop(self) -> None:
        """Drop the jobs that wait and let the one that runs end."""
        self._pool.shutdown(cancel_futures=True)


def _warnings(columns: Sequence[ProfiledColumn], rows: int) -> list[str]:
    """Return what stands out in the profiles: columns without any value."""
    return [
        f"column {column.name!r} has no value in any row"
        for column in columns
        if column.profile.nulls == rows
    ]
