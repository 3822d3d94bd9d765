"""Rows that pods ship to an object store, labels through the gateway, and the verdict from them.

`make test-cluster` runs it where PENSTOCK_CLUSTER_CAPTURES names a store, with pods and this
machine both reaching it (docs/existing-cluster.md). Recurring runs of the monitor and of a batch
need Kubeflow besides, and the store's Secret in the namespace of its pods, too.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import uuid
from collections.abc import Iterator
from typing import Any

import fsspec
import httpx
import numpy as np
import pandas as pd
import pytest
import yaml
from cluster_journey import PENSTOCK, Journey
from cluster_kfp import HOST, NEEDS_KFP, signed
from cluster_kfp import NAMESPACE as PROFILE
from cluster_kfp import forget as forget_runs
from cluster_site import (
    ASKED,
    MLFLOW_INSIDE,
    NAMESPACE,
    NEEDS_CLUSTER,
    SECRET,
    feedback_token,
    kubectl,
    setting,
    site_in,
)
from cluster_table import drawn
from running_process import until

from penstock.captures.reader import read_labels, read_window
from penstock.records.monitoring import MonitorState

STORE = setting("CAPTURES").rstrip("/")
STORE_SECRET = setting("CAPTURES_SECRET", "captures-store")
TOKEN = feedback_token() if ASKED else ""
ROWS = 4_000
A_REQUEST = 50

pytestmark = [
    pytest.mark.slow,
    NEEDS_CLUSTER,
    pytest.mark.skipif(
        ASKED and not STORE,
        reason="NOT RUN: PENSTOCK_CLUSTER_CAPTURES names no object store that pods reach",
    ),
    pytest.mark.skipif(
        ASKED and not TOKEN,
        reason="NOT RUN: without the Secret penstock-feedback no server takes labels",
    ),
]


class Captured(Journey):
    """A served version whose pods ship what they answer, and its users."""

    sent = 0

    @property
    def rows(self) -> str:
        return f"{STORE}/{self.site.name}"

    @property
    def state(self) -> MonitorState:
        """What the monitor keeps in the store; a fresh one before its first look."""
        path = f"{self.rows}/state/{self.site.name}/monitor/state.json"
        with fsspec.open(path) as file:
            return MonitorState.loads(file.read().decode(), where=path)

    @contextlib.contextmanager
    def recurring(self, what: str, account: str, **changes: Any) -> Iterator[None]:
        """Have Kubeflow run a pipeline of the project each minute, while the block runs."""
        written = yaml.safe_load(self.project.read_text()) | changes
        inside = self.site.inside
        written["deployment"]["kserve"] |= {"address": inside["address"]}
        written |= {"tracking_uri": MLFLOW_INSIDE, "cluster": _inside()}
        path = self.site.folder / "inside.yaml"
        path.write_text(yaml.safe_dump(written))
        where = ("--namespace", PROFILE) if PROFILE else ()
        options = (what, "--every", "60s", "--service-account", account, *where)
        _kubeflow("schedule", "create", str(path), *options)
        try:
            yield
        finally:
            _kubeflow("schedule", "delete", f"{self.site.name}{what[1:]}", *where)

    def ask(self, rows: int, *, drift: float = 0.0) -> None:
        """Send rows and, by the id of each answer, their true labels."""
        self.sent += rows
        table = drawn(rows, seed=100 + self.sent, drift=drift)
        truths = table.pop("bought").tolist()
        instances = json.loads(table.to_json(orient="records"))
        name = f"{self.site.address}/v1/models/{self.site.name}"
        with httpx.Client(trust_env=False, timeout=60) as client:
            for start in range(0, rows, A_REQUEST):
                identity = uuid.uuid4().hex
                part = slice(start, start + A_REQUEST)
                answer = client.post(
                    f"{name}:predict",
                    json={"instances": instances[part]},
                    headers={"x-request-id": identity},
                )
                assert answer.status_code == 200, answer.text
                # A gateway may put an id of its own in the place of the client's.
                known = answer.headers.get("x-request-id", identity)
                labels = [
                    {"request_id": known, "row": row, "label": truth}
                    for row, truth in enumerate(truths[part])
                ]
                answer = client.post(
                    f"{name}:feedback",
                    json={"labels": labels},
                    headers={"x-penstock-feedback-token": TOKEN},
                )
                assert answer.status_code == 200, answer.text

    def shipped(self) -> None:
        """Wait until all that was sent is in the store, with its labels."""
        until(lambda: self.window().rows >= self.sent, what="rows", seconds=180, every=2)
        until(self._labelled, what="labels", seconds=180, every=2)

    def window(self) -> Any:
        return read_window(self.rows, after=None)

    def _labelled(self) -> bool:
        return bool(read_labels(self.rows, after=None)[0].num_rows >= self.sent)


def _inside() -> dict[str, Any]:
    """Return the section by which pods log in to MLflow and reach the store."""
    login = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL")
    secrets = [
        {"name": name, "environment": {key: key for key in given}, "optional": True}
        for name, given in ((SECRET, login), (STORE_SECRET, keys))
    ]
    return {"namespace": PROFILE, "secrets": secrets}


def _kubeflow(*arguments: str) -> None:
    command = [str(PENSTOCK), *arguments, *signed()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Captured]:
    kept = {"destination": STORE, "secret": STORE_SECRET}
    with site_in(tmp_path_factory.mktemp("captures")) as site:
        made = Captured(site, captures=kept | {"segment_seconds": 5})
        try:
            first = made.run(
                training={"trials": 1, "folds": 2, "candidates": ["linear"]},
                monitoring={"state": f"{STORE}/{site.name}/state", "min_rows": 500},
            )
            assert first.done.returncode == 0, first.said
            yield made
        finally:
            forget(made.rows)
            if HOST:
                for pipeline in ("", "-monitor", "-score"):
                    forget_runs(f"{site.name}{pipeline}")


def forget(folder: str) -> None:
    storage, path = fsspec.core.url_to_fs(folder)
    if storage.exists(path):
        storage.rm(path, recursive=True)


def test_every_row_and_label_is_shipped_and_none_is_lost(service: Captured) -> None:
    service.ask(ROWS)
    service.shipped()
    found = service.window()
    assert (found.rows, found.lost) == (ROWS, 0)
    assert np.isfinite(found.table["score"].to_numpy()).all()
    told = service.penstock("captures", "list")
    assert told.returncode == 0, told.stderr
    assert f"{ROWS:,}" in told.stdout


def test_the_monitor_reads_them_and_nothing_has_changed(service: Captured) -> None:
    assert service.sent, "no row was shipped"
    told = service.penstock("monitor", "--once")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "HEALTHY" in told.stdout


@NEEDS_KFP
def test_a_recurring_run_looks_and_finds_the_same(service: Captured) -> None:
    before = service.state.number
    with service.recurring("--monitor", "penstock-watcher"):
        until(lambda: service.state.number > before, what="a look", seconds=900, every=5)
    found = service.state.verdict
    assert found is not None
    # Nobody asked since the look before: what it says of the data it says of those.
    assert found.kind in ("healthy", "watch"), found


@NEEDS_KFP
def test_a_recurring_run_scores_a_batch_as_the_server_answers(service: Captured) -> None:
    rows = drawn(300, seed=9).drop(columns="bought")
    batch = f"{service.rows}/batch"
    with fsspec.open(f"{batch}/today/rows.csv", "w") as file:
        rows.to_csv(file, index=False)
    scoring = {"source": {"uri": f"{batch}/today/rows.csv"}, "destination": f"{batch}/scores"}
    storage, folder = fsspec.core.url_to_fs(f"{batch}/scores")
    with service.recurring("--score", "penstock-pipeline", scoring=scoring):
        until(lambda: _scores(storage, folder), what="scores", seconds=900, every=5)
    with storage.open(_scores(storage, folder)[0]) as file:
        scored = pd.read_parquet(file)
    answer = httpx.post(
        f"{service.site.address}/v1/models/{service.site.name}:predict",
        json={"instances": json.loads(rows.to_json(orient="records"))},
        trust_env=False,
        timeout=60,
    )
    assert scored["prediction"].tolist() == answer.json()["predictions"]


def _scores(storage: Any, folder: str) -> list[str]:
    storage.invalidate_cache()
    found: list[str] = storage.glob(f"{folder}/**/*.parquet")
    return sorted(found)


def test_what_a_pod_holds_when_it_ends_is_shipped(service: Captured) -> None:
    service.ask(A_REQUEST)
    pods = f"serving.kserve.io/inferenceservice={service.site.name}-v1"
    kubectl("delete", "pods", "-n", NAMESPACE, "-l", pods, "--wait=true", "--timeout=120s")
    service.shipped()
    assert service.window().lost == 0
    until(lambda: "200" in service.users.one(), what="another pod", seconds=180, every=2)


def test_inputs_that_have_moved_are_told_by_their_name(service: Captured) -> None:
    service.ask(ROWS, drift=1.5)
    service.shipped()
    told = service.penstock("monitor", "--once")
    assert told.returncode == 5, told.stdout + told.stderr
    assert re.search(r"DRIFTED|DEGRADED", told.stdout), told.stdout
    assert re.search(r"\bc\b", told.stdout), told.stdout
