"""Where the events of an experiment go on a cluster: segments in a spool, which are shipped."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from penstock.captures.files import Bounds
from penstock.captures.ledger import iso
from penstock.captures.segments import EVENTS, EXPERIMENTS, CapturedModel
from penstock.captures.writer import Writer


class SpooledEvents:
    """Writes segments into a spool that `penstock.captures.ship` ships from.

    While the spool is full events are dropped and counted; the count is shipped with the others.

    Args:
        spool: The folder; made if it is not there.
        bounds: When a segment is closed, and how much the spool holds.
        service: The service.
        experiment: The experiment's identity.

    Raises:
        OSError: If the folder cannot be written to.
    """

    def __init__(self, spool: Path, *, bounds: Bounds, service: str, experiment: str) -> None:
        # Where segments go follows from service and version.
        folder = CapturedModel(service=service, version=f"{EXPERIMENTS}/{experiment}")
        self._writer = Writer(spool, bounds=bounds, model=folder, kinds=EVENTS)

    def write(self, event: dict[str, Any]) -> None:
        """Append a line, or drop and count it."""
        line = orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
        moment = iso(datetime.fromtimestamp(event["t"], UTC))
        self._writer.counters.add("events", "accepted", 1)
        if not self._writer.write("events", [(line, moment)]):
            self._writer.counters.add("events", "dropped", 1)

    def counts(self) -> dict[str, int]:
        """Return how many events were written down, and how many dropped."""
        accepted, dropped = (
            self._writer.counters.value("events", what) for what in ("accepted", "dropped")
        )
        return {"written": accepted - dropped, "dropped": dropped}

    def tick(self) -> None:
        """Close the segment if it is old enough."""
        self._writer.tick()

    def close(self) -> None:
        """Close the last segment, and note the end."""
        self._writer.close()
