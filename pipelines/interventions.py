"""Recalls and retrainings on this machine: each stage a process of its own, begun once.

    monitor/interventions/
      lock                held while a stage goes on
      IDENTITY/           one recall or retraining: orders, starts, results, logs, exported rows

The process is in a session of its own and outlives the monitor that began it. It inherits a lock
that is held from before it is started until all that came of it has ended, so whoever can take the
lock knows that nothing goes on. What it came to is a file; where there is none, it is started again
for the same run (`intervention_process`).
"""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from penstock.common import files
from penstock.common.disk import writing
from penstock.errors import ServiceError
from penstock.pipelines.located import Located
from penstock.pipelines.outputs import registrations
from penstock.records.intervention import Comparison, Intervention, RunStatus

_STARTS = 3
"""Times that a stage is started; beyond it, it has failed."""

_PROCESS = "penstock.pipelines.intervention_process"


class LocalExecutor:
    """Does what the rules say on this machine.

    Args:
        located: The project.
        file: The project's file.
        settings: What was changed of it for this time.
    """

    def __init__(self, located: Located, *, file: Path, settings: Sequence[str]) -> None:
        self._located = located
        self._file = file.absolute()
        self._settings = tuple(settings)
        self._home = located.home / "monitor" / "interventions"

    def compare(self, intervention: Intervention) -> Comparison | None:
        """See `penstock.monitoring.interventions.intervening.Executor`."""
        stage = self._stage(intervention, f"compare-{intervention.look}")
        if stage.result.exists():
            return Comparison.read(stage.result)
        if stage.error.exists():
            raise ServiceError(stage.error.read_text(encoding="utf-8"), where=str(stage.log))
        if not self._goes_on(stage, intervention):
            raise ServiceError(_ended_without(stage), where=str(stage.log))
        return None

    def run(self, intervention: Intervention) -> RunStatus:
        """See `penstock.monitoring.interventions.intervening.Executor`."""
        stage = self._stage(intervention, intervention.run)
        if not stage.result.exists() and not self._goes_on(stage, intervention):
            reason = f"{_ended_without(stage)} Its log: {stage.log}"
            with writing(stage.result):
                RunStatus(state="failed", reason=reason).write(stage.result)
        if stage.result.exists():
            return RunStatus.read(stage.result)
        return RunStatus(state="running", waits=self._waits(intervention))

    def _stage(self, intervention: Intervention, name: str) -> Stage:
        return Stage(self._home / intervention.identity, name)

    def _goes_on(self, stage: Stage, intervention: Intervention) -> bool:
        """Return whether the process of a stage runs, after starting it where none does.

        Raises:
            ServiceError: If it cannot be started.
        """
        with writing(stage.order):
            self._home.mkdir(parents=True, exist_ok=True)
            lock = (self._home / "lock").open("a", encoding="utf-8")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            if stage.result.exists() or stage.error.exists():
                return True
            starts = stage.starts
            if starts >= _STARTS:
                return False
            with writing(stage.order):
                files.write_text(stage.order, intervention.model_dump_json(indent=2) + "\n")
                files.write_text(stage.counter, f"{starts + 1}\n")
            self._start(stage, lock.fileno())
        return True

    def _start(self, stage: Stage, lock: int) -> None:
        command = [sys.executable, "-m", _PROCESS, str(self._file), str(stage.folder), stage.name]
        with writing(stage.log), stage.log.open("a", encoding="utf-8") as log:
            stage.log.chmod(0o600)
            try:
                subprocess.Popen(  # noqa: S603
                    [*command, *self._settings],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=(lock,),
                )
            except OSError as error:
                raise ServiceError(
                    f"its process could not be started: {error.strerror}", where=str(stage.log)
                ) from error

    def _waits(self, intervention: Intervention) -> str:
        """Return what a run waits for people to do; empty: nothing."""
        people = self._located.project.gate.approval.people
        run = self._located.home / "runs" / intervention.run
        found = registrations(run)
        if not people or not found or any(run.glob("kfp/*/approve/outcome")):
            return ""
        who = "a person" if people == 1 else f"{people} people"
        return (
            f"Version {found[-1].version} waits for the approval of {who}: penstock approve "
            f"{found[-1].uri} --reason TEXT"
        )


class Stage:
    """The files of one stage of an intervention.

    Args:
        folder: The intervention's.
        name: `compare-<look>`, or the run's name.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.result = folder / f"{name}.json"
        self.error = folder / f"{name}.error"
        self.order = folder / f"{name}.order"
        self.counter = folder / f"{name}.starts"
        self.log = folder / f"{name}.log"
        self.rows = folder / f"{name}.rows"

    @property
    def starts(self) -> int:
        """How often its process was started."""
        with contextlib.suppress(OSError, ValueError):
            return int(self.counter.read_text(encoding="utf-8"))
        return 0


def _ended_without(stage: Stage) -> str:
    return f"Its process ended {stage.starts} times without a result."
