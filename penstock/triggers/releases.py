"""Releases that events start: one at a time, each once, three refusals in a row stop them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from penstock.common.disk import writing
from penstock.processes import logs, supervisor
from penstock.processes.identity import ProcessRef, is_alive
from penstock.triggers.endings import Ending, summarised
from penstock.triggers.store import Release, TriggerStore, Waiting

REFUSALS = 3
"""Releases refused or rolled back in a row after which none is started."""

_MODULE = "penstock.triggers.child"
_ATTEMPTS = 5
"""Processes that take one release up, where it can be gone on with."""

_INTERRUPTED = (
    "Its process was ended before it was through: killed, or the machine went down. It is not "
    "started again for the same events; begin one with: penstock run."
)
_ENDED_TOO_OFTEN = (
    f"Its process was ended {_ATTEMPTS} times before it was through. The run may go on where it "
    "was submitted."
)


@dataclass(frozen=True)
class Command:
    """What runs a release, as `python -m`.

    Attributes:
        module: The module.
        arguments: Its arguments.
        resumable: Whether the same command goes on with what a killed one began.
    """

    module: str
    arguments: Sequence[str]
    resumable: bool = False


def seconds_until(waiting: Waiting, *, quiet: float, wait: float, now: float) -> float | None:
    """Return after how many seconds the release for what waits is due; None: nothing waits.

    Args:
        waiting: What waits.
        quiet: Seconds without a new event after which it is due.
        wait: Seconds after the first event after which it is due in any case.
        now: Seconds since 1970.

    Example:
        >>> seconds_until(Waiting(count=2, first=100, last=130), quiet=60, wait=900, now=140)
        50
        >>> seconds_until(Waiting(count=9, first=100, last=990), quiet=60, wait=900, now=995)
        5
    """
    if not waiting.count:
        return None
    if waiting.last > now:
        # The clock was set back: how long it has been quiet is not known.
        return 0.0
    return max(0.0, min(waiting.last + quiet, waiting.first + wait) - now)


@dataclass
class Releases:
    """Starts releases, and takes up what an earlier process left.

    Attributes:
        store: What is remembered.
        folder: Where logs and summaries are.
        command: Returns what runs a release, by its number, and writes how it ended into a file:
            JSON with outcome, reason, link and whether people were notified.
        quiet: Seconds without a new event after which a release is due.
        wait: Seconds after the first event after which it is due in any case.
    """

    store: TriggerStore
    folder: Path
    command: Callable[[int, Path], Command]
    quiet: float
    wait: float
    _started: dict[int, ProcessRef] = field(default_factory=dict)

    def step(self, *, now: float) -> Release | None:
        """Do what is to be done now; return the release that was written down just now, if any.

        Args:
            now: Seconds since 1970.

        Raises:
            ServiceError: If something cannot be written, or no process be started; the next step
                tries again.
        """
        release = self.store.open_release()
        if release is not None:
            self._go_on(release, now=now)
            return None
        if self.stopped:
            return None
        left = seconds_until(self.store.waiting(), quiet=self.quiet, wait=self.wait, now=now)
        if left is None or left > 0:
            return None
        begun = self.store.begin(now=now)
        if begun is not None:
            self._start(begun)
        return begun

    @property
    def stopped(self) -> bool:
        """Whether so many releases in a row were refused that a person is to decide."""
        return self.store.refusals() >= REFUSALS

    def log(self, number: int) -> Path:
        """Return where what a release printed is."""
        return self.folder / f"{number:06d}.log"

    def prune(self, last: int) -> None:
        """Delete the logs and summaries of releases up to a number."""
        for path in self.folder.glob("[0-9]*.*"):
            if path.stem.isdigit() and int(path.stem) <= last:
                path.unlink(missing_ok=True)

    def _go_on(self, release: Release, *, now: float) -> None:
        started = self._started.get(release.number)
        if release.process is None:
            if started is None:
                self._start(release)
            elif not is_alive(started):
                self._not_started(release.number, now=now)
            return
        if is_alive(release.process):
            return
        # It may have ended well since its row was read.
        newest = self.store.release(release.number)
        if newest.ended is not None or newest.process != release.process:
            return
        summary = self._summary(release.number)
        said = summarised(summary)
        if said is not None:
            # Killed after its run had ended, before that was written down.
            self.store.end(release.number, now=now, exit_code=None, ending=said)
        elif not self.command(release.number, summary).resumable:
            self._fail(release.number, _INTERRUPTED, now=now)
        elif release.attempts >= _ATTEMPTS:
            self._fail(release.number, _ENDED_TOO_OFTEN, now=now)
        else:
            self.store.give_up(release.number, release.process)
            self._start(release)

    def _not_started(self, number: int, *, now: float) -> None:
        # Another process may have taken it up since its row was read.
        if self.store.release(number).process is None:
            said = logs.tail(self.log(number), lines=1)
            self._fail(number, f"It could not be started: {said}", now=now)

    def _start(self, release: Release) -> None:
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            # Libraries print what they like.
            self.log(release.number).touch(mode=0o600)
        summary = self._summary(release.number)
        command = self.command(release.number, summary)
        self._started[release.number] = supervisor.start(
            _MODULE,
            [
                str(self.store.database.path.resolve()),
                str(release.number),
                str(summary.resolve()),
                command.module,
                *command.arguments,
            ],
            log=self.log(release.number),
        )

    def _fail(self, number: int, reason: str, *, now: float) -> None:
        self.store.end(number, now=now, exit_code=None, ending=Ending("failed", reason))

    def _summary(self, number: int) -> Path:
        return self.folder / f"{number:06d}.json"
