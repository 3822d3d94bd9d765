"""One block of CSV as a record batch: by Arrow's parser, or Python's where that is not exact."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.data.csv.dialect import Dialect
from penstock.data.csv.layout import Layout
from penstock.data.csv.row_errors import lines_of, ragged_error
from penstock.data.sources.reader import Multiline
from penstock.data.sources.text import MAX_ROW, Block
from penstock.data.spec import SourceSpec
from penstock.data.types.texts import Plan, clean_texts
from penstock.data.types.value import SPACES
from penstock.records.dataset import Reading

if TYPE_CHECKING:
    import pyarrow as pa

_TRUE = ("true", "True", "TRUE")
_FALSE = ("false", "False", "FALSE")
_SPACE = np.isin(np.arange(256), [ord(space) for space in SPACES])

Plans = Mapping[str, Plan]


class Parser:
    """Parses blocks of files of the same columns.

    Args:
        names: The columns to read.
        source: How to read them.
    """

    def __init__(self, names: Sequence[str], source: SourceSpec) -> None:
        self._names = tuple(names)
        self._source = source
        self._reading = Reading(na_values=source.na_values, strip=source.strip)

    def typed(self, layout: Layout, block: Block, plans: Plans) -> pa.RecordBatch:
        """Return a block's values, converted directly where that works and is exact, else as texts.

        Raises:
            TypeMismatch: If a value does not fit the plan of its column.
            Multiline: If a row goes on over several lines.
            InputError: If a row has more or fewer cells than the header.
        """
        import pyarrow as pa

        batch = None
        if self._is_direct(layout, block, plans):
            try:
                batch = self._parsed(layout, block, plans)
            except pa.ArrowInvalid:
                # A cell does not fit: its text says more.
                batch = None
        if batch is not None:
            _check_lines(layout, block, batch.num_rows)
            arrays = [self._finished(batch.column(n), plans[n], name=n) for n in self._names]
        else:
            texts = self.texts(layout, block)
            arrays = [plans[n].convert(texts.column(n), name=n) for n in self._names]
        return pa.RecordBatch.from_arrays(arrays, list(self._names))

    def _is_direct(self, layout: Layout, block: Block, plans: Plans) -> bool:
        """Whether Arrow reads a block's values as `penstock.data.types.value` does.

        It takes 00501 for 501 and 0x10 for 16.
        """
        if "" not in self._source.na_values or layout.dialect.by_python:
            return False
        counted = any(p.kind in ("integer", "number") for p in plans.values())
        return not counted or not _has_codes(block.data, layout.dialect)

    def _parsed(self, layout: Layout, block: Block, plans: Plans) -> pa.RecordBatch:
        from pyarrow import csv as arrow_csv

        missing = list(self._source.na_values)
        if self._source.strip:
            missing += [f" {text}" for text in missing] + [f"{text} " for text in missing if text]
        options = arrow_csv.ConvertOptions(
            column_types={name: plans[name].direct() for name in self._names},
            include_columns=list(self._names),
            null_values=missing,
            strings_can_be_null=True,
            true_values=_TRUE,
            false_values=_FALSE,
            timestamp_parsers=[arrow_csv.ISO8601],
            check_utf8=False,
        )
        return _arrow_read(block, layout, options)

    def texts(self, layout: Layout, block: Block, *, missing: bool = True) -> pa.RecordBatch:
        """Return a block's cells as texts, stripped; null where missing, if `missing`.

        Raises:
            InputError: If a row has more or fewer cells than the header.
        """
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        if layout.dialect.by_python:
            batch = _python_read(layout, block)
        else:
            options = arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(self._names, pa.string()),
                include_columns=list(self._names),
                strings_can_be_null=False,
                check_utf8=False,
            )
            try:
                batch = _arrow_read(block, layout, options)
            except pa.ArrowInvalid as error:
                # Where a row was cut in two, its halves are ragged.
                _check_lines(layout, block, -1)
                raise ragged_error(layout, block, str(error)) from error
        _check_lines(layout, block, batch.num_rows)
        reading = self._reading if missing else Reading(na_values=(), strip=self._source.strip)
        arrays = [clean_texts(batch.column(name), reading) for name in self._names]
        return pa.RecordBatch.from_arrays(arrays, list(self._names))

    def _finished(self, array: pa.Array, plan: Plan, *, name: str) -> pa.Array:
        """Convert what was parsed as text, and trim what needs it."""
        import pyarrow as pa

        if not pa.types.is_string(array.type):
            return array
        if plan.kind != "string" or (self._source.strip and _has_margins(array)):
            array = clean_texts(array, self._reading)
        return plan.convert(array, name=name)


def _check_lines(layout: Layout, block: Block, rows: int) -> None:
    """Check that every line of a block was a row, where blocks were cut at any line's end.

    Looking for quotation marks before a block is parsed costs a sixth of all the work, comparing
    numbers afterwards nothing. When each line that is not blank gave one row and the last has no
    quotation mark open, no line's end is inside a row.

    Raises:
        Multiline: If a row goes on over several lines.
    """
    mark = layout.dialect.quote.encode()
    if layout.multiline or layout.dialect.by_python or mark not in block.data:
        return
    lines = block.data.count(b"\n") + (not block.data.endswith(b"\n"))
    if lines != rows:
        lines = sum(bool(line.strip(b"\r")) for line in block.data.split(b"\n"))
    last = block.data[block.data.rfind(b"\n", 0, len(block.data) - 1) + 1 :]
    quotes = layout.dialect.quotes(last)
    if lines != rows or len(quotes) % 2:
        raise Multiline(layout.file)


def _arrow_read(block: Block, layout: Layout, options: Any) -> pa.RecordBatch:
    """Parse a block in this thread.

    Raises:
        pyarrow.ArrowInvalid: If a row is ragged or a cell does not fit.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    table = arrow_csv.read_csv(
        pa.BufferReader(block.data),
        read_options=arrow_csv.ReadOptions(
            column_names=list(layout.names), use_threads=False, block_size=len(block.data) + 1
        ),
        parse_options=arrow_csv.ParseOptions(
            delimiter=layout.dialect.delimiter,
            quote_char=layout.dialect.quote,
            newlines_in_values=True,
        ),
        convert_options=options,
    )
    if table.num_rows == 0:
        return pa.RecordBatch.from_pylist([], schema=table.schema)
    # combine_chunks would copy columns that are whole already.
    whole = all(column.num_chunks == 1 for column in table.columns)
    return (table if whole else table.combine_chunks()).to_batches()[0]


def _python_read(layout: Layout, block: Block) -> pa.RecordBatch:
    import pyarrow as pa

    csv.field_size_limit(MAX_ROW)
    rows = [row for row in layout.dialect.rows(lines_of(block)) if row]
    if any(len(row) != len(layout.names) for row in rows):
        raise ragged_error(layout, block, "")
    columns = [pa.array(cells, pa.string()) for cells in zip(*rows, strict=True)]
    return pa.RecordBatch.from_arrays(columns, list(layout.names))


def _has_margins(texts: pa.Array) -> bool:
    """Whether a text begins or ends with a space or tab; seldom says so of none that does."""
    raw = np.frombuffer(texts.buffers()[2] or b"", dtype=np.uint8)
    if not len(raw):
        return False
    ends = np.frombuffer(texts.buffers()[1], dtype=np.int32)
    ends = ends[texts.offset : texts.offset + len(texts) + 1]
    # Of an empty text, a neighbour's letter is looked at.
    first, last = np.minimum(ends[:-1], len(raw) - 1), np.maximum(ends[1:] - 1, 0)
    return bool(_SPACE[raw[first]].any() or _SPACE[raw[last]].any())


def _has_codes(data: bytes, dialect: Dialect) -> bool:
    """Whether a cell may begin with a zero before a digit or an x; seldom says so of none."""
    raw = np.frombuffer(data, dtype=np.uint8)
    edges, digits = np.zeros(256, dtype=np.bool_), np.zeros(256, dtype=np.bool_)
    edges[[ord(dialect.delimiter), ord(dialect.quote), ord("\n"), ord("\r"), ord("+")]] = True
    digits[[*b"0123456789xX"]] = True
    # Few bytes are zeros, so the tables are looked up for these alone.
    zeros = np.flatnonzero(raw[:-1] == ord("0"))
    zeros = zeros[digits[raw[zeros + 1]]]
    before = raw[np.maximum(zeros - 1, 0)]
    if bool(((zeros == 0) | edges[before]).any()):
        return True
    margins = zeros[_SPACE[before]]
    return bool(edges[raw[np.maximum(margins - 2, 0)]].any())
