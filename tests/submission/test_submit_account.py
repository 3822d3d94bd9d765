"""A run whose service account Kubeflow Pipelines 2.18 refuses: told before, and explained after."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp_server_api import ApiException
from running_process import served

from penstock.errors import ServiceError
from penstock.pipelines.submit import account_granted, account_warning

DEPLOYER = {"service_account": "penstock-deployer"}
OURS = {**DEPLOYER, "namespace": "team"}


@dataclass
class Kubernetes:
    """An API server that says who may use which account, and a kubeconfig that leads to it."""

    allowed: bool = True
    status: int = 201
    asked: list[Any] = field(default_factory=list)


@pytest.fixture
def kubernetes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kubernetes]:
    state = Kubernetes()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            review = body["kind"] == "SelfSubjectAccessReview"
            if review:
                state.asked.append((self.path, body["spec"]["resourceAttributes"]))
            answer = json.dumps({**body, "status": {"allowed": state.allowed}}).encode()
            # Who somebody is, a submission asks as well.
            self.send_response(state.status if review else 404)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        _kubeconfig(tmp_path, monkeypatch, f"http://127.0.0.1:{server.server_port}")
        yield state


def _kubeconfig(folder: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": address}}],
        "users": [{"name": "jo", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "jo"}}],
    }  # fmt: skip
    (folder / "kubeconfig").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(folder / "kubeconfig"))


Command = Callable[..., Any]


def test_who_may_not_use_the_account_is_told_before(
    kfp_server: Any, project_file: Command, penstock: Command, kubernetes: Kubernetes
) -> None:
    kfp_server.multi_user = True
    kubernetes.allowed = False
    for command in (("submit",), ("schedule", "create", "--every", "1h")):
        done = penstock(*command, project_file(cluster=OURS), "--host", kfp_server.host)
        # A doubt: Kubeflow itself, older than 2.18 or told of another user, takes it.
        assert done.code == 0, done.err
        assert "may not use the service account penstock-deployer in the namespace team" in done.err
        assert "docs/submission.md" in done.err
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    asked = {
        "namespace": "team", "verb": "use", "resource": "serviceaccounts",
        "name": "penstock-deployer",
    }  # fmt: skip
    assert kubernetes.asked == [(path, asked)] * 2


def test_nothing_is_asked_where_kubeflow_has_one_user(
    kfp_server: Any, project_file: Command, penstock: Command, kubernetes: Kubernetes
) -> None:
    kubernetes.allowed = False
    done = penstock("submit", project_file(cluster=DEPLOYER), "--host", kfp_server.host)
    assert (done.code, done.err) == (0, "")
    assert kubernetes.asked == []


def test_who_may_and_who_asks_for_no_account_are_told_nothing(kubernetes: Kubernetes) -> None:
    assert account_warning("penstock-deployer", namespace="team") == ""
    assert len(kubernetes.asked) == 1
    kubernetes.allowed = False
    assert account_warning("", namespace="team") == ""
    assert len(kubernetes.asked) == 1
    assert "penstock-deployer" in account_warning("penstock-deployer", namespace="team")


@pytest.mark.parametrize("why", ["no kubeconfig", "nobody there", "not allowed to ask"])
def test_a_question_that_cannot_be_asked_is_no_doubt(
    kubernetes: Kubernetes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, why: str
) -> None:
    kubernetes.allowed = False
    if why == "no kubeconfig":
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    elif why == "nobody there":
        monkeypatch.setattr("penstock.pipelines.submit._SECONDS", 0.2)
        _kubeconfig(tmp_path, monkeypatch, "http://127.0.0.1:9")
    else:
        kubernetes.status = 403
    assert account_warning("penstock-deployer", namespace="team") == ""


def test_a_refusal_says_what_to_set(
    kfp_server: Any, project_file: Command, penstock: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    kfp_server.accounts = {"penstock-pipeline"}
    refused = project_file(cluster=DEPLOYER)
    for command in (("submit",), ("schedule", "create", "--every", "1h")):
        done = penstock(*command, refused, "--host", kfp_server.host)
        assert done.code == 1
        assert "Service account 'penstock-deployer' is not allowed for pipeline runs" in done.err
        assert "ALLOWEDSERVICEACCOUNTS=penstock-deployer" in done.err
        assert "the verb use" in done.err
    assert kfp_server.runs == {}
    allowed = project_file(cluster={"service_account": "penstock-pipeline"})
    assert penstock("submit", allowed, "--host", kfp_server.host).code == 0


def test_another_refusal_is_told_as_it_is() -> None:
    refused = ServiceError("denies access (403). User 'jo' is not authorized", remedy="Ask.")
    refused.__cause__ = ApiException(status=403)
    with pytest.raises(ServiceError, match="Ask"), account_granted("penstock-deployer"):
        raise refused
