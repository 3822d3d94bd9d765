"""The first step: whatever holds a table becomes a dataset version."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from penstock.common.progress import log, say
from penstock.common.secrets import shown
from penstock.data.sources.addresses import is_local, local_path
from penstock.data.sources.files import local_files
from penstock.data.sources.reader import Again, Misread, Reader, SourceFile
from penstock.data.spec import SourceSpec
from penstock.data.table import read_dataset, write_dataset
from penstock.data.table.disk import disk_errors
from penstock.data.types.value import TypeMismatch
from penstock.data.versioned.opening import kind_of, opened_version, require_unversioned
from penstock.data.versioned.table_reader import TableReader
from penstock.errors import ReadingError
from penstock.records.dataset import Assumption, Dataset, sorted_by_risk
from penstock.records.origin import DataReference, Origin
from penstock.records.retrieval import FeatureRetrieval
from penstock.redaction import redact, redact_address

_ROUNDS = 12
"""Proposals that `survey` takes, one after another."""


def ingest(source: SourceSpec, *, output: Path, called: str = "") -> Dataset:
    r"""Read a table from files or a database and write it as a dataset.

    Rows stream through: memory does not grow with the table. Types are inferred from the first
    block of rows; a later value that does not fit makes the reader look at all rows and begin
    again. Several files are one table when they have the same columns; their types are reconciled.

    Args:
        source: What to read and how.
        output: The folder to make: Parquet files and `_dataset.json`. It must not hold anything.
        called: What the record calls the source; empty for its address.

    Returns:
        The record: content digest, profile of each column, how the source was read.

    Raises:
        InputError: If the source is absent, empty, damaged, ragged, or holds values that cannot be
            what their column is; the message names file, line and column. Nothing is left behind.
        ReadingError: If it can be read only with other settings, which the error proposes.
        ServiceError: If a store or database cannot be reached.

    Example:
        >>> _ = Path("people.csv").write_text("age,city\n31,Bonn\n47,Kiel\n")
        >>> dataset = ingest(SourceSpec(uri="people.csv"), output=Path("people"))
        penstock| 2 rows, 2 columns, rows1:...
        >>> [(column.name, column.type) for column in dataset.columns]
        [('age', 'integer'), ('city', 'string')]
    """
    with opened(source, beside=output) as version:
        dataset = _write(version, source, output, called=called)
    risky = sorted_by_risk(
        assumption for assumption in dataset.assumptions if assumption.risk != "low"
    )
    for assumption in risky:
        log(f"assumed ({assumption.risk} risk): {assumption.text} (source.{assumption.setting})")
    count = f", {len(risky)} assumed of how to read it" if risky else ""
    say(f"{dataset.rows:,} rows, {len(dataset.columns)} columns, {dataset.content}{count}")
    return dataset


def survey(source: SourceSpec, *, output: Path) -> tuple[Dataset, SourceSpec]:
    """Read a table as `ingest` does, with the settings that its errors propose.

    All rows are looked at before a type is settled, so that what is assumed holds for all.

    Args:
        source: What to read and how, as far as it is known.
        output: The folder to make.

    Returns:
        The record, each proposal among its assumptions with high risk; and the source with the
        settings with which it was read.

    Raises:
        InputError: As `ingest`, where there is no proposal or none helps.
    """
    proposed: list[Assumption] = []
    with opened(source, beside=output) as version:
        while True:
            try:
                dataset = _write(version, source, output, whole=True)
            except ReadingError as error:
                given = source.model_dump(exclude_unset=True)
                changed = SourceSpec.parse({**given, **error.proposal}, where="proposal")
                if changed == source or len(proposed) == _ROUNDS:
                    raise
                proposed.append(_proposed(error, source))
                source = changed
                continue
            assumptions = (*proposed, *dataset.assumptions)
            return dataset.model_copy(update={"assumptions": assumptions}), source


def _proposed(error: ReadingError, before: SourceSpec) -> Assumption:
    """Return what to say of settings that an error proposed and that were taken."""
    file, mark, place = error.where.partition(": ")
    setting = ", ".join(
        f"{name}: {_shown(value, getattr(before, name))}" for name, value in error.proposal.items()
    )
    text = f"{file.rpartition('/')[2]}{mark}{place}: {error.what}; so it was read with {setting}"
    return Assumption(risk="high", text=text, setting=setting)


def _shown(value: object, before: object) -> str:
    """Return a setting's value as YAML has it, of a list that grew only what is new."""
    if isinstance(value, str):
        return value if re.fullmatch(r"[\w-]+", value) else f"'{value}'"
    if isinstance(value, list | tuple) and isinstance(before, tuple) and before:
        kept = len(before)
        if tuple(value[:kept]) == before:
            return f"[..., {json.dumps(value[kept:], ensure_ascii=False)[1:]}"
    return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class Opened:
    """A source that is ready to be read.

    Attributes:
        reader: Makes a reader of its files, table or query, with any settings.
        reference: The version that is read, where the source keeps versions.
        pinned: The source that reads the same again, as far as its address can say it.
    """

    reader: Callable[[SourceSpec], Reader]
    pinned: SourceSpec
    reference: DataReference | None = None


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
            table, files = found.table, found.files
            yield Opened(
                lambda settings: (
                    TableReader(table, settings) if table else _reader(files, settings)
                ),
                found.pinned,
                found.reference,
            )
        return
    require_unversioned(source)
    if source.query:
        from penstock.data.sql.reader import SqlReader

        yield Opened(SqlReader, source)
        return
    with disk_errors(beside), local_files(source, beside=beside) as files:
        yield Opened(lambda settings: _reader(files, settings), source)


def _reader(files: list[SourceFile], source: SourceSpec) -> Reader:
    if files[0].format == "parquet":
        from penstock.data.parquet import ParquetReader

        return ParquetReader(files, source)
    if files[0].format == "jsonl":
        from penstock.data.jsonl import JsonlReader

        return JsonlReader(files, source)
    from penstock.data.csv.reader import CsvReader

    return CsvReader(files, source)


def _write(
    version: Opened, source: SourceSpec, output: Path, *, whole: bool = False, called: str = ""
) -> Dataset:
    """Infer and write; where a value does not fit what was inferred, look at all rows once."""
    reader = version.reader(source)
    while True:
        try:
            reader.infer(whole=whole)
            return write_dataset(
                reader.batches(),
                output=output,
                source=shown(called or source.uri, where="source.uri"),
                notes=reader.notes(),
                assumptions=reader.assumptions(),
                reading=reader.reading(),
                origin=_origin(version, source, called=called),
            )
        except TypeMismatch as mismatch:
            if whole or mismatch.column in source.types:
                raise reader.explain(mismatch) from mismatch
            whole = True
        except Misread as found:
            reader.adapt(found)
        except Again:
            continue


def _origin(version: Opened, source: SourceSpec, *, called: str) -> Origin:
    """Return how the same rows are read again, without what is secret in clear."""
    uri = called or version.pinned.uri
    pinned = source.model_copy(
        update={
            "uri": str(Path(local_path(uri)).absolute()) if is_local(uri) else redact_address(uri),
            "version": version.pinned.version,
            "query": redact(source.query),
        }
    )
    settings = pinned.model_dump(mode="json", exclude_defaults=True)
    retrieval = _retrieval(source.uri)
    return Origin(source=settings, reference=version.reference, retrieval=retrieval)


def _retrieval(uri: str) -> FeatureRetrieval | None:
    """Return which features were joined to the rows of a dataset that is read as a table."""
    folder = Path(local_path(uri)) if is_local(uri) else None
    if folder is None or Dataset.record_in(folder) is None:
        return None
    origin = read_dataset(folder).origin
    return None if origin is None else origin.retrieval
