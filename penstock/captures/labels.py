"""True labels of captured rows, from a table: written beside the rows, each once.

They are for rows that were answered where no server takes labels any more, as in batches. What is
written are segments as servers ship them, so whoever reads labels needs nothing new.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from penstock.captures.batch import BatchWriter
from penstock.captures.decoding import answered_keys
from penstock.captures.ledger import iso
from penstock.captures.places import Place, place_at
from penstock.captures.reader import read_labels
from penstock.captures.segments import CapturedModel
from penstock.captures.stores import Written, writers
from penstock.captures.table import label_kind
from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec, settings_of
from penstock.errors import InputError

_SEGMENT = 100_000
"""Labels in a segment."""

_STAMP = "%Y%m%dT%H%M%S%f"

_Key = tuple[str, int]


@dataclass(frozen=True)
class LabelColumns:
    """Where a table has what.

    Attributes:
        request: The column with the rows' request ids.
        label: The column with the true labels; a row without one is left for later.
        row: The column with the row's index in its request, from 0; empty: it is always 0.
    """

    request: str
    label: str
    row: str = ""


@dataclass(frozen=True)
class Labelled:
    """What became of a table of labels.

    Attributes:
        written: Labels that found their row.
        before: Labels of rows that had theirs already; these count no second time.
        unknown: Labels whose row was not captured there.
        missing: Rows of the table without a label.
    """

    written: int
    before: int
    unknown: int
    missing: int


def label_rows(source: str | Path, data: SourceSpec, columns: LabelColumns) -> Labelled:
    """Write the true labels of captured rows.

    A command that was killed is given again: what it wrote is not written twice.

    Args:
        source: A folder or address with captured rows.
        data: The table, as `ingest` takes it.
        columns: Where it has ids and labels.

    Raises:
        InputError: If no row was captured there, if the table cannot be read or says two things of
            one row, if a label is none of the model's classes, or none belongs to a captured row.
            Nothing is written then.
        ServiceError: If a store does not answer.
    """
    place = place_at(source)
    found = [each for each in writers(place, kinds=["predictions"]) if each.shipped and each.model]
    if not found:
        raise InputError(
            "there are no captured rows of a batch, nor shipped ones of a server",
            where=str(source),
            remedy="Name what `penstock score --capture` was given; a server that runs takes labels"
            " itself (docs/captures.md).",
        )
    models = [each.model for each in found if each.model]
    truths, missing = _truths(data, columns, models, where=str(source))
    before = truths.keys() & _labelled(source)
    wanted = {key: label for key, label in truths.items() if key not in before}
    batches = _batches(found, wanted)
    if truths and not batches and not before:
        raise InputError(
            f"none of the {len(truths):,} labels is of a row that was captured at {source}",
            where=f"{data.uri}, column {columns.request!r}",
            remedy="The ids are those that `penstock score --request-ids` writes.",
        )
    for batch in batches:
        batch.require_classes(where=f"{data.uri}, column {columns.label!r}")
    for batch in batches:
        batch.write(place)
    written = sum(len(batch.labels) for batch in batches)
    return Labelled(written, len(before), len(wanted) - written, missing)


@dataclass(frozen=True)
class _Batch:
    """Labels of the rows in one folder, which one model answered."""

    folder: str
    model: CapturedModel
    labels: dict[_Key, Any]

    def require_classes(self, *, where: str) -> None:
        """Raise InputError if a label is none of the model's classes."""
        classes = self.model.classes
        if not classes:
            return
        for (request, _), label in self.labels.items():
            if label not in classes:
                raise InputError(
                    f"{label!r}, the label of {request!r}, is none of the model's classes: "
                    f"{', '.join(map(repr, classes[:20]))}",
                    where=where,
                    remedy="Correct it. No label was written.",
                )

    def write(self, place: Place) -> None:
        now = datetime.now(UTC)
        moment = iso(now)
        lines = [
            orjson.dumps(
                {"request_id": request, "row": row, "time": moment, "label": label},
                option=orjson.OPT_APPEND_NEWLINE,
            )
            for (request, row), label in self.labels.items()
        ]
        digest = hashlib.sha256(b"".join(lines)).hexdigest()
        name = f"{now.strftime(_STAMP)}-0-{digest[:4]}"
        writer = BatchWriter(place, self.folder, name, "feedback", self.model, pod="labels")
        for number, start in enumerate(range(0, len(lines), _SEGMENT), start=1):
            some = lines[start : start + _SEGMENT]
            writer.write(number, some, before=start, moment=moment)
        writer.finish(len(lines))


def _truths(
    data: SourceSpec, columns: LabelColumns, models: Sequence[CapturedModel], *, where: str
) -> tuple[dict[_Key, Any], int]:
    """Return the labels of a table, and how many of its rows have none."""
    kinds = {kind for model in models if (kind := label_kind(model)) is not None}
    if len(kinds) != 1:
        raise InputError(
            "the models that answered there have labels of several types, or of none that is known",
            where=where,
            remedy="Name the captures of one service.",
        )
    types = {columns.label: kinds.pop(), columns.request: "string"}
    types |= {columns.row: "integer"} if columns.row else {}
    # Texts that stand for a missing value are those of the training table.
    reading = next((model.reading for model in reversed(models) if model.reading), None)
    usual = settings_of(reading) | {"formats": {}} if reading else {}
    given = data.model_dump(exclude_unset=True)
    spec = SourceSpec.model_validate({**usual, **given, "types": types, "columns": list(types)})
    truths: dict[_Key, Any] = {}
    missing = 0
    for at, (request, row, label) in enumerate(_rows(spec, columns), start=1):
        if request is None or row is None:
            raise InputError(
                f"row {at:,} has no request id",
                where=f"{data.uri}, column {columns.request!r}",
                remedy="Give each row its id, or leave it out. No label was written.",
            )
        if label is None:
            missing += 1
        elif truths.setdefault((request, row), label) != label:
            raise InputError(
                f"{request!r} has two labels: {truths[request, row]!r} and {label!r}",
                where=f"{data.uri}, column {columns.label!r}",
                remedy="Leave the wrong one out. No label was written.",
            )
    return truths, missing


def _rows(spec: SourceSpec, columns: LabelColumns) -> Iterator[tuple[str | None, int | None, Any]]:
    import pyarrow.dataset as ds

    with TemporaryDirectory(prefix="penstock-labels-") as scratch:
        folder = Path(scratch) / "table"
        ingest(spec, output=folder)
        for batch in ds.dataset(folder).to_batches():
            rows = batch.column(columns.row).to_pylist() if columns.row else [0] * batch.num_rows
            requests = batch.column(columns.request).to_pylist()
            labels = batch.column(columns.label).to_pylist()
            yield from zip(requests, rows, labels, strict=True)


def _labelled(source: str | Path) -> set[_Key]:
    known, _ = read_labels(source, after=None)
    return set(zip(known["request_id"].to_pylist(), known["row"].to_pylist(), strict=True))


def _batches(found: Sequence[Written], wanted: Mapping[_Key, Any]) -> list[_Batch]:
    """Return the labels whose rows are there, by the folder in which these are."""
    left = dict(wanted)
    batches: dict[str, _Batch] = {}
    for each in found:
        assert each.model is not None
        for part in each.parts:
            if not left:
                break
            # A segment that is gone or torn holds no row that the monitor could read.
            with contextlib.suppress(FileNotFoundError, ValueError):
                for key in answered_keys(part.read()):
                    if key in left:
                        batch = _Batch(each.folder, each.model, {})
                        labels = batches.setdefault(each.folder, batch).labels
                        labels[key] = left.pop(key)
    return list(batches.values())
