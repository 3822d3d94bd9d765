"""Takes the lines of one writer from where they were read last, and counts those that are gone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from penstock.captures.cursor import Position
from penstock.captures.stores import Part, Written

_TIME = re.compile(rb'"time":\s*"([^"]*)"')


@dataclass
class Taken:
    """What was read of one writer.

    Attributes:
        written: The writer.
        position: How far it is read now.
        blocks: Whole lines, as they lie there: rows, erased ones, and what a disk has spoiled.
        lost: Rows that are gone, without those that the lines turn out not to hold.
        since: Segments that are wholly before this time are not kept in `blocks`.
    """

    written: Written
    position: Position
    blocks: list[bytes] = field(default_factory=list)
    lost: int = 0
    since: str = ""


def beginning(each: Written) -> Position:
    """Return where a first look begins: what was removed or dropped before counts for nothing."""
    if not each.parts:
        return Position(rows=each.rows, lost=each.dropped + each.unwritten)
    first = each.parts[0]
    return Position(number=first.number, rows=first.before, lost=first.dropped_before)


def take(each: Written, position: Position, end: str | None, *, since: str = "") -> Taken:
    """Take the lines of a writer.

    Args:
        each: The writer.
        position: How far it was read.
        end: Lines of this time or later are left; None: take all.
        since: Segments that are wholly before this time are counted, and their lines not kept.
    """
    taken = Taken(each, position, since=since)
    whole = True
    for part, later in _with_later(each.parts, end):
        if part.number < taken.position.number:
            continue
        if end is not None and part.first and min(part.first, later or part.first) >= end:
            whole = False
            break
        if not _read(part, taken, later, end):
            whole = False
            break
    unread = each.rows - taken.position.rows
    missing = 0
    if whole and unread > 0 and not any(part.rows is None for part in each.parts):
        # Of the last segments nothing is left.
        missing = unread
    dropped = max(0, each.dropped + each.unwritten - taken.position.lost)
    taken.lost += missing + dropped
    rows, lost = taken.position.rows + missing, taken.position.lost + dropped
    ended = taken.position.ended or (whole and each.ended)
    taken.position = taken.position.model_copy(update={"rows": rows, "lost": lost, "ended": ended})
    return taken


def _with_later(parts: list[Part], end: str | None) -> list[tuple[Part, str]]:
    """Return the parts, each with the earliest time in the later ones.

    Where a clock was set back, later lines are of earlier times. A line counts as no later than
    those after it, so that one of the future does not keep all others waiting.
    """
    if end is None:
        return [(part, "") for part in parts]
    later, found = "", []
    for part in reversed(parts):
        found.append((part, later))
        later = min(filter(None, (later, part.first)), default="")
    return found[::-1]


def _read(part: Part, taken: Taken, later: str, end: str | None) -> bool:
    """Take the lines of a segment; return whether all of it was taken that there will ever be."""
    position = taken.position
    begun = part.number == position.number
    lines_before, offset = (position.lines, position.offset) if begun else (0, 0)
    lost = max(0, part.before + lines_before - position.rows)
    try:
        data = part.read()
    except FileNotFoundError:
        # Removed meanwhile: what follows tells how much it held.
        return True
    except ValueError:
        # Torn as a whole: it is not what its manifest names.
        assert part.rows is not None
        taken.lost += lost + part.rows - lines_before
        _advance(taken, part, rows=part.before + part.rows)
        return True
    lines = data[offset : data.rfind(b"\n") + 1].splitlines(keepends=True)
    if part.rows is not None:
        lines = lines[: part.rows - lines_before]
    kept = len(lines) if end is None else _kept(lines, later, end)
    block = b"".join(lines[:kept])
    taken.lost += lost
    if block and not "" < part.last < taken.since:
        taken.blocks.append(block)
    read = lines_before + kept
    if kept == len(lines) and part.rows is not None:
        taken.lost += part.rows - read
        _advance(taken, part, rows=part.before + part.rows)
        return True
    taken.position = Position(
        number=part.number,
        lines=read,
        offset=offset + len(block),
        rows=part.before + read,
        lost=position.lost,
    )
    return False


def _advance(taken: Taken, part: Part, *, rows: int) -> None:
    taken.position = Position(number=part.number + 1, rows=rows, lost=taken.position.lost)


def _kept(lines: Sequence[bytes], later: str, end: str) -> int:
    """Return how many lines come before the first whose time, and all times after it, are late."""
    earliest = later
    count = len(lines)
    for index in reversed(range(len(lines))):
        found = _TIME.search(lines[index])
        if found is not None:
            time = found[1].decode("ascii", "replace")
            earliest = min(earliest or time, time)
        if earliest and earliest < end:
            break
        if earliest:
            count = index
    return count
