"""An experiment on an existing cluster: users keep their version whatever happens to a pod.

`make test-cluster` runs it where PENSTOCK_CLUSTER_CAPTURES names a store, with pods and this
machine both reaching it, and the component `experiments` is applied (docs/existing-cluster.md).
"""

from __future__ import annotations

import json
import random
import signal
import uuid
from collections.abc import Iterator

import httpx
import pytest
from cluster_journey import Journey
from cluster_site import (
    ASKED,
    NAMESPACE,
    NEEDS_CLUSTER,
    asked,
    feedback_token,
    kubectl,
    objects,
    setting,
    site_in,
)
from running_process import until

STORE = setting("CAPTURES").rstrip("/")
TOKEN = feedback_token() if ASKED else ""
USERS = [f"user-{number}" for number in range(60)]
EXPERIMENT = {"every": "5s", "window": "30s", "baseline": 0.3, "effect": 0.3, "weight": 20}


def _missing() -> str:
    if not STORE:
        return "PENSTOCK_CLUSTER_CAPTURES names no object store that pods reach"
    if asked("get", "serviceaccount", "penstock-experiment", "-n", NAMESPACE).returncode != 0:
        return "the component `experiments` is not applied"
    if not TOKEN:
        return "without the Secret penstock-feedback no server takes values"
    return ""


MISSING = _missing() if ASKED else ""
pytestmark = [
    pytest.mark.slow,
    NEEDS_CLUSTER,
    pytest.mark.skipif(bool(MISSING), reason=f"NOT RUN: {MISSING}"),
]


class Trial(Journey):
    """A champion, a challenger that a person approved, and users with ids."""

    draw = random.Random(7)

    @property
    def state(self) -> dict[str, object]:
        (route,) = objects("httproutes", NAMESPACE, f"penstock/service={self.site.name}")
        found: dict[str, object] = json.loads(route["metadata"]["annotations"]["penstock/state"])
        return found

    def leads(self) -> bool:
        return self.state.get("proxy") == "leads"

    def visit(self) -> dict[str, int]:
        """Each user asks once and says what came of it; return the versions that answered."""
        found = {}
        name = f"{self.site.address}/v1/models/{self.site.name}"
        with httpx.Client(trust_env=False, timeout=30) as client:
            for user in USERS:
                headers = {"x-user-id": user, "x-request-id": uuid.uuid4().hex}
                row = {"a": 0.5, "b": -0.5, "c": 0.1}
                told = client.post(f"{name}:predict", json={"instances": [row]}, headers=headers)
                assert told.status_code == 200, told.text
                found[user] = int(told.json()["model_version"])
                known = told.headers.get("x-request-id", headers["x-request-id"])
                value = {"request_id": known, "value": float(self.draw.random() < 0.3)}
                headers = {"x-penstock-feedback-token": TOKEN}
                sent = client.post(f"{name}:feedback", json={"labels": [value]}, headers=headers)
                assert sent.status_code == 200, sent.text
        return found

    def settled_visit(self) -> dict[str, int]:
        """Visit once every pod of the proxy has the weight that one of them has."""
        deployment = f"deployment/{self.site.name}-experiment"
        kubectl("rollout", "status", "-n", NAMESPACE, deployment, "--timeout=180s")
        return self.visit()

    def proxies(self) -> list[str]:
        label = f"penstock/experiment-proxy={self.site.name}"
        found = [pod["metadata"] for pod in objects("pods", NAMESPACE, label)]
        return [pod["name"] for pod in found if "deletionTimestamp" not in pod]


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    kept = {"destination": STORE, "secret": setting("CAPTURES_SECRET", "captures-store")}
    with site_in(tmp_path_factory.mktemp("experiment")) as site:
        made = Trial(site, captures=kept | {"segment_seconds": 5})
        assert made.first.done.returncode == 0, made.first.said
        waits = {"approval": {"people": 1, "trust_explicit": True, "wait_hours": 0.001}}
        gate = {"champion": {"margin": 0.99}, "classes": {"margin": 0.99}}
        trees = {"trials": 3, "folds": 2, "candidates": ["hist_gradient_boosting"]}
        second = made.run(training=trees, gate=gate | waits, experiment=EXPERIMENT)
        assert second.done.returncode == 3, second.said
        version = f"models:/{site.name}/2"
        approved = made.penstock("approve", version, "--as", "ben", "--reason", "To be tried.")
        assert approved.returncode == 0, approved.stderr
        yield made


def test_users_keep_their_version_over_a_pod_and_a_weight_and_a_controller(trial: Trial) -> None:
    watcher = trial.begun("experiment", "start")
    try:
        # The challenger's server may take `ready_timeout`, and the proxy comes after it.
        watcher.wait_until(trial.leads, seconds=600, every=1)
        # The proxy leads before anybody gets the challenger.
        watcher.wait_until(lambda: set(trial.visit().values()) == {1, 2}, seconds=120, every=1)
        first = trial.settled_visit()
        kubectl("delete", "pod", "-n", NAMESPACE, trial.proxies()[0], "--wait=true")
        assert trial.visit() == first
    finally:
        watcher.stop(signal.SIGKILL)
    # Nobody watches: users are served as before.
    assert trial.visit() == first
    watcher = trial.begun("experiment", "start")
    try:
        more = trial.penstock("experiment", "weight", "--to", "50")
        assert more.returncode == 0, more.stderr
        watcher.wait_until(lambda: trial.state["weight"] == 50, seconds=180, every=1)
        until(lambda: trial.visit() != first, what="users of 50 %", seconds=180, every=2)
        now = trial.settled_visit()
        moved = {user: version for user, version in now.items() if version != first[user]}
        assert set(moved.values()) == {2}
        told = trial.penstock("experiment", "status")
        assert told.returncode == 0, told.stderr
        ended = trial.penstock("experiment", "stop", "--keep")
        assert ended.returncode == 0, ended.stderr
        watcher.wait(300)
    finally:
        watcher.stop(signal.SIGKILL)
    assert "Version 1 serves" in ended.stdout + watcher.output()
    until(lambda: set(trial.visit().values()) == {1}, what="the champion", seconds=60, every=2)
    until(lambda: not trial.proxies(), what="the end of the proxy", seconds=120, every=2)
    assert trial.registry.alias(trial.site.name, "champion") == "1"
