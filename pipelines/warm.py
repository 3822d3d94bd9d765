"""Steps in processes that need not import anything: forked from servers that hold the imports.

    with WarmSteps(log=folder / "imports.log") as steps:
        end = steps.run("train", call="package.module:function", arguments=[...], line=print)

A forked step is a process of its own: what it breaks, fills or kills is its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from penstock.pipelines import fork_server

SERVERS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "light": {
        "ingest": ("penstock.data.ingest", "pyarrow.compute"),
        "split": ("penstock.data.split.writer", "penstock.data.task", "pyarrow.parquet", "pandas"),
        "probe_serving": ("penstock.gate.policy", "penstock.serving.probe"),
        "decide": ("penstock.gate.decision",),
        "approve": ("penstock.registry.approval_wait",),
        "notify": ("penstock.rollout.end_notice",),
        "fail": ("penstock.rollout.run_ended",),
        # Great Expectations costs 4 s of CPU, and few suites need it: a step that does imports it.
        "validate": ("penstock.quality.check", "pyarrow.compute", "pyarrow.parquet"),
    },
    "models": {
        "engineer_features": (
            "penstock.features.fit",
            "penstock.features.transformers",
            "sklearn.compose",
            "skops.io",
            "pyarrow.parquet",
        ),
        "train": (
            "penstock.training.train",
            "mlflow",
            "mlflow.store.tracking.sqlalchemy_store",
            "optuna",
            "penstock.reports.plots",
            "penstock.reports._svg",
        ),
        "fetch_version": ("penstock.registry.recalling", "penstock.training.baselines"),
        "evaluate": (
            "penstock.evaluation.evaluate",
            "penstock.evaluation.baseline",
            "penstock.evaluation.model_metrics",
        ),
        "explain": ("penstock.explanation.explain", "penstock.explanation._attribution"),
        "register": (
            "penstock.registry.register",
            "penstock.registry.evidence",
            "penstock.export._features",
            "onnxruntime",
        ),
        "deploy": ("penstock.rollout.release", "httpx"),
    },
}
"""What each step imports, by the server that it is forked from, in the order of a release.

A server imports on in this order while it has no step to run. What is missing here a step
imports itself, so an omission costs time and nothing else.
"""

_GRACE = 5.0
"""Seconds that a step has to end by itself once its run is interrupted."""


@dataclass(frozen=True)
class StepEnd:
    """How a step ended.

    Args:
        code: Its exit code, or minus the number of the signal that killed it.
        cpu: Its CPU time in seconds, with the processes that it waited for.
    """

    code: int
    cpu: float


class WarmSteps:
    """Servers that hold the imports of a pipeline's steps, for as long as the block lasts.

    Args:
        log: A file for what the imports print.
        servers: Like `SERVERS`.
    """

    def __init__(
        self, *, log: Path, servers: Mapping[str, Mapping[str, Sequence[str]]] = SERVERS
    ) -> None:
        self._log = log
        self._modules = {
            step: (name, modules)
            for name, steps in servers.items()
            for step, modules in steps.items()
        }
        self._remaining = {name: set(steps) for name, steps in servers.items()}
        self._servers: dict[str, _Server] = {}

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._servers = {name: _Server(log) for name in self._remaining}
        for name, modules in self._modules.values():
            self._servers[name].import_ahead(modules)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server in self._servers.values():
            server.end()

    def __contains__(self, step: str) -> bool:
        return step in self._modules

    def drop(self, step: str) -> None:
        """Say that a step will not run; a server whose steps have all been dropped is ended."""
        name, _ = self._modules[step]
        self._remaining[name].discard(step)
        if not self._remaining[name]:
            self._servers[name].kill()

    def run(
        self,
        step: str,
        *,
        call: str,
        arguments: Sequence[Any],
        environment: Mapping[str, str],
        line: Callable[[str], object],
    ) -> StepEnd | None:
        """Run a function in a process of its own and wait for its end.

        Args:
            step: Its name in the servers' table.
            call: `package.module:function`.
            arguments: Its arguments, as JSON has them.
            environment: All of its environment variables. Libraries that read one while they are
                imported read the server's: that of this process when the block began.
            line: Called with every line that it writes, to standard output or error.

        Returns:
            How it ended; None if its server has ended and the step was never begun.
        """
        name, modules = self._modules[step]
        return self._servers[name].run(
            {
                "modules": list(modules),
                "call": call,
                "arguments": list(arguments),
                "environment": dict(environment),
                "folder": str(Path.cwd()),
            },
            line=line,
        )


class _Server:
    """One fork server and the socket to it."""

    def __init__(self, log: IO[bytes]) -> None:
        self._channel, theirs = socket.socketpair()
        # kfp.local runs two steps of a loop at once, and a message is sent in two parts.
        self._sending = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603
                # -P: what lies in the working directory must not be taken for a library.
                [sys.executable, "-P", "-m", fork_server.__name__, str(theirs.fileno())],
                # kfp imports little where it takes itself to be in a task.
                env={**os.environ, "_KFP_RUNTIME": "true"},
                pass_fds=[theirs.fileno()],
                stdout=log,
                stderr=log,
            )

    def import_ahead(self, modules: Sequence[str]) -> None:
        with contextlib.suppress(OSError), self._sending:
            fork_server.send(self._channel, {"ahead": list(modules)})

    def run(self, request: Mapping[str, Any], *, line: Callable[[str], object]) -> StepEnd | None:
        output, theirs = os.pipe()
        report, their_report = socket.socketpair()
        with report, os.fdopen(output, encoding="utf-8", errors="replace") as lines:
            try:
                with their_report, self._sending:
                    fork_server.send(self._channel, request, [theirs, their_report.fileno()])
            except OSError:
                return None
            finally:
                os.close(theirs)
            with report.makefile("r", encoding="utf-8") as reports:
                return _follow(lines, reports, line=line)

    def kill(self) -> None:
        # It may be in the middle of an import. Steps that it forked are no part of it.
        self._process.kill()

    def end(self) -> None:
        self.kill()
        self._channel.close()
        self._process.wait()


def _follow(lines: IO[str], reports: IO[str], *, line: Callable[[str], object]) -> StepEnd | None:
    begun = reports.readline()
    if not begun:
        return None
    pid = int(json.loads(begun)["pid"])
    try:
        for text in lines:
            line(text)
        ended = reports.readline()
    except BaseException:
        _interrupt(pid, reports)
        raise
    if not ended:
        # Who waited for the step was killed, and the step's own end is not known.
        return StepEnd(-signal.SIGKILL, 0.0)
    end = json.loads(ended)
    return StepEnd(int(end["code"]), float(end["cpu"]))


def _interrupt(pid: int, reports: IO[str]) -> None:
    """Let a step end as by Ctrl-C, which reaches it by itself only where there is a terminal."""
    import select

    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)
    select.select([reports], [], [], _GRACE)
