"""`penstock experiment`, as far as it needs nothing that serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.pipelines.cli import main

PROJECT = """
name: shop
target: bought
source: {uri: shop.csv}
experiment: {baseline: 0.1, effect: 0.01}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    # The commands on a service set it for the process; what is set here is taken back.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    path = tmp_path / "project.yaml"
    path.write_text(PROJECT)
    return str(path)


def test_it_says_how_many_users_and_what_reading_at_any_time_costs(
    project: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["experiment", "size", project]) == 0
    said = capsys.readouterr().out
    assert "57,545 users" in said
    assert "29,497" in said
    assert main(["experiment", "size", project, "--set", "experiment.effect=0.05"]) == 0
    assert "57,545" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("experiment.effect=null", "what is to be seen"),
        ("experiment.effect=2", "not between 0 and the width"),
        ("experiment.baseline=1.5", "not between 0 and 1"),
        ("experiment.kpi=cost", "the policy has none"),
        ("experiment.window=soon", "not a duration"),
    ],
)
def test_what_does_not_fit_together_is_said(
    project: str, setting: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["experiment", "size", project, "--set", setting]) == 2
    assert words in capsys.readouterr().err


def test_without_a_release_none_begins_and_no_registry_is_made(
    project: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["experiment", "start", project]) == 1
    assert "penstock run" in capsys.readouterr().err
    assert not (Path(project).parent / ".penstock" / "mlflow.db").exists()


def test_without_an_experiment_there_is_nothing_to_see_or_stop(
    project: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["experiment", "status", project]) == 0
    assert "There was no experiment yet" in capsys.readouterr().out
    assert main(["experiment", "stop", project]) == 1
    assert "no experiment is under way" in capsys.readouterr().err
    assert main(["experiment", "weight", "--to", "50", project]) == 1


@pytest.mark.parametrize("action", ["status", "stop"])
def test_where_no_cluster_is_known_that_is_said(
    project: str, action: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", f"{project}.none")
    assert main(["experiment", action, project, "--set", "deployment.router=kserve"]) == 1
    assert "no Kubernetes cluster is known here" in capsys.readouterr().err
