"""A release that waits for people: a rejection ends it, approval continues it; both are kept."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest
import yaml

QUICK = {"trials": 2, "folds": 2, "candidates": ["linear"]}

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.xdist_group("approval")]


@pytest.fixture(scope="module")
def project(shell) -> Path:
    assert shell("example", "asked", "--rows", "6000").returncode == 0
    path: Path = shell.folder / "asked" / "project.yaml"
    changes = {
        "training": QUICK,
        "deployment": {"port": 0},
        "gate": {"approval": {"people": 1}},
    }
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))
    return path


def asked(project: Path, version: int, *, run: subprocess.Popen[str]) -> None:
    """Wait until the run says that it waits for people."""
    words = f"penstock approve models:/simulated-transactions/{version}"
    deadline = time.monotonic() + 400
    while not any(words in log.read_text() for log in project.parent.rglob("runs/*/kfp.log")):
        assert run.poll() is None, run.communicate()[0]
        assert time.monotonic() < deadline, "it never came to wait for people"
        time.sleep(1)


def serving(project: Path) -> list[Path]:
    return list(project.parent.glob(".penstock/serving/*/state.json"))


def how_each_step_came_about(project: Path) -> dict[str, str]:
    summary = sorted(project.parent.glob(".penstock/runs/*/summary.json"))[-1]
    return {step["step"]: step["how"] for step in json.loads(summary.read_text())["steps"]}


def test_a_no_ends_the_run_as_refused(project: Path, shell) -> None:
    run = shell.begin("run", str(project))
    try:
        asked(project, 1, run=run)
        assert not serving(project)
        no = shell(
            "reject", str(project), "--version", "1", "--as", "bea",
            "--reason", "not before the audit",
        )  # fmt: skip
        assert no.returncode == 0, no.stdout + no.stderr
        said = run.communicate(timeout=120)[0]
    finally:
        run.kill()
    assert run.returncode == 3, said
    assert "REFUSED  The candidate was not approved." in said
    assert "not before the audit" in said
    assert not serving(project)


def test_a_no_stands_while_nothing_changes(project: Path, shell) -> None:
    done = shell("run", str(project))
    assert done.returncode == 3, done.stdout + done.stderr
    assert "not before the audit" in done.stdout
    # The very model and decision that were rejected: no other version, and nobody is asked again.
    assert "models:/simulated-transactions/1" in done.stdout
    how = how_each_step_came_about(project)
    assert (how["train"], how["register"], how["approve"]) == ("reused", "warm", "warm")
    assert not serving(project)


def test_a_yes_lets_it_go_on(project: Path, shell) -> None:
    run = shell.begin("run", str(project), "--fresh")
    try:
        asked(project, 2, run=run)
        unnamed = shell("approve", str(project), "--as", "bea", "--reason", "the audit is done")
        assert unnamed.returncode == 2, unnamed.stdout + unnamed.stderr
        assert "approve models:/simulated-transactions/2 --decision sha256:" in unnamed.stderr
        yes = shell(
            "approve", "models:/simulated-transactions/2", "--project", str(project),
            "--as", "bea", "--reason", "the audit is done",
        )  # fmt: skip
        assert yes.returncode == 0, yes.stdout + yes.stderr
        said = run.communicate(timeout=200)[0]
    finally:
        run.kill()
    assert run.returncode == 0, said
    assert "RELEASED" in said
    assert set(how_each_step_came_about(project).values()) == {"warm"}

    log = shell("audit", str(project))
    assert log.returncode == 0, log.stdout + log.stderr
    events = [line.split()[2] for line in log.stdout.splitlines() if line.startswith("20")]
    assert events[:6] == [
        "registered", "rejected", "registered", "approved", "admitted", "promoted"
    ]  # fmt: skip
    assert "the audit is done" in log.stdout


def test_what_was_released_holds_what_is_kept_of_it(project: Path, shell) -> None:
    held = shell("verify", str(project))
    assert held.returncode == 0, held.stdout + held.stderr
    assert "approv" in held.stdout
