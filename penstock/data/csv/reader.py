"""CSV files as record batches, in blocks that two threads convert."""

from __future__ import annotations

import collections
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from penstock.data import arrow
from penstock.data.csv.blocks import Blocks
from penstock.data.csv.layout import Layout, layout_of, layouts_of
from penstock.data.csv.parsing import Parser
from penstock.data.csv.row_errors import line_of_row
from penstock.data.csv.skipped_lines import assumptions_of
from penstock.data.sources.columns import check_same_columns, chosen
from penstock.data.sources.encoding_guess import guess_encoding
from penstock.data.sources.reader import Misread, NotUtf8, Settled, SourceFile
from penstock.data.sources.text import BLOCK, Block
from penstock.data.spec import SourceSpec
from penstock.data.types import inference
from penstock.data.types.inference import FileFacts
from penstock.data.types.text_counts import TextCounts
from penstock.data.types.texts import Plan
from penstock.data.types.value import TypeMismatch
from penstock.errors import InputError
from penstock.records.dataset import Assumption, Reading

if TYPE_CHECKING:
    import pyarrow as pa

_FIRST = 1 << 20
"""Bytes from which types are inferred at first."""


@dataclass(frozen=True)
class CsvBlock:
    """Some rows of a file, in the cells of which nothing has been read yet."""

    _layout: Layout
    _block: Block
    _parser: Parser

    def typed(self, plans: Mapping[str, Plan]) -> pa.RecordBatch:
        """Return the rows, each column as its plan says.

        Raises:
            TypeMismatch: If a value does not fit.
            Multiline: If a row goes on over several lines.
        """
        return self._parser.typed(self._layout, self._block, plans)

    def texts(self) -> pa.RecordBatch:
        """Return the cells as texts, stripped, null where missing."""
        return self._parser.texts(self._layout, self._block)

    def where(self, row: int) -> str:
        """Return the file and the line at which a row begins; rows are counted from 0."""
        return f"{self._layout.file.name}: line {line_of_row(self._layout, self._block, row)}"


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
        self._blocks = Blocks(source)
        first = self._layouts[0]
        for other in self._layouts[1:]:
            check_same_columns(
                first.names, other.names, first=first.file.name, other=other.file.name
            )
        found = [name for name in first.names if name != first.index]
        self.names = tuple(chosen(found, source, where=first.file.name))
        self._parser = Parser(self.names, source)
        self._plan: dict[str, Plan] = {}
        self._assumed: list[Assumption] = []
        self._by_all = False

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
            repeated=self._blocks.repeated,
        )
        return [*found, *self._assumed]

    def reading(self) -> Reading:
        """Return how texts were read."""
        formats = tuple(plan.written for plan in self._plan.values() if plan.written is not None)
        return Reading(na_values=self._source.na_values, strip=self._source.strip, formats=formats)

    def settled(self) -> Settled | None:
        """Return how each column is read.

        None where that was settled by all rows, or an encoding was guessed: of several files
        together.
        """
        if self._by_all or any(layout.guessed for layout in self._layouts):
            return None
        return {name: repr(self._plan[name]) for name in sorted(self._plan)}

    def continues(self, before: Settled) -> bool:
        """Return whether files that were read before are read so with these."""
        return self.settled() == before

    def infer(self, *, whole: bool) -> None:
        """Settle how every column is read, from the first block or from all rows.

        Raises:
            InputError: If a column is nearly all numbers but not quite, or has two readings.
        """
        text_counts = {name: TextCounts() for name in self.names}
        more = len(self._layouts) > 1 and not whole
        self._by_all = whole
        for layout in self._layouts if whole else self._layouts[:1]:
            seen = 0
            for block in self._blocks.of(layout, size=BLOCK if whole else _FIRST):
                if seen >= _FIRST // 2 and not whole:
                    more = True
                    break
                self._count_texts(layout, block, text_counts)
                seen += len(block.data)
        for counted in text_counts.values():
            counted.sampled = more
        try:
            self._settle(text_counts)
        except InputError:
            # All rows may decide what the first ones leave open.
            if not more:
                raise
            self.infer(whole=True)

    def _settle(self, text_counts: dict[str, TextCounts]) -> None:
        """Decide how every column is read.

        Raises:
            InputError: See `infer`.
        """
        for name, counted in text_counts.items():
            found = inference.misread(name, counted, source=self._source)
            if found is not None:
                raise self._misread(name, counted, *found)
        file = FileFacts(
            source=self._source,
            marks=inference.decimal_marks(text_counts.values()),
            delimiter=self._layouts[0].dialect.delimiter,
            where=self._layouts[0].file.name,
        )
        self._plan, self._assumed = {}, []
        for name, counted in text_counts.items():
            self._plan[name], assumed = inference.plan_of(name, counted, file)
            self._assumed += assumed

    def batches(self, without: Collection[str] = ()) -> Iterator[pa.RecordBatch]:
        """Yield the rows in the types that `infer` settled, in order, but those of some files.

        Raises:
            TypeMismatch: If a value does not fit and its type was inferred from the first block.
            InputError: If a row is ragged, bytes are not text, or a declared type does not fit.
        """
        for layout in self._layouts:
            if layout.file.name not in without:
                yield from self._file_batches(layout)

    def explain(self, mismatch: TypeMismatch) -> InputError:
        """Return the error for a value that does not have the type of its column."""
        name = mismatch.column
        plan = self._plan[name]
        for layout in self._layouts:
            for block in self._blocks.of(layout):
                texts = self._parser.texts(layout, block).column(name)
                row = plan.first_bad_value(texts, name=name)
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
        raise AssertionError(f"no value of {name!r} is not {plan.kind}")

    def _file_batches(self, layout: Layout) -> Iterator[pa.RecordBatch]:
        """Convert blocks in threads, at most a few at once, and yield them in order."""
        workers = min(4, os.cpu_count() or 1)
        waiting: collections.deque[Future[pa.RecordBatch]] = collections.deque()
        with ThreadPoolExecutor(workers) as pool:
            try:
                for block in self._blocks.of(layout):
                    waiting.append(pool.submit(self._parser.typed, layout, block, self._plan))
                    if len(waiting) > workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def cells(self) -> Iterator[CsvBlock]:
        """Yield the rows in blocks that are not converted yet; nothing needs to be inferred.

        Raises:
            Misread: If a file is not written as its beginning let expect: `adapt`, and begin again.
            InputError: If a row is ragged, or bytes are not text.
        """
        for layout in self._layouts:
            for block in self._blocks.of(layout):
                yield CsvBlock(layout, block, self._parser)

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

    def _count_texts(
        self, layout: Layout, block: Block, text_counts: dict[str, TextCounts]
    ) -> None:
        """Count what a block's cells could be."""
        batch = self._parser.texts(layout, block, missing=False)
        absent = frozenset(self._source.na_values)
        for name in self.names:
            encoded = batch.column(name).dictionary_encode()
            values = encoded.dictionary
            places = arrow.numbers(encoded.indices, null=len(values))
            counts = np.bincount(places, minlength=len(values) + 1)[: len(values)]
            known = np.array([text not in absent for text in values.to_pylist()], dtype=np.bool_)
            for place in np.flatnonzero(~known).tolist():
                text_counts[name].missing[values[place].as_py()] += int(counts[place])
            text_counts[name].add(values.filter(arrow.booleans(known)), counts[known])

    def _misread(
        self, name: str, counted: TextCounts, text: str, missing: tuple[str, ...]
    ) -> InputError:
        """Return the error for a column of numbers with a few other values."""
        for layout in self._layouts:
            for block in self._blocks.of(layout):
                row = self._parser.texts(layout, block).column(name).index(text).as_py()
                if row >= 0:
                    line = line_of_row(layout, block, row)
                    where = f"{layout.file.name}: line {line}"
                    return inference.misread_error(
                        name, counted, source=self._source, missing=missing, where=where
                    )
        raise AssertionError(f"{text!r} is not in column {name!r}")
