"""The whole loop by one command: released, watched, retrained, recalled. All processes are real."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from pathlib import Path

import psutil
import pytest
import yaml
from running_process import until

from penstock.monitoring.store.state import MonitorFolder
from penstock.registry import versions

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.xdist_group("loop")]

NAME = "simulated-transactions"


@pytest.fixture(scope="module")
def project(shell) -> Path:
    """The example, so that it trains in seconds and its canary is short."""
    assert shell("example", "loop", "--rows", "6000").returncode == 0
    path = shell.folder / "loop" / "project.yaml"
    raw = yaml.safe_load(path.read_text()) | {
        "training": {"trials": 1, "folds": 2, "candidates": ["linear"]},
        "deployment": {"port": 0},
        "gate": {"baseline": {"margin": 0.0}},
        "notify": {"file": "told.jsonl"},
    }
    path.write_text(yaml.safe_dump(raw))
    return path


def killed_once(project: Path, gone: list[int]) -> None:
    """Kill the process of the retraining at its first rollout, as nobody would wish."""
    home = project.parent / ".penstock"

    def retraining() -> list[int]:
        if not any((home / "runs").glob("*.retrain/kfp/*/register/registration")):
            return []
        return [
            process.pid
            for process in psutil.process_iter(["cmdline"])
            if {"penstock.pipelines.intervention_process", str(project)}
            <= set(process.info["cmdline"] or [])
        ]

    until(retraining, seconds=600, every=0.2)
    for pid in retraining():
        os.kill(pid, signal.SIGKILL)
        gone.append(pid)


def test_the_loop_by_one_command(project: Path, shell) -> None:
    gone: list[int] = []
    threading.Thread(target=killed_once, args=(project, gone), daemon=True).start()
    done = shell("example", "loop", "--loop", timeout=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Done: 2 actions by the monitor." in done.stdout
    home = project.parent / ".penstock"
    state = MonitorFolder(home).read(service=NAME)[0]
    assert gone, "nothing was killed"
    # Begun once, whatever was killed; one new version each.
    assert [one.kind for one in state.actions if one.kind != "suggested"] == [
        "retrained",
        "recalled",
    ]
    assert state.version == 3
    assert state.verdict.kind == "healthy"
    assert state.intervention is None
    assert state.totals.actions["retrained"] == state.totals.actions["recalled"] == 1
    store = f"sqlite:///{home / 'mlflow.db'}"
    first, last = (
        versions.registered(f"models:/{NAME}/{version}", tracking_uri=store) for version in (1, 3)
    )
    assert first.model == last.model
    assert versions.champion(NAME, tracking_uri=store) == last
    # Nothing was trained for it.
    (recall,) = (home / "runs").glob("*.recall")
    summary = json.loads((recall / "summary.json").read_text())
    assert summary["outcome"] == "released"
    steps = {step["step"] for step in summary["steps"]}
    assert {"ingest", "fetch_version", "evaluate", "decide", "register", "deploy"} <= steps
    assert "train" not in steps
    told = (project.parent / "told.jsonl").read_text().splitlines()
    events = [re.search(r'"state":"(\w+)"', line)[1] for line in told]
    assert {"retrained", "recalled"} <= set(events)
    assert all("Page: file://" in line for line in told if '"retrained"' in line)
    compared = shell("recall", str(project), "--compare", "--since", "2026-01-01")
    assert compared.returncode == 0, compared.stderr
    assert "Version 2 " in compared.stdout
    assert "in the half that the gate judges on" in compared.stdout
    page = (home / "monitor" / "index.html").read_text()
    assert ">recalled<" in page
    assert "Recall of version 1" in page
