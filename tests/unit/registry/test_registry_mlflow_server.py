"""What MLflow's own server and client do for a registry, as docs/mlflow.md has it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fresh_store import fresh_store
from running_process import mlflow_server, served, until

SECRET = "shared-with-the-receiver"


@dataclass
class Received:
    """What came at an address."""

    url: str = ""
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def receiver(answer: bytes = b"{}") -> Iterator[Received]:
    received, lock = Received(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            with lock:
                headers = {name.lower(): value for name, value in self.headers.items()}
                received.requests.append((headers, body))
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        received.url = f"http://127.0.0.1:{server.server_port}"
        yield received


@pytest.mark.long
def test_mlflow_tells_a_receiver_that_an_alias_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a webhook that is registered as the page says, signed with a secret."""
    monkeypatch.setenv(
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY", base64.urlsafe_b64encode(b"k" * 32).decode()
    )
    # The receiver of this test is on this machine, and has no certificate.
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOWED_SCHEMES", "http")
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS", "true")
    from mlflow import MlflowClient

    store = fresh_store(tmp_path)
    with receiver() as received, mlflow_server(tmp_path, store=store) as uri:
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.create_webhook(
            name="champion",
            url=received.url,
            events=["model_version_alias.created", "model_version_alias.deleted"],
            secret=SECRET,
        )
        client.create_registered_model("adult")
        client.create_model_version("adult", source=str(tmp_path))
        client.set_registered_model_alias("adult", "champion", "1")
        until(lambda: bool(received.requests), seconds=60)
    ((headers, body),) = received.requests
    told = json.loads(body)
    assert (told["entity"], told["action"]) == ("model_version_alias", "created")
    assert told["data"] == {"name": "adult", "alias": "champion", "version": "1"}
    signed = f"{headers['x-mlflow-delivery-id']}.{headers['x-mlflow-timestamp']}.{body.decode()}"
    mac = hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest()
    assert headers["x-mlflow-signature"] == f"v1,{base64.b64encode(mac).decode()}"
