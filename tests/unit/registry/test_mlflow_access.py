"""MLflow behind a proxy that asks who it is, as Kubeflow's: every client of ours carries it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow_over_http import mlflow_over_http
from running_process import LOOPBACK, silent_port

from penstock import tracking
from penstock.common import mlflow_access
from penstock.errors import ServiceError
from penstock.registry.approval_wait import _Served
from penstock.registry.champion import former_champions
from penstock.registry.glance import glance

_VARIABLES = ("AUTH", "TOKEN", "USERNAME", "PASSWORD")


class Proxy:
    """Lets those pass who carry a token that it knows, into the workspaces that they may enter."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.token = "first"
        self.workspaces = {"risk"}
        self.seen: list[str] = []

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        given = environ.get("HTTP_AUTHORIZATION", "")
        workspace = environ.get("HTTP_X_MLFLOW_WORKSPACE", "")
        self.seen.append(f"{environ['PATH_INFO'].rpartition('/')[2]} {given} {workspace}".strip())
        if given != f"Bearer {self.token}":
            start("401 Unauthorized", [("content-type", "text/plain")])
            return [b"Jwt is not in the form of Header.Payload.Signature"]
        if workspace not in self.workspaces:
            start("403 Forbidden", [("content-type", "text/plain")])
            return [b"RBAC: access denied"]
        del environ["HTTP_X_MLFLOW_WORKSPACE"]  # This store has one workspace.
        return self._app(environ, start)


@pytest.fixture
def proxy(uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Proxy, str]]:
    made: list[Proxy] = []

    def around(app: Any) -> Proxy:
        made.append(Proxy(app))
        return made[0]

    with mlflow_over_http(uri, monkeypatch, around=around) as address:
        yield made[0], address


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that a kubelet mounts into a pod: at a fixed place, which is not ours here."""
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text("first\n")
    (folder / "namespace").write_text("risk")
    monkeypatch.setattr(mlflow_access, "ACCOUNT", folder)
    for name in _VARIABLES:
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    monkeypatch.delenv("MLFLOW_WORKSPACE", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_AUTH", "kubernetes-namespaced")
    from mlflow.tracking.request_auth import registry

    providers = registry._request_auth_provider_registry
    monkeypatch.setattr(providers, "_registry", list(providers._registry))
    yield folder
    # What a server of this process resolved last is not that of the next test.
    os.environ.pop("MLFLOW_WORKSPACE", None)


def test_every_client_carries_the_token_of_now_and_the_namespace(
    proxy: tuple[Proxy, str], account: Path
) -> None:
    gate, address = proxy
    client = tracking.client(address)
    client.create_registered_model("loans", tags={"a": "b"})
    client.create_model_version("loans", source="s3://bucket/model")
    waiting = _Served(address, "loans", 1)
    assert waiting.read() == ({}, {"a": "b"})
    # Kubernetes writes another token into the file before the first one ends.
    gate.token = "second"
    (account / "token").write_text("second\n")
    waiting.set("c", "d")
    assert client.get_model_version("loans", "1").tags == {"c": "d"}
    found = glance("loans", tracking_uri=address)
    assert found
    assert found.tags == {"a": "b"}
    assert {one.partition(" ")[2] for one in gate.seen} == {
        "Bearer first risk",
        "Bearer second risk",
    }


def test_a_name_and_password_in_the_address_count_where_the_environment_says_nothing(
    proxy: tuple[Proxy, str], account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, address = proxy
    monkeypatch.delenv("MLFLOW_TRACKING_AUTH")
    inside = address.replace("http://", "http://me:hidden@")
    said = _refused(lambda: glance("loans", tracking_uri=inside))
    assert "hidden" not in said
    assert gate.seen[-1] == "get Basic bWU6aGlkZGVu"
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "you")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "yours")
    _refused(lambda: glance("loans", tracking_uri=inside))
    assert gate.seen[-1] == "get Basic eW91OnlvdXJz"


def _refused(call: Callable[[], object]) -> str:
    with pytest.raises(ServiceError) as caught:
        call()
    return str(caught.value)


def test_a_refusal_says_what_to_do(
    proxy: tuple[Proxy, str], account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, address = proxy
    ask: list[Callable[[], object]] = [
        lambda: tracking.client(address),
        lambda: glance("loans", tracking_uri=address),
        lambda: _Served(address, "loans", 1).read(),
    ]
    gate.token = "another"
    for call in ask:
        said = _refused(call)
        assert "401" in said
        assert "MLflow does not know who asks: set " in said
        assert "first" not in said
    gate.token, gate.workspaces = "first", {"other"}
    for call in ask:
        said = _refused(call)
        assert "403" in said
        assert "a RoleBinding in the namespace of that name" in said
    (account / "token").unlink()
    for call in ask[1:]:
        assert "MLFLOW_TRACKING_AUTH asks for the token of the pod's account" in _refused(call)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "first")
    (account / "namespace").unlink()
    assert "asks for the namespace of the pod's account" in _refused(ask[1])


def test_a_store_is_asked_once_whether_it_is_there(
    proxy: tuple[Proxy, str], account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, address = proxy
    tracking.client(address).create_registered_model("loans")
    for _ in range(3):
        assert tracking.client(address).get_registered_model("loans").name == "loans"
        assert former_champions("loans", tracking_uri=address) == ()
    assert [one.partition(" ")[0] for one in gate.seen].count("search") == 1
    # It is still said where it lets nobody in any more, and is asked anew for another account.
    gate.token = "second"
    said = _refused(lambda: former_champions("loans", tracking_uri=address))
    assert "401" in said
    assert "MLflow does not know who asks: set " in said
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "third")
    assert "MLflow does not answer: " in _refused(lambda: tracking.client(address))


def test_a_server_that_is_away_is_said_to_its_end() -> None:
    with silent_port() as port:
        address = f"http://{LOOPBACK}:{port}"
        said = _refused(lambda: tracking.client(address))
    assert "Failed to establish a new connection: [Errno 111] Connection refused. Start " in said
    assert "Max retries" not in said
