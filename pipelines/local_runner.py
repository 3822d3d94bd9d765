"""How `kfp.local` starts a step on this machine: in a forked process instead of a new interpreter.

kfp.local decides what runs, in which order, with which inputs, and what a failure means. It hands a
step's command to a task handler; for the time of a run this module puts a handler in the place of
kfp's own, which takes an earlier run's outputs again or starts the step warm (docs/adr/0019).
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import resource
import signal
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.common.progress import MARK
from penstock.components._memory import killed
from penstock.components._program import PROGRAM
from penstock.errors import ServiceError
from penstock.pipelines.step_cache import StepCache, StepCall
from penstock.pipelines.warm import WarmSteps

_EXECUTOR = "kfp.dsl.executor_main"
_FIRST = "--executor_input"

_SCRIPT = (
    'program_path=$(mktemp -d) printf "%s" "$0" > "$program_path/ephemeral_component.py" '
    f"_KFP_RUNTIME=true python3 -m {_EXECUTOR} --component_module_path "
    '"$program_path/ephemeral_component.py" "$@"'
)
"""The shell script of a thin component of others. A command that does more is kfp's to start."""


@dataclass(frozen=True)
class StepTime:
    """What a step cost.

    Args:
        step: The component's function.
        seconds: Wall time.
        cpu: CPU time in seconds of its process and of those that it waited for.
        how: `reused`, `warm`, or `cold`: a new interpreter.
    """

    step: str
    seconds: float
    cpu: float
    how: str


class LocalSteps:
    """Starts the steps of one run.

    Args:
        warm: Processes to fork from; None starts a new interpreter for each step, as kfp does.
        cache: What earlier runs made; None takes nothing again.
    """

    def __init__(self, warm: WarmSteps | None, *, cache: StepCache | None = None) -> None:
        self._warm = warm
        self._cache = cache
        self.times: list[StepTime] = []

    def run(
        self, command: Sequence[str], variables: Mapping[str, str], *, cold: Callable[[], bool]
    ) -> bool:
        """Run one step and return whether it succeeded.

        Args:
            command: What kfp.local would start.
            variables: The task's own environment variables.
            cold: Starts it as kfp.local would.
        """
        call = _call_of(command)
        environment = {**os.environ, **variables, "_KFP_RUNTIME": "true"}
        started = time.perf_counter()
        how, good, cpu = self._run(call, environment, cold=cold)
        name = call.function if call else "?"
        self.times.append(StepTime(name, time.perf_counter() - started, cpu, how))
        return good

    def _run(
        self, call: StepCall | None, environment: Mapping[str, str], *, cold: Callable[[], bool]
    ) -> tuple[str, bool, float]:
        note = self._cache.note_of(call, environment) if self._cache and call else None
        if call is None:
            return self._cold(cold)
        if self._cache and note and self._reuse(call, note):
            return "reused", True, 0.0
        figures: list[str] = []
        how, good, cpu = self._warm_or_cold(call, environment, figures=figures, cold=cold)
        if self._cache and note and good:
            self._cache.keep(call, note, lines=figures)
        return how, good, cpu

    def _reuse(self, call: StepCall, note: Path) -> bool:
        assert self._cache is not None
        kept = self._cache.take(call, note)
        if kept is None:
            return False
        for text in kept.lines or (f"{MARK}the same inputs",):
            print(f"{text} (reused from run {kept.run})")
        print("\n")
        if self._warm is not None and call.function in self._warm:
            self._warm.drop(call.function)
        return True

    def _warm_or_cold(
        self,
        call: StepCall,
        environment: Mapping[str, str],
        *,
        figures: list[str],
        cold: Callable[[], bool],
    ) -> tuple[str, bool, float]:
        end = None
        if self._warm is not None and call.function in self._warm:
            function, arguments = _as_function(call)
            end = self._warm.run(
                call.function,
                call=function,
                arguments=arguments,
                environment=environment,
                line=lambda text: _echo(text, figures),
            )
        if end is None:
            return self._cold(cold)
        if end.code == -signal.SIGKILL:
            print(f"{ServiceError.__name__}: {killed(call.function)}")
        print("\n")
        return "warm", end.code == 0, end.cpu

    def _cold(self, cold: Callable[[], bool]) -> tuple[str, bool, float]:
        before = _cpu_of_children()
        good = cold()
        return "cold", good, _cpu_of_children() - before


def _echo(text: str, figures: list[str]) -> None:
    # kfp.local puts a print of its own in place for the time of a step, and so indents the lines.
    print(text, end="")
    if MARK in text:
        figures.append(text.rstrip("\n"))


def _call_of(command: Sequence[str]) -> StepCall | None:
    """Read a step's command; None if it does not run a Python component, or does more."""
    if tuple(command[: len(PROGRAM)]) == PROGRAM and _FIRST in command:
        first = command.index(_FIRST)
        source, arguments = " ".join(command[:first]), list(command[first:])
    elif len(command) > 4 and list(command[:2]) == ["sh", "-ec"] and _words(command[2]) == _SCRIPT:
        source, arguments = command[3], list(command[4:])
    else:
        return None
    values = dict(zip(arguments[::2], arguments[1::2], strict=False))
    if set(values) != {_FIRST, "--function_to_execute"}:
        return None
    given = json.loads(values[_FIRST])
    return StepCall(
        function=values["--function_to_execute"],
        source=source,
        arguments=tuple(arguments),
        inputs=given.get("inputs", {}),
        folder=Path(given["outputs"]["outputFile"]).parent,
    )


def _as_function(call: StepCall) -> tuple[str, list[Any]]:
    """Return what a process calls to run a step, and with which arguments."""
    start = " ".join(PROGRAM)
    if call.source.startswith(start):
        options = call.source.removeprefix(start).split()
        return "penstock.components._program:run", [[*options, *call.arguments]]
    return f"{__name__}:execute", [call.source, list(call.arguments)]


def _words(script: str) -> str:
    return " ".join(re.split(r"\s+", script)).strip()


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def execute(source: str, arguments: Sequence[str]) -> None:
    """Run a source by kfp's executor, as the script of a thin component's command does.

    Args:
        source: The component's source.
        arguments: The executor's arguments.
    """
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "ephemeral_component.py"
        program.write_text(source, encoding="utf-8")
        sys.argv = [_EXECUTOR, "--component_module_path", str(program), *arguments]
        importlib.import_module(_EXECUTOR).executor_main()


@contextlib.contextmanager
def started_by(steps: LocalSteps) -> Iterator[None]:
    """Let kfp.local start its steps by `steps` for the time of the block, and hand them nulls."""
    from kfp.compiler import pipeline_spec_builder
    from kfp.local import status, subprocess_task_handler

    theirs = subprocess_task_handler.SubprocessTaskHandler
    their_value = pipeline_spec_builder.to_protobuf_value

    class Handler(theirs):  # type: ignore[misc, valid-type]
        def run(self) -> Any:
            good = steps.run(self.full_command, self.env_vars, cold=self._cold)
            return status.Status.SUCCESS if good else status.Status.FAILURE

        def _cold(self) -> bool:
            return bool(super().run() == status.Status.SUCCESS)

    subprocess_task_handler.SubprocessTaskHandler = Handler
    pipeline_spec_builder.to_protobuf_value = _or_null(their_value)
    try:
        yield
    finally:
        subprocess_task_handler.SubprocessTaskHandler = theirs
        pipeline_spec_builder.to_protobuf_value = their_value


def _or_null(to_value: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the same for null too, which kfp refuses and Kubeflow takes.

    In the project file a rule or bound that is null is off. kfp's own calls what stands in its
    place for whatever is in an object or a list.
    """
    from google.protobuf import struct_pb2  # type: ignore[import-untyped]

    def or_null(value: Any) -> Any:
        if value is None:
            return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
        return to_value(value)

    return or_null


def import_kfp() -> None:
    """Import kfp without its client, and so without kubernetes: nine tenths of what it costs.

    `kfp.Client` is imported when it is used.
    """
    if "kfp" in sys.modules:
        return
    client = "kfp.client"
    stand_in = types.ModuleType(client)
    stand_in.Client = None  # type: ignore[attr-defined]
    sys.modules[client] = stand_in
    try:
        import kfp
    finally:
        del sys.modules[client]

    def later(name: str) -> Any:
        if name not in ("Client", "client"):
            raise AttributeError(f"module 'kfp' has no attribute {name!r}")
        module = importlib.import_module(client)
        return module if name == "client" else module.Client

    for name in ("Client", "client"):
        vars(kfp).pop(name, None)
    kfp.__getattr__ = later
