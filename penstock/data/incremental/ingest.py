"""Reads what is new of a source, and makes the dataset that a read of all of it would make."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import penstock
from penstock.common.claims import reached
from penstock.common.progress import log
from penstock.data.incremental.arrivals import new_files, settled_before
from penstock.data.incremental.kept import Kept, NotContinued, keep, newest, rows_into
from penstock.data.opening import Opened, SourceFiles
from penstock.data.profile.profiler import TableProfiler
from penstock.data.reading import facts_of, read_through
from penstock.data.sources.reader import ContinuingReader, Misread, Settled
from penstock.data.spec import SourceSpec
from penstock.data.table import writing
from penstock.data.table.writer import RowsBefore, Writer
from penstock.data.types.value import TypeMismatch
from penstock.errors import InputError, PenstockError
from penstock.records.dataset import RECORD_NAME, Dataset, Increment
from penstock.redaction import redact_address


def ingest_new(version: Opened, source: SourceSpec, output: Path, *, called: str = "") -> Dataset:
    """Write a source as a dataset, and read only its files that came since the ingest before.

    The rows, their digest and their types are those of a read of the whole source. Where that is
    not certain the whole source is read, and the record and the log say why.

    Args:
        version: The source.
        source: How it is read; `incremental` is the folder in which datasets are kept.
        output: The folder to make.
        called: What the record calls the source; empty for its address.

    Raises:
        InputError: If the source is a query, or cannot be read.
        ServiceError: If a store cannot be reached.
    """
    files = version.files
    if files is None:
        raise InputError(
            "the source is the answer to a query, of which nothing says what is new",
            where="source.incremental",
            remedy="Remove it. A column that grows does not show which older rows were changed or "
            "deleted: read an export as files, or a Delta or Iceberg table.",
        )
    ingest = _Ingest(version, files, source, output, called)
    # What names the files is asked for first: one that grows while it is read counts as changed.
    now = _as_it_is(version, files, source, called=called)
    folder = Path(reached(source.incremental, where="source.incremental"))
    try:
        place, before = newest(folder)
        made = ingest.new(now, place, before)
    except NotContinued as reason:
        log(f"the whole source is read: {reason}")
        made = ingest.whole(now, why=str(reason))
    try:
        keep(folder, output, now.model_copy(update={"settled": made.settled}), made.profiler)
    except (OSError, PenstockError) as error:
        log(f"the dataset cannot be kept for the next ingest: {error}")
    return made.dataset


def _as_it_is(version: Opened, files: SourceFiles, source: SourceSpec, *, called: str) -> Kept:
    settings = source.model_dump(
        mode="json", exclude_defaults=True, exclude={"version", "incremental"}
    )
    return Kept(
        release=penstock.__version__,
        source=settings | {"uri": redact_address(called or source.uri)},
        table=version.reference.table if version.reference else "",
        files=files.marks(),
        settled=None,
    )


@contextlib.contextmanager
def _read_otherwise() -> Iterator[None]:
    """Leave it to a read of the whole source to say what is wrong with the new files, if so."""
    try:
        yield
    except InputError as error:
        raise NotContinued(f"the new files are not like those before: {error.what}") from error


@dataclass(frozen=True)
class _Made:
    dataset: Dataset
    profiler: TableProfiler
    settled: Settled | None


@dataclass(frozen=True)
class _Ingest:
    version: Opened
    files: SourceFiles
    source: SourceSpec
    output: Path
    called: str

    def whole(self, now: Kept, *, why: str) -> _Made:
        """Read all files."""
        reader = self.files.reader(self.source, ())
        made: list[_Made] = []

        def write() -> Dataset:
            with writing(self.output) as writer:
                for batch in reader.batches():
                    writer.add(batch)
                increment = Increment(new_files=len(now.files), new_rows=0, why_whole=why)
                made[:] = [self._finished(writer, reader, increment)]
            return made[0].dataset

        read_through(reader, self.source, write)
        return made[0]

    def new(self, now: Kept, place: Path, before: Kept) -> _Made:
        """Read the files that are new.

        Raises:
            NotContinued: If the whole source has to be read.
        """
        new = new_files(before, now)
        settled = settled_before(before)
        # The first one shows how all are read, also where it was read before.
        with _read_otherwise():
            reader = self.files.reader(self.source, {next(iter(now.files)), *new})
        while True:
            try:
                with _read_otherwise():
                    reader.infer(whole=False)
                if not reader.continues(settled):
                    raise NotContinued("columns or types are others than before")
                made = self._continued(reader, new, place, before)
                return replace(made, settled=settled)
            except Misread as found:
                reader.adapt(found)
            except TypeMismatch as mismatch:
                if mismatch.column in self.source.types:
                    raise reader.explain(mismatch) from mismatch
                raise NotContinued(
                    f"a new value of column {mismatch.column!r} is not of the type of those before"
                ) from mismatch

    def _continued(
        self, reader: ContinuingReader, new: Sequence[str], place: Path, before: Kept
    ) -> _Made:
        kept: list[Dataset] = []

        def begin(folder: Path) -> RowsBefore:
            rows, dataset = rows_into(folder, place, before.parts)
            kept.append(dataset)
            return rows

        with writing(self.output, begin=begin) as writer:
            for batch in reader.batches(self.files.named(before.files)):
                writer.add(batch)
            increment = Increment(
                before=kept[0].content,
                reused_files=len(before.files),
                reused_rows=kept[0].rows,
                new_files=len(new),
                new_rows=0,
            )
            return self._finished(writer, reader, increment, kept[0])

    def _finished(
        self,
        writer: Writer,
        reader: ContinuingReader,
        increment: Increment,
        before: Dataset | None = None,
    ) -> _Made:
        facts: dict[str, Any] = facts_of(self.version, reader, self.source, called=self.called)
        if before:
            taken = f"{before.rows:,} rows are from the dataset before, {before.content}"
            facts["notes"] = [*facts["notes"], taken]
            facts["assumptions"] = tuple(
                dict.fromkeys([*before.assumptions, *facts["assumptions"]])
            )
        dataset = writer.finish(**facts)
        new = dataset.rows - increment.reused_rows
        dataset = dataset.model_copy(
            update={"increment": increment.model_copy(update={"new_rows": new})}
        )
        dataset.write(writer.folder / RECORD_NAME)
        assert writer.profiler is not None
        return _Made(dataset, writer.profiler, reader.settled())
