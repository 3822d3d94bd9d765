"""The guardian as people run it: `penstock monitor`, real servers, a champion with a fault."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rollout_world import World, world_in
from router_parts import load_on

from penstock.monitoring.store.state import MonitorFolder
from penstock.registry import audit
from penstock.rollout.target import newest

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture
def world(
    tmp_path: Path, models: Callable[..., Path], instances: list[dict[str, Any]]
) -> Iterator[World]:
    home = tmp_path / ".penstock"
    home.mkdir()
    with world_in(home, models=models, instances=instances) as built:
        yield built


def test_a_champion_that_fails_requests_is_returned_by_the_monitor(world: World) -> None:
    for depth in (2, 3):
        canary = {"steps": [{"weight": 30, "min_samples": 200, "max_wait": 90}]}
        assert world.release(depth, canary=canary).outcome == "promoted"
    assert world.champion() == 2
    _inject(world, "errors")

    project = world.home.parent / "project.yaml"
    project.write_text(
        yaml.safe_dump(
            {
                "name": "adult",
                "target": "target",
                "source": {"uri": "rows.csv"},
                "deployment": {"port": 0},
                "monitoring": {"guardian": {"every": "1s", "errors": 0.005}},
                "notify": {"file": "told.jsonl"},
            }
        )
    )
    penstock = Path(sys.executable).with_name("penstock")
    command = [str(penstock), "monitor", str(project)]
    with load_on(_url(world), world.rows[:1]):
        watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        deadline = threading.Timer(300, watching.kill)
        deadline.start()
        try:
            said = next((line for line in watching.stdout if "is the champion again" in line), "")
        finally:
            deadline.cancel()
            watching.kill()
            watching.communicate()
    assert "Version 2 does harm: the share of requests that its server fails is" in said
    assert world.champion() == 1
    assert world.ask(_url(world)) == "1"
    record = newest(world.place()).rollout
    assert (record.purpose, record.outcome, record.candidate) == ("return", "promoted", 1)
    assert "does harm: the share of requests that its server fails" in record.reason
    state = MonitorFolder(world.home).read(service="adult")[0]
    assert state.totals.actions == {"returned": 1}
    told = [json.loads(line) for line in (project.parent / "told.jsonl").read_text().splitlines()]
    assert [one["state"] for one in told if one["state"] == "returned"] == ["returned"]

    # What is read again finds nothing more to do.
    once = subprocess.run([*command, "--once"], capture_output=True, text=True, check=False)
    assert once.returncode in (0, 5, 6), once.stderr
    assert world.champion() == 1
    assert audit.GUARDIAN in record.direct


def _inject(world: World, fault: str) -> None:
    """Have the champion's server start again with a fault, which no canary would promote."""
    path = world.home / "serving" / "adult" / "state.json"
    raw = json.loads(path.read_text())
    raw["stable"]["fault"] = fault
    path.write_text(json.dumps(raw))
    os.kill(world.state().stable.process.pid, signal.SIGKILL)
    with world.place().router.exclusive():
        assert world.state().stable.fault == fault


def _url(world: World) -> str:
    return f"http://127.0.0.1:{world.state().port}"
