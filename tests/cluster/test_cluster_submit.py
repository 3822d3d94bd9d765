"""Submission to a real Kubeflow Pipelines: `make test-cluster`.

KUBECONFIG names the cluster and PENSTOCK_KFP_HOST its KFP API. PENSTOCK_KFP_TABLE and
PENSTOCK_KFP_TARGET name a table that the cluster reaches, for a release to the end. Further, where
they are needed: PENSTOCK_KFP_NAMESPACE (a profile), PENSTOCK_KFP_PODS (the namespace of the pods,
`kubeflow` unless there is a profile), PENSTOCK_KFP_TOKEN_FILE and PENSTOCK_KFP_ACCOUNT.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

HOST = os.environ.get("PENSTOCK_KFP_HOST", "")
NAMESPACE = os.environ.get("PENSTOCK_KFP_NAMESPACE", "")
PODS = os.environ.get("PENSTOCK_KFP_PODS") or NAMESPACE or "kubeflow"
TOKEN = os.environ.get("PENSTOCK_KFP_TOKEN_FILE", "")
TABLE = os.environ.get("PENSTOCK_KFP_TABLE", "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (HOST and os.environ.get("KUBECONFIG")),
        reason="NOT RUN against a real Kubeflow: set KUBECONFIG and PENSTOCK_KFP_HOST",
    ),
]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def name() -> str:
    return f"penstock-test-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def project(tmp_path: Path, name: str) -> Path:
    path = tmp_path / "project.yaml"
    raw: dict[str, Any] = {
        "name": name,
        "target": os.environ.get("PENSTOCK_KFP_TARGET", "target"),
        "source": {"uri": TABLE or "http://127.0.0.1:9/there-is-no-such-table.csv"},
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
        signed = ["--token-file", TOKEN] if TOKEN else []
        command = [Path(sys.executable).parent / "penstock", *arguments, "--host", HOST, *signed]
        return subprocess.run(
            list(map(str, command)), capture_output=True, text=True, timeout=3600, check=False
        )

    return call


@pytest.fixture(scope="module", autouse=True)
def _leave_nothing(name: str) -> Iterator[None]:
    yield
    from kfp.client import Client, ServiceAccountTokenVolumeCredentials

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        credentials = ServiceAccountTokenVolumeCredentials(TOKEN) if TOKEN else None
        client = Client(host=HOST, credentials=credentials, namespace=NAMESPACE or "kubeflow")
    try:
        experiment = client.get_experiment(experiment_name=name, namespace=NAMESPACE or None)
    except ValueError:  # nothing was ever begun
        return
    every = client.list_runs(experiment_id=experiment.experiment_id, page_size=100).runs or []
    for each in every:
        client.delete_run(each.run_id)
    client.delete_experiment(experiment.experiment_id)
    if pipeline := client.get_pipeline_id(name):
        for version in client.list_pipeline_versions(pipeline).pipeline_versions or []:
            client.delete_pipeline_version(pipeline, version.pipeline_version_id)
        client.delete_pipeline(pipeline)


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


@pytest.mark.skipif(not TABLE, reason="NOT RUN to a release: set PENSTOCK_KFP_TABLE and _TARGET")
def test_a_table_that_the_cluster_reaches_is_released(run: Run, project: Path) -> None:
    done = run("submit", project, "--wait", "--timeout", "55m")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "RELEASED" in done.stdout


@pytest.mark.skipif(not TABLE, reason="NOT RUN to a refusal: set PENSTOCK_KFP_TABLE and _TARGET")
def test_a_candidate_that_the_gate_refuses_is_not_deployed(run: Run, project: Path) -> None:
    unreachable = ("-p", 'policy={"baseline": {"margin": 2.0}}')
    done = run("submit", project, "--wait", "--timeout", "55m", *unreachable)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "REFUSED  The gate refused the candidate" in done.stdout
    assert "Deploy" not in done.stdout


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
