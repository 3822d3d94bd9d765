"""What stands above the rows of a CSV file: Excel's `sep=` line, comments, titles, the names."""

from __future__ import annotations

import contextlib
import csv
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from penstock.data.csv.dialect import Dialect, detect_dialect
from penstock.data.csv.header_detection import LOOKED_AT, Verdict, holds_units, verdict, words_apart
from penstock.data.csv.preamble import lines_above, split_lines
from penstock.data.sources.text import MAX_ROW
from penstock.data.spec import SourceSpec
from penstock.data.types.storage import check_unique
from penstock.errors import InputError, ReadingError
from penstock.records.dataset import Assumption

_FEW = 3
"""Rows from which a table's first column says something."""


@dataclass(frozen=True)
class Top:
    """The beginning of a CSV file.

    Attributes:
        dialect: How its rows are written.
        names: The columns.
        lines: Lines above the first row of values.
        header: The row of names as it is written, if it is one line.
        assumptions: What was taken for granted.
        index: The first column, where it numbers the rows and nobody named it; else empty.
    """

    dialect: Dialect
    names: tuple[str, ...]
    lines: int
    header: str
    assumptions: tuple[Assumption, ...]
    index: str = ""


def top_of(sample: str, source: SourceSpec, *, where: str) -> Top:
    """Return how a CSV file begins.

    Args:
        sample: Its first lines, whole ones.
        source: How to read it.
        where: The file's name.

    Raises:
        ReadingError: If the first row holds values, or the second units, and not names.
        InputError: If nothing is below the lines to leave out, or a name occurs twice.
    """
    csv.field_size_limit(MAX_ROW)
    lines = list(split_lines(sample))
    if source.comment:
        lines = ["\n" if line.startswith(source.comment) else line for line in lines]
    skipped, delimiter, assumed = lines_above(lines, source)
    rest = "".join(lines[skipped:])
    if not rest.strip():
        raise InputError(
            f"the file has nothing below the {skipped} lines that are left out",
            where=where,
            remedy="Set skip_lines to the number of lines above the table.",
        )
    dialect = detect_dialect(rest, given=delimiter, where=where)
    first = _First(dialect.rows(split_lines(rest)), skipped)
    found = _read(first, source, dialect, where)
    if first.begins is not None and found.lines == first.line:
        found = replace(found, header="".join(lines[first.begins : first.line]))
    return replace(found, assumptions=(*assumed, *found.assumptions))


class _First:
    """The first row of a table that holds anything, and those below it."""

    def __init__(self, reader: Any, skipped: int) -> None:
        self.cells: list[str] = []
        self.begins: int | None = None
        while not any(cell.strip() for cell in self.cells):
            self.begins = reader.line_num + skipped
            row = next(reader, None)
            if row is None:
                break
            self.cells = row
        self.line: int = reader.line_num + skipped
        self.body: list[list[str]] = []
        # The reader of the rows reports what is wrong with them.
        with contextlib.suppress(csv.Error):
            self.body = [row for row in itertools.islice(reader, LOOKED_AT) if any(row)]


def _read(first: _First, source: SourceSpec, dialect: Dialect, where: str) -> Top:
    """Return the names of the columns, from the first row or the settings."""
    if len(first.cells) == 1 and not source.delimiter:
        _check_spaces(first, where)
    opinion = verdict(first.cells, first.body, source.na_values)
    place = f"{where}: line {first.line}"
    assumed = []
    if source.header == "auto":
        headed, assumptions = _decided(first, source, opinion, place)
        assumed += assumptions
    else:
        headed = source.header
        if not headed and opinion == "names" and first.body:
            assumed.append(_looks_like_names(first))
    width = len(first.cells)
    if headed and all(len(row) == width + 1 and not row[-1].strip() for row in first.body):
        width += bool(first.body)
    if headed and source.header == "auto" and first.body:
        _check_units(first, source, place)
    if headed and not source.names:
        _check_row_names(first, source, place)
    names = _names(first, source, headed=headed, width=width, place=place)
    index = names[0] if headed and not source.names and _is_index(first) else ""
    assumed += _indexes(names, index) if headed else []
    if headed and not source.names:
        assumed += _nameless(first.cells, names, index)
    lines = first.line if headed else first.begins or 0
    return Top(dialect, names, lines, "", tuple(assumed), index)


def _decided(
    first: _First, source: SourceSpec, opinion: Verdict, place: str
) -> tuple[bool, list[Assumption]]:
    """Return whether the first row is taken for names, and what to say of it."""
    shown = ", ".join(first.cells)
    if source.names:
        given = [cell.strip() for cell in first.cells] == list(source.names)
        headed = given or opinion == "names"
        what = "was taken for a row of names, which names replaces" if headed else "is a row"
        assumption = Assumption(
            risk="medium",
            text=f"The first row, {shown!r:.80}, {what}",
            setting=f"header: {'false' if headed else 'true'}",
        )
        return headed, [] if given else [assumption]
    if opinion == "data":
        raise ReadingError(
            f"the first row looks like values, not like column names: {shown!r:.80}",
            where=place,
            remedy="If the file has no row of names, set header: false, and names: [...] to name "
            "the columns; if these are the names, set header: true.",
            proposal={"header": False},
        )
    if opinion == "names":
        return True, []
    assumption = Assumption(
        risk="high",
        text=f"The first row, {shown!r:.80}, was taken for the names of the columns, though it "
        "could be values",
        setting="header: false",
    )
    return True, [assumption]


def _looks_like_names(first: _First) -> Assumption:
    return Assumption(
        risk="high",
        text=f"The first row, {', '.join(first.cells)!r:.80}, was read as values, as header: false "
        "says, though it looks like names",
        setting="header: true",
    )


def _check_spaces(first: _First, where: str) -> None:
    """Refuse one column that would be several if spaces were the delimiter."""
    rows = [first.cells, *first.body]
    count = words_apart(rows)
    if not count:
        return
    what = f"each row is one cell of {count} words, most of them numbers: {first.cells[0]!r:.80}"
    if any("  " in row[0] or row[0] != row[0].strip() for row in rows):
        raise InputError(
            what,
            where=where,
            remedy="Columns that several spaces separate are not read: write the table as CSV.",
        )
    raise ReadingError(
        what,
        where=where,
        remedy="If spaces separate the columns, set delimiter: ' '; if it is one column of text, "
        "set delimiter: ','.",
        proposal={"delimiter": " "},
    )


def _check_units(first: _First, source: SourceSpec, place: str) -> None:
    """Refuse a second row that holds units."""
    row = first.body[0]
    if not holds_units(row, first.body[1:]):
        return
    names = _names(first, source, headed=True, width=len(first.cells), place=place)
    raise ReadingError(
        f"the row below the names looks like units, not like values: {', '.join(row)!r:.80}",
        where=f"{place.rpartition(' ')[0]} {first.line + 1}",
        remedy=f"To leave it out, set skip_lines: {first.line + 1}, header: false and names: "
        f"[{', '.join(names)}]; if it is a row of values, set header: true.",
        proposal={"skip_lines": first.line + 1, "header": False, "names": list(names)},
    )


def _check_row_names(first: _First, source: SourceSpec, place: str) -> None:
    """Refuse a row of names that leaves out the first column's, as R writes it."""
    width = len(first.cells) + 1
    if len(first.body) < _FEW or any(len(row) != width for row in first.body):
        return
    if not any(row[-1].strip() for row in first.body):
        return
    names = ["column_1", *_names(first, source, headed=True, width=width - 1, place=place)]
    raise ReadingError(
        f"the first row has {width - 1} names, the rows below it have {width} cells",
        where=place,
        remedy=f"If the first column has no name, set header: true and names: "
        f"[{', '.join(names)}].",
        proposal={"header": True, "names": names},
    )


def _is_index(first: _First) -> bool:
    """Whether the first column has no name and numbers the rows, as pandas writes its index."""
    if first.cells[0].strip() or len(first.body) < _FEW:
        return False
    cells = [row[0].strip() for row in first.body if row]
    return len(set(cells)) == len(cells) and all(map(str.isdecimal, cells))


def _indexes(names: Sequence[str], index: str) -> list[Assumption]:
    """Return what to say of columns that are an index of pandas."""
    if index:
        assumption = Assumption(
            risk="medium",
            column=index,
            text="The first column has no name and numbers the rows, as pandas writes an index; "
            "it was left out",
            setting="names: [...] with a name for it reads it",
        )
        return [assumption]
    return [
        Assumption(
            risk="medium",
            column=name,
            text=f"{name!r} looks like the number of a row, which pandas wrote; it is a column",
            setting=f"exclude: [{name!r}] leaves it out",
        )
        for name in names
        if re.fullmatch(r"Unnamed: [0-9]+(\.[0-9]+)*", name)
    ]


def _names(
    first: _First, source: SourceSpec, *, headed: bool, width: int, place: str
) -> tuple[str, ...]:
    """Return a name for each column.

    Raises:
        InputError: If the settings give another number of names, or one occurs twice.
    """
    widths = {len(first.cells), *(len(row) for row in first.body[:1])}
    if source.names and len(source.names) not in widths:
        raise InputError(
            f"names gives {len(source.names)} names, the rows have {max(widths)} cells",
            where=place,
            remedy="Give one name for each column.",
        )
    cells = list(source.names) if source.names else first.cells if headed else []
    cells = [cell.strip() if source.strip else cell for cell in cells]
    cells += [""] * (width - len(cells))
    names = tuple(name or f"column_{number}" for number, name in enumerate(cells, start=1))
    check_unique(names, where=place, renaming=headed)
    return names


def _nameless(cells: Sequence[str], names: Sequence[str], index: str) -> list[Assumption]:
    """Return what to say of columns whose place in the row of names is empty."""
    return [
        Assumption(
            risk="low",
            column=name,
            text=f"Column {number} has no name in the first row and was called {name}",
            setting=f"exclude: [{name}] leaves it out, names: [...] names all columns",
        )
        for number, name in enumerate(names, start=1)
        if name != index and not "".join(cells[number - 1 : number]).strip()
    ]
