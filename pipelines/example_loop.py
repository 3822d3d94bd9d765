"""The whole loop on the simulated example: released, watched, retrained, recalled, each by itself.

    penstock example FOLDER --loop

Simulated users send requests and, at once, their labels. First they are as in the table that the
model learned from; then amounts rise and fraud moves, and the model is trained again; then all is
as it was at first, and the first model is recalled. What happens is done by `penstock run` and
`penstock monitor`, as anybody would start them.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from penstock.errors import PenstockError, ServiceError
from penstock.examples import traffic
from penstock.monitoring.store.state import MonitorFolder
from penstock.monitoring.verdict import words
from penstock.pipelines.located import Located, locate
from penstock.records.monitoring import ActionKind, MonitorState

EVERY = "10s"
"""Time between two looks."""

ROWS = 1_000
"""Rows that are sent at a time, with their labels."""

SETTINGS = (
    "monitoring.retrain=automatic",
    "monitoring.cooldown=0",
    "monitoring.retrain_rows=16000",
    "monitoring.guardian.every=1s",
)
"""What the monitor of the loop has else than by default: no days pass in it.

So many rows are learned from that those of the regime before are few among them, also on a slow
machine: a model that learned from these too is good on them, and then no former one is better.
"""

_PROGRAM = "import sys; from penstock.pipelines.cli import main; sys.exit(main())"
_COMMAND = (sys.executable, "-c", _PROGRAM)
_PAUSE = 1.0
"""Seconds between two sendings, and between two looks at the monitor's state."""


def play(project: Path, *, patience: float = 1800) -> list[str]:
    """Play the loop, and return what was done, in sentences.

    Args:
        project: The example's project file.
        patience: Seconds that each part may take.

    Raises:
        ServiceError: If a command ends in another way than it should, or a part takes too long.
    """
    given = [f"--set={setting}" for setting in SETTINGS]
    _say("1. Release a first version: penstock run")
    _run(["run", str(project)])
    found = locate(project)
    users = _Users(found)
    with _monitor(project, given, folder=found.home) as log, users.sending():
        watch = _Watch(found, users, log, patience=patience)
        _say("2. Users send what the model learned from; it is watched: penstock monitor")
        watch.until_healthy()
        _say("3. Amounts rise, and fraud moves to cash machines")
        users.drift = 1.0
        told = [watch.until("retrained")]
        watch.until_healthy()
        _say("4. All is as it was at first")
        users.drift = 0.0
        told.append(watch.until("recalled"))
        watch.until_healthy()
    return told


class _Users:
    """Simulated users, who never stop: what they send, a canary gets its share of."""

    def __init__(self, found: Located) -> None:
        self.drift = 0.0
        self.failed = ""
        self._found = found
        self._over = threading.Event()

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Send while the block runs."""
        thread = threading.Thread(target=self._send, name="users", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _send(self) -> None:
        from penstock.rollout.backends.local.services import status

        name, seed = self._found.project.name, 100
        while not self._over.is_set():
            seed += 1
            try:
                (url,) = (one.url for one in status(self._found.home) if one.service == name)
                sent = traffic.send(url, name=name, rows=ROWS, seed=seed, drift=self.drift)
                traffic.label(url, name=name, labels=sent.labels)
                self.failed = ""
            except (PenstockError, ValueError) as error:
                self.failed = str(error)
            self._over.wait(_PAUSE)


class _Watch:
    """What the monitor's state says: shown where it changes, and waited for."""

    def __init__(self, found: Located, users: _Users, log: Path, *, patience: float) -> None:
        self._folder = MonitorFolder(found.home)
        self._service = found.project.name
        self._users, self._log, self._patience = users, log, patience
        self._told = len(self._state().actions)
        self._seen = ""

    def until_healthy(self) -> None:
        """Wait until the version that serves is healthy, and nothing is under way."""
        for state in self._states("a healthy verdict"):
            if state.intervention is None and state.verdict and state.verdict.kind == "healthy":
                return

    def until(self, kind: ActionKind) -> str:
        """Wait until something of that kind was done; return it in words."""
        for state in self._states(kind):
            fresh = state.actions[self._told :]
            self._told = len(state.actions)
            for action in fresh:
                _say(f"   {action.kind.capitalize()}. {action.reason}")
            done = [one.reason for one in fresh if one.kind == kind]
            if done:
                return done[-1]
        raise AssertionError

    def _states(self, what: str) -> Iterator[MonitorState]:
        end = time.monotonic() + self._patience
        while time.monotonic() < end:
            state = self._state()
            self._show(state)
            yield state
            time.sleep(_PAUSE)
        problem = f" Users' requests fail: {self._users.failed}" if self._users.failed else ""
        raise ServiceError(
            f"the monitor did not come to {what} within {self._patience:.0f} seconds.{problem}",
            where=str(self._log),
        )

    def _state(self) -> MonitorState:
        return self._folder.glance(service=self._service)

    def _show(self, state: MonitorState) -> None:
        lines = []
        if state.verdict is not None:
            lines.append(f"{words.WORDS[state.verdict.kind]}. {state.verdict.headline}")
        if state.intervention is not None:
            lines.append(f"Under way. {words.under_way(state.intervention)}")
        seen = "\n   ".join(lines)
        if seen != self._seen:
            _say(f"   {seen}")
        self._seen = seen


@contextlib.contextmanager
def _monitor(project: Path, given: Sequence[str], *, folder: Path) -> Iterator[Path]:
    """Run `penstock monitor` beside the block; yield its log."""
    path = folder / "loop.log"
    with path.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(  # noqa: S603
            [*_COMMAND, "monitor", str(project), "--every", EVERY, *given],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield path
        finally:
            process.terminate()
            process.wait()


def _run(arguments: Sequence[str]) -> None:
    done = subprocess.run([*_COMMAND, *arguments], stdin=subprocess.DEVNULL, check=False)  # noqa: S603
    if done.returncode:
        raise ServiceError(
            f"it ended with {done.returncode}", where=f"penstock {' '.join(arguments)}"
        )


def _say(text: str) -> None:
    print(text, flush=True)
