"""Scored rows captured for the monitor: segments as servers ship them, one for each part.

A segment's name and content follow from the run and the part, so that one which is written again
after a kill is the same, and no row counts twice (docs/adr/0073).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from penstock.captures.ledger import iso
from penstock.captures.places import digest_of, packed, place_at
from penstock.captures.segments import CapturedModel, Ended, Manifest, Segment, SegmentId
from penstock.records.model import Model
from penstock.records.scores import Plan, ScoredPart
from penstock.serving.capture import sampled

if TYPE_CHECKING:
    import pyarrow as pa

    from penstock.scoring.answers import Answered

BATCH = "batch"
"""The folder below service and version, where a server has its pod's name."""

_STAMP = "%Y%m%dT%H%M%S%f"


class BatchCapture:
    """Captures a run's rows at an address.

    Args:
        plan: What was asked for: run, version, address, share of the rows.
        record: The model.
    """

    def __init__(self, plan: Plan, record: Model) -> None:
        self._place = place_at(plan.capture)
        self._plan = plan
        self._record = record
        version = plan.version
        self._model = CapturedModel.of(
            record, service=version.name, version=str(version.version), digest=version.model
        )
        self._folder = f"{version.name}/{version.version}/{BATCH}"
        digest = hashlib.sha256(f"{plan.run}\0{plan.started.isoformat()}".encode()).hexdigest()
        stamp = plan.started.astimezone(UTC).strftime(_STAMP)
        self._writer = f"{stamp}-0-{digest[:4]}"
        self._lines: list[bytes] = []

    def add(self, answered: Answered, *, labels: list[Any], rows: np.ndarray) -> None:
        """Take in rows of the part that is being scored.

        Args:
            answered: The rows.
            labels: Their predicted labels.
            rows: The place of each in the source, counted from 1.
        """
        inputs = _json_columns(answered.typed)
        names = list(inputs)
        vectors = None if answered.vectors is None else answered.vectors.tolist()
        values = zip(*inputs.values(), strict=True)
        moment = iso(self._plan.started)
        both = zip(rows.tolist(), values, answered.scores.tolist(), labels, strict=True)
        for at, (row, given, score, label) in enumerate(both):
            request = f"{self._plan.run}-{row}"
            if not sampled(request, share=self._plan.capture_sample):
                continue
            line = {
                "request_id": request,
                "row": 0,
                "time": moment,
                "version": str(self._plan.version.version),
                "mirrored": False,
                "replayed": False,
                "inputs": dict(zip(names, given, strict=True)),
                "score": score,
                "label": label,
            }
            if vectors is not None:
                line["scores"] = vectors[at]
            self._lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def write(self, number: int, *, before: int) -> int:
        """Write the segment of a part; return how many rows are in it.

        Args:
            number: The part.
            before: Rows that the parts before it captured.
        """
        lines, self._lines = self._lines, []
        segment_id = SegmentId(kind="predictions", writer=self._writer, number=number + 1)
        data = b"".join(lines)
        file = packed(data)
        name = f"{segment_id.stem}.jsonl.gz"
        moment = iso(self._plan.started) if lines else ""
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
            file=name,
            file_digest=digest_of(file),
            pod=BATCH,
            sample=self._plan.capture_sample,
            model=self._model,
        )
        self._place.write(self._folder, name, file)
        self._place.write(self._folder, f"{segment_id.stem}.json", manifest.dumps().encode())
        return len(lines)

    def finish(self, parts: tuple[ScoredPart, ...]) -> None:
        """Note that nothing more comes of this run."""
        nothing: dict[Any, int] = {"predictions": 0, "feedback": 0, "unmatched": 0}
        written = nothing | {"predictions": sum(part.captured for part in parts)}
        end = Ended(
            writer=self._writer,
            pod=BATCH,
            model=self._model,
            written=written,
            dropped=nothing,
            unwritten=nothing,
        )
        self._place.write(self._folder, f"ended-{self._writer}.json", end.dumps().encode())


def _json_columns(typed: pa.RecordBatch) -> Mapping[str, list[Any]]:
    """Return columns as a request would hold them: a time is text there."""
    import pyarrow as pa

    found = {}
    for name in typed.schema.names:
        values = typed.column(name).to_pylist()
        if pa.types.is_timestamp(typed.column(name).type):
            values = [None if value is None else _time(value) for value in values]
        found[name] = values
    return found


def _time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
