"""Steps in forked processes: what they get, how they end, and that they take nothing along."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from running_process import until

from penstock.pipelines.warm import StepEnd, WarmSteps

STEPS = """
import atexit, os, resource, signal, sys, threading, time

def say(*words):
    print(*words)
    print("to standard error", file=sys.stderr)

def surroundings():
    import json_like
    print(os.getcwd(), os.environ.get("OURS"), "PATH" in os.environ, json_like.__name__)

def leave(code): sys.exit(code)
def explain(): sys.exit("in words")
def crash(): raise ValueError("it broke")
def kill(): os.kill(os.getpid(), signal.SIGKILL)
def abort(): os.abort()

def fill(limit):
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    print(len(bytearray(10 * limit)))

def at_the_end():
    atexit.register(print, "atexit ran")
    threading.Thread(target=lambda: (time.sleep(0.2), print("the thread ended"))).start()

def draw():
    import numpy
    print(numpy.random.random())

def wait(file):
    open(file, "w").write(str(os.getpid()))
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        open(file + ".interrupted", "w").close()
        raise

def burn():
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
"""


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmSteps]:
    folder = tmp_path_factory.mktemp("warm")
    (folder / "our_steps.py").write_text(STEPS)
    (folder / "json_like.py").write_text("")
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(folder), before)))
    table = {"ours": {"step": ("our_steps", "numpy", "no_such_module")}}
    try:
        with WarmSteps(log=folder / "imports.log", servers=table) as steps:
            yield steps
    finally:
        os.environ["PYTHONPATH"] = before


def run(
    warm: WarmSteps, function: str, *arguments: Any, **variables: str
) -> tuple[StepEnd, list[str]]:
    lines: list[str] = []
    end = warm.run(
        "step",
        call=f"our_steps:{function}",
        arguments=arguments,
        environment={"PATH": os.environ["PATH"], **variables},
        line=lambda text: lines.append(text.rstrip("\n")),
    )
    assert end is not None
    return end, lines


def test_every_line_arrives_and_a_step_that_returns_ends_with_0(warm: WarmSteps) -> None:
    end, lines = run(warm, "say", "to", "standard output")
    assert end.code == 0
    assert sorted(lines) == ["to standard error", "to standard output"]


def test_a_step_gets_this_folder_and_its_own_environment(
    warm: WarmSteps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THEIRS", "not handed on")
    _, lines = run(warm, "surroundings", OURS="1")
    assert lines == [f"{tmp_path} 1 True json_like"]


@pytest.mark.parametrize(
    ("function", "arguments", "code", "words"),
    [
        ("leave", [3], 3, ""),
        ("explain", [], 1, "in words"),
        ("crash", [], 1, "ValueError: it broke"),
        ("kill", [], -signal.SIGKILL, ""),
        ("abort", [], -signal.SIGABRT, ""),
        ("fill", [1 << 30], 1, "MemoryError"),
        ("no_such_function", [], 1, "AttributeError"),
    ],
)
def test_a_step_ends_as_its_own_interpreter_would_and_alone(
    warm: WarmSteps, function: str, arguments: list[Any], code: int, words: str
) -> None:
    end, lines = run(warm, function, *arguments)
    assert end.code == code
    assert words in "\n".join(lines)
    assert run(warm, "say")[0].code == 0


def test_exit_handlers_and_threads_end_before_the_step_does(warm: WarmSteps) -> None:
    assert run(warm, "at_the_end")[1] == ["the thread ended", "atexit ran"]


def test_two_steps_draw_other_numbers(warm: WarmSteps) -> None:
    assert run(warm, "draw")[1] != run(warm, "draw")[1]


def test_the_time_of_its_processor_is_told(warm: WarmSteps) -> None:
    assert run(warm, "burn")[0].cpu > 0.25
    assert run(warm, "say")[0].cpu < 0.25


def test_the_time_of_its_steps_is_counted_as_the_run_s(tmp_path: Path) -> None:
    before = _children()
    with WarmSteps(log=tmp_path / "log", servers={"ours": {"step": ()}}) as warm:
        idle = warm.run("step", call="os:getpid", arguments=(), environment={}, line=print)
        assert idle is not None
        code = "import time\nwhile time.process_time() < 1: pass"
        end = warm.run(
            "step",
            call="subprocess:check_call",
            arguments=[[sys.executable, "-c", code]],
            environment={},
            line=print,
        )
        assert end is not None
        # The step's end is reported a moment before its server has seen it.
        warm.run("step", call="time:sleep", arguments=[0.2], environment={}, line=print)
    assert end.cpu > 1
    assert _children() - before > 1


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_steps_may_run_side_by_side(warm: WarmSteps) -> None:
    long = "long" * 100_000
    ends: list[tuple[StepEnd, list[str]]] = []
    threads = [
        threading.Thread(target=lambda: ends.append(run(warm, "say", long))) for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(end.code, long in lines) for end, lines in ends] == [(0, True)] * 10


def test_what_lies_in_the_working_directory_is_no_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "penstock").mkdir()
    for name in ("penstock/__init__.py", "numpy.py", "json.py"):
        (tmp_path / name).write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    with WarmSteps(log=tmp_path / "log", servers={"a": {"step": ("numpy",)}}) as warm:
        end = warm.run("step", call="json:dumps", arguments=[1], environment={}, line=print)
    assert end is not None
    assert end.code == 0


WAITING = """
import os, sys
from pathlib import Path
from penstock.pipelines.warm import WarmSteps
file = sys.argv[1]
with WarmSteps(log=Path(file + ".log"), servers={"ours": {"step": ("our_steps",)}}) as warm:
    print(warm._servers["ours"]._process.pid, flush=True)
    environment = dict(os.environ)
    warm.run(
        "step", call="our_steps:wait", arguments=[file], environment=environment, line=print
    )
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_run_that_was_ended(
    warm: WarmSteps, tmp_path: Path, number: signal.Signals
) -> None:
    file = tmp_path / "pid"
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, str(file)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    server = int(process.stdout.readline())
    until(lambda: file.exists() and bool(file.read_text()))
    step = int(file.read_text())
    process.send_signal(number)
    process.wait(timeout=30)
    until(lambda: _ended(server))
    if number is signal.SIGINT:
        until(lambda: _ended(step))
        assert Path(f"{file}.interrupted").exists()
    else:
        # As under kfp.local alone: nobody is left to end a step whose run was killed.
        os.kill(step, signal.SIGKILL)
    process.stdout.close()


def test_a_step_whose_server_has_died_was_never_begun(tmp_path: Path) -> None:
    with WarmSteps(log=tmp_path / "log", servers={"a": {"step": ()}, "b": {"other": ()}}) as warm:
        warm.drop("step")
        given = {"call": "os:getpid", "arguments": (), "environment": {}, "line": print}
        assert warm.run("step", **given) is None
        assert warm.run("other", **given) is not None
        assert "other" in warm
        assert "a third" not in warm


def _ended(pid: int) -> bool:
    """Whether a process has ended; whoever inherited it may be slow to ask how."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
