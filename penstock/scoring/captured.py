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

from penstock.captures.batch import BatchWriter
from penstock.captures.ledger import iso
from penstock.captures.places import place_at
from penstock.captures.segments import CapturedModel
from penstock.records.model import Model
from penstock.records.scores import Plan, ScoredPart
from penstock.scoring.request_ids import request_id
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
        self._plan = plan
        self._record = record
        version = plan.version
        digest = hashlib.sha256(f"{plan.run}\0{plan.started.isoformat()}".encode()).hexdigest()
        stamp = plan.started.astimezone(UTC).strftime(_STAMP)
        self._segments = BatchWriter(
            place_at(plan.capture),
            f"{version.name}/{version.version}/{BATCH}",
            f"{stamp}-0-{digest[:4]}",
            "predictions",
            CapturedModel.of(
                record, service=version.name, version=str(version.version), digest=version.model
            ),
            pod=BATCH,
            sample=plan.capture_sample,
        )
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
            request = request_id(self._plan.run, row)
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
        self._segments.write(number + 1, lines, before=before, moment=iso(self._plan.started))
        return len(lines)

    def finish(self, parts: tuple[ScoredPart, ...]) -> None:
        """Note that nothing more comes of this run."""
        self._segments.finish(sum(part.captured for part in parts))


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
