"""Takes the lines of one writer from where they were read last, and counts those that are gone."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import orjson

from penstock.captures.cursor import Position
from penstock.captures.stores import Part, Written


@dataclass
class Taken:
    """What was read of one writer."""

    written: Written
    position: Position
    lines: list[dict[str, Any]] = field(default_factory=list)
    lost: int = 0
    erased: int = 0


def beginning(each: Written) -> Position:
    """Return where a first look begins: what was removed or dropped before counts for nothing."""
    if not each.parts:
        return Position(rows=each.rows, lost=each.dropped + each.unwritten)
    first = each.parts[0]
    return Position(number=first.number, rows=first.before, lost=first.dropped_before)


def take(each: Written, position: Position, end: str | None, needed: Collection[str]) -> Taken:
    """Take the lines of a writer.

    Args:
        each: The writer.
        position: How far it was read.
        end: Lines of this time or later are left; None: take all.
        needed: Fields that a line must have.
    """
    taken = Taken(each, position)
    whole = True
    for part, later in _with_later(each.parts, end):
        if part.number < taken.position.number:
            continue
        if end is not None and part.first and min(part.first, later or part.first) >= end:
            whole = False
            break
        if not _read(part, taken, later, end, needed):
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
    taken.position = taken.position.model_copy(update={"rows": rows, "lost": lost})
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


def _read(part: Part, taken: Taken, later: str, end: str | None, needed: Collection[str]) -> bool:
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
    parsed = [_parsed(line, needed) for line in lines]
    kept = len(lines) if end is None else _kept(parsed, later, end)
    taken.lost += lost
    for line, found in itertools.islice(zip(lines, parsed, strict=True), kept):
        if found is not None:
            taken.lines.append(found)
        elif line.isspace():
            taken.erased += 1
        else:
            taken.lost += 1
    read = lines_before + kept
    if kept == len(lines) and part.rows is not None:
        taken.lost += part.rows - read
        _advance(taken, part, rows=part.before + part.rows)
        return True
    taken.position = Position(
        number=part.number,
        lines=read,
        offset=offset + sum(map(len, lines[:kept])),
        rows=part.before + read,
        lost=position.lost,
    )
    return False


def _advance(taken: Taken, part: Part, *, rows: int) -> None:
    taken.position = Position(number=part.number + 1, rows=rows, lost=taken.position.lost)


def _parsed(line: bytes, needed: Collection[str]) -> dict[str, Any] | None:
    """Return a line that holds what it must, None of any other."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    whole = isinstance(found, dict) and all(name in found for name in needed)
    whole = whole and isinstance(found["time"], str) and isinstance(found["request_id"], str)
    return found if whole else None


def _kept(parsed: list[dict[str, Any] | None], later: str, end: str) -> int:
    """Return how many lines come before the first whose time, and all times after it, are late."""
    earliest = later
    count = len(parsed)
    for index in reversed(range(len(parsed))):
        line = parsed[index]
        if line is not None:
            earliest = min(earliest or line["time"], line["time"])
        if earliest and earliest < end:
            break
        if earliest:
            count = index
    return count
