"""What only a real Kubeflow Pipelines can show: `make test-cluster`; see cluster_kfp.py.

A failed step's reason and pods, a person who is waited for, a schedule that starts runs, and
pipelines that Kubernetes keeps.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from cluster_kfp import HOST, NAMESPACE, NEEDS_KFP, PODS, TOKEN, forget, signed
from cluster_site import Registry, Site, kubectl, new_name, objects, site_in
from cluster_table import write_table
from running_process import until
from test_cluster_release import PENSTOCK, project, serve_table

from penstock.pipelines.workflow_nodes import workflow_nodes
from penstock.registry.approval_wait import REQUESTED

pytestmark = [pytest.mark.slow, NEEDS_KFP]

NOWHERE = "http://127.0.0.1:9/there-is-no-such-table.csv"


def asked(path: str) -> dict[str, Any]:
    """Return what Kubeflow's API answers."""
    bearer = {"Authorization": f"Bearer {Path(TOKEN).read_text().strip()}"} if TOKEN else {}
    answer = httpx.get(f"{HOST.rstrip('/')}{path}", headers=bearer, timeout=60)
    assert answer.is_success, answer.text
    found: dict[str, Any] = answer.json()
    return found


def penstock(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(PENSTOCK), *map(str, arguments), *signed()]
    return subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)


def runs_of(name: str) -> list[dict[str, Any]]:
    """Return the runs in the experiment of that name."""
    query = f"?namespace={NAMESPACE}&page_size=100"
    every = asked(f"/apis/v2beta1/experiments{query}").get("experiments", [])
    ids = [each["experiment_id"] for each in every if each["display_name"] == name]
    found = [asked(f"/apis/v2beta1/runs{query}&experiment_id={each}") for each in ids]
    return [run for page in found for run in page.get("runs", [])]


@pytest.fixture
def name() -> Iterator[str]:
    made = new_name()
    yield made
    forget(made)


@pytest.fixture
def failing(tmp_path: Path, name: str) -> Path:
    """A project whose table is not there."""
    path = tmp_path / "project.yaml"
    account = os.environ.get("PENSTOCK_KFP_ACCOUNT", "")
    raw = {
        "name": name,
        "target": "target",
        "source": {"uri": NOWHERE},
        "cluster": {"namespace": NAMESPACE, "service_account": account},
    }
    path.write_text(yaml.safe_dump(raw))
    return path


def test_why_a_step_failed_is_told_and_its_pods_are_named(failing: Path) -> None:
    done = penstock("submit", failing, "-p", f"uri={NOWHERE}", "--wait", "--timeout", "30m")
    assert done.returncode == 1, done.stdout + done.stderr
    (reason,) = re.findall(r"^FAILED  Ingest failed: (.+)$", done.stdout, re.MULTILINE)
    assert "there-is-no-such-table" in reason
    taken = re.search(r"^Run (\S+):", done.stdout)
    assert taken is not None
    run = asked(f"/apis/v1beta1/runs/{taken[1]}")
    named = {node.pod for node in workflow_nodes(run["pipeline_runtime"]["workflow_manifest"])}
    there = {pod["metadata"]["name"] for pod in objects("pods", PODS, f"pipeline/runid={taken[1]}")}
    assert there
    assert there <= named


def test_a_schedule_starts_runs_by_itself(failing: Path, name: str) -> None:
    where = ("--namespace", NAMESPACE) if NAMESPACE else ()
    every = ("--every", "60s", "-p", f"uri={NOWHERE}")
    created = penstock("schedule", "create", failing, *every)
    try:
        assert created.returncode == 0, created.stderr
        until(lambda: runs_of(name), what="a run of the schedule", seconds=240, every=5)
    finally:
        assert penstock("schedule", "delete", name, *where).returncode == 0


def test_a_pipeline_that_kubernetes_keeps_is_kubeflows(failing: Path, name: str) -> None:
    store = asked("/apis/v2beta1/healthz").get("pipeline_store")
    if store != "kubernetes":
        pytest.skip(f"NOT RUN: this Kubeflow's pipelineStore is {store}, not kubernetes")
    manifest = failing.with_name("release.yaml")
    assert penstock_compiles(failing, manifest) == 0
    kubectl("apply", "-n", PODS, "-f", str(manifest))
    try:
        listed = asked(f"/apis/v2beta1/pipelines?namespace={PODS}&page_size=100")["pipelines"]
        (pipeline,) = [each for each in listed if each["name"] == name]
        versions = asked(f"/apis/v2beta1/pipelines/{pipeline['pipeline_id']}/versions")
        assert versions["pipeline_versions"][0]["name"].startswith(name)
    finally:
        kubectl("delete", "-n", PODS, "-f", str(manifest), "--wait=true", "--timeout=60s")


def penstock_compiles(path: Path, output: Path) -> int:
    command = [PENSTOCK, "compile", path, "-o", output, "--kubernetes-manifest"]
    return subprocess.run(list(map(str, command)), timeout=300, check=False).returncode


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_in(tmp_path_factory.mktemp("approval")) as made:
        try:
            yield made
        finally:
            forget(made.name)


@pytest.mark.parametrize(("verb", "code"), [("reject", 3), ("approve", 0)])
def test_a_release_waits_for_a_person(site: Site, verb: str, code: int) -> None:
    write_table(site.folder / "t.csv")
    waiting = {"approval": {"people": 1, "trust_explicit": True, "wait_hours": 0.5}}
    written = project(site, serve_table(site))
    written["gate"] |= waiting
    path = site.folder / "project.yaml"
    path.write_text(yaml.safe_dump(written))
    before = _asking(site)
    command = [str(PENSTOCK), "submit", str(path), "--wait", "--timeout", "55m", *signed()]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        until(lambda: _asking(site) - before or run.poll() is not None, seconds=3000, every=5)
        (version,) = _asking(site) - before or {0}
        given = subprocess.run(
            [str(PENSTOCK), verb, f"models:/{site.name}/{version}", "--reason", "A test.",
             "--as", "a tester", "--tracking-uri", site.mlflow],
            env={**os.environ, **site.credentials}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        out, _ = run.communicate(timeout=3600)
    assert given.returncode == 0, given.stdout + given.stderr + out
    assert run.returncode == code, out
    assert ("RELEASED" if code == 0 else "REFUSED  The candidate was not approved") in out


def _asking(site: Site) -> set[int]:
    """Return the newest version, if its release has asked for an approval."""
    registry = Registry(site.mlflow, site.credentials)
    found = registry.call(
        "GET", "registered-models/search", filter=f"name = '{site.name}'", max_results="10"
    )
    models = found.get("registered_models", [])
    return {
        int(newest["version"])
        for model in models
        for newest in model.get("latest_versions", [])
        if any(key.startswith(REQUESTED) for key in registry.tags(site.name, newest["version"]))
    }
