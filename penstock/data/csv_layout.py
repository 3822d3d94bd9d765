"""One CSV file: how it is written, where its rows are, and Arrow's parser on one block of it."""

from __future__ import annotations

import codecs
import contextlib
import csv
import functools
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

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
from penstock.data.columns import check_unique
from penstock.data.dialect import Dialect, detect_dialect, detect_encoding
from penstock.data.signals import Multiline
from penstock.data.sources import SourceFile
from penstock.data.spec import SourceSpec
from penstock.data.types import SPACES
from penstock.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

_SAMPLE = 1 << 20
_PYTHON_ROWS = 20_000
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
    """Bytes of the header, in UTF-8."""
    multiline: bool = False
    """Rows are known to go on over several lines."""


def layout_of(file: SourceFile, source: SourceSpec, encoding: str = "") -> Layout:
    """Find out how a file is written from its first megabyte."""
    with contextlib.closing(open_bytes(file)) as stream:
        raw = read(stream, _SAMPLE, where=file.name)
        whole = len(raw) < _SAMPLE
    if not raw.strip():
        raise InputError("the file is empty", where=file.name, remedy="Name a file with rows.")
    if raw.startswith(b"PAR1"):
        raise InputError(
            "this is a Parquet file", where=file.name, remedy="Set format to parquet or auto."
        )
    found = encoding or detect_encoding(raw, given=source.encoding, whole=whole, where=file.name)
    text = codecs.getincrementaldecoder(found)(errors="replace").decode(raw).removeprefix("\ufeff")
    returns = "\n" not in text and "\r" in text
    if returns:
        text = text.replace("\r", "\n")
    sample = text if whole or "\n" not in text else text[: text.rindex("\n") + 1]
    dialect = detect_dialect(sample, given=source.delimiter, where=file.name)
    names, lines = _header(sample, dialect, strip=source.strip, where=file.name)
    start = sum(len(line.encode()) for line in itertools.islice(_split(sample), lines))
    return Layout(
        file=file,
        encoding=found,
        detected=not source.encoding and not encoding,
        returns=returns,
        dialect=dialect,
        names=names,
        start=start,
    )


def _split(text: str) -> Iterator[str]:
    return iter(io.StringIO(text, newline="\n"))


def _header(
    sample: str, dialect: Dialect, *, strip: bool, where: str
) -> tuple[tuple[str, ...], int]:
    """Return the column names and how many lines they and what precedes them take."""
    csv.field_size_limit(MAX_ROW)
    reader = dialect.rows(_split(sample))
    cells: list[str] = next((row for row in reader if row), [])
    if all(_is_number(cell) for cell in cells) and any("." in cell for cell in cells):
        raise InputError(
            f"the first line holds numbers, not column names: {', '.join(cells)!r:.80}",
            where=f"{where}: line {reader.line_num}",
            remedy="Add a line with column names at the top.",
        )
    names = [cell.strip() if strip else cell for cell in cells]
    names = [name or f"column_{number}" for number, name in enumerate(names, start=1)]
    check_unique(names, where=f"{where}: line {reader.line_num}")
    return tuple(names), reader.line_num


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def lines_of(block: Block) -> Iterator[str]:
    """Yield a block's lines as text, with their ends."""
    return _split(block.data.decode())


def ragged_error(layout: Layout, block: Block, reason: str) -> InputError:
    """Return the error for the first row that is not as wide as the header."""
    csv.field_size_limit(MAX_ROW)
    reader = layout.dialect.rows(lines_of(block))
    wanted, line = len(layout.names), 1
    for row in reader:
        if row and len(row) != wanted:
            number = line_at(layout, block.offset) + line - 1
            start = layout.dialect.delimiter.join(row)
            return InputError(
                f"line {number}: {len(row)} cells where the header has {wanted}: {start!r:.80}",
                where=layout.file.name,
                remedy="Correct this line; a cell that holds the delimiter must stand in "
                "quotation marks.",
            )
        line = reader.line_num + 1
    return InputError(f"a row cannot be read: {reason:.200}", where=layout.file.name)


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
    yield from row_blocks(stream, where=layout.file.name, cut=cut, size=size)


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
        for block in row_blocks(stream, where=layout.file.name, cut=last_line_end):
            for line in io.BytesIO(block.data):
                taken.append(line)
                yield line.decode(errors="replace")

    offset = 0
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
    zeros = raw == ord("0")
    if len(raw) > 1 and zeros[0] and digits[raw[1]]:
        return True
    if bool((zeros[1:-1] & edges[raw[:-2]] & digits[raw[2:]]).any()):
        return True
    mark = dialect.delimiter.encode()
    return any(mark + space + b"0" in data for space in (b" ", b"\t"))
