"""Removes shipped segments by age and size, and the folders of versions that are forgotten."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from penstock.captures import ledger, recovery
from penstock.captures.files import remove
from penstock.captures.ledger import iso
from penstock.captures.places import LocalPlace, RemotePlace, place_at, remove_unfinished
from penstock.captures.segments import KINDS, segment_id_of
from penstock.captures.stores import Part, remove_replaced, writers
from penstock.captures.unclaimed import remove_unclaimed

_MEGABYTE = 1 << 20
_LEDGER_DAYS = 60


@dataclass(frozen=True)
class Pruned:
    """What was removed.

    Attributes:
        segments: Files of rows or labels.
        rows: Rows and labels in them.
        unclaimed: Files that no manifest names, of pods and erasures that were killed.
        unreadable: Manifests that cannot be read: their segments were left, however old.
    """

    segments: int = 0
    rows: int = 0
    unclaimed: int = 0
    unreadable: tuple[str, ...] = ()


def prune(
    source: str | Path, *, days: float, megabytes: int, now: datetime | None = None
) -> Pruned:
    """Remove shipped segments that are too old, and the oldest beyond a size.

    Readers count what they had not read of them as lost. What a server still writes is left. Files
    of segments that no manifest has named for an hour are removed too.

    Args:
        source: A folder or address that segments are shipped to.
        days: Segments whose last row is older are removed; 0: none by age.
        megabytes: Size of what stays, uncompressed, of rows and of labels each; 0: whatever it is.
        now: The time; None: that of this machine.

    Raises:
        ServiceError: If a store does not answer.

    Example:
        >>> prune(Path("shipped"), days=90, megabytes=0)
        Pruned(segments=0, rows=0, unclaimed=0, unreadable=())
    """
    place = place_at(source)
    remove_unfinished(place)
    unclaimed = remove_unclaimed(place, now=now)
    oldest = iso((now or datetime.now(UTC)).astimezone(UTC) - timedelta(days=days)) if days else ""
    segments = rows = 0
    unreadable: list[str] = []
    for kind in KINDS:
        there = writers(place, kinds=[kind], unreadable=unreadable.append)
        shipped = [each for each in there if each.shipped]
        found = [part for each in shipped for part in each.parts]
        found.sort(key=lambda part: (part.last, part.number), reverse=True)
        kept = 0
        for part in found:
            kept += part.size
            beyond = megabytes and kept > megabytes * _MEGABYTE
            if (part.last and part.last < oldest) or beyond:
                _remove(place, part)
                segments += 1
                rows += part.rows or 0
    return Pruned(segments, rows, unclaimed.removed, tuple(unreadable))


def _remove(place: LocalPlace | RemotePlace, part: Part) -> None:
    """Remove the manifest last: rows of which nobody knows could never be erased or removed."""
    folder, name = part.file
    remove_replaced(place, part)
    place.remove(folder, name)
    place.remove(folder, f"{name.split('.')[0]}.json")


def forget(folder: Path) -> None:
    """Remove the rows in a folder that no server writes into, and keep count of them.

    What cannot be removed stays. Ledgers stay until nobody can be waiting for their counts.
    """
    with contextlib.suppress(OSError):
        recovery.recover(folder)
    for path in sorted(folder.glob("*.jsonl")):
        named = segment_id_of(path.name)
        with contextlib.suppress(OSError):
            if named is not None:
                remove(path, named[0], why="version")
            elif ledger.writer_of(path.name) and _is_old(path):
                path.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()


def _is_old(path: Path) -> bool:
    changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return changed < datetime.now(UTC) - timedelta(days=_LEDGER_DAYS)
