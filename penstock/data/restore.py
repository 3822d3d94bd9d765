"""Reads the rows of a dataset again, by what its record says of where they came from."""

from __future__ import annotations

from pathlib import Path

from penstock.common.files import folder_beside
from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec
from penstock.data.table.disk import disk_errors
from penstock.errors import InputError, IntegrityError
from penstock.records.dataset import Dataset
from penstock.records.origin import DataReference, Origin
from penstock.redaction.forms import SHOWN


def restore(record: Dataset, *, output: Path, uri: str = "") -> Dataset:
    r"""Read the rows that a dataset was made from, and show that they are the same.

    Of a source that keeps versions the version that was read is read; of any other what is there
    now.

    Args:
        record: The record of the dataset, or of a part of it: `origin` says what to read.
        output: The folder to make. It appears only if the rows are the same.
        uri: Another address of the same source, where the record's lacks a secret, or the source
            was moved; empty: the record's.

    Returns:
        The record of what was read.

    Raises:
        InputError: If the record does not say where its rows came from; if the source, its version
            or data of it are gone.
        IntegrityError: If the rows that are there are others, by their digest.
        ServiceError: If what holds the source does not answer or refuses.

    Example:
        >>> _ = Path("ages.csv").write_text("age\n31\n47\n")
        >>> dataset = ingest(SourceSpec(uri="ages.csv"), output=Path("ages"))
        penstock| 2 rows, 1 columns, rows1:...
        >>> restore(dataset, output=Path("again")).content == dataset.content
        penstock| 2 rows, 1 columns, rows1:...
        True
    """
    origin = _origin(record)
    source = _source(origin, uri=uri)
    expected = origin.content or record.content
    if output.exists():
        raise InputError(
            "there is something already", where=str(output), remedy="Name a folder to make."
        )
    with disk_errors(output), folder_beside(output, kind="restored") as place:
        folder = place / "dataset"
        found = ingest(source, output=folder)
        _require_same_table(origin.reference, found)
        if found.content != expected:
            raise IntegrityError(
                f"the rows that are there now are others: {found.rows:,} rows with the digest "
                f"{found.content}, and not {expected}",
                where=found.source_text,
                remedy=_why_others(origin.reference),
            )
        folder.rename(output)
    return found


def _origin(record: Dataset) -> Origin:
    if record.origin is None:
        raise InputError(
            "its record does not say how its rows were read",
            where=record.content,
            remedy="An older release wrote it, or another tool: ingest the source that it names, "
            f"{record.source}, and compare the digest.",
        )
    if record.origin.retrieval is not None and not record.origin.source:
        service = record.origin.retrieval.service
        raise InputError(
            f"features of the FeatureService {service!r} were joined to its rows, and a feature "
            "store keeps no versions",
            where=record.content,
            remedy="Ingest the table of entities, run retrieve_features on it, and compare the "
            "digest.",
        )
    return record.origin


def _source(origin: Origin, *, uri: str) -> SourceSpec:
    settings = {**origin.source, **({"uri": uri} if uri else {})}
    # What is hidden may also be in a query; no address helps there.
    hidden = [name for name in ("uri", "query") if SHOWN in str(settings.get(name, ""))]
    if hidden:
        raise InputError(
            "a secret that was written in clear is not in the record, so it cannot be read again",
            where=f"source.{hidden[0]}: {settings[hidden[0]]}",
            remedy="Give the whole address by --uri. Write secrets by reference, ${env:NAME}: "
            "these are recorded."
            if hidden == ["uri"]
            else "Ingest the source again, with the whole query.",
        )
    return SourceSpec.parse(settings, where="origin")


def _require_same_table(expected: DataReference | None, found: Dataset) -> None:
    """Refuse a table that was made anew at the same address: its numbers count other versions."""
    now = found.origin.reference if found.origin else None
    if expected and now and expected.table and now.table != expected.table:
        raise IntegrityError(
            f"the table is another one: it has the identity {now.table}, and not {expected.table}",
            where=expected.locator,
            remedy="The table was dropped and made anew since: restore it from a backup, and name "
            "its address by --uri.",
        )


def _why_others(reference: DataReference | None) -> str:
    if reference is None:
        return (
            "The source keeps no versions and was changed since: restore it from a backup, and "
            "name its address by --uri."
        )
    return (
        f"{reference.text} was read, and has been altered since: restore its files from a backup."
    )
