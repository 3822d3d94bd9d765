"""Lines above the table in a CSV file: Excel's `sep=` line, comments, a title."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Literal

from penstock.data.csv.dialect import Dialect, likeliest
from penstock.data.csv.header_detection import LOOKED_AT, kind_of, names_numbers, verdict
from penstock.data.spec import SourceSpec
from penstock.records.dataset import Assumption

_SEP = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
_MARKS = ("#", "//", "%")
_ABOVE = 20
"""Rows that a title may take."""

_ALIKE = 0.9
"""Share of the rows below a title that must be as wide as the row of names."""


def split_lines(text: str) -> Iterator[str]:
    """Return the lines of a text with their ends; only a newline ends one."""
    return iter(io.StringIO(text, newline="\n"))


def lines_above(lines: Sequence[str], source: SourceSpec) -> tuple[int, str, list[Assumption]]:
    """Return how many lines stand above the table, the delimiter if it is known, and what to say.

    A line `sep=;` is Excel's own way to name the delimiter.
    """
    if source.skip_lines != "auto":
        return source.skip_lines, source.delimiter, []
    sep = _SEP.fullmatch(lines[0])
    if sep:
        text = "The first line names the delimiter, as Excel writes it, and is no row"
        return 1, source.delimiter or sep[1], [_left_out("low", text, "skip_lines: 0")]
    # No more is needed, and a sample may be large.
    head = list(lines[: 2 * LOOKED_AT])
    comments, unsure = _comments(head, source)
    assumptions = [_named_with_sign(lines[comments])] if unsure else []
    if comments:
        text = f"The first {comments} lines were left out as comments"
        text = text if comments > 1 else "The first line was left out as a comment"
        setting = f"skip_lines: 0 reads them, skip_lines: {comments} leaves them out"
        assumptions.append(_left_out("low", text, setting))
    if assumptions:
        return comments, source.delimiter, assumptions
    title = _title(head, source)
    if title:
        text = f"The first {title} lines were left out as a title above the names of the columns"
        text = text.replace("The first 1 lines were", "The first line was")
        return title, source.delimiter, [_left_out("medium", text, "skip_lines: 0 reads them")]
    return 0, source.delimiter, []


def _left_out(risk: Literal["medium", "low"], text: str, setting: str) -> Assumption:
    return Assumption(risk=risk, text=text, setting=setting)


def _named_with_sign(line: str) -> Assumption:
    return Assumption(
        risk="high",
        text=f"The line {line.strip()!r:.80} was taken for the names of the columns, though it "
        "could be a comment above them",
        setting="comment, for example comment: '#', leaves it out",
    )


def _comments(lines: Sequence[str], source: SourceSpec) -> tuple[int, bool]:
    """Return how many lines at the top are comments, and whether one below may be another.

    A row of names can begin with the sign of a comment.
    """
    mark = next((mark for mark in _MARKS if _text_of(lines).startswith(mark)), "")
    if not mark:
        return 0, False
    above = list(itertools.takewhile(lambda s: s.startswith(mark) or not s.strip(), lines))
    count = max(number for number, line in enumerate(above, start=1) if line.strip())
    rest = "".join(lines[count:])
    if not rest.strip():
        return 0, False
    dialect = likeliest(rest, given=source.delimiter)
    first, *body = [row for row in dialect.rows(split_lines(rest)) if row]
    last: list[str] = next(dialect.rows([lines[count - 1]]), [])
    if len(last) != len(first) or names_numbers(first, body, source.na_values):
        return count, False
    values = not any(kind_of(cell, source.na_values) == "text" for cell in first)
    return count - 1, not (values or names_numbers(last, [first, *body], source.na_values))


def _text_of(lines: Sequence[str]) -> str:
    return next((line for line in lines if line.strip()), "")


def _title(lines: Sequence[str], source: SourceSpec) -> int:
    """Return how many lines at the top are a title: rows of one cell above a full row of names."""
    rows: list[tuple[int, list[str]]] = []
    dialect = _body_dialect(lines, source)
    try:
        reader = dialect.rows(lines)
        before = 0
        for row in reader:
            rows.append((before, row))
            before = reader.line_num
    except csv.Error:
        return 0
    filled = [(at, row) for at, row in rows if any(cell.strip() for cell in row)]
    for place, (begins, row) in enumerate(filled[:_ABOVE]):
        if sum(bool(cell.strip()) for cell in row) > 1 and not _is_pair(filled, place):
            return begins if place and _is_header(row, [r for _, r in filled[place + 1 :]]) else 0
    return 0


def _body_dialect(lines: Sequence[str], source: SourceSpec) -> Dialect:
    """Return the dialect of what lies below the first lines."""
    below = lines[min(_ABOVE, len(lines) // 2) :]
    return likeliest("".join(below), given=source.delimiter)


def _is_pair(filled: Sequence[tuple[int, list[str]]], place: int) -> bool:
    """Whether a row is a key and its value, as stand above some tables, and no row of the table."""
    row = filled[place][1]
    cells = sum(bool(cell.strip()) for cell in row)
    below = max((len(other) for _, other in filled[place + 1 :]), default=0)
    return cells == 2 and below > 3 and place + 1 < len(filled)


def _is_header(row: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    alike = sum(len(other) == len(row) for other in body)
    full = all(cell.strip() for cell in row)
    return bool(body) and full and alike >= _ALIKE * len(body) and verdict(row, body) == "names"
