"""Which line of a CSV file a row is, and what to say of one that is not as wide as the others."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator, Sequence

from penstock.data.csv.layout import Layout
from penstock.data.csv.preamble import split_lines
from penstock.data.sources.text import MAX_ROW, Block, Utf8Stream
from penstock.errors import InputError, ReadingError

_FOOTER = 5
"""Lines that a note below a table may take."""


_TITLE = 20
"""Lines among which a row of another width may mean that a title stands above the table."""


def lines_of(block: Block) -> Iterator[str]:
    """Yield a block's lines as text, with their ends."""
    return split_lines(block.data.decode())


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


def ragged_error(layout: Layout, block: Block, reason: str) -> InputError:
    """Return the error for the first row that is not as wide as the header."""
    csv.field_size_limit(MAX_ROW)
    reader = layout.dialect.rows(lines_of(block))
    expected, line = len(layout.names), 1
    for row in reader:
        if row and len(row) != expected:
            number = line_at(layout, block.offset) + line - 1
            return _ragged(layout, row, number, [row, *filter(None, reader)], last=block.last)
        line = reader.line_num + 1
    return InputError(f"a row cannot be read: {reason:.200}", where=layout.file.name)


def _ragged(
    layout: Layout, row: list[str], number: int, below: list[list[str]], *, last: bool
) -> InputError:
    """Return the error for a row of another width, with the rows from it to the block's end."""
    expected, start = len(layout.names), layout.dialect.delimiter.join(row)
    header = "the header has" if layout.header else "the first row has"
    what = f"line {number}: {len(row)} cells where {header} {expected}: {start!r:.80}"
    if start.startswith("#"):
        return ReadingError(
            what,
            where=layout.file.name,
            remedy="If it is a comment, set comment: '#'; else correct this line.",
            proposal={"comment": "#"},
        )
    footer = _trailing(below, expected)
    if last and footer == len(below) <= _FOOTER and len(row) < expected and _is_note(layout, below):
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
