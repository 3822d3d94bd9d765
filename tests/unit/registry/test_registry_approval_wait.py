"""Waiting for people, and who they are: real stores, a real server, real HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from running_process import mlflow_server, served, until

from penstock.errors import IntegrityError, UsageError
from penstock.gate.approval import ApprovalSpec
from penstock.records.approval import ApprovalOutcome, Identity
from penstock.records.run_cause import reason_of
from penstock.registry import approval_wait, approvals
from penstock.registry.approval_wait import REQUESTED, wait
from penstock.registry.identity import whoami
from penstock.registry.verify import verify

Registry = Any
"""The fixture's class lives in conftest.py, which cannot be imported by name."""

ALICE = Identity(name="alice", means="stated")


@pytest.fixture
def asking(registry: Registry) -> Registry:
    registry.policy = registry.policy.model_copy(update={"approval": ApprovalSpec(people=1)})
    return registry


def test_where_nobody_is_asked_nobody_is_waited_for(registry: Registry) -> None:
    registration, _ = registry.registered()
    # No store is looked at: this one is not there.
    found = wait(registration, spec=ApprovalSpec(), tracking_uri="http://127.0.0.1:9", run="r")
    assert (found.approved, found.sentence) == (True, "The policy requires no approval.")


def accepted(told: list[str]) -> Callable[[str], bool]:
    """Return a place that accepts every message."""

    def tell(text: str) -> bool:
        told.append(text)
        return True

    return tell


def test_people_whom_no_place_reached_are_notified_again(asking: Registry) -> None:
    registration, _ = asking.registered()
    tries = list[str]()

    def tell(text: str) -> bool:
        tries.append(text)
        if len(tries) == 3:
            approvals.give(
                registration.uri,
                verdict="approved",
                by=ALICE,
                reason="Fine.",
                tracking_uri=asking.uri,
            )
        return len(tries) == 3

    spec = asking.policy.approval
    found = wait(registration, spec=spec, tracking_uri=asking.uri, run="r", pause=0.01, tell=tell)
    assert (found.approved, len(tries), len(set(tries))) == (True, 3, 1)


def test_it_ends_with_the_word_of_a_person(asking: Registry, tmp_path: Path) -> None:
    registration, _ = asking.registered()
    spec, told = asking.policy.approval, list[str]()
    with ThreadPoolExecutor(1) as beside:
        waiting = beside.submit(
            wait,
            registration,
            spec=spec,
            tracking_uri=asking.uri,
            run="r",
            pause=0.1,
            tell=accepted(told),
        )
        time.sleep(0.5)
        assert not waiting.done()
        until(lambda: bool(told))
        approvals.give(
            registration.uri,
            verdict="approved",
            by=ALICE,
            reason="Fine.",
            tracking_uri=asking.uri,
        )
        found = waiting.result(60)
    assert (found.approved, found.sentence) == (True, "Approved by alice.")
    (asked,) = told
    assert asked.startswith("version 1 is waiting until ")
    assert "penstock approve models:/adult/1 --reason TEXT" in asked
    assert [word.by for word in found.approvals] == [ALICE]
    approvals.give(
        registration.uri, verdict="rejected", by=ALICE, reason="No.", tracking_uri=asking.uri
    )
    found = wait(
        registration, spec=spec, tracking_uri=asking.uri, run="r", pause=0.1, tell=accepted(told)
    )
    assert found.approved is False
    # What is decided waits for nobody.
    assert len(told) == 1
    found.write(tmp_path / "outcome.json")
    # What the step that fails a run shows.
    assert reason_of(tmp_path / "outcome.json") == "Rejected by alice: No."


def test_a_step_that_is_tried_again_asks_nobody_again(
    asking: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registration, _ = asking.registered()
    spec, told = asking.policy.approval, list[str]()

    class LostPodError(Exception):
        pass

    def lose(_: float) -> None:
        raise LostPodError

    # The pod is lost while it waits.
    monkeypatch.setattr(approval_wait, "time", SimpleNamespace(sleep=lose))
    for run, count in (("r", 1), ("r", 1), ("another", 2)):
        with pytest.raises(LostPodError):
            wait(registration, spec=spec, tracking_uri=asking.uri, run=run, tell=accepted(told))
        assert len(told) == count


def test_a_restart_does_not_move_the_deadline(
    asking: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    registration, _ = asking.registered()
    spec = ApprovalSpec(people=1, wait_hours=1e-6)
    first = wait(registration, spec=spec, tracking_uri=asking.uri, run="r", pause=0.1)
    assert first.approved is False
    assert first.sentence.startswith("It was not approved by ")
    assert first.sentence.endswith("Not approved: 0 of 1 person approved.")
    assert "penstock approve models:/adult/1 --reason TEXT" in capsys.readouterr().out
    again = wait(registration, spec=spec, tracking_uri=asking.uri, run="r", pause=0.1)
    assert (again.asked, again.deadline) == (first.asked, first.deadline)
    other = wait(registration, spec=spec, tracking_uri=asking.uri, run="another", pause=0.1)
    assert other.asked != first.asked
    tags = asking.store().get_model_version("adult", "1").tags
    assert sum(key.startswith(REQUESTED) for key in tags) == 2


@pytest.mark.parametrize("text", ["soon", "2026-11-29T10:00:00"])
def test_a_time_of_the_request_that_was_altered_is_refused(asking: Registry, text: str) -> None:
    registration, _ = asking.registered()
    spec = ApprovalSpec(people=1, wait_hours=1e-6)
    wait(registration, spec=spec, tracking_uri=asking.uri, run="r", pause=0.1)
    (key,) = [k for k in asking.store().get_model_version("adult", "1").tags if REQUESTED in k]
    asking.store().set_model_version_tag("adult", "1", key, text)
    with pytest.raises(IntegrityError, match=rf"{key} says '{text}', which is no time"):
        wait(registration, spec=spec, tracking_uri=asking.uri, run="r", pause=0.1)


def test_another_model_in_the_registry_is_not_waited_for(asking: Registry) -> None:
    registration, _ = asking.registered()
    other = registration.model_copy(update={"model": "sha256:0"})
    with pytest.raises(IntegrityError, match="the registry names model sha256"):
        wait(other, spec=asking.policy.approval, tracking_uri=asking.uri, run="r")


_WAIT = """
import sys
from pathlib import Path
from penstock.gate.approval import ApprovalSpec
from penstock.records.release import Registration
from penstock.registry.approval_wait import wait
found = wait(
    Registration.read(Path(sys.argv[1])), spec=ApprovalSpec(people=1),
    tracking_uri=sys.argv[2], run="r", pause=0.2,
)
found.write(Path(sys.argv[3]))
heavy = {"mlflow", "pandas", "sklearn", "pyarrow"} & sys.modules.keys()
assert not heavy, heavy
"""


@pytest.mark.long
def test_a_server_is_asked_without_mlflow(asking: Registry, tmp_path: Path) -> None:
    registration, _ = asking.registered()
    registration.write(tmp_path / "registration.json")
    outcome = tmp_path / "outcome.json"
    with mlflow_server(asking.folder, store=asking.uri) as address:
        process = subprocess.Popen(
            [
                sys.executable, "-c", _WAIT,
                str(tmp_path / "registration.json"), address, str(outcome),
            ],
            env={k: v for k, v in os.environ.items() if not k.startswith("MLFLOW")},
            stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert "waiting until" in process.stdout.readline()
        approvals.give(
            registration.uri, verdict="approved", by=ALICE, reason="Fine.", tracking_uri=address
        )
        assert process.wait(60) == 0
        process.stdout.close()
        _, checks = verify(registration.uri, tracking_uri=address)
    assert ApprovalOutcome.read(outcome).sentence == "Approved by alice."
    assert [check for check in checks if not check.good] == []


@contextmanager
def cluster(status: dict[str, Any], asked: list[str]) -> Iterator[str]:
    """An API server that answers who is asking: a real one cannot be had in a unit test."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers["content-length"]))
            body = json.dumps({"status": status}).encode()
            self.send_response(201)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with served(HTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}"


def test_who_somebody_is_and_how_that_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("KUBECONFIG", "KUBEFLOW_USERID", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOGNAME", "ann")
    assert whoami() == Identity(name="ann", means="operating system user")
    asked: list[str] = []
    with cluster({"userInfo": {"username": "ann@corp"}}, asked) as server:
        config = tmp_path / "kubeconfig"
        config.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "c",
                    "clusters": [{"name": "c", "cluster": {"server": server}}],
                    "users": [{"name": "u", "user": {"token": "t"}}],
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                }
            )
        )
        monkeypatch.setenv("KUBECONFIG", str(config))
        assert whoami() == Identity(name="ann@corp", means="kubernetes user")
    assert asked == ["/apis/authentication.k8s.io/v1/selfsubjectreviews"]
    monkeypatch.setenv("KUBEFLOW_USERID", "ann@platform")
    assert whoami() == Identity(name="ann@platform", means="platform header")
    assert whoami("bob") == Identity(name="bob", means="stated")
    with pytest.raises(UsageError, match="the name is empty"):
        whoami("  ")
