"""The run view: one line a step, in place on a terminal, plainly elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from penstock.pipelines.view import LogTee, RunView

RAW = """\
02:00:00.1 - INFO - Executing task \x1b[96m'ingest'\x1b[0m
02:00:00.2 - INFO - Streamed logs:
    penstock| 50,000 rows, 13 columns
02:00:01.0 - INFO - Task \x1b[96m'ingest'\x1b[0m finished with status \x1b[92mSUCCESS\x1b[0m
02:00:01.1 - INFO - Executing task \x1b[96m'deploy'\x1b[0m
    Traceback (most recent call last):
    penstock.errors.ServiceError: port 8080 is taken. Free it.
02:00:02.0 - ERROR - Task \x1b[96m'deploy'\x1b[0m finished with status \x1b[91mFAILURE\x1b[0m
"""


def follow(text: str, *, terminal: bool = False) -> tuple[str, str, RunView]:
    screen, log = io.StringIO(), io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=100)
    view = RunView(console, steps=("ingest", "deploy"))
    with view:
        tee = LogTee(log, view)
        for start in range(0, len(text), 7):  # writes come in pieces
            tee.write(text[start : start + 7])
    return screen.getvalue(), log.getvalue(), view


def test_without_a_terminal_each_step_is_one_line() -> None:
    screen, log, view = follow(RAW)
    first, second = screen.splitlines()
    assert first.startswith("ok      Ingest ")
    assert first.endswith("50,000 rows, 13 columns")
    assert second.startswith("FAILED  Deploy ")
    assert second.endswith("port 8080 is taken. Free it.")
    assert "\x1b" not in log
    failed = view.failed()
    assert failed is not None
    assert failed.name == "deploy"


@pytest.mark.parametrize(
    "line",
    [
        "penstock.cluster.client.UnansweredError: WHY",
        "penstock.errors.Interrupted: WHY",
        "mlflow.exceptions.MlflowException: WHY",
        "ValueError: WHY",
    ],
)
def test_the_reason_is_read_wherever_the_error_is_defined(line: str) -> None:
    screen, _, _ = follow(RAW.replace("penstock.errors.ServiceError: port 8080 is taken.", line))
    assert screen.splitlines()[1].endswith("WHY Free it.")


def test_an_exit_status_is_no_reason() -> None:
    screen, _, _ = follow(RAW.replace("    penstock.errors.Serv", "    Error: exit status 1 "))
    assert screen.splitlines()[1].endswith("see the log")


def test_on_a_terminal_every_step_is_shown_from_the_start() -> None:
    screen, _, _ = follow(RAW, terminal=True)
    assert "✓" in screen
    assert "✗" in screen
    assert "Deploy" in screen


def test_a_step_may_be_seen_instead_of_read() -> None:
    for terminal, marks in ((False, ("ok      Ingest", "FAILED  Deploy")), (True, ("✓", "✗"))):
        screen = io.StringIO()
        console = Console(file=screen, force_terminal=terminal, width=100)
        with RunView(console, steps=("ingest", "deploy")) as view:
            view.see("ingest", state="running")
            view.see("ingest", state="done", seconds=7, figure="12 rows")
            view.see("ingest", state="done", seconds=9, figure="told twice")
            view.see("deploy", state="failed", figure="no port")
        text = screen.getvalue()
        for expected in (*marks, "7.0 s", "12 rows", "no port"):
            assert expected in text
        assert "told twice" not in text
        if not terminal:
            assert len(text.splitlines()) == 2


def test_a_task_that_ends_a_run_is_no_failure_and_has_a_name() -> None:
    for terminal, mark in ((False, "REFUSED BY THE GATE"), (True, "■")):
        screen = io.StringIO()
        console = Console(file=screen, force_terminal=terminal, width=100)
        with RunView(
            console, steps=("decide",), endings={"gate-refused": "Refused by the gate"}
        ) as view:
            view.see("decide", state="done")
            view.see("gate-refused", state="failed", figure="Too weak.")
        text = screen.getvalue()
        for expected in (mark, "refused by the gate", "Too weak."):
            assert expected in text or expected in text.lower()
        assert "FAILED" not in text
        assert "✗" not in text
        assert "Fail 3" not in text
