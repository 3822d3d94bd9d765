"""The writers in a folder and the segments that are left of each, wherever they lie."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from penstock.captures import ledger, recovery
from penstock.captures.counters import ended_writer, read_counts
from penstock.captures.ledger import WriterLog
from penstock.captures.places import LocalPlace, RemotePlace, digest_of
from penstock.captures.segments import (
    KINDS,
    CapturedModel,
    Ended,
    Kind,
    Manifest,
    Segment,
    SegmentId,
    segment_id_of,
)
from penstock.errors import PenstockError


@dataclass(frozen=True)
class Part:
    """A segment that can be read.

    Attributes:
        number: Its place among its writer's.
        before: Rows that were written before it.
        rows: Lines in it; None: it is still written.
        first: Earliest time in it; empty: not known.
        last: Latest time in it, so far where it is still written; empty: not known.
        dropped_before: Rows that were dropped before it.
        file: Its file, below the source.
        read: Returns its lines as they lie there. FileNotFoundError: it is gone. ValueError: it is
            not what its manifest says.
        size: Bytes of its lines, so far where it is still written.
        erased: Lines in it that were erased, as far as that is noted.
        replaced: Files that erasures have put this one in the place of.
    """

    number: int
    before: int
    rows: int | None
    first: str
    last: str
    dropped_before: int
    file: tuple[str, str]
    read: Callable[[], bytes]
    size: int = 0
    erased: int = 0
    replaced: tuple[str, ...] = ()


@dataclass
class Written:
    """What one writer wrote of a kind.

    Attributes:
        folder: Its folder below the source.
        writer: Its name.
        kind: Rows or labels.
        model: The model that answered; None: not known.
        sample: Share of the requests that is captured.
        parts: The segments that are left, in order.
        rows: Rows in all the files that it closed, whether they are left or not.
        dropped: Rows that it dropped and counted.
        unwritten: Rows that it had accepted when it was killed.
        ended: Whether nothing more comes of it.
        shipped: Whether these are shipped segments.
        logged: Whether it has a ledger here.
    """

    folder: str
    writer: str
    kind: Kind
    model: CapturedModel | None = None
    sample: float = 1.0
    parts: list[Part] = field(default_factory=list)
    rows: int = 0
    dropped: int = 0
    unwritten: int = 0
    ended: bool = False
    shipped: bool = False
    logged: bool = False

    @property
    def key(self) -> str:
        """Names it in a cursor."""
        return f"{self.kind}:{self.folder}/{self.writer}"


Seen = Callable[[str], int]
"""Tells by a writer's key from which number its segments are of interest; `DONE`: from none."""

DONE = 1 << 62


Unreadable = Callable[[str], None]
"""Called with the path of a manifest that cannot be read."""


def writers(
    place: LocalPlace | RemotePlace,
    *,
    kinds: Collection[Kind] = KINDS,
    seen: Seen = lambda _: 0,
    unreadable: Unreadable = lambda _: None,
) -> list[Written]:
    """Return the writers below a place, by folder and name.

    Args:
        place: Where to look.
        kinds: Rows or labels.
        seen: Manifests of earlier segments are not read.
        unreadable: Called for each manifest that is none, or one of another release: the rows of
            its segment are missed, and counted as lost where later ones of its writer are.

    Raises:
        ServiceError: If a store does not answer.
    """
    found: list[Written] = []
    for folder, names in sorted(place.folders().items()):
        if isinstance(place, LocalPlace):
            found += _local(place, folder, names, kinds)
        found += _shipped(place, folder, names, kinds, seen, unreadable)
    return found


def _local(
    place: LocalPlace, folder: str, names: list[str], kinds: Collection[Kind]
) -> list[Written]:
    found = []
    logs = {}
    for name in names:
        writer = ledger.writer_of(name)
        if writer:
            logs[writer] = _log(place, folder, writer)
    for writer, (log, live) in logs.items():
        mine = [kind for kind in kinds if kind in log.kinds]
        found += [_view(place, folder, writer, log, kind, live) for kind in mine]
    for name in names:
        named = segment_id_of(name)
        # Of a release that kept no ledger.
        if named and named[1] == "jsonl" and named[0].writer not in logs and named[0].kind in kinds:
            found.append(_bare(place, folder, name, named[0]))
    return found


def _log(place: LocalPlace, folder: str, writer: str) -> tuple[WriterLog, _Live]:
    """Return a writer's ledger, as its end would be noted where it was killed."""
    path = place.path(folder, ledger.ledger_name(writer))
    counts_path = place.path(folder, ledger.counts_name(writer))
    # Before the ledger is read: what is dropped afterwards is counted at the next look.
    counts = read_counts(counts_path)
    with ended_writer(counts_path) as killed:
        try:
            log = ledger.read_ledger(path)
        except FileNotFoundError:
            log = WriterLog()
        if killed and log.ended is None:
            for segment in recovery.unclosed(path.parent, log, counts):
                log.closed[segment.id] = segment
            dropped, lost = recovery.unwritten(counts, log)
            log.ended = {"dropped": dropped, "unwritten": lost}
    nothing: _Live = dict.fromkeys(log.kinds, 0)
    return log, {kind: counts[kind]["dropped"] for kind in log.kinds} if counts else nothing


_Live = dict[Kind, int]


def _view(
    place: LocalPlace, folder: str, writer: str, log: WriterLog, kind: Kind, live: _Live
) -> Written:
    parts: list[Part] = []
    rows: int | None = None
    after: int | None = None
    mine = [(each, opened) for each, opened in log.opened.items() if each.kind == kind]
    for each, opened in sorted(mine, key=lambda item: -item[0].number):
        closed = log.closed.get(each)
        # Its end is also known from where the next one began.
        rows = closed.rows if closed else None if after is None else after - opened.before
        after = opened.before
        path = place.path(folder, opened.file)
        if not path.is_file():
            continue
        first, last = (closed.first, closed.last) if closed else recovery.span(path)
        part = Part(
            number=each.number,
            before=opened.before,
            rows=rows,
            first=first,
            last=last,
            dropped_before=opened.dropped,
            file=(folder, opened.file),
            read=path.read_bytes,
            size=closed.bytes if closed else path.stat().st_size,
            erased=log.erased.get(each, 0),
        )
        parts.insert(0, part)
    ended = log.ended or {"dropped": live, "unwritten": {}}
    return Written(
        folder=folder,
        writer=writer,
        kind=kind,
        model=log.model,
        sample=log.sample,
        parts=parts,
        rows=log.written(kind),
        dropped=ended["dropped"].get(kind, 0),
        unwritten=ended["unwritten"].get(kind, 0),
        ended=log.ended is not None,
        logged=True,
    )


def _bare(place: LocalPlace, folder: str, name: str, named: SegmentId) -> Written:
    path = place.path(folder, name)
    first, last = recovery.span(path)
    part = Part(
        number=named.number,
        before=0,
        rows=None,
        first=first,
        last=last,
        dropped_before=0,
        file=(folder, name),
        read=path.read_bytes,
        size=path.stat().st_size,
    )
    return Written(folder=folder, writer=named.writer, kind=named.kind, parts=[part])


def _shipped(
    place: LocalPlace | RemotePlace,
    folder: str,
    names: Iterable[str],
    kinds: Collection[Kind],
    seen: Seen,
    unreadable: Unreadable,
) -> list[Written]:
    found: dict[str, Written] = {}

    def of(writer: str, kind: Kind) -> Written:
        made = Written(folder=folder, writer=writer, kind=kind, shipped=True)
        return found.setdefault(made.key, made)

    for name in sorted(names):
        named = segment_id_of(name)
        if named and named[1] == "json" and named[0].kind in kinds:
            each = of(named[0].writer, named[0].kind)
            if named[0].number >= seen(each.key):
                manifest = _manifest(place, folder, name, unreadable)
                if manifest is not None:
                    _add(each, manifest, place)
        elif name.startswith("ended-") and name.endswith(".json"):
            _end(place, folder, name, kinds, of, seen)
    return list(found.values())


def remove_replaced(place: LocalPlace | RemotePlace, part: Part) -> None:
    """Remove what an erasure that was killed left of the files in whose place a segment's is.

    Raises:
        ServiceError: If a store does not answer.
    """
    for name in part.replaced:
        place.remove(part.file[0], name)


def _manifest(
    place: LocalPlace | RemotePlace, folder: str, name: str, unreadable: Unreadable
) -> Manifest | None:
    """Return a manifest; None where it is gone or is none."""
    try:
        data = place.read(folder, name)
    except FileNotFoundError:
        return None
    try:
        return Manifest.loads(data.decode(), where=name)
    except (UnicodeDecodeError, PenstockError):
        unreadable("/".join(filter(None, (folder, name))))
        return None


def _add(each: Written, manifest: Manifest, place: LocalPlace | RemotePlace) -> None:
    segment: Segment = manifest.segment
    each.model, each.sample = manifest.model, manifest.sample
    each.rows = max(each.rows, segment.before + segment.rows)
    each.dropped = max(each.dropped, segment.dropped)

    def read() -> bytes:
        data = place.read(each.folder, manifest.file)
        if digest_of(data) != manifest.file_digest:
            raise ValueError("the file is not the one that its manifest names")
        try:
            return gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(str(error)) from error

    each.parts.append(
        Part(
            number=segment.id.number,
            before=segment.before,
            rows=segment.rows,
            first=segment.first,
            last=segment.last,
            dropped_before=segment.dropped_before,
            file=(each.folder, manifest.file),
            read=read,
            size=segment.bytes,
            erased=manifest.erased,
            replaced=manifest.replaced,
        )
    )


def _end(
    place: LocalPlace | RemotePlace,
    folder: str,
    name: str,
    kinds: Collection[Kind],
    of: Callable[[str, Kind], Written],
    seen: Seen,
) -> None:
    writer = name.removeprefix("ended-").removesuffix(".json")
    if all(seen(f"{kind}:{folder}/{writer}") == DONE for kind in kinds):
        return
    try:
        end = Ended.loads(place.read(folder, name).decode(), where=name)
    except (FileNotFoundError, UnicodeDecodeError, PenstockError):
        return
    for one in [of(writer, kind) for kind in kinds if kind in end.written]:
        one.model = one.model or end.model
        one.rows = max(one.rows, end.written.get(one.kind, 0))
        one.dropped = max(one.dropped, end.dropped.get(one.kind, 0))
        one.unwritten = end.unwritten.get(one.kind, 0)
        one.ended = True
