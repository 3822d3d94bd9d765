"""A release of a model whose features a real Feast has: joined, trained on, asked for online."""

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
from needs import missing
from running_process import LOOPBACK, RunningProcess, answers, free_port
from test_release import QUICK, serving

pytestmark = [pytest.mark.slow, pytest.mark.long]

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / "build/feast/bin/python"
SCRIPT = ROOT / "tests/unit/feature_store/feast_loans.py"


def feast(folder: Path, *arguments: str) -> None:
    """Run the script in the environment that has Feast."""
    done = subprocess.run(
        [PYTHON, "-W", "ignore", SCRIPT, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def feature_server(shell: Any) -> Iterator[str]:
    """Feast's own server; the joined table is beside it in the folder of the commands."""
    if not PYTHON.exists():
        missing("Feast has an environment of its own, which is not here.", remedy="make feast")
    feast(shell.folder)
    port = free_port()
    command = [PYTHON.with_name("feast"), "-c", "feature_repo", "serve", "-p", port]
    log = shell.folder / "server.log"
    with RunningProcess(command, log=log, cwd=shell.folder) as server:
        url = f"http://{LOOPBACK}:{port}"
        server.wait_until(lambda: answers(f"{url}/health"), seconds=300)
        yield url


@pytest.fixture(scope="module")
def project(shell: Any, feature_server: str) -> Path:
    path: Path = shell.folder / "project.yaml"
    settings = {
        "name": "loans",
        "target": "paid",
        "source": {"uri": "joined"},
        "split": {"method": "time", "column": "at"},
        "features": {"columns": {"customer_id": "drop", "at": "drop"}},
        "training": QUICK,
        "deployment": {"port": 0, "features": {"url": feature_server, "timeout": 30}},
    }
    path.write_text(yaml.safe_dump(settings))
    return path


def test_a_release_asks_feast_before_traffic_and_for_each_entity(
    shell: Any, project: Path, feature_server: str
) -> None:
    done = shell("run", str(project))
    assert done.returncode == 0, done.stdout + done.stderr
    (log,) = project.parent.glob(".penstock/runs/*/kfp.log")
    assert "60 values of features are online as they were offline" in log.read_text()
    (url,) = re.findall(r"Served at +(\S+)", done.stdout)

    found = ask(url, customer_id=1, amount=20.0)
    assert found.status_code == 200
    assert found.json()["model_version"] == "1"
    unknown = ask(url, customer_id=9_999, amount=20.0)
    assert unknown.status_code == 422
    assert '"orders" for customer_id 9999 (NOT_FOUND)' in unknown.json()["error"]
    metrics = httpx.get(f"{url}/metrics", trust_env=False).text
    of = 'feature="orders",model="loans",model_version="1"'
    assert f'penstock_online_features_total{{{of},status="PRESENT"}} 1.0' in metrics
    assert f'penstock_online_features_total{{{of},status="NOT_FOUND"}} 1.0' in metrics
    (age,) = re.findall(rf"^penstock_online_feature_age_seconds_sum{{{of}}} (\S+)", metrics, re.M)
    assert 30 <= float(age) / 86_400 < 32

    feast(project.parent, "spoil")
    refused = shell("run", str(project), "--set", "training.seed=7")
    assert refused.returncode == 4, refused.stdout + refused.stderr
    assert "Version 2 of loans was rolled back; version 1 still serves" in refused.stdout
    assert re.search(
        r"the feature 'spent' of customer_id \d+ is \S+ online \(PRESENT\), and was", refused.stdout
    )
    assert ask(url, customer_id=1, amount=20.0).json()["model_version"] == "1"
    assert len(serving(project)) == 1


def ask(url: str, **row: Any) -> httpx.Response:
    address = f"{url}/v1/models/loans:predict"
    return httpx.post(address, json={"instances": [row]}, trust_env=False, timeout=60)
