"""What one process writes of captured rows and labels, and its ledger. One thread writes."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from penstock.captures import ledger, recovery
from penstock.captures.counters import Counters
from penstock.captures.files import Bounds, Files, Line, Spool
from penstock.captures.segments import KINDS, CapturedModel, Kind


class Writer:
    """The files that one process writes.

    Args:
        folder: Where; made if it is not there.
        bounds: How much is kept.
        model: The model whose rows they are; None: not known.
        sample: Share of the requests that is captured.
        kinds: What it writes.

    Attributes:
        counters: Counts of the rows that were accepted, and of those that were dropped.

    Raises:
        OSError: If the folder cannot be written to.
    """

    def __init__(
        self,
        folder: Path,
        *,
        bounds: Bounds,
        model: CapturedModel | None,
        sample: float = 1.0,
        kinds: tuple[Kind, ...] = KINDS,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # Refuses a folder that cannot be written to now rather than at the first request.
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
        recovery.recover(folder)
        name = _writer_name(folder)
        self.counters = Counters(folder / ledger.counts_name(name))
        self._ledger = folder / ledger.ledger_name(name)
        described = None if model is None else model.model_dump(mode="json")
        try:
            # Without the kinds of a model server a ledger reads as those of earlier releases do.
            named = {} if kinds == KINDS else {"kinds": kinds}
            ledger.append(self._ledger, "began", model=described, sample=sample, **named)
        except OSError:
            self.counters.remove()
            raise
        spool = None if bounds.spool_bytes is None else Spool(folder, bounds.spool_bytes)
        self._files = {
            kind: Files(
                folder,
                kind=kind,
                writer=name,
                bounds=bounds,
                counters=self.counters,
                path=self._ledger,
                spool=spool,
            )
            for kind in kinds
        }

    def write(self, kind: Kind, lines: Sequence[Line]) -> int:
        """Write lines; return how many of them were written, the first ones."""
        return self._files[kind].write(lines)

    def tick(self) -> None:
        """Close and remove the files that are old enough."""
        for files in self._files.values():
            files.tick()

    def close(self) -> None:
        """Close the files and note the end."""
        for files in self._files.values():
            files.close()
        with contextlib.suppress(OSError):
            dropped = {kind: self.counters.value(kind, "dropped") for kind in self._files}
            nothing = dict.fromkeys(self._files, 0)
            ledger.append(self._ledger, "ended", dropped=dropped, unwritten=nothing)
            self.counters.remove()


def _writer_name(folder: Path) -> str:
    """Return a name that sorts after all others, also where the clock was set back."""
    stamps = [
        found[1]
        for path in folder.iterdir()
        if (found := re.match(r"(?:[a-z]+)-(\d{8}T\d{12})-", path.name))
    ]
    moment = datetime.now(UTC)
    if stamps:
        newest = datetime.strptime(max(stamps), _STAMP).replace(tzinfo=UTC)
        moment = max(moment, newest + timedelta(microseconds=1))
    return f"{moment.strftime(_STAMP)}-{os.getpid()}-{secrets.token_hex(2)}"


_STAMP = "%Y%m%dT%H%M%S%f"
