"""What a soak does to its services: releases, kills and what came of them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from soak_figures import files_below
from soak_release import home_of

from penstock.rollout.backends.local.state import LocalState, ServiceFolder

HERE = Path(__file__).parent
SERVICES = ("left", "right")
FAULTS = ("errors", "shifted-scores", "crash-at-start", "constant-scores")
VICTIMS = ("nobody", "controller", "controller", "proxy", "stable", "candidate")

LASTS = 240.0
"""Seconds after which a command that has not ended hangs."""


@dataclass
class Kill:
    """One SIGKILL."""

    service: str
    victim: str
    time: float


@dataclass
class Soak:
    """What happened.

    Args:
        folder: Registry, home and models.
        seed: Of the kills.
        services: Their names.
    """

    folder: Path
    seed: int
    services: tuple[str, ...] = SERVICES
    kills: list[Kill] = field(default_factory=list)
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    files: list[dict[str, tuple[int, int]]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def home(self) -> Path:
        """What serves, and all that it keeps."""
        return home_of(self.folder)

    def command(self, service: str, action: str, *arguments: str) -> subprocess.Popen[str]:
        """Begin a command in a process group of its own."""
        return subprocess.Popen(
            [
                sys.executable,
                str(HERE / "soak_release.py"),
                action,
                str(self.folder),
                service,
                *arguments,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def state(self, service: str) -> LocalState | None:
        """Return what is written down of a service."""
        return ServiceFolder(self.home, service).read()

    def finish(self, process: subprocess.Popen[str], what: str) -> str:
        """Wait for a command; return the last line that it printed."""
        try:
            text = process.communicate(timeout=LASTS)[0]
        except subprocess.TimeoutExpired:
            self.hung.append(what)
            os.killpg(process.pid, signal.SIGKILL)
            text = process.communicate()[0]
        lines = [line for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else ""

    def minutes(self, service: str, *, minutes: float, first: float) -> None:
        """Release once a minute until the time is over."""
        chance = random.Random(f"{self.seed} {service}")
        began = time.monotonic() + first
        for cycle in range(1, int(minutes) + 1):
            if self.over.wait(max(0.0, began + 60 * (cycle - 1) - time.monotonic())):
                return
            fault = FAULTS[cycle // 2 % len(FAULTS)] if cycle % 2 == 0 else ""
            self._cycle(service, cycle, fault, chance)
            self.files.append(files_below(self.home / "serving"))

    def _cycle(self, service: str, cycle: int, fault: str, chance: random.Random) -> None:
        victim, delay = chance.choice(VICTIMS), chance.uniform(3, 22)
        goes_on = chance.random() < 0.5
        arguments = ["--variant", str(cycle), "--fault", fault]
        process = self.command(service, "release", *arguments)
        killed = self._kill(service, victim, process, delay=delay)
        said = self.finish(process, f"release {cycle} of {service}")
        resumed = ""
        if killed == "controller" and goes_on:
            resumed = self.finish(self.command(service, "resume"), f"resume of {service}")
        entry = {
            "service": service,
            "cycle": cycle,
            "fault": fault,
            "killed": killed,
            "code": process.returncode,
            "said": said,
            "resumed": resumed,
        }
        self.outcomes.append(entry)
        print(
            f"{time.strftime('%H:%M:%S')}  {service:6} {fault or 'good':16} killed: {killed:11} "
            f"{said[:90]}{'  then: ' + resumed[:80] if resumed else ''}",
            flush=True,
        )

    def _kill(
        self, service: str, victim: str, process: subprocess.Popen[str], *, delay: float
    ) -> str:
        """Kill the victim while the command runs; return who was killed."""
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=delay)
            return "nobody"
        state = self.state(service)
        arm = getattr(state, victim, None) if victim in ("proxy", "stable", "candidate") else None
        if victim == "controller":
            pid = process.pid
        elif arm is not None:
            pid = arm.process.pid
        else:
            return "nobody"
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self.kills.append(Kill(service, victim, time.time()))
        return victim
