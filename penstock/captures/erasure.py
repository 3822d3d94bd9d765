"""Erases captured rows: of a request, or those in which a column has a value, and labels of them.

A line that is erased becomes as many spaces, so that every other line stays where cursors look for
it. A file is rewritten whole or not at all. What is recorded says what was asked for, when and how
much it was, and no value.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from penstock.captures import ledger
from penstock.captures.places import LocalPlace, RemotePlace, place_at, remove_unfinished
from penstock.captures.replacing import Span, blanked, erase_shipped, read_shipped, spans_of
from penstock.captures.segments import LABELS, Kind, SegmentId
from penstock.captures.stores import Part, Written, remove_replaced, writers
from penstock.captures.unclaimed import Unclaimed, remove_unclaimed
from penstock.errors import InputError

_PREDICTIONS: tuple[Kind, ...] = ("predictions",)

RECORDS = "erasures"
"""Folder of a store, or of captures, in which each erasure is recorded."""

Row = tuple[str, int]
Chosen = Callable[[dict[str, Any]], bool]


@dataclass(frozen=True)
class Erased:
    """What was erased.

    Attributes:
        rows: Rows.
        labels: Labels.
        files: Files that were rewritten.
        unclaimed: Files that no manifest names. Those that had none for an hour were removed,
            whatever rows they held: nobody could read them.
    """

    rows: int
    labels: int
    files: int
    unclaimed: Unclaimed = field(default_factory=Unclaimed)


def erase_request(source: str | Path, request_id: str) -> Erased:
    """Erase the rows and labels of a request.

    Args:
        source: A capture folder, or a folder or address above some.
        request_id: The request.

    Raises:
        InputError: If a file is not what its manifest names, or a manifest cannot be read.
        ServiceError: If a store does not answer, or does not take what is written.

    Example:
        >>> erase_request(Path("captures"), "order-7")
        Erased(rows=0, labels=0, files=0, unclaimed=Unclaimed(removed=0, young=0))
    """
    place = place_at(source)
    unclaimed = _remove_leftovers(place)
    rows, rewritten = _erase(place, _PREDICTIONS, lambda line: line.get("request_id") == request_id)
    labels, more = _erase(place, LABELS, lambda line: line.get("request_id") == request_id)
    erased = Erased(len(rows), len(labels), rewritten + more, unclaimed)
    return _recorded(place, "a request id", erased)


def erase_where(
    source: str | Path,
    column: str,
    value: str,
    *,
    before: Callable[[Collection[Row]], object] | None = None,
) -> Erased:
    """Erase the rows in which an input has a value, and the labels of these rows.

    Args:
        source: A capture folder, or a folder or address above some.
        column: The input.
        value: The value as text; a number matches whichever way it is written, a boolean as `true`
            or `false`, and an empty text matches missing values too.
        before: Called with the request and the row of each before it is erased here: for what is
            kept elsewhere.

    Raises:
        InputError: If no row has such an input, a file is not what its manifest names, or a
            manifest cannot be read.
        ServiceError: If a store does not answer, or does not take what is written.

    Example:
        >>> erase_where(Path("captures"), "email", "ann@example.com")
        Traceback (most recent call last):
        ...
        penstock.errors.InputError: captures: no captured row has an input 'email'.
    """
    place = place_at(source)
    unclaimed = _remove_leftovers(place)
    known = False

    def chosen(line: dict[str, Any]) -> bool:
        nonlocal known
        inputs = line.get("inputs", {})
        known = known or column in inputs
        return column in inputs and _same(inputs[column], value)

    found, _ = _erase(place, _PREDICTIONS, chosen, look=True)
    if not known:
        raise InputError(f"no captured row has an input {column!r}", where=str(source))
    those = set(found)
    if before is not None:
        before(those)
    # Labels first: once the rows are gone, nobody knows which labels are theirs.
    labels, rewritten = _erase(
        place, LABELS, lambda line: (line.get("request_id"), line.get("row")) in those
    )
    rows, more = _erase(place, _PREDICTIONS, chosen)
    what = f"rows by the value of {column}"
    return _recorded(place, what, Erased(len(rows), len(labels), rewritten + more, unclaimed))


def _remove_leftovers(place: LocalPlace | RemotePlace) -> Unclaimed:
    """Remove what killed writes have left, which cannot be read and so not be erased from."""
    remove_unfinished(place)
    return remove_unclaimed(place)


def _erase(
    place: LocalPlace | RemotePlace, kinds: Collection[Kind], chosen: Chosen, *, look: bool = False
) -> tuple[list[Row], int]:
    found: list[Row] = []
    files = 0
    for each in writers(place, kinds=kinds, unreadable=_refuse):
        for part in each.parts:
            if not look:
                remove_replaced(place, part)
            rows = _rewrite(place, each, part, chosen, look=look)
            found += rows
            files += bool(rows)
    return found, files


def _refuse(manifest: str) -> None:
    """Say of no row that it is erased while it may stand in a file that nobody can look into."""
    raise InputError(
        "it is not the manifest of a segment as this release writes one, so it is not known "
        "which rows its segment holds",
        where=manifest,
        remedy="Restore it, or remove it with the segment's files, then erase again.",
    )


def _rewrite(
    place: LocalPlace | RemotePlace, each: Written, part: Part, chosen: Chosen, *, look: bool
) -> list[Row]:
    def find(data: bytes) -> dict[Span, Row]:
        return _matching(data, chosen)

    try:
        if not each.shipped:
            return _erase_here(place, each, part, find, look=look)
        return _erase_there(place, part, find, look=look)
    except FileNotFoundError:
        # Removed meanwhile, for space: nothing of it is left.
        return []
    except ValueError as error:
        raise InputError(
            f"the segment cannot be read: {error}",
            where="/".join(part.file),
            remedy="Remove it with its manifest, or restore it, then erase again.",
        ) from error


def _matching(data: bytes, chosen: Chosen) -> dict[Span, Row]:
    """Return the lines that are to be erased, and whose they are."""
    found = {}
    for span, line in spans_of(data):
        parsed = _parsed(line)
        if parsed is not None and chosen(parsed):
            found[span] = parsed.get("request_id", ""), parsed.get("row", 0)
    return found


def _erase_there(
    place: LocalPlace | RemotePlace,
    part: Part,
    find: Callable[[bytes], dict[Span, Row]],
    *,
    look: bool,
) -> list[Row]:
    """Erase lines of a shipped segment; one with nothing to erase costs a read of its file."""
    with contextlib.suppress(FileNotFoundError):
        found = find(part.read())
        if look or not found:
            return list(found.values())
    # What is gone has been replaced since its manifest was read, or removed.
    folder, stem = part.file[0], part.file[1].split(".")[0]
    if look:
        return list(find(read_shipped(place, folder, stem) or b"").values())
    return erase_shipped(place, folder, stem, find)


def _erase_here(
    place: LocalPlace | RemotePlace,
    each: Written,
    part: Part,
    find: Callable[[bytes], dict[Span, Row]],
    *,
    look: bool,
) -> list[Row]:
    """Erase lines of a file that was not shipped: one erasure at a time on this machine."""
    assert isinstance(place, LocalPlace)
    path = place.path(*part.file)
    with _alone(path.parent):
        data = part.read()
        found = find(data)
        if found and not look:
            _blank(place, each, part, data, found)
    return list(found.values())


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let no other erasure rewrite files of a folder meanwhile; the lock ends with its holder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        # A file system without locks cannot keep two apart.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _blank(
    place: LocalPlace, each: Written, part: Part, data: bytes, spans: Collection[Span]
) -> None:
    path = place.path(*part.file)
    if part.rows is None:
        _overwrite(path, spans)
        return
    changed = path.stat()
    place.write(*part.file, blanked(data, spans))
    # Its age is that of its rows.
    os.utime(path, ns=(changed.st_atime_ns, changed.st_mtime_ns))
    if each.logged:
        segment_id = SegmentId(kind=each.kind, writer=each.writer, number=part.number)
        book = path.with_name(ledger.ledger_name(each.writer))
        ledger.append(book, "erased", id=segment_id.model_dump(), rows=len(spans))


def _overwrite(path: Path, spans: Collection[Span]) -> None:
    """Blank lines of a file that a server writes on: replaced, it would go on with the old one."""
    handle = os.open(path, os.O_WRONLY)
    try:
        for offset, length in spans:
            os.pwrite(handle, b" " * length, offset)
        os.fsync(handle)
    finally:
        os.close(handle)


def _recorded(place: LocalPlace | RemotePlace, what: str, erased: Erased) -> Erased:
    moment = ledger.now()
    record = {
        "record": "penstock/erasure",
        "schema_version": 1,
        "time": moment,
        "what": what,
        "rows": erased.rows,
        "labels": erased.labels,
        "files": erased.files,
    }
    name = f"erasure-{moment[:26].replace(':', '').replace('-', '').replace('.', '')}.json"
    if erased.files:
        place.write(RECORDS, name, orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n")
    return erased


def _same(given: Any, value: str) -> bool:
    if given is None:
        return value == ""
    if isinstance(given, bool):
        return value == ("true" if given else "false")
    if isinstance(given, int | float):
        try:
            # A float cannot tell the long numbers of two customers apart.
            return (Decimal(value) if isinstance(given, int) else float(value)) == given
        except (ValueError, ArithmeticError):
            return False
    return str(given) == value


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None
