"""Ships closed segments from a spool to a store: each whole, in order, then removed here.

A segment is a compressed file and, written after it, a manifest. Until the manifest is there the
segment is not; a kill in between ships the same bytes under the same name again. Once it is there,
nothing is put in its place from here.
"""

from __future__ import annotations

from pathlib import Path

from penstock.captures import ledger
from penstock.captures.files import remove
from penstock.captures.ledger import WriterLog
from penstock.captures.places import LocalPlace, RemotePlace, digest_of, packed
from penstock.captures.segments import CapturedModel, Ended, Manifest, Segment


def folder_of(model: CapturedModel | None, pod: str) -> str:
    """Return the folder below the destination that a pod's segments go to."""
    service = model.service if model and model.service else "unnamed"
    version = model.version if model and model.version else "unknown"
    return f"{service}/{version}/{pod}"


def ship(spool: Path, place: LocalPlace | RemotePlace, *, pod: str) -> int:
    """Ship what is closed; return how many rows and labels were.

    Args:
        spool: The folder that a server captures into.
        place: Where to.
        pod: Name of this host.

    Raises:
        ServiceError: If the store does not take one; what was shipped before it is.
        OSError: If the spool cannot be read.
    """
    rows = 0
    for path in sorted(spool.glob("ledger-*.jsonl")):
        log = ledger.read_ledger(path)
        folder = folder_of(log.model, pod)
        for segment in _waiting(spool, log):
            rows += _ship(spool, place, folder, segment, log, pod)
        if log.ended is not None:
            _end(place, folder, path, log, pod)
    return rows


def _waiting(spool: Path, log: WriterLog) -> list[Segment]:
    closed = [
        segment
        for each, segment in log.closed.items()
        if each not in log.removed and (spool / log.opened[each].file).exists()
    ]
    return sorted(closed, key=lambda segment: (segment.id.kind, segment.id.number))


def _ship(
    spool: Path,
    place: LocalPlace | RemotePlace,
    folder: str,
    segment: Segment,
    log: WriterLog,
    pod: str,
) -> int:
    path = spool / log.opened[segment.id].file
    if place.written(folder, f"{segment.id.stem}.json") is not None:
        # Shipped before a kill; somebody may have erased from it there since.
        remove(path, segment.id, why="shipped")
        return segment.rows
    data = packed(path.read_bytes()[: segment.bytes])
    name = f"{segment.id.stem}.jsonl.gz"
    manifest = Manifest(
        segment=segment,
        file=name,
        file_digest=digest_of(data),
        pod=pod,
        sample=log.sample,
        model=log.model,
        erased=log.erased.get(segment.id, 0),
    )
    place.write(folder, name, data)
    place.write(folder, f"{segment.id.stem}.json", manifest.dumps().encode())
    remove(path, segment.id, why="shipped")
    return segment.rows


def _end(
    place: LocalPlace | RemotePlace, folder: str, path: Path, log: WriterLog, pod: str
) -> None:
    """Ship the end of a writer, then remove its ledger, which nobody needs any more."""
    assert log.ended is not None
    writer = ledger.writer_of(path.name)
    end = Ended(
        writer=writer,
        pod=pod,
        model=log.model,
        written={kind: log.written(kind) for kind in log.kinds},
        dropped=log.ended["dropped"],
        unwritten=log.ended["unwritten"],
    )
    place.write(folder, f"ended-{writer}.json", end.dumps().encode())
    path.unlink(missing_ok=True)
