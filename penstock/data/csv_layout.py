"""One CSV file: how it is written, where its rows are, and Arrow's parser on one block of it."""

from __future__ import annotations

import codecs
import contextlib
import csv
import functools
import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.data.above import split_lines
from penstock.data.blocks import (
    MAX_ROW,
    Block,
    Utf8Stream,
    last_line_end,
    last_row_end,
    open_bytes,
    read,
    row_blocks,
    structural_quotes,
)
from penstock.data.dialect import Dialect, detect_encoding
from penstock.data.encodings import Encoding, guess_encoding
from penstock.data.signals import Multiline
from penstock.data.source_file import SourceFile
from penstock.data.spec import SourceSpec
from penstock.data.top import top_of
from penstock.data.types import SPACES
from penstock.errors import InputError, ReadingError
from penstock.records.dataset import Assumption

if TYPE_CHECKING:
    import pyarrow as pa

_SAMPLE = 1 << 20
_TOGETHER = 1 << 16
_PYTHON_ROWS = 20_000
_FOOTER = 5
"""Lines that a note below a table may take."""

_TITLE = 20
"""Lines among which a row of another width may mean that a title stands above the table."""

_SPACE = np.isin(np.arange(256), [ord(space) for space in SPACES])


@dataclass(frozen=True)
class Layout:
    """How one file is written."""

    file: SourceFile
    encoding: str
    detected: bool
    returns: bool
    dialect: Dialect
    names: tuple[str, ...]
    start: int
    """Bytes above the first row of values, in UTF-8."""
    header: str = ""
    """The row of names as it is written, if it is one line."""
    assumptions: tuple[Assumption, ...] = ()
    index: str = ""
    """The first column, where it numbers the rows and nobody named it."""
    guessed: bool = False
    """The encoding was guessed."""
    multiline: bool = False
    """Rows are known to go on over several lines."""


def layouts_of(files: Sequence[SourceFile], source: SourceSpec) -> list[Layout]:
    """Find out how each of several files is written.

    Raises:
        InputError: If one cannot be read so; other settings are proposed only for the first, since
            they hold for all.
    """
    layouts = [layout_of(files[0], source)]
    for file in files[1:]:
        try:
            layouts.append(layout_of(file, source))
        except ReadingError as error:
            raise InputError(error.what, where=error.where, remedy=error.remedy) from error
    guessed = [layout for layout in layouts if layout.guessed]
    if len({layout.encoding for layout in guessed}) < 2:
        return layouts
    # Each alone says too little: what one tool wrote is of one encoding.
    sample = b"\n".join(_sample(layout.file)[0][:_TOGETHER] for layout in guessed)
    common = guess_encoding(sample, where=f"{files[0].name} and others")
    return [
        layout_of(layout.file, source, common) if layout.guessed else layout for layout in layouts
    ]


def _sample(file: SourceFile) -> tuple[bytes, bool]:
    """Return a file's first megabyte, and whether that is all of it."""
    with contextlib.closing(open_bytes(file)) as stream:
        raw = read(stream, _SAMPLE, where=file.name)
    return raw, len(raw) < _SAMPLE


def layout_of(file: SourceFile, source: SourceSpec, encoding: Encoding | None = None) -> Layout:
    """Find out how a file is written from its first megabyte."""
    raw, whole = _sample(file)
    if not raw.strip():
        raise InputError("the file is empty", where=file.name, remedy="Name a file with rows.")
    if raw.startswith(b"PAR1"):
        raise InputError(
            "this is a Parquet file", where=file.name, remedy="Set format to parquet or auto."
        )
    found = encoding or detect_encoding(raw, given=source.encoding, whole=whole, where=file.name)
    text = (
        codecs.getincrementaldecoder(found.name)(errors="replace")
        .decode(raw)
        .removeprefix("\ufeff")
    )
    returns = "\n" not in text and "\r" in text
    if returns:
        text = text.replace("\r", "\n")
    sample = text if whole or "\n" not in text else text[: text.rindex("\n") + 1]
    top = top_of(sample, source, where=file.name)
    start = sum(len(line.encode()) for line in itertools.islice(split_lines(sample), top.lines))
    return Layout(
        file=file,
        encoding=found.name,
        detected=not source.encoding and not encoding,
        returns=returns,
        dialect=top.dialect,
        names=top.names,
        start=start,
        header=top.header,
        assumptions=(*filter(None, (found.assumption,)), *top.assumptions),
        index=top.index,
        guessed=found.assumption is not None,
    )


def lines_of(block: Block) -> Iterator[str]:
    """Yield a block's lines as text, with their ends."""
    return split_lines(block.data.decode())


def ragged_error(layout: Layout, block: Block, reason: str) -> InputError:
    """Return the error for the first row that is not as wide as the header."""
    csv.field_size_limit(MAX_ROW)
    reader = layout.dialect.rows(lines_of(block))
    wanted, line = len(layout.names), 1
    for row in reader:
        if row and len(row) != wanted:
            number = line_at(layout, block.offset) + line - 1
            return _ragged(layout, row, number, [row, *filter(None, reader)], last=block.last)
        line = reader.line_num + 1
    return InputError(f"a row cannot be read: {reason:.200}", where=layout.file.name)


def _ragged(
    layout: Layout, row: list[str], number: int, below: list[list[str]], *, last: bool
) -> InputError:
    """Return the error for a row of another width, with the rows from it to the block's end."""
    wanted, start = len(layout.names), layout.dialect.delimiter.join(row)
    header = "the header has" if layout.header else "the first row has"
    what = f"line {number}: {len(row)} cells where {header} {wanted}: {start!r:.80}"
    if start.startswith("#"):
        return ReadingError(
            what,
            where=layout.file.name,
            remedy="If it is a comment, set comment: '#'; else correct this line.",
            proposal={"comment": "#"},
        )
    footer = _trailing(below, wanted)
    if last and footer == len(below) <= _FOOTER and len(row) < wanted and _is_note(layout, below):
        return ReadingError(
            what,
            where=layout.file.name,
            remedy=f"If it stands below the table, set skip_last: {footer} to leave it out; else "
            "correct this line.",
            proposal={"skip_last": footer},
        )
    remedy = "Correct this line; a cell that holds the delimiter must stand in quotation marks."
    if number <= _TITLE:
        remedy += " If lines above the names of the columns are no part of the table, set "
        remedy += "skip_lines to their number."
    return InputError(what, where=layout.file.name, remedy=remedy)


def _trailing(rows: Sequence[Sequence[str]], width: int) -> int:
    """Return how many rows at the end are not as wide as the others."""
    count = 0
    for row in reversed(rows):
        if len(row) == width:
            break
        count += 1
    return count


def _is_note(layout: Layout, rows: list[list[str]]) -> bool:
    """Whether rows at the end are text below a table, and no rows that were cut short."""
    return all(len(row) < len(layout.names) and not row[0][:1].isdigit() for row in rows)


def line_at(layout: Layout, offset: int) -> int:
    """Return the line number of a byte of the decoded file."""
    stream = Utf8Stream(layout.file, encoding=layout.encoding, returns=layout.returns)
    with contextlib.closing(stream):
        line, done = 1, 0
        while done < offset and (chunk := stream.read(1 << 20)):
            line += chunk.count(b"\n", 0, offset - done)
            done += len(chunk)
    return line


def line_of_row(layout: Layout, block: Block, row: int) -> int:
    """Return the line at which a row of a block begins."""
    csv.field_size_limit(MAX_ROW)
    reader = layout.dialect.rows(lines_of(block))
    begins = 1
    for cells in reader:
        if cells:
            if row == 0:
                break
            row -= 1
        begins = reader.line_num + 1
    return line_at(layout, block.offset) + begins - 1


def blocks_of(layout: Layout, stream: Utf8Stream, size: int) -> Iterator[Block]:
    """Cut a file into blocks of whole rows, as exactly as is known to be needed."""
    dialect = layout.dialect
    if by_python(dialect):
        yield from _python_blocks(stream, layout)
        return
    cut = last_line_end
    if layout.multiline:
        cut = functools.partial(last_row_end, quote=dialect.quote, delimiter=dialect.delimiter)
    yield from row_blocks(stream, where=layout.file.name, cut=cut, size=size, start=layout.start)


def check_lines(layout: Layout, block: Block, rows: int) -> None:
    """Check that every line of a block was a row, where blocks were cut at any line's end.

    Looking for quotation marks before a block is parsed costs a sixth of all the work, comparing
    numbers afterwards nothing. When each line that is not blank gave one row and the last has no
    quotation mark open, no line's end is inside a row.

    Raises:
        Multiline: If a row goes on over several lines.
    """
    mark = layout.dialect.quote.encode()
    if layout.multiline or by_python(layout.dialect) or mark not in block.data:
        return
    lines = block.data.count(b"\n") + (not block.data.endswith(b"\n"))
    if lines != rows:
        lines = sum(bool(line.strip(b"\r")) for line in block.data.split(b"\n"))
    last = block.data[block.data.rfind(b"\n", 0, len(block.data) - 1) + 1 :]
    quotes = structural_quotes(last, quote=layout.dialect.quote, delimiter=layout.dialect.delimiter)
    if lines != rows or len(quotes) % 2:
        raise Multiline(layout.file)


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


def by_python(dialect: Dialect) -> bool:
    """Whether only Python's own reader, which is slow, reads this dialect."""
    return dialect.escape or dialect.spaced


def has_margins(texts: pa.Array) -> bool:
    """Whether a text begins or ends with a space or tab; seldom says so of none that does."""
    raw = np.frombuffer(texts.buffers()[2] or b"", dtype=np.uint8)
    if not len(raw):
        return False
    ends = np.frombuffer(texts.buffers()[1], dtype=np.int32)
    ends = ends[texts.offset : texts.offset + len(texts) + 1]
    # Of an empty text, a neighbour's letter is looked at.
    first, last = np.minimum(ends[:-1], len(raw) - 1), np.maximum(ends[1:] - 1, 0)
    return bool(_SPACE[raw[first]].any() or _SPACE[raw[last]].any())


def arrow_read(block: Block, layout: Layout, options: Any) -> pa.RecordBatch:
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


def has_codes(data: bytes, dialect: Dialect) -> bool:
    """Whether a cell may begin with a zero before a digit or an x; seldom says so of none."""
    raw = np.frombuffer(data, dtype=np.uint8)
    edges, digits = np.zeros(256, dtype=np.bool_), np.zeros(256, dtype=np.bool_)
    edges[[ord(dialect.delimiter), ord(dialect.quote), ord("\n"), ord("\r"), ord("+")]] = True
    digits[[*b"0123456789xX"]] = True
    # Few bytes are zeros, so that the tables are asked for these alone.
    zeros = np.flatnonzero(raw[:-1] == ord("0"))
    zeros = zeros[digits[raw[zeros + 1]]]
    before = raw[np.maximum(zeros - 1, 0)]
    if bool(((zeros == 0) | edges[before]).any()):
        return True
    margins = zeros[_SPACE[before]]
    return bool(edges[raw[np.maximum(margins - 2, 0)]].any())
