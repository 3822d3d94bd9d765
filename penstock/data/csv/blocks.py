"""The rows of CSV files, as blocks of whole rows without the lines that are none."""

from __future__ import annotations

import contextlib
import csv
import functools
import io
from collections.abc import Iterator

from penstock.data.csv.layout import Layout
from penstock.data.csv.row_errors import line_at
from penstock.data.csv.skipped_lines import SkippedLines
from penstock.data.sources.reader import SourceFile
from penstock.data.sources.text import (
    BLOCK,
    MAX_ROW,
    Block,
    Utf8Stream,
    check_utf8,
    last_line_end,
    row_blocks,
)
from penstock.data.spec import SourceSpec
from penstock.errors import InputError

_PYTHON_ROWS = 20_000


class Blocks:
    """Cuts files into blocks, as often as they are read.

    Args:
        source: How to read the files.
    """

    def __init__(self, source: SourceSpec) -> None:
        self._source = source
        self._utf8: set[SourceFile] = set()
        self._repeated: dict[SourceFile, set[int]] = {}

    @property
    def repeated(self) -> int:
        """How many rows so far repeated the names of the columns."""
        return sum(map(len, self._repeated.values()))

    def of(self, layout: Layout, size: int = BLOCK) -> Iterator[Block]:
        """Yield a file's rows below its header.

        Args:
            layout: The file.
            size: Bytes of a block.

        Raises:
            NotUtf8: If letters show that it is of another encoding than its beginning let expect.
            ReadingError: If it ends with a total and nothing says what to do with it.
            InputError: If a quotation mark is never closed, or bytes are not text.
        """
        stream = Utf8Stream(layout.file, encoding=layout.encoding, returns=layout.returns)
        with contextlib.closing(stream):
            repeated = self._repeated.setdefault(layout.file, set())
            skipped = SkippedLines(layout, self._source, repeated)
            for block in skipped.rows(_cut(layout, stream, size)):
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


def _cut(layout: Layout, stream: Utf8Stream, size: int) -> Iterator[Block]:
    """Cut a file into blocks of whole rows, as exactly as is known to be needed."""
    dialect = layout.dialect
    if dialect.by_python:
        yield from _python_blocks(stream, layout)
        return
    cut = dialect.last_row_end if layout.multiline else last_line_end
    yield from row_blocks(stream, where=layout.file.name, cut=cut, size=size, start=layout.start)


def _python_blocks(stream: Utf8Stream, layout: Layout) -> Iterator[Block]:
    """Cut where Python's reader, which alone knows this dialect, has finished a row."""
    csv.field_size_limit(MAX_ROW)
    taken: list[bytes] = []

    def lines() -> Iterator[str]:
        for block in row_blocks(
            stream, where=layout.file.name, cut=last_line_end, start=layout.start
        ):
            for line in io.BytesIO(block.data):
                taken.append(line)
                yield line.decode(errors="replace")

    offset = layout.start
    for number, _ in enumerate(layout.dialect.rows(lines()), start=1):
        if number % _PYTHON_ROWS == 0:
            data = b"".join(taken)
            taken.clear()
            yield Block(data, offset)
            offset += len(data)
    if taken:
        yield Block(b"".join(taken), offset)
