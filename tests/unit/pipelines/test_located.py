"""Every command finds the same store, from the folder that its reader is in."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from penstock.errors import UsageError
from penstock.pipelines.cli import main
from penstock.pipelines.located import locate, store_of

PROJECT = "name: loans\ntarget: bad\nsource: {uri: loans.csv}\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def project_in(folder: Path, text: str = PROJECT, *, store: bool = True) -> Path:
    (folder / ".penstock").mkdir(parents=True, exist_ok=True)
    if store:
        (folder / ".penstock" / "mlflow.db").touch()
    (folder / "project.yaml").write_text(text)
    return folder / "project.yaml"


def asked(*, project: Path | None = None, tracking_uri: str = "") -> argparse.Namespace:
    return argparse.Namespace(project=project, tracking_uri=tracking_uri)


def test_the_store_is_found_in_the_order_that_is_told(folder: Path, monkeypatch) -> None:
    with pytest.raises(UsageError, match=r"no MLflow store is known here.*--project FILE"):
        store_of(asked())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://environment")
    assert store_of(asked()) == ("http://environment", None)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    other = project_in(folder / "other")
    assert store_of(asked(project=other))[0] == f"sqlite:///{folder}/other/.penstock/mlflow.db"
    project_in(folder)
    uri, found = store_of(asked())
    assert uri == f"sqlite:///{folder}/.penstock/mlflow.db"
    assert found is not None
    assert found.name == "loans"
    assert store_of(asked(tracking_uri="http://given")) == ("http://given", None)
    named = project_in(folder, PROJECT + "tracking_uri: http://projects\n")
    assert locate(named).tracking_uri == store_of(asked())[0] == "http://projects"


@pytest.mark.parametrize(
    "command",
    [
        "verify",
        "verify models:/loans/1",
        "approve --reason good",
        "approve models:/loans/1 --reason good",
        "reject models:/loans/1 --reason bad",
        "audit",
        "audit --model loans",
        "rollback",
        "gate --policy project.yaml --model models:/loans/1 --data loans.csv",
        "gate --policy policy.yaml --model models:/loans/1 --data loans.csv",
    ],
)
def test_who_reads_makes_no_store(folder: Path, command: str, capsys) -> None:
    project_in(folder, store=False)
    (folder / "policy.yaml").write_text("baseline: {margin: 0.01}\n")
    assert main(command.split()) == 1
    said = capsys.readouterr().err
    assert "no version of loans has been registered yet. Release a first one with" in said
    assert list((folder / ".penstock").iterdir()) == []


def test_a_registry_that_is_gone_is_not_one_that_never_was(folder: Path, capsys) -> None:
    project_in(folder, store=False)
    served = folder / ".penstock" / "serving" / "loans" / "state.json"
    served.parent.mkdir(parents=True)
    served.write_text("{}")
    assert main(["verify"]) == 1
    said = capsys.readouterr().err
    assert "the registry of loans is gone" in said
    assert "Put the file back from a backup." in said
    assert not (folder / ".penstock" / "mlflow.db").exists()


def test_commands_take_the_project_s_port_where_the_service_has_none(folder: Path) -> None:
    from penstock.pipelines.service_commands import _project

    project = project_in(folder, PROJECT + "deployment: {port: 18080, ready_timeout: 7}\n")
    _, place = _project(argparse.Namespace(project=project))
    assert place.router.url == "http://127.0.0.1:18080"
