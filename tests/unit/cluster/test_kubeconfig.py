"""A kubeconfig is read by Kubernetes' client, without its classes of what is in a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from running_process import served

from penstock.cluster import client as kube
from penstock.errors import ServiceError

SCRIPT = """
import sys
from penstock.cluster import kubeconfig as _kubeconfig
config = _kubeconfig.load()
print([name for name in sys.modules if name.startswith("kubernetes")])
import kubernetes
print(kubernetes.client.V1Pod(kind="Pod").kind, kubernetes.config is not config)
print(_kubeconfig.load() is kubernetes.config)
"""


def test_the_client_is_whole_for_who_imports_it_later() -> None:
    said = subprocess.run(
        [sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True
    )
    assert said.stdout.splitlines() == ["[]", "Pod True", "True"]


class Handler(BaseHTTPRequestHandler):
    """Answers nothing found, and keeps who asked."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.headers["authorization"])
        self.send_response(404)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"kind": "Status"}')

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """The address of an API server, and who asked it."""
    kept: list[str] = []
    handler = type("Kept", (Handler,), {"asked": kept})
    with served(HTTPServer(("127.0.0.1", 0), handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}", kept


def _kubeconfig(folder: Path, user: dict[str, object], server: str = "http://127.0.0.1:1") -> Path:
    path = folder / "kubeconfig"
    path.write_text(
        yaml.safe_dump(
            {
                "clusters": [{"name": "c", "cluster": {"server": server}}],
                "users": [{"name": "u", "user": user}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    return path


@pytest.mark.parametrize("kind", ["token", "exec"])
def test_a_token_is_the_users_or_its_plugins(
    asked: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    address, authorizations = asked
    answer = (
        '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", '
        '"status": {"token": "secret"}}'
    )
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-c", f"print('{answer}')"],
        "interactiveMode": "Never",
    }
    user = {"token": "secret"} if kind == "token" else {"exec": plugin}
    monkeypatch.setenv("KUBECONFIG", str(_kubeconfig(tmp_path, user, address)))
    assert kube.connect().get("/api/v1/namespaces/x") is None
    assert authorizations == ["Bearer secret"]


def test_a_context_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(_kubeconfig(tmp_path, {})))
    with pytest.raises(ServiceError, match="other"):
        kube.connect("other")


WITHOUT_GOOGLE = """
import sys
class Absent:
    def find_spec(name, path=None, target=None):
        if name == "google.auth" or name.startswith("cryptography"):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Absent)
from penstock.cluster import client as kube
from penstock.errors import ServiceError
for context in ("token", "exec", "certificate"):
    settings = kube.connect(context)
    print(settings.get("/api/v1/namespaces/x"), flush=True)
try:
    kube.connect("gcp")
except ServiceError as error:
    print(error)
print([name for name in sys.modules if name.startswith("google.auth")])
"""


def test_google_is_needed_by_those_alone_who_sign_in_to_it(
    asked: tuple[str, list[str]], tmp_path: Path
) -> None:
    address, authorizations = asked
    answer = (
        '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", '
        '"status": {"token": "plugin"}}'
    )
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-c", f"print('{answer}')"],
        "interactiveMode": "Never",
    }
    for name in ("client.crt", "client.key"):
        (tmp_path / name).write_text("")
    users = {
        "token": {"token": "secret"},
        "exec": {"exec": plugin},
        "certificate": {
            "client-certificate": str(tmp_path / "client.crt"),
            "client-key": str(tmp_path / "client.key"),
        },
        "gcp": {"auth-provider": {"name": "gcp"}},
    }
    config = {
        "clusters": [{"name": "c", "cluster": {"server": address}}],
        "users": [{"name": name, "user": user} for name, user in users.items()],
        "contexts": [{"name": n, "context": {"cluster": "c", "user": n}} for n in users],
        "current-context": "token",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT_GOOGLE],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"KUBECONFIG": str(path)},
    )
    *answers, refusal, loaded = said.stdout.splitlines()
    assert answers == ["None"] * 3
    assert authorizations == ["Bearer secret", "Bearer plugin", None]
    assert "auth-provider: gcp" in refusal
    assert "gke-gcloud-auth-plugin" in refusal
    assert loaded == "[]"
