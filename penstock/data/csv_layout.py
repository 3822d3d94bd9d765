"""One CSV file: how it is written, where its rows are, and Arrow's parser on one block of it."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.data.blocks import MAX_ROW, Block, Utf8Stream, open_bytes, read
from penstock.data.columns import check_unique
from penstock.data.dialect import Dialect, detect_dialect, detect_encoding
from penstock.data.sources import SourceFile
from penstock.data.spec import SourceSpec
from penstock.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

_SAMPLE = 1 << 20


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


def by_python(dialect: Dialect) -> bool:
    """Whether only Python's own reader, which is slow, reads this dialect."""
    return dialect.escape or dialect.spaced


def has_margins(block: Block, dialect: Dialect) -> bool:
    """Whether a cell may begin or end with white space."""
    if b"\t" in block.data and dialect.delimiter != "\t":
        return True
    raw = np.frombuffer(block.data, dtype=np.uint8)
    spaces = np.flatnonzero(raw == ord(" "))
    edges = np.zeros(256, dtype=np.bool_)
    edges[[ord(dialect.delimiter), ord(dialect.quote), ord("\n"), ord("\r")]] = True
    before, after = raw[np.maximum(spaces - 1, 0)], raw[np.minimum(spaces + 1, len(raw) - 1)]
    ends = len(spaces) > 0 and (spaces[0] == 0 or spaces[-1] == len(raw) - 1)
    return bool(ends or edges[before].any() or edges[after].any())


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


def type_word(kind: pa.DataType) -> str:
    """Return the storage type's name for an Arrow type."""
    text = str(kind)
    names = {"int64": "integer", "double": "number", "bool": "boolean", "null": "missing"}
    return names.get(text, "datetime" if "timestamp" in text else "string")
