"""Files of shipped segments that no manifest names: rows that nobody can read or erase.

A pod that dies between a segment's file and its manifest leaves one, and an erasure that dies
before it has written the manifest anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from penstock.captures.places import UNFINISHED_SECONDS, Place
from penstock.captures.segments import Manifest, segment_id_of
from penstock.errors import PenstockError

_SUFFIX = ".jsonl.gz"


@dataclass(frozen=True)
class Unclaimed:
    """What was found of such files.

    Attributes:
        removed: How many were removed.
        young: How many are left: their manifests may be on the way.
    """

    removed: int = 0
    young: int = 0


def remove_unclaimed(place: Place, *, now: datetime | None = None) -> Unclaimed:
    """Remove the files that no manifest has named for an hour.

    Nobody can have read them: without a manifest a segment is not there, and its rows are counted
    as lost where later ones of its writer are. A pod that is still there ships its segment again.

    Args:
        place: Where segments are shipped to.
        now: The time; None: that of this machine.

    Raises:
        ServiceError: If a store does not answer.
    """
    moment = (now or datetime.now(UTC)).timestamp()
    removed = young = 0
    for folder, names in place.folders().items():
        if not any(_unclaimed(place, folder, names)):
            continue
        # Listed again: what was shipped since has its manifest now.
        for name in _unclaimed(place, folder, place.names(folder)):
            written = place.written(folder, name)
            if written is None:
                continue
            if moment - written < UNFINISHED_SECONDS:
                young += 1
                continue
            place.remove(folder, name)
            removed += 1
    return Unclaimed(removed, young)


def _unclaimed(place: Place, folder: str, names: Collection[str]) -> Iterator[str]:
    files: dict[str, list[str]] = {}
    for name in names:
        stem = name.split(".")[0]
        if name.endswith(_SUFFIX) and segment_id_of(stem + _SUFFIX):
            files.setdefault(stem, []).append(name)
    for stem, found in files.items():
        if f"{stem}.json" not in names:
            yield from found
        elif len(found) > 1:
            claimed = _claimed(place, folder, f"{stem}.json")
            if claimed in found:
                yield from (name for name in found if name != claimed)


def _claimed(place: Place, folder: str, name: str) -> str:
    """Return the file that a manifest names; empty: it says nothing that is understood."""
    try:
        return Manifest.loads(place.read(folder, name).decode(), where=name).file
    except (FileNotFoundError, UnicodeDecodeError, PenstockError):
        return ""
