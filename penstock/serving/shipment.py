"""The process that ships captured rows, started again when it ends, and told when it is over."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from pathlib import Path

GRACE = 20.0
"""Seconds that shipping may take once the server was told to stop."""

_FIRST, _LONGEST = 1.0, 60.0

_log = logging.getLogger(__name__)


class Shipment:
    """Ships a spool by a process of its own.

    Args:
        spool: The folder that is captured into.
        to: Where segments are shipped to.
    """

    def __init__(self, spool: Path, to: str) -> None:
        self._command = [
            sys.executable,
            *("-m", "penstock.captures.ship", "--spool", str(spool), "--to", to),
            *("--grace", str(GRACE)),
        ]
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="ship", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Have shipped what is closed, within `GRACE` seconds."""
        self._ending.set()
        with self._lock:
            self._start()
            child = self._child
        if child is None:
            return
        assert child.stdin is not None
        child.stdin.close()
        try:
            child.wait(GRACE + 5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def _run(self) -> None:
        pause = _FIRST
        while not self._ending.is_set():
            with self._lock:
                self._start()
                child = self._child
            if child is not None:
                code = child.wait()
                if self._ending.is_set():
                    return
                _log.warning("the process that ships captured rows ended with code %s", code)
            self._ending.wait(pause)
            pause = min(_LONGEST, 2 * pause)

    def _start(self) -> None:
        """Start it unless it runs; without one, rows stay in the spool."""
        if self._child is not None and self._child.poll() is None:
            return
        try:
            self._child = subprocess.Popen(self._command, stdin=subprocess.PIPE)  # noqa: S603
        except OSError as error:
            _log.warning("captured rows are not shipped: %s", error)
            self._child = None
