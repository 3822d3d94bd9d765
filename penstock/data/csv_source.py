"""CSV files as record batches, in blocks that two threads convert."""

from __future__ import annotations

import collections
import contextlib
import csv
import functools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from penstock.data import arrow, inference
from penstock.data.blocks import (
    BLOCK,
    MAX_ROW,
    Block,
    Utf8Stream,
    check_utf8,
)
from penstock.data.columns import check_same_columns, chosen
from penstock.data.csv_layout import (
    Layout,
    arrow_read,
    blocks_of,
    by_python,
    check_lines,
    has_codes,
    has_margins,
    layout_of,
    layouts_of,
    line_at,
    line_of_row,
    lines_of,
    ragged_error,
)
from penstock.data.encodings import guess_encoding
from penstock.data.inference import FileFacts
from penstock.data.signals import Misfit, Misread, NotUtf8
from penstock.data.source_file import SourceFile
from penstock.data.spec import SourceSpec
from penstock.data.tally import Tally
from penstock.data.texts import Plan, clean_texts
from penstock.data.trimming import Trimming, assumptions_of
from penstock.errors import InputError
from penstock.records.dataset import Assumption, Reading

if TYPE_CHECKING:
    import pyarrow as pa

_FIRST = 1 << 20
"""Bytes from which types are inferred at first."""


_TRUE = ("true", "True", "TRUE")
_FALSE = ("false", "False", "FALSE")


class CsvReader:
    """Reads files of the same columns.

    Args:
        files: The files.
        source: How to read them.

    Raises:
        InputError: If a file's encoding, dialect or header is unusable, or columns differ.
    """

    def __init__(self, files: Sequence[SourceFile], source: SourceSpec) -> None:
        self._source = source
        self._layouts = layouts_of(files, source)
        self._utf8: set[SourceFile] = set()
        self._repeated: dict[SourceFile, set[int]] = {}
        first = self._layouts[0]
        for other in self._layouts[1:]:
            check_same_columns(
                first.names, other.names, first=first.file.name, other=other.file.name
            )
        found = [name for name in first.names if name != first.index]
        self.names = tuple(chosen(found, source, where=first.file.name))
        self._plan: dict[str, Plan] = {}
        self._assumed: list[Assumption] = []

    def notes(self) -> list[str]:
        """Return how the files were read, in words."""
        ways = collections.Counter(
            f"CSV, {layout.dialect.describe()}, encoding {layout.encoding}"
            for layout in self._layouts
        )
        several = len(ways) > 1
        notes = [f"{way} ({count} files)" if several else way for way, count in ways.items()]
        naive = [name for name, plan in self._plan.items() if plan.naive]
        if naive:
            notes.append(f"times without a zone were taken as UTC: {', '.join(naive)}")
        return notes

    def assumptions(self) -> list[Assumption]:
        """Return what was assumed that could be otherwise."""
        found = assumptions_of(
            self._layouts,
            source=self._source,
            repeated=sum(map(len, self._repeated.values())),
        )
        return [*found, *self._assumed]

    def reading(self) -> Reading:
        """Return how texts were read."""
        formats = tuple(plan.written for plan in self._plan.values() if plan.written is not None)
        return Reading(na_values=self._source.na_values, strip=self._source.strip, formats=formats)

    def infer(self, *, whole: bool) -> None:
        """Settle how every column is read, from the first block or from all rows.

        Raises:
            InputError: If a column is nearly all numbers but not quite, or has two readings.
        """
        tallies = {name: Tally() for name in self.names}
        more = len(self._layouts) > 1 and not whole
        for layout in self._layouts if whole else self._layouts[:1]:
            seen = 0
            for block in self._blocks(layout, size=BLOCK if whole else _FIRST):
                if seen >= _FIRST // 2 and not whole:
                    more = True
                    break
                self._tally(layout, block, tallies)
                seen += len(block.data)
        for tally in tallies.values():
            tally.sampled = more
        try:
            self._settle(tallies)
        except InputError:
            # All rows may tell what the first ones leave open.
            if not more:
                raise
            self.infer(whole=True)

    def _settle(self, tallies: dict[str, Tally]) -> None:
        """Decide how every column is read.

        Raises:
            InputError: See `infer`.
        """
        for name, tally in tallies.items():
            found = inference.misread(name, tally, source=self._source)
            if found is not None:
                raise self._misread(name, tally, *found)
        file = FileFacts(
            source=self._source,
            marks=inference.decimal_marks(tallies.values()),
            delimiter=self._layouts[0].dialect.delimiter,
            where=self._layouts[0].file.name,
        )
        self._plan, self._assumed = {}, []
        for name, tally in tallies.items():
            self._plan[name], assumed = inference.plan_of(name, tally, file)
            self._assumed += assumed

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in the types that `infer` settled, in order.

        Raises:
            Misfit: If a value does not fit and its type was inferred from the first block.
            InputError: If a row is ragged, bytes are not text, or a declared type does not fit.
        """
        for layout in self._layouts:
            yield from self._file_batches(layout)

    def explain(self, misfit: Misfit) -> InputError:
        """Return the error for a value that does not have the type of its column."""
        name = misfit.column
        plan = self._plan[name]
        for layout in self._layouts:
            for block in self._blocks(layout):
                texts = self._texts(layout, block).column(name)
                row = plan.first_misfit(texts, name=name)
                if row is not None:
                    line = line_of_row(layout, block, row)
                    form = plan.written.time if plan.written else ""
                    return InputError(
                        f"{texts[row].as_py()!r:.80} is not of type {plan.kind or 'missing'}",
                        where=f"{layout.file.name}: line {line}: column {name!r}",
                        remedy="If it stands for a missing value, add it to na_values; if the "
                        f"column is text, declare types: {{{name}: string}}."
                        + (f" Times are read as {form or 'ISO 8601'}." if plan.naive else ""),
                    )
        raise AssertionError(f"no value of {name!r} misfits {plan.kind}")

    def _blocks(self, layout: Layout, size: int = BLOCK) -> Iterator[Block]:
        """Yield a file's rows below its header."""
        stream = Utf8Stream(layout.file, encoding=layout.encoding, returns=layout.returns)
        with contextlib.closing(stream):
            repeated = self._repeated.setdefault(layout.file, set())
            trimming = Trimming(layout, self._source, repeated)
            for block in trimming.rows(blocks_of(layout, stream, size)):
                if block.data and not block.data.isspace():
                    self._check(layout, block)
                    yield block

    def _check(self, layout: Layout, block: Block) -> None:
        """Check that a block read as UTF-8 is, and that its last row ends."""
        if block.unfinished:
            raise InputError(
                f"line {line_at(layout, block.offset)}: a quotation mark is never closed",
                where=layout.file.name,
                remedy="Close it, or double it if it belongs to the text.",
            )
        if layout.encoding == "utf-8" and not block.data.isascii():
            given = "" if layout.detected else self._source.encoding
            line = functools.partial(line_at, layout, block.offset)
            known = layout.file in self._utf8
            check_utf8(layout.file, block, given=given, line=line, known=known)
            self._utf8.add(layout.file)

    def _file_batches(self, layout: Layout) -> Iterator[pa.RecordBatch]:
        """Convert blocks in threads, at most a few at once, and yield them in order."""
        workers = min(4, os.cpu_count() or 1)
        waiting: collections.deque[Future[pa.RecordBatch]] = collections.deque()
        with ThreadPoolExecutor(workers) as pool:
            try:
                for block in self._blocks(layout):
                    waiting.append(pool.submit(self._typed, layout, block))
                    if len(waiting) > workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _typed(self, layout: Layout, block: Block) -> pa.RecordBatch:
        """Convert a block directly, or by way of texts where that fails or would not be exact."""
        import pyarrow as pa

        batch = None
        if self._is_direct(layout, block):
            try:
                batch = self._parsed(layout, block)
            except pa.ArrowInvalid:
                # A cell does not fit: its text tells more.
                batch = None
        if batch is not None:
            check_lines(layout, block, batch.num_rows)
            arrays = [self._finished(batch.column(name), name) for name in self.names]
        else:
            texts = self._texts(layout, block)
            arrays = [self._plan[n].convert(texts.column(n), name=n) for n in self.names]
        return pa.RecordBatch.from_arrays(arrays, list(self.names))

    def _is_direct(self, layout: Layout, block: Block) -> bool:
        """Whether Arrow reads a block's values as `penstock.data.types` does.

        It takes 00501 for 501 and 0x10 for 16.
        """
        if "" not in self._source.na_values or by_python(layout.dialect):
            return False
        counted = any(p.kind in ("integer", "number") for p in self._plan.values())
        return not counted or not has_codes(block.data, layout.dialect)

    def _parsed(self, layout: Layout, block: Block) -> pa.RecordBatch:
        from pyarrow import csv as arrow_csv

        missing = list(self._source.na_values)
        if self._source.strip:
            missing += [f" {text}" for text in missing] + [f"{text} " for text in missing if text]
        options = arrow_csv.ConvertOptions(
            column_types={name: self._plan[name].direct() for name in self.names},
            include_columns=list(self.names),
            null_values=missing,
            strings_can_be_null=True,
            true_values=_TRUE,
            false_values=_FALSE,
            timestamp_parsers=[arrow_csv.ISO8601],
            check_utf8=False,
        )
        return arrow_read(block, layout, options)

    def _texts(self, layout: Layout, block: Block, *, missing: bool = True) -> pa.RecordBatch:
        """Return a block's cells as texts, stripped; null where missing, if that is asked.

        Raises:
            InputError: If a row has more or fewer cells than the header.
        """
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        if by_python(layout.dialect):
            batch = self._python_read(layout, block)
        else:
            options = arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(self.names, pa.string()),
                include_columns=list(self.names),
                strings_can_be_null=False,
                check_utf8=False,
            )
            try:
                batch = arrow_read(block, layout, options)
            except pa.ArrowInvalid as error:
                # Where a row was cut in two, its halves are ragged.
                check_lines(layout, block, -1)
                raise ragged_error(layout, block, str(error)) from error
        check_lines(layout, block, batch.num_rows)
        reading = Reading(
            na_values=self._source.na_values if missing else (), strip=self._source.strip
        )
        arrays = [clean_texts(batch.column(name), reading) for name in self.names]
        return pa.RecordBatch.from_arrays(arrays, list(self.names))

    def _finished(self, array: pa.Array, name: str) -> pa.Array:
        """Convert what was parsed as text, and trim what needs it."""
        import pyarrow as pa

        plan = self._plan[name]
        if not pa.types.is_string(array.type):
            return array
        if plan.kind != "string" or (self._source.strip and has_margins(array)):
            array = clean_texts(array, self.reading())
        return plan.convert(array, name=name)

    def adapt(self, found: Misread) -> None:
        """Read a file in another encoding, or as one with rows of several lines."""
        for at, layout in enumerate(self._layouts):
            if layout.file != found.file:
                continue
            if isinstance(found, NotUtf8):
                encoding = guess_encoding(found.sample, where=layout.file.name)
                known = layout_of(layout.file, self._source, encoding)
                self._layouts[at] = replace(known, multiline=layout.multiline)
            else:
                self._layouts[at] = replace(layout, multiline=True)

    def _python_read(self, layout: Layout, block: Block) -> pa.RecordBatch:
        import pyarrow as pa

        csv.field_size_limit(MAX_ROW)
        rows = [row for row in layout.dialect.rows(lines_of(block)) if row]
        if any(len(row) != len(layout.names) for row in rows):
            raise ragged_error(layout, block, "")
        columns = [pa.array(cells, pa.string()) for cells in zip(*rows, strict=True)]
        return pa.RecordBatch.from_arrays(columns, list(layout.names))

    def _tally(self, layout: Layout, block: Block, tallies: dict[str, Tally]) -> None:
        """Count what a block's cells could be."""
        batch = self._texts(layout, block, missing=False)
        absent = frozenset(self._source.na_values)
        for name in self.names:
            encoded = batch.column(name).dictionary_encode()
            values = encoded.dictionary
            places = arrow.numbers(encoded.indices, null=len(values))
            counts = np.bincount(places, minlength=len(values) + 1)[: len(values)]
            known = np.array([text not in absent for text in values.to_pylist()], dtype=np.bool_)
            for place in np.flatnonzero(~known).tolist():
                tallies[name].missing[values[place].as_py()] += int(counts[place])
            tallies[name].add(values.filter(arrow.booleans(known)), counts[known])

    def _misread(self, name: str, tally: Tally, text: str, missing: tuple[str, ...]) -> InputError:
        """Return the error for a column of numbers with a few other values."""
        for layout in self._layouts:
            for block in self._blocks(layout):
                row = self._texts(layout, block).column(name).index(text).as_py()
                if row >= 0:
                    line = line_of_row(layout, block, row)
                    where = f"{layout.file.name}: line {line}"
                    return inference.misread_error(
                        name, tally, source=self._source, missing=missing, where=where
                    )
        raise AssertionError(f"{text!r} is not in column {name!r}")
