"""What there is of captured rows and labels, without reading them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from penstock.captures.places import place_at
from penstock.captures.stores import Part, writers


@dataclass
class Listed:
    """What is left of one version's rows in one folder.

    Attributes:
        folder: The folder, below the source.
        version: The model's version; empty: not noted.
        files: Files or segments of rows and labels.
        rows: Rows in them, without those that were erased; the file that is still written counts
            as it stands.
        labels: Labels in them, those of rows that no server remembered included.
        dropped: Rows that were dropped since the beginning of the oldest file's server.
        unwritten: Rows that servers which were killed had not written yet.
        removed: Rows in files that are gone, for space, for age or otherwise.
        first: Time of the oldest row that is left; empty: there is none.
        last: Time of the newest.
        size: Bytes of the lines of rows and labels that are left, before they are compressed.
    """

    folder: str
    version: str
    files: int = 0
    rows: int = 0
    labels: int = 0
    dropped: int = 0
    unwritten: int = 0
    removed: int = 0
    first: str = ""
    last: str = ""
    size: int = 0
    _times: list[str] = field(default_factory=list, repr=False)


def listed(source: str | Path) -> list[Listed]:
    """Return what there is below a folder or address, by folder and version.

    Raises:
        InputError: If the address is of no known store.
        ServiceError: If a store does not answer.

    Example:
        >>> listed(Path("captures"))
        []
    """
    found: dict[tuple[str, str], Listed] = {}
    for each in writers(place_at(source)):
        key = each.folder, each.model.version if each.model else ""
        entry = found.setdefault(key, Listed(*key))
        found_in = [_left_in(part) for part in each.parts]
        left = sum(rows for rows, _ in found_in)
        entry.files += len(each.parts)
        entry.size += sum(size for _, size in found_in)
        if each.kind != "predictions":
            entry.labels += left
            continue
        entry.rows += left
        entry.dropped += each.dropped
        entry.unwritten += each.unwritten
        closed = sum(part.rows for part in each.parts if part.rows is not None)
        entry.removed += max(0, each.rows - closed)
        entry._times += [t for part in each.parts for t in (part.first, part.last) if t]
    for entry in found.values():
        entry.first = min(entry._times, default="")
        entry.last = max(entry._times, default="")
    return [entry for _, entry in sorted(found.items())]


def _left_in(part: Part) -> tuple[int, int]:
    """Return rows and bytes of a segment; of one that is still written as it stands."""
    if part.rows is not None:
        return part.rows - part.erased, part.size
    try:
        lines = part.read()
    except FileNotFoundError:
        return 0, 0
    return sum(not line.isspace() for line in lines.splitlines()), len(lines)
