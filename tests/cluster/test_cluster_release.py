"""Releases by Kubeflow Pipelines on an existing cluster: `make test-cluster`.

Needs PENSTOCK_KFP_HOST besides KUBECONFIG (cluster_kfp.py). The whole pipeline runs there, as
`penstock-deployer`, on a table that a pod hands out.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_kfp import NEEDS_KFP, forget, signed
from cluster_site import MLFLOW_INSIDE, ROOT, SECRET, Registry, Site, kubectl, site_in
from cluster_table import CANARY, write_table
from cluster_users import Users, only_ok

pytestmark = [pytest.mark.slow, NEEDS_KFP]

PENSTOCK = Path(sys.executable).parent / "penstock"


def serve_table(site: Site) -> str:
    context = kubectl("config", "current-context").strip()
    script = [
        str(ROOT / "scripts/cluster_table.sh"),
        context,
        str(site.folder / "t.csv"),
        site.name,
    ]
    done = subprocess.run(script, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def project(site: Site, uri: str) -> dict[str, Any]:
    names = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    secret = {"name": SECRET, "environment": {name: name for name in names}, "optional": True}
    return {
        "name": site.name,
        "target": "bought",
        "source": {"uri": uri},
        "training": {"trials": 1, "folds": 2, "candidates": ["linear"]},
        # What is tried here is the canary: the holdout is too small for a finer margin.
        "gate": {"champion": {"margin": 0.99}, "classes": {"margin": 0.99}},
        "tracking_uri": MLFLOW_INSIDE,
        "deployment": {
            "router": "kserve-gateway",
            "kserve": site.inside,
            "ready_timeout": 300,
            "canary": CANARY,
        },
        "cluster": {
            "service_account": "penstock-deployer",
            "namespace": os.environ.get("PENSTOCK_KFP_NAMESPACE", ""),
            "secrets": [secret],
        },
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_in(tmp_path_factory.mktemp("release")) as made:
        try:
            yield made
        finally:
            forget(made.name)


@pytest.fixture(scope="module")
def row(site: Site) -> dict[str, Any]:
    return write_table(site.folder / "t.csv")


@pytest.fixture(scope="module")
def plain(site: Site, row: dict[str, Any]) -> dict[str, Any]:
    """The project of a first release of the table that `row` is of."""
    assert row
    return project(site, serve_table(site))


def submit(site: Site, written: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    path = site.folder / "project.yaml"
    path.write_text(yaml.safe_dump(written))
    command = [str(PENSTOCK), "submit", str(path), "--wait", "--timeout", "55m", *signed()]
    return subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)


def test_a_canary_is_promoted_and_a_bad_one_rolled_back(
    site: Site, plain: dict[str, Any], row: dict[str, Any]
) -> None:
    users = Users(site.address, service=site.name, row=row)
    registry = Registry(site.mlflow, site.credentials)
    first = submit(site, plain)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "RELEASED" in first.stdout
    assert users.version() == 1
    trees = {"trials": 3, "folds": 2, "candidates": ["hist_gradient_boosting"]}
    with users.asking():
        second = submit(site, plain | {"training": trees})
    assert second.returncode == 0, second.stdout + second.stderr
    only_ok(users.answers)
    assert users.answers.keys() == {"200 version 1", "200 version 2"}
    before = users.answers
    with users.asking():
        fault = plain["deployment"] | {"fault_injection": "errors"}
        third = submit(site, plain | {"training": trees | {"seed": 21}, "deployment": fault})
    assert third.returncode == 4, third.stdout + third.stderr
    assert "ROLLED BACK" in third.stdout
    only_ok(users.since(before))
    assert users.since(before).keys() == {"200 version 2"}
    assert users.version() == 2
    assert registry.alias(site.name, "champion") == "2"


def test_a_candidate_that_the_gate_refuses_is_not_deployed(
    site: Site, plain: dict[str, Any]
) -> None:
    done = submit(site, plain | {"gate": {"baseline": {"margin": 0.99}}})
    assert done.returncode == 3, done.stdout + done.stderr
    assert "REFUSED  The gate refused the candidate" in done.stdout
    assert "Deploy" not in done.stdout
