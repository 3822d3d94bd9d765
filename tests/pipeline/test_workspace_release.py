"""A whole release into a workspace of a real `mlflow server --enable-workspaces`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from running_process import mlflow_server
from test_release import prepare, steps_of

pytestmark = [pytest.mark.slow, pytest.mark.long]

BIN = Path(sys.executable).parent
NAME = "simulated-transactions"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server with two workspaces besides its default one."""
    monkeypatch.delenv("MLFLOW_WORKSPACE", raising=False)
    options = ["--enable-workspaces", "--artifacts-destination", tmp_path / "artifacts"]
    with mlflow_server(tmp_path, store=f"sqlite:///{tmp_path}/mlflow.db", options=options) as found:
        client = MlflowClient(tracking_uri=found, registry_uri=found)
        for name in ("risk", "sales"):
            client.create_workspace(name)
        yield found


def run_in(workspace: str, shell: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command that asks MLflow in a workspace."""
    return subprocess.run(
        [BIN / "penstock", *arguments],
        cwd=shell.folder,
        env=shell.environment | {"MLFLOW_WORKSPACE": workspace},
        capture_output=True,
        text=True,
        timeout=400,
    )


def test_a_release_is_of_its_workspace(shell: Any, server: str, tmp_path: Path) -> None:
    project = prepare(shell, "workspace", tracking_uri=server)
    champion = f"models:/{NAME}@champion"
    verify = ("verify", champion, "--tracking-uri", server)

    done = run_in("risk", shell, "run", str(project))
    assert done.returncode == 0, done.stdout + done.stderr
    checked = run_in("risk", shell, *verify)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"models:/{NAME}/1: all " in checked.stdout
    assert [path.name for path in (tmp_path / "artifacts/workspaces").iterdir()] == ["risk"]

    unseen = run_in("sales", shell, *verify)
    assert unseen.returncode == 1
    assert f"there is no model {NAME!r} with the alias 'champion'" in unseen.stderr
    assert "MLflow was asked in the workspace sales" in unseen.stderr
    assert "Champion: none" in run_in("sales", shell, "audit", str(project)).stdout

    refused = run_in("nobodys", shell, "run", str(project))
    assert refused.returncode == 1
    assert "Workspace 'nobodys' not found. The workspace of the request is nobodys" in (
        refused.stdout
    )
    assert "Traceback" not in refused.stdout + refused.stderr
    assert "Register" not in steps_of(project)
