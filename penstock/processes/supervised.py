"""Background threads that are started again when they fail."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

PATIENCE = 5
"""Failures within `WITHIN` after which a thread is given up."""

WITHIN = 60.0
"""Seconds."""

_log = logging.getLogger(__name__)


class Supervised:
    """Runs work in a thread, again and again until it returns.

    An exception of any kind is logged, counted, and the work begun anew after a pause that doubles
    with each failure. A thread that fails more than `PATIENCE` times within a minute is given up.

    Args:
        name: What the thread is called in logs and figures.
        work: What it does; it returns when it is through.
        pause: Seconds before the first new beginning.

    Attributes:
        restarts: How often it began anew.
        down: Whether it was given up.
    """

    def __init__(self, name: str, work: Callable[[], None], *, pause: float = 0.05) -> None:
        self.name = name
        self.restarts = 0
        self.down = False
        self._work = work
        self._pause = pause
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start it."""
        self._thread.start()

    def join(self, timeout: float | None = None) -> None:
        """Wait until it is through, or was given up, at most `timeout` seconds."""
        self._thread.join(timeout)

    def _run(self) -> None:
        failures: list[float] = []
        while True:
            try:
                self._work()
            # Whatever ends the work must not end the thread.
            except BaseException:
                _log.exception("the thread %s failed", self.name)
            else:
                return
            now = time.monotonic()
            failures = [moment for moment in failures if now - moment < WITHIN] + [now]
            if len(failures) > PATIENCE:
                self.down = True
                _log.error("the thread %s failed %d times: given up", self.name, len(failures))
                return
            time.sleep(self._pause * 2 ** (len(failures) - 1))
            self.restarts += 1
