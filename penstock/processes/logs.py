"""Logs that stay small: a file that is rotated by size, and lines that do not repeat for ever."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from pathlib import Path

from penstock.processes.supervised import Supervised

FILE_BYTES = 4 << 20
"""Size at which a log is begun anew; the one before is kept as `.log.1`."""

_FORMAT = "%(asctime)s.%(msecs)03d %(process)s %(name)s %(levelname)s %(message)s"
_DATE_FORMAT = "%Y-%m-%d %H:%M:%S"
_CHECK_SECONDS = 0.5
_PER_MINUTE = 20
_KINDS = 1_000
_TAIL_BYTES = 64 << 10


class Sparing(logging.Filter):
    """Lets each kind of line through twenty times a minute, and says how many it left out.

    A kind is the text before values are put in, and the logger.
    """

    def __init__(self) -> None:
        super().__init__()
        self._since = 0.0
        self._seen: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is written."""
        kind = record.name, str(record.msg)[:200]
        with self._lock:
            now = time.monotonic()
            if now - self._since >= 60 or len(self._seen) > _KINDS:
                self._since, self._seen = now, {}
            count = self._seen[kind] = self._seen.get(kind, 0) + 1
        if count == _PER_MINUTE:
            record.msg = f"{record.msg} (further lines like this are left out for a minute)"
        return count <= _PER_MINUTE


def to_standard_error() -> None:
    """Write this process's log to standard error: warnings of all, what the server does besides."""
    logging.basicConfig(format=_FORMAT, datefmt=_DATE_FORMAT)
    for name in ("penstock", "uvicorn"):
        logging.getLogger(name).setLevel(logging.INFO)
    spare()


def spare() -> None:
    """Put a `Sparing` filter on every handler that there is now."""
    sparing = Sparing()
    known = [logging.getLogger(name) for name in logging.root.manager.loggerDict]
    for logger in (logging.root, *known):
        for handler in logger.handlers:
            if not any(isinstance(each, Sparing) for each in handler.filters):
                handler.addFilter(sparing)


def bound(path: Path, *, size: int = FILE_BYTES) -> Supervised:
    """Keep the file that this process writes its output to from growing without end.

    Standard output and standard error are led to the file anew when it has `size` bytes, whoever
    writes to them; two files are there at most.

    Args:
        path: The file, which standard error was opened on.
        size: Bytes.

    Returns:
        The thread that looks after it.
    """

    def keep() -> None:
        while True:
            if os.fstat(2).st_size > size:
                _begin_anew(path)
            time.sleep(_CHECK_SECONDS)

    thread = Supervised("log", keep)
    thread.start()
    return thread


def tail(path: Path, *, lines: int = 8) -> str:
    """Return the last lines of a log, joined by ` | `; only the end of the file is read.

    Args:
        path: The log.
        lines: How many that are not empty.
    """
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            text = stream.read(_TAIL_BYTES).decode("utf-8", errors="replace")
    except FileNotFoundError:
        return "(no log)"
    except OSError as error:
        return f"(it cannot be read: {error.strerror})"
    found = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(found[-lines:]) or "(empty)"


def _begin_anew(path: Path) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    # It may have been moved or removed by somebody else.
    if path.exists() and os.path.samestat(path.stat(), os.fstat(2)):
        path.replace(path.with_suffix(".log.1"))
    opened = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        for number in (1, 2):
            os.dup2(opened, number)
    finally:
        os.close(opened)
