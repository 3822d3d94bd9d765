"""What the sections of the project's page share: tables, links, times, problems."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path

from penstock.pipelines.outputs import PAGES, PastRun
from penstock.reports.page import Cell, Section, paragraph, table, warning

Row = list[str | Cell]

_DIGITS = 8


def clock(time: datetime | None) -> str:
    """Return a time by this machine's clock, or that it is not known."""
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}" if time else "not known"


def short(digest: str) -> str:
    """Return enough of a digest to tell it from others.

    Example:
        >>> short("rows1:0123456789abcdef0123456789abcdef")
        'rows1:01234567'
    """
    kind, mark, figures = digest.rpartition(":")
    return f"{kind}{mark}{figures[:_DIGITS]}"


def links(run: PastRun, *names: str, home: Path) -> tuple[tuple[str, str], ...]:
    """Return text and address of those pages of a run that there are."""
    return tuple(
        (PAGES[name], address(run.pages[name], home=home)) for name in names if name in run.pages
    )


def address(path: Path, *, home: Path) -> str:
    """Return where a page is, seen from the index: the home can be moved as a whole."""
    return path.relative_to(home).as_posix()


def section(
    title: str,
    headers: Sequence[str],
    rows: Sequence[Row],
    *,
    none: str,
    lead: str = "",
    numeric: Collection[int] = (),
    problems: Sequence[str] = (),
    before: str = "",
    after: str = "",
) -> Section:
    """Return a section with a table.

    Args:
        title: Of the section.
        headers: Of the columns.
        rows: What there is.
        none: What is said where there is nothing; not where it could not be read.
        lead: A sentence under the title.
        numeric: Columns of figures.
        problems: What could not be read, and why. It comes first.
        before: HTML above the table.
        after: HTML below it.
    """
    body = "".join(map(warning, problems)) + before
    if rows:
        body += table(headers, rows, numeric=numeric)
    elif not problems:
        body += paragraph(none)
    return Section(title, body + after, lead=lead)
