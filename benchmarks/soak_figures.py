"""What the processes and files of a soak come to over time, and whether that is flat."""

from __future__ import annotations

import statistics
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

MIB = 1 << 20
WARM = 60.0
"""Seconds after its start in which a process still grows into its work."""


@dataclass
class Series:
    """Readings of one process."""

    role: str
    times: list[float] = field(default_factory=list)
    rss: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def settled(self) -> list[int]:
        """Return the places of the readings that count."""
        return [i for i, t in enumerate(self.times) if t - self.times[0] >= WARM]

    @property
    def slope(self) -> float | None:
        """MiB a minute, by least squares; None where too short a time was seen."""
        kept = self.settled()
        if len(kept) < 15:
            return None
        minutes = [self.times[i] / 60 for i in kept]
        return float(np.polyfit(minutes, [self.rss[i] / MIB for i in kept], 1)[0])


class Watch:
    """Reads the processes that serve below a folder, every two seconds, in a thread.

    Args:
        folder: The home; a process is of it whose command line names it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.series: dict[tuple[int, float], Series] = {}
        self.zombies: dict[int, str] = {}
        self._parents: dict[int, int] = {}

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def running(self) -> list[psutil.Process]:
        """Return the processes that serve below the folder now."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            words = " ".join(process.info["cmdline"] or [])
            if self._folder in words and "-m penstock." in words:
                found.append(process)
        return found

    def _run(self) -> None:
        while not self._over.wait(2.0):
            for process in self.running():
                try:
                    self._read(process)
                except psutil.Error:
                    continue
            self._look_for_zombies()

    def _read(self, process: psutil.Process) -> None:
        with process.oneshot():
            key = (process.pid, process.create_time())
            words = process.cmdline()
            role = "proxy" if "penstock.rollout.proxy" in words else "model server"
            held = process.memory_info().rss
            if held == 0:
                # It has ended, and nobody has asked after it yet.
                return
            series = self.series.setdefault(key, Series(role))
            series.times.append(time.time())
            series.rss.append(held)
            series.files.append(process.num_fds())
            series.threads.append(process.num_threads())
            self._parents[process.pid] = process.ppid()

    def _look_for_zombies(self) -> None:
        known = {pid for pid, _ in self.series}
        self.zombies = {}
        for pid in known:
            try:
                process = psutil.Process(pid)
                if process.status() == psutil.STATUS_ZOMBIE:
                    parent = process.parent()
                    self.zombies[pid] = parent.name() if parent else "none"
            except psutil.Error:
                continue


def files_below(folder: Path) -> dict[str, tuple[int, int]]:
    """Return number and bytes of files by kind: the folder below a service, or the ending."""
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for path in folder.rglob("*"):
        try:
            if path.is_file():
                parts = path.relative_to(folder).parts
                kind = parts[1] if len(parts) > 2 else (path.suffix.lstrip(".") or path.name)
                found[kind][0] += 1
                found[kind][1] += path.stat().st_size
        except FileNotFoundError:
            continue
    return {kind: (count, size) for kind, (count, size) in sorted(found.items())}


def middle(values: list[int]) -> float:
    """Return the median; 0 of nothing."""
    return float(statistics.median(values)) if values else 0.0
