"""Putting another file in a shipped segment's place, also while others do.

Not every store has a lock or a conditional write. None is needed: an erased line is as many spaces,
so two files of one segment are united by the spaces of both. Whoever erases writes a file of a name
of its own, then the manifest, and looks again: at all files of the segment, whoever wrote them. A
file is written before the manifest that names it, so whoever writes the manifest last sees what the
others have erased, and erases it too.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from penstock.captures.places import LocalPlace, RemotePlace, digest_of, packed
from penstock.captures.segments import Manifest
from penstock.errors import ServiceError

Found = TypeVar("Found")

Span = tuple[int, int]
"""Where a line is: its offset, and its length without the line break."""

_LOOKS = 20


@dataclass(frozen=True)
class _Seen:
    """A segment at one look.

    Attributes:
        manifest: Its manifest.
        files: The lines of each of its files that is there, but for those that were replaced.
    """

    manifest: Manifest
    files: Mapping[str, bytes]

    @property
    def data(self) -> bytes:
        """Its lines, united over all of its files, which differ in nothing but erased lines."""
        first, *others = self.files.values()
        for other in others:
            first = blanked(first, [span for span, line in spans_of(other) if line.isspace()])
        return first


def erase_shipped(
    place: LocalPlace | RemotePlace,
    folder: str,
    stem: str,
    find: Callable[[bytes], Mapping[Span, Found]],
) -> list[Found]:
    """Erase lines of a shipped segment, and return what was found in them.

    Args:
        place: Where it is.
        folder: The folder.
        stem: The beginning of its files' names.
        find: Returns the lines to be erased of those that it is given, and what is in them.

    Raises:
        ValueError: If a file is not what its manifest says.
        ServiceError: If others erase from it again and again, or the store does not answer.
    """
    found: dict[Span, Found] = {}
    own: list[str] = []
    for _ in range(_LOOKS):
        seen = _look(place, folder, stem)
        if seen is None:
            break
        hits = [find(lines) for lines in seen.files.values()]
        data = blanked(seen.data, [span for one in hits for span in one])
        if seen.files.get(seen.manifest.file) == data:
            for name in set(own).intersection(seen.manifest.replaced):
                place.remove(folder, name)
            return list(found.values())
        written = _write(place, folder, stem, seen, data)
        if not written:
            break
        own += [seen.manifest.file, written]
        for one in hits:
            found |= {span: one[span] for span in one if span not in found}
    else:
        raise _contended(folder, stem)
    # Removed meanwhile, by a pruning: nothing of it is left.
    return list(found.values())


def _contended(folder: str, stem: str) -> ServiceError:
    return ServiceError(
        "others erase from the segment at the same time, again and again",
        where=f"{folder}/{stem}",
        remedy="Erase again once they have ended.",
    )


def read_shipped(place: LocalPlace | RemotePlace, folder: str, stem: str) -> bytes | None:
    """Return the lines of a shipped segment; None: it is gone.

    Raises:
        ValueError: If a file is not what its manifest says.
    """
    seen = _look(place, folder, stem)
    return None if seen is None else seen.data


def blanked(data: bytes, spans: Collection[Span]) -> bytes:
    r"""Return lines of which some are as many spaces.

    Example:
        >>> blanked(b"one\ntwo\n", [(4, 3)])
        b'one\n   \n'
    """
    made = bytearray(data)
    for offset, length in spans:
        made[offset : offset + length] = b" " * length
    return bytes(made)


def spans_of(data: bytes) -> Iterator[tuple[Span, bytes]]:
    """Yield where each line is, and the line."""
    offset = 0
    for line in data.splitlines(keepends=True):
        bare = line.rstrip(b"\n")
        yield (offset, len(bare)), bare
        offset += len(line)


def _look(place: LocalPlace | RemotePlace, folder: str, stem: str) -> _Seen | None:
    for _ in range(_LOOKS):
        try:
            manifest = Manifest.loads(place.read(folder, f"{stem}.json").decode(), where=stem)
        except FileNotFoundError:
            return None
        lines = _lines(place, folder, stem, manifest)
        if lines:
            return _Seen(manifest, lines)
        # Replaced between the two reads, or about to be removed by a pruning.
        if _unchanged(place, folder, stem, manifest):
            return None
    return None


def _unchanged(place: LocalPlace | RemotePlace, folder: str, stem: str, manifest: Manifest) -> bool:
    try:
        now = Manifest.loads(place.read(folder, f"{stem}.json").decode(), where=stem)
    except FileNotFoundError:
        return True
    return now.file == manifest.file


def _lines(
    place: LocalPlace | RemotePlace, folder: str, stem: str, manifest: Manifest
) -> dict[str, bytes]:
    """Return the lines of each file of a segment that is there, whole, and was not replaced."""
    names = [name for name in place.names(folder, f"{stem}.") if name.endswith(".jsonl.gz")]
    found = {}
    for name in dict.fromkeys([manifest.file, *names]):
        if name in manifest.replaced:
            continue
        try:
            data = place.read(folder, name)
        except FileNotFoundError:
            continue
        if name == manifest.file and digest_of(data) != manifest.file_digest:
            raise ValueError("the file is not the one that its manifest names")
        try:
            lines = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            if name == manifest.file:
                raise ValueError(str(error)) from error
            continue
        if name == manifest.file or len(lines) == manifest.segment.bytes:
            found[name] = lines
    return found


def _write(
    place: LocalPlace | RemotePlace, folder: str, stem: str, seen: _Seen, data: bytes
) -> str:
    """Write a file and the manifest that names it, and return its name; empty: it is removed.

    The manifest decides which file is read.
    """
    compressed = packed(data)
    name = f"{stem}.{digest_of(compressed)[7:19]}.jsonl.gz"
    before = dict.fromkeys((*seen.manifest.replaced, seen.manifest.file, *seen.files))
    changed = seen.manifest.model_copy(
        update={
            "file": name,
            "file_digest": digest_of(compressed),
            "erased": sum(line.isspace() for _, line in spans_of(data)),
            "replaced": tuple(one for one in before if one != name),
        }
    )
    place.write(folder, name, compressed)
    if place.written(folder, f"{stem}.json") is None:
        place.remove(folder, name)
        return ""
    place.write(folder, f"{stem}.json", changed.dumps().encode())
    return name
