"""Stages on this machine: one process at a time, begun once, started again after a kill."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from intervened_service import RETRAIN
from running_process import until

from penstock.errors import ServiceError
from penstock.pipelines import interventions
from penstock.pipelines.interventions import LocalExecutor, Stage
from penstock.pipelines.located import locate
from penstock.records.intervention import Comparison, Intervention, RunStatus
from penstock.records.release import Registration

COMPARE = RETRAIN.model_copy(update={"stage": "compare", "run": ""})


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "project.yaml"
    gate = {"approval": {"people": 1}}
    raw = {"name": "loans", "target": "paid", "source": {"uri": "loans.csv"}, "gate": gate}
    path.write_text(yaml.safe_dump(raw))
    monkeypatch.setattr(interventions, "_PROCESS", "stage_process")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    return path


@pytest.fixture
def folder(project: Path) -> Iterator[Path]:
    found = project.parent / ".penstock" / "monitor" / "interventions" / RETRAIN.identity
    yield found
    for pid in pids(found):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def executor(project: Path) -> LocalExecutor:
    return LocalExecutor(locate(project), file=project, settings=())


def pids(folder: Path) -> list[int]:
    path = folder / "pids"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def test_a_run_is_begun_once_whoever_asks(project: Path, folder: Path) -> None:
    for _ in range(3):
        # Each as a monitor that was started again.
        assert executor(project).run(RETRAIN) == RunStatus(state="running")
    until(lambda: pids(folder))
    ended = RunStatus(state="released", version=2)
    (folder / "end").write_text(ended.dumps())
    until(lambda: executor(project).run(RETRAIN) == ended)
    assert len(pids(folder)) == 1
    order = Intervention.model_validate_json(Stage(folder, RETRAIN.run).order.read_text())
    assert order == RETRAIN


def test_a_process_that_was_killed_is_started_again_and_not_for_ever(
    project: Path, folder: Path
) -> None:
    for start in range(1, 4):
        assert executor(project).run(RETRAIN).state == "running"
        until(lambda start=start: len(pids(folder)) == start)
        os.kill(pids(folder)[-1], signal.SIGKILL)
        os.waitpid(pids(folder)[-1], 0)
    status = executor(project).run(RETRAIN)
    assert status.state == "failed"
    assert "ended 3 times without a result" in status.reason
    assert executor(project).run(RETRAIN) == status
    assert len(pids(folder)) == 3


def test_a_comparison_is_made_once_for_a_look_and_its_trouble_is_raised(
    project: Path, folder: Path
) -> None:
    assert executor(project).compare(COMPARE) is None
    folder.mkdir(exist_ok=True)
    (folder / "error").write_text("the registry is away")
    until(lambda: Stage(folder, "compare-7").error.exists())
    with pytest.raises(ServiceError, match="the registry is away"):
        executor(project).compare(COMPARE)
    (folder / "error").unlink()
    later = COMPARE.model_copy(update={"look": 8})
    found = Comparison(look=8, champion=1, reason="None fits.", labelled=10, gate=4)
    (folder / "end").write_text(found.dumps())
    until(lambda: executor(project).compare(later) == found)


def test_a_run_that_waits_for_people_says_so(project: Path, folder: Path) -> None:
    executor(project).run(RETRAIN)
    step = project.parent / ".penstock" / "runs" / RETRAIN.run / "kfp" / "one" / "register"
    step.mkdir(parents=True)
    Registration(
        name="loans",
        version=2,
        uri="models:/loans/2",
        model="sha256:aa",
        decision="sha256:bb",
        dataset="rows1:cc",
        mlflow_run="run",
    ).write(step / "registration")
    waits = executor(project).run(RETRAIN).waits
    assert waits == (
        "Version 2 waits for the approval of a person: penstock approve models:/loans/2 "
        "--reason TEXT"
    )
    approve = step.parent / "approve"
    approve.mkdir()
    (approve / "outcome").write_text("{}")
    assert executor(project).run(RETRAIN).waits == ""
    # The fixture ends those that have said their number.
    until(lambda: pids(folder))
