"""Where the events of an experiment go on this machine: a file that they are appended to."""

from __future__ import annotations

import logging
from io import FileIO
from pathlib import Path
from typing import Any, Protocol

import orjson

_log = logging.getLogger("penstock.proxy")


class EventSink(Protocol):
    """Takes events."""

    def write(self, event: dict[str, Any]) -> None:
        """Append an event. One that is not taken is lost: no user waits for a disk."""
        ...


class AppendedEvents:
    """Appends to one file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: FileIO | None = None
        self._cut = False

    def write(self, event: dict[str, Any]) -> None:
        """Append a line."""
        line = orjson.dumps(event) + b"\n"
        try:
            if self._stream is None:
                # What a process before this one was killed in may be half a line.
                self._stream, self._cut = FileIO(self._path, "ab"), self._path.stat().st_size > 0
            if self._cut:
                line = b"\n" + line
            self._cut = self._stream.write(line) != len(line)
        except OSError as error:
            self._cut = True
            _log.warning("an event of the experiment was not written: %s", error)
