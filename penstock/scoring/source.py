"""The rows of a source in a model's columns, block by block; memory does not grow with it.

The reader of the source is the one that `ingest` uses. What is not inferred here are types: those
are the model's, and a value that is none of its column's is at fault, not the column.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.data.csv.reader import CsvBlock, CsvReader
from penstock.data.jsonl import JsonlReader
from penstock.data.opening import opened
from penstock.data.sources.reader import Again, Misread, Reader
from penstock.data.spec import SourceSpec, settings_of
from penstock.data.types.storage import columns_of, to_storage
from penstock.data.types.texts import Plan
from penstock.data.types.times import of_the_calendar
from penstock.data.types.value import TypeMismatch
from penstock.errors import InputError, absent_column
from penstock.records.dataset import Column
from penstock.records.model import Model
from penstock.scoring.columns import ColumnReader, Typed, readers_of
from penstock.scoring.refusals import RefusedRow
from penstock.serving.request_errors import difference

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 65_536
_ZONED = r"(?:[zZ]|[+-]\d\d:?\d\d)$"


@dataclass(frozen=True)
class Rows:
    """Some rows of a source, one after another.

    Attributes:
        typed: The model's columns in their storage types, null in rows that are at fault.
        kept: The columns that are kept beside the predictions.
        refused: The rows at fault, ascending; `row` is counted from 0 here.
        refusal_of: Makes one of another of the rows: row, column and reason.
    """

    typed: pa.RecordBatch
    kept: pa.RecordBatch
    refused: tuple[RefusedRow, ...]
    refusal_of: Callable[[int, str, str], RefusedRow]

    def refusal(self, row: int, *, column: str, reason: str) -> RefusedRow:
        """Return a row of these as one that is refused."""
        return replace(self.refusal_of(row, column, reason), row=row)

    @property
    def count(self) -> int:
        """How many rows."""
        return int(self.typed.num_rows)

    def slice(self, start: int, count: int) -> Rows:
        """Return a run of them."""
        end = start + count
        refused = tuple(
            replace(one, row=one.row - start) for one in self.refused if start <= one.row < end
        )

        def refusal_of(row: int, column: str, reason: str) -> RefusedRow:
            return self.refusal_of(row + start, column, reason)

        kept = self.kept.slice(start, count)
        return Rows(self.typed.slice(start, count), kept, refused, refusal_of)


class Source:
    """A source that is read for a model.

    Args:
        spec: What to read and how.
        record: The model.
        keep: Columns of the source to keep.
    """

    def __init__(self, spec: SourceSpec, record: Model, *, keep: Sequence[str]) -> None:
        self._spec = spec
        self._record = record
        self._names = [column.name for column in record.columns]
        self._keep = tuple(keep)
        self._notes: list[str] = []
        self._settings = self._as_trained()

    @property
    def notes(self) -> tuple[str, ...]:
        """How the source was read, once it has been."""
        return tuple(self._notes)

    @contextlib.contextmanager
    def opened(self, *, beside: Path) -> Iterator[Callable[[], Iterator[Rows]]]:
        """Yield what yields the rows, in the same order whenever it is called.

        Raises:
            InputError: If the source is absent, or lacks a column of the model or one to keep.
            ServiceError: If a store or database does not answer.
        """
        with opened(self._spec, beside=beside) as version:
            reader = version.reader(self._settings)
            yield lambda: self._all(reader)

    def _as_trained(self) -> SourceSpec:
        """Return the source as the model's texts were read, where it does not say otherwise."""
        names = list(dict.fromkeys([*self._names, *self._keep]))
        given = self._spec.model_dump(exclude_unset=True)
        reading = self._record.reading
        usual: dict[str, Any] = {"na_values": ("",), "strip": False}
        if reading is not None:
            usual = settings_of(reading)
            usual["formats"] = {k: v for k, v in usual["formats"].items() if k in names}
        return SourceSpec.model_validate({**usual, **given, "columns": names})

    def _all(self, reader: Reader) -> Iterator[Rows]:
        """Yield the rows; where a file turns out to be written otherwise, go on behind those."""
        done = 0
        while True:
            skip, at = done, 0
            try:
                for rows in self._blocks(reader):
                    left = max(0, skip - at)
                    at += rows.count
                    if left < rows.count:
                        done = at
                        yield rows.slice(left, rows.count - left)
                break
            except Misread as found:
                reader.adapt(found)
            except Again:
                continue
        self._notes = reader.notes()

    def _blocks(self, reader: Reader) -> Iterator[Rows]:
        if isinstance(reader, CsvReader):
            return self._csv(reader)
        if isinstance(reader, JsonlReader):
            return self._jsonl(reader)
        return self._arrow(reader)

    def _csv(self, reader: CsvReader) -> Iterator[Rows]:
        self._require(reader.names)
        columns = readers_of(self._record.columns, self._record.reading, csv=True)
        plans = {name: Plan("string") for name in self._keep}
        plans |= {each.column.name: each.plan for each in columns}
        naive: set[str] | None = None
        for block in reader.cells():
            if naive is None:
                naive = _without_zone(block, self._record.columns)
                plans |= {name: replace(plans[name], naive=True) for name in naive}
            yield self._csv_rows(block, plans, columns)

    def _csv_rows(
        self, block: CsvBlock, plans: Mapping[str, Plan], columns: Sequence[ColumnReader]
    ) -> Rows:
        # Arrow's own parser takes " 8" for 8, also where white space counts.
        if self._settings.strip:
            with contextlib.suppress(TypeMismatch):
                batch = block.typed(plans)
                found = [
                    Typed(to_storage(batch.column(each.column.name), each.column), {})
                    for each in columns
                ]
                if all(_takes(one.values) for one in found):
                    return self._rows(columns, found, batch, block.where)
        texts = block.texts()
        found = [each.typed(texts.column(each.column.name)) for each in columns]
        return self._rows(columns, found, texts, block.where)

    def _arrow(self, reader: Reader) -> Iterator[Rows]:
        reader.infer(whole=False)
        columns = readers_of(self._record.columns, self._record.reading, csv=False)
        row = 0
        known = False
        while True:
            try:
                for batch in self._from(reader, row):
                    if not known:
                        self._require(batch.schema.names)
                        known = True
                    found = [each.typed(batch.column(each.column.name)) for each in columns]
                    yield self._rows(columns, found, batch, partial(_numbered, row))
                    row += batch.num_rows
                return
            except TypeMismatch:
                reader.infer(whole=True)

    def _from(self, reader: Reader, row: int) -> Iterator[pa.RecordBatch]:
        at = 0
        for batch in reader.batches():
            left = max(0, row - at)
            at += batch.num_rows
            if left < batch.num_rows:
                yield batch.slice(left)

    def _jsonl(self, reader: JsonlReader) -> Iterator[Rows]:
        columns = readers_of(self._record.columns, self._record.reading, csv=False)
        first = True
        for file, objects in reader.objects():
            if first:
                self._require(list(dict.fromkeys(name for _, row in objects for name in row)))
                first = False
            for start in range(0, len(objects), _ROWS):
                yield self._json_rows(file, objects[start : start + _ROWS], columns)

    def _json_rows(
        self, file: str, objects: list[tuple[int, dict[str, Any]]], columns: Sequence[ColumnReader]
    ) -> Rows:
        import pyarrow as pa

        rows = [row for _, row in objects]
        found = [each.of_objects([row.get(each.column.name) for row in rows]) for each in columns]
        texts = {
            name: pa.array([_as_text(row.get(name)) for row in rows], pa.string())
            for name in self._keep
        }
        absent = {
            at: difference(row.keys() & set(self._names), self._names, where="the object")
            for at, row in enumerate(rows)
            if not row.keys() >= set(self._names)
        }

        def where(at: int) -> str:
            return f"{file}: line {objects[at][0]}"

        def given(at: int) -> dict[str, Any]:
            return {name: rows[at].get(name) for name in (*self._keep, *self._names)}

        refusal = partial(_refusal, where, given)
        refused = _refused(columns, found, refusal, absent)
        return self._together(found, texts, refused, refusal, rows=len(rows))

    def _rows(
        self,
        columns: Sequence[ColumnReader],
        found: Sequence[Typed],
        batch: pa.RecordBatch,
        where: Callable[[int], str],
    ) -> Rows:
        """Return rows that were read as a batch, in its types or as texts."""
        names = list(dict.fromkeys([*self._keep, *self._names]))

        def given(at: int) -> dict[str, Any]:
            return {name: _python(batch.column(name)[at]) for name in names}

        others = {
            name: _stored(batch.column(name), name)
            for name in self._keep
            if name not in self._names
        }
        refusal = partial(_refusal, where, given)
        refused = _refused(columns, found, refusal, {})
        return self._together(found, others, refused, refusal, rows=batch.num_rows)

    def _together(
        self,
        found: Sequence[Typed],
        others: Mapping[str, pa.Array],
        refused: tuple[RefusedRow, ...],
        refusal: Callable[[int, str, str], RefusedRow],
        *,
        rows: int,
    ) -> Rows:
        """Return the rows; a column of the model that is kept is kept as it was read."""
        import pyarrow as pa

        values = dict(zip(self._names, (one.values for one in found), strict=True))
        typed = pa.RecordBatch.from_arrays(list(values.values()), self._names)
        kept = {name: values.get(name, others.get(name)) for name in self._keep}
        beside = kept or {"": pa.nulls(rows)}
        assert typed.num_rows == rows, "a column has another length than the batch"
        batch = pa.RecordBatch.from_arrays(list(beside.values()), list(beside))
        return Rows(typed, batch, refused, refusal)

    def _require(self, there: Sequence[str]) -> None:
        """Raise InputError if the source lacks a column."""
        absent = [name for name in self._names if name not in there]
        if absent:
            where = self._spec.uri
            raise InputError(
                difference(set(self._names) - set(absent), self._names, where="the source"),
                where=where,
                remedy=f"Its columns are: {', '.join(there)}.",
            )
        for name in self._keep:
            if name not in there:
                raise absent_column(name, there, where="--keep", table="the source")


def _refused(
    columns: Sequence[ColumnReader],
    found: Sequence[Typed],
    refusal: Callable[[int, str, str], RefusedRow],
    absent: Mapping[int, str],
) -> tuple[RefusedRow, ...]:
    """Return the rows at fault, each with the first column that is."""
    first: dict[int, tuple[str, str]] = {row: ("", reason) for row, reason in absent.items()}
    for each, typed in zip(columns, found, strict=True):
        for row, reason in typed.bad.items():
            first.setdefault(row, (each.column.name, reason))
    return tuple(refusal(row, column, reason) for row, (column, reason) in sorted(first.items()))


def _refusal(
    where: Callable[[int], str],
    given: Callable[[int], dict[str, Any]],
    row: int,
    column: str,
    reason: str,
) -> RefusedRow:
    return RefusedRow(row=row, where=where(row), column=column, reason=reason, values=given(row))


def _numbered(before: int, at: int) -> str:
    return f"row {before + at + 1:,}"


def _without_zone(block: CsvBlock, columns: Sequence[Column]) -> set[str]:
    """Return the columns of times that a block has without a zone: they are parsed faster so."""
    import pyarrow.compute as pc

    names = [column.name for column in columns if column.type == "datetime"]
    if not names:
        return set()
    texts = block.texts()
    zoned = {name: pc.match_substring_regex(texts.column(name), _ZONED) for name in names}
    return {name for name, found in zoned.items() if not pc.any(found).as_py()}


def _takes(values: pa.Array) -> bool:
    """Return whether a server takes values: no infinite number, no time beyond the calendar."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(values.type):
        with contextlib.suppress(ValueError):
            of_the_calendar(values)
            return True
        return False
    return not (pa.types.is_floating(values.type) and pc.any(pc.is_inf(values)).as_py() is True)


def _python(value: pa.Scalar) -> Any:
    """Return a cell as Python has it; as text, where Python has no such time."""
    import pyarrow as pa

    try:
        return value.as_py()
    except (ValueError, OverflowError):
        return value.cast(pa.string()).as_py()


def _stored(values: pa.Array, name: str) -> pa.Array:
    """Return a column that is kept in its storage type."""
    import pyarrow as pa

    (column,) = columns_of(pa.schema([(name, values.type)]))
    return to_storage(values, column)


def _as_text(value: Any) -> str | None:
    """Return a JSON value that is kept: text as it is, the rest as JSON has it."""
    return value if value is None or isinstance(value, str) else json.dumps(value)
