"""The process that ships captured rows, started again when it ends, and ended with the server."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from penstock.captures.segments import KINDS, SHIPPED
from penstock.captures.spec import GRACE

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


class SpoolMetrics(Collector):
    """How much waits to be shipped, and when something was shipped last.

    Args:
        spool: The folder that is captured into.
        labels: What every metric of the server carries.
    """

    def __init__(self, spool: Path, labels: Mapping[str, str]) -> None:
        self._spool = spool
        self._labels = labels

    def collect(self) -> Iterator[Metric]:
        """Yield the figures as they stand."""
        waiting = GaugeMetricFamily(
            "penstock_capture_spool_bytes",
            "Bytes of captured rows and labels that wait to be shipped",
            labels=[*self._labels],
        )
        shipped = GaugeMetricFamily(
            "penstock_capture_shipped_timestamp_seconds",
            "When captured rows were shipped last; 0: not since the pod began",
            labels=[*self._labels],
        )
        values = [*self._labels.values()]
        files = (path for kind in KINDS for path in self._spool.glob(f"{kind}-*"))
        waiting.add_metric(values, float(sum(map(_size_of, files))))
        shipped.add_metric(values, _changed(self._spool / SHIPPED))
        yield from (waiting, shipped)


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
