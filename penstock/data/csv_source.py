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
    SPACES,
    Layout,
    arrow_read,
    blocks_of,
    by_python,
    check_lines,
    has_margins,
    layout_of,
    layouts_of,
    line_at,
    line_of_row,
    lines_of,
    ragged_error,
    type_word,
)
from penstock.data.encodings import guess_encoding
from penstock.data.inference import Tally
from penstock.data.signals import Misfit, Misread, NotUtf8
from penstock.data.sources import SourceFile
from penstock.data.spec import SourceSpec
from penstock.data.trimming import Trimming, assumptions_of
from penstock.errors import InputError
from penstock.records.dataset import Assumption, Reading

if TYPE_CHECKING:
    import pyarrow as pa

_FIRST = 1 << 20
"""Bytes from which types are inferred at first."""


_TRUE = ("true", "True", "TRUE")
_FALSE = ("false", "False", "FALSE")
_YES = (*_TRUE, "1", "t", "T", "y", "Y", "yes", "Yes", "YES")
_NO = (*_FALSE, "0", "f", "F", "n", "N", "no", "No", "NO")


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
        self._plan: dict[str, pa.DataType] = {}

    def notes(self) -> list[str]:
        """Return how the files were read, in words."""
        import pyarrow as pa

        ways = collections.Counter(
            f"CSV, {layout.dialect.describe()}, encoding {layout.encoding}"
            for layout in self._layouts
        )
        several = len(ways) > 1
        notes = [f"{way} ({count} files)" if several else way for way, count in ways.items()]
        naive = [name for name, kind in self._plan.items() if kind == pa.timestamp("us")]
        if naive:
            notes.append(f"times without a zone were taken as UTC: {', '.join(naive)}")
        return notes

    def assumptions(self) -> list[Assumption]:
        """Return what was assumed that could be otherwise."""
        return assumptions_of(
            self._layouts,
            source=self._source,
            repeated=sum(map(len, self._repeated.values())),
        )

    def reading(self) -> Reading | None:
        """Return how texts were read."""
        return Reading(na_values=self._source.na_values, strip=self._source.strip)

    def infer(self, *, whole: bool) -> None:
        """Settle the type of every column, from the first block or from all rows.

        Raises:
            InputError: If a column is nearly all numbers but not quite.
        """
        tallies = {name: Tally() for name in self.names}
        for layout in self._layouts if whole else self._layouts[:1]:
            for block in self._blocks(layout, size=BLOCK if whole else _FIRST):
                self._tally(layout, block, tallies)
                if not whole:
                    break
        mixed = [n for n, t in tallies.items() if t.is_mixed() and n not in self._source.types]
        if mixed and not whole:
            self.infer(whole=True)
            return
        if mixed:
            raise self._mixed(mixed[0], tallies[mixed[0]])
        for name, tally in tallies.items():
            declared = self._source.types.get(name)
            kind = inference.declared_arrow(declared, tally) if declared else tally.arrow()
            self._plan[name] = kind

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
        kind = self._plan[name]
        for layout in self._layouts:
            for block in self._blocks(layout):
                texts = self._texts(layout, block).column(name)
                row = inference.first_misfit(texts, kind, decimal=layout.dialect.decimal)
                if row is not None:
                    line = line_of_row(layout, block, row)
                    return InputError(
                        f"{texts[row].as_py()!r:.80} is not of type {type_word(kind)}",
                        where=f"{layout.file.name}: line {line}: column {name!r}",
                        remedy="If it stands for a missing value, add it to na_values; if the "
                        f"column is text, declare types: {{{name}: string}}."
                        + (" Times are read in ISO 8601." if "timestamp" in str(kind) else ""),
                    )
        raise AssertionError(f"no value of {name!r} misfits {kind}")

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

        if "" in self._source.na_values and not by_python(layout.dialect):
            try:
                batch = self._parsed(layout, block)
            except pa.ArrowInvalid:
                batch = None
            if batch is not None:
                check_lines(layout, block, batch.num_rows)
                arrays = [self._stripped(batch.column(name)) for name in self.names]
                return pa.RecordBatch.from_arrays(arrays, list(self.names))
        texts = self._texts(layout, block)
        decimal = layout.dialect.decimal
        arrays = [
            inference.convert(texts.column(n), self._plan[n], name=n, decimal=decimal)
            for n in self.names
        ]
        return pa.RecordBatch.from_arrays(arrays, list(self.names))

    def _parsed(self, layout: Layout, block: Block) -> pa.RecordBatch:
        from pyarrow import csv as arrow_csv

        missing = list(self._source.na_values)
        if self._source.strip:
            missing += [f" {text}" for text in missing] + [f"{text} " for text in missing if text]
        declared = "boolean" in self._source.types.values()
        options = arrow_csv.ConvertOptions(
            column_types={name: self._plan[name] for name in self.names},
            include_columns=list(self.names),
            null_values=missing,
            strings_can_be_null=True,
            true_values=_YES if declared else _TRUE,
            false_values=_NO if declared else _FALSE,
            decimal_point=layout.dialect.decimal,
            timestamp_parsers=[arrow_csv.ISO8601],
            check_utf8=False,
        )
        return arrow_read(block, layout, options)

    def _texts(self, layout: Layout, block: Block) -> pa.RecordBatch:
        """Return a block's cells as texts, stripped, null where missing.

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
        arrays = [self._trimmed(batch.column(name)) for name in self.names]
        return pa.RecordBatch.from_arrays(arrays, list(self.names))

    def _stripped(self, array: pa.Array) -> pa.Array:
        """Trim a column that was parsed directly, if it is text that needs it."""
        import pyarrow as pa

        if self._source.strip and pa.types.is_string(array.type) and has_margins(array):
            return self._trimmed(array)
        return array

    def _trimmed(self, array: pa.Array) -> pa.Array:
        """Return texts without white space around them, null where they mean a missing value."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if self._source.strip:
            array = pc.utf8_trim(array, characters=SPACES)
        missing = arrow.texts(self._source.na_values)
        return pc.if_else(pc.is_in(array, missing), arrow.null(pa.string()), array)

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
        import pyarrow.compute as pc

        batch = self._texts(layout, block)
        for name in self.names:
            encoded = batch.column(name).dictionary_encode()
            values, tally = encoded.dictionary, tallies[name]
            places = arrow.numbers(encoded.indices, null=len(values))
            counts = np.bincount(places, minlength=len(values) + 1)[: len(values)]
            if layout.dialect.decimal != ".":
                # Only for counting: the text itself is converted by its own rules.
                points = pc.replace_substring_regex(values, r"^(-?[0-9]*),([0-9]+)$", r"\1.\2")
                numbers = tally.add(points, counts)
            else:
                numbers = tally.add(values, counts)
            if not tally.stranger and not numbers.all():
                tally.stranger = values[int(np.flatnonzero(~numbers)[0])].as_py()

    def _mixed(self, name: str, tally: Tally) -> InputError:
        """Return the error for a column of numbers with a few other values."""
        for layout in self._layouts:
            for block in self._blocks(layout):
                row = self._texts(layout, block).column(name).index(tally.stranger).as_py()
                if row >= 0:
                    line = line_of_row(layout, block, row)
                    where = f"{layout.file.name}: line {line}"
                    return inference.mixed_error(name, tally, where=where)
        raise AssertionError(f"{tally.stranger!r} is not in column {name!r}")
