"""The project's page on captured rows: how many, how many were lost, how large, how old."""

from __future__ import annotations

from datetime import datetime

from penstock.captures.listing import Listed
from penstock.pipelines.ui.parts import Row, clock, section
from penstock.pipelines.ui.seen import Seen
from penstock.reports.page import Cell, Section, paragraph, preformatted

_HEADERS = ["Version", "Rows", "Labels", "Lost", "Removed", "Size", "Oldest", "Newest", "Folder"]
_KILO = 1000


def captures(seen: Seen) -> Section:
    """Return what was captured on this machine, by version and folder."""
    if seen.captures.value is None:
        return Section(
            "Captures",
            paragraph("Its rows are captured on the cluster. What there is of them:")
            + preformatted("penstock captures list"),
        )
    rows = [_row(one) for one in seen.captures.value]
    lead = (
        "Lost rows were answered and not written: dropped, or in memory when a server was killed. "
        "Removed ones were removed for space or age. Read them with: penstock captures export."
    )
    return section(
        "Captures",
        _HEADERS,
        rows,
        none="Nothing was captured yet.",
        lead=lead if rows else "",
        numeric=range(1, 6),
        problems=seen.captures.problems,
    )


def _row(one: Listed) -> Row:
    lost = one.dropped + one.unwritten
    return [
        Cell(one.version or "not noted", strong=True),
        f"{one.rows:,}",
        f"{one.labels:,}",
        Cell(f"{lost:,}", "warn") if lost else "0",
        f"{one.removed:,}",
        size(one.size),
        _time(one.first),
        _time(one.last),
        one.folder,
    ]


def size(count: int) -> str:
    """Return a number of bytes in its largest fitting unit.

    Example:
        >>> size(999), size(1_234_000)
        ('999 B', '1.2 MB')
    """
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < _KILO:
            break
        value, unit = value / _KILO, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def _time(text: str) -> str:
    try:
        return clock(datetime.fromisoformat(text))
    except ValueError:
        return text or "-"
