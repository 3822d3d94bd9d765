"""Submission to a real Kubeflow Pipelines: `make test-cluster`; see cluster_kfp.py."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_kfp import NAMESPACE, NEEDS_KFP, PODS, forget, signed
from cluster_site import new_name

pytestmark = [pytest.mark.slow, NEEDS_KFP]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def name() -> str:
    return new_name()


@pytest.fixture
def project(tmp_path: Path, name: str) -> Path:
    path = tmp_path / "project.yaml"
    raw: dict[str, Any] = {
        "name": name,
        "target": "target",
        "source": {"uri": "http://127.0.0.1:9/there-is-no-such-table.csv"},
        "training": {"trials": 2, "folds": 2},
        "cluster": {
            "namespace": NAMESPACE,
            "service_account": os.environ.get("PENSTOCK_KFP_ACCOUNT", ""),
        },
    }
    path.write_text(yaml.safe_dump(raw))
    return path


@pytest.fixture
def run() -> Run:
    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [Path(sys.executable).parent / "penstock", *arguments, *signed()]
        return subprocess.run(
            list(map(str, command)), capture_output=True, text=True, timeout=3600, check=False
        )

    return call


@pytest.fixture(scope="module", autouse=True)
def _leave_nothing(name: str) -> Iterator[None]:
    yield
    forget(name)


def test_a_run_is_taken_followed_and_told(run: Run, project: Path) -> None:
    """A table that is not there: ingest fails, and the wait says so."""
    nowhere = ("-p", "uri=http://127.0.0.1:9/there-is-no-such-table.csv")
    done = run("submit", project, "--wait", "--timeout", "30m", *nowhere)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED  Ingest failed" in done.stdout
    taken = re.search(r"^Run (\S+):", done.stdout)
    assert taken is not None
    from kubernetes import client, config

    config.load_kube_config()
    label = f"pipeline/runid={taken[1]}"
    assert client.CoreV1Api().list_namespaced_pod(PODS, label_selector=label).items


def test_a_schedule_lives_and_is_deleted(run: Run, project: Path, name: str) -> None:
    where = ("--namespace", NAMESPACE) if NAMESPACE else ()
    uri = ("-p", "uri=http://127.0.0.1:9/there-is-no-such-table.csv")
    create = ("schedule", "create", project, "--cron", "0 0 1 1 *", *uri)
    assert "created" in run(*create).stdout
    assert "unchanged" in run(*create).stdout
    for action in ("pause", "resume"):
        done = run("schedule", action, name, *where)
        assert done.returncode == 0, done.stderr
    assert f"{name}  on  cron 0 0 0 1 1 *" in run("schedule", "list", *where).stdout
    assert run("schedule", "delete", name, *where).returncode == 0
