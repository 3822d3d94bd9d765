"""Segments as servers ship them, written by a process that has all of their lines at hand.

A segment that is there is not written again: no line counts twice, and none comes back that was
erased.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from penstock.captures.places import Place, digest_of, packed
from penstock.captures.segments import (
    KINDS,
    CapturedModel,
    Ended,
    Kind,
    Manifest,
    Segment,
    SegmentId,
)


@dataclass(frozen=True)
class BatchWriter:
    """Writes the segments of one writer.

    Attributes:
        place: The captures.
        folder: The writer's folder below them.
        writer: Its name, which nothing else there has.
        kind: What the lines are.
        model: The model whose rows or labels they are.
        pod: What stands in a pod's place.
        sample: Share of the rows that is captured.
    """

    place: Place
    folder: str
    writer: str
    kind: Kind
    model: CapturedModel | None
    pod: str
    sample: float = 1.0

    def write(self, number: int, lines: Sequence[bytes], *, before: int, moment: str) -> None:
        """Write a segment: its lines, and then the manifest that makes them count.

        Args:
            number: Counted from 1.
            lines: Each with its line break.
            before: Lines in the segments before it.
            moment: The time of all of its lines.
        """
        segment_id = SegmentId(kind=self.kind, writer=self.writer, number=number)
        if self.place.written(self.folder, f"{segment_id.stem}.json") is not None:
            # Written before a kill; somebody may have erased from it there since.
            return
        data = b"".join(lines)
        file = packed(data)
        moment = moment if lines else ""
        segment = Segment(
            id=segment_id,
            before=before,
            rows=len(lines),
            bytes=len(data),
            first=moment,
            last=moment,
        )
        manifest = Manifest(
            segment=segment,
            file=f"{segment_id.stem}.jsonl.gz",
            file_digest=digest_of(file),
            pod=self.pod,
            sample=self.sample,
            model=self.model,
        )
        self.place.write(self.folder, manifest.file, file)
        self.place.write(self.folder, f"{segment_id.stem}.json", manifest.dumps().encode())

    def finish(self, lines: int) -> None:
        """Note that nothing more comes after so many lines."""
        nothing: dict[Any, int] = dict.fromkeys(KINDS, 0)
        end = Ended(
            writer=self.writer,
            pod=self.pod,
            model=self.model,
            written=nothing | {self.kind: lines},
            dropped=nothing,
            unwritten=nothing,
        )
        self.place.write(self.folder, f"ended-{self.writer}.json", end.dumps().encode())
