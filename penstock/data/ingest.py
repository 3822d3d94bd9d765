"""The first step: whatever holds a table becomes a dataset version."""

from __future__ import annotations

import json
import re
from pathlib import Path

from penstock.common.progress import log, say
from penstock.data.incremental.ingest import ingest_new
from penstock.data.opening import Opened, opened
from penstock.data.reading import facts_of, read_through
from penstock.data.spec import SourceSpec
from penstock.data.table import writing
from penstock.errors import ReadingError
from penstock.records.dataset import Assumption, Dataset, sorted_by_risk

_ROUNDS = 12
"""Proposals that `survey` takes, one after another."""


def ingest(source: SourceSpec, *, output: Path, called: str = "") -> Dataset:
    r"""Read a table from files or a database and write it as a dataset.

    Rows stream through: memory does not grow with the table. Types are inferred from the first
    block of rows; a later value that does not fit makes the reader look at all rows and begin
    again. Several files are one table when they have the same columns; their types are reconciled.
    With `source.incremental` only files are read that came since the ingest before.

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
        if source.incremental:
            dataset = ingest_new(version, source, output, called=called)
        else:
            dataset = _write(version, source, output, called=called)
    risky = sorted_by_risk(
        assumption for assumption in dataset.assumptions if assumption.risk != "low"
    )
    for assumption in risky:
        log(f"assumed ({assumption.risk} risk): {assumption.text} (source.{assumption.setting})")
    count = f", {len(risky)} assumed of how to read it" if risky else ""
    if dataset.increment:
        count += f", {dataset.increment.reused_rows:,} rows from the dataset before"
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


def _write(
    version: Opened, source: SourceSpec, output: Path, *, whole: bool = False, called: str = ""
) -> Dataset:
    reader = version.reader(source)

    def write() -> Dataset:
        with writing(output) as writer:
            for batch in reader.batches():
                writer.add(batch)
            return writer.finish(**facts_of(version, reader, source, called=called))

    return read_through(reader, source, write, whole=whole)
