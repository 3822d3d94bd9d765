"""MLflow's webhooks: a receiver learns that an alias moved, and can check who says so."""

from __future__ import annotations

import json
import queue
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from mlflow import MlflowClient
from mlflow_over_http import mlflow_over_http
from running_process import LOOPBACK, served

from penstock import tracking

PAGE = Path(__file__).parents[3] / "docs" / "mlflow.md"
SECRET = "shared-with-the-receiver"

Delivered = queue.Queue[tuple[dict[str, str], bytes]]


def _of_the_page(name: str) -> Any:
    """Return a function as the page shows it."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (block,) = (block for block in blocks if f"def {name}" in block)
    found: dict[str, Any] = {}
    exec(compile(block, str(PAGE), "exec"), found)
    return found[name]


@pytest.fixture
def receiver() -> Iterator[tuple[str, Delivered]]:
    delivered: Delivered = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            delivered.put(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with served(HTTPServer((LOOPBACK, 0), Handler)) as server:
        yield f"http://{LOOPBACK}:{server.server_port}/mlflow", delivered


@pytest.fixture
def client(uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    """A client of MLflow's application, with the variables that the page names."""
    from mlflow.webhooks import delivery

    monkeypatch.setattr(delivery, "_webhook_cache", None)
    monkeypatch.setattr(delivery, "_webhook_session", None)
    monkeypatch.setenv("MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY", Fernet.generate_key().decode())
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOWED_SCHEMES", "http,https")
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS", "true")
    with mlflow_over_http(uri, monkeypatch) as address:
        yield tracking.client(address)


def _hook(client: MlflowClient, url: str) -> Any:
    return client.create_webhook(
        name="champion",
        url=url,
        events=["model_version_alias.created", "model_version_alias.deleted"],
        secret=SECRET,
    )


def test_a_move_of_an_alias_is_delivered_with_a_signature_that_the_page_checks(
    client: MlflowClient, receiver: tuple[str, Delivered]
) -> None:
    url, delivered = receiver
    _hook(client, url)
    client.create_registered_model("loans")
    client.create_model_version("loans", source="s3://bucket/model")
    client.set_registered_model_alias("loans", "champion", "1")
    headers, body = delivered.get(timeout=60)
    client.delete_registered_model_alias("loans", "champion")
    _, taken_away = delivered.get(timeout=60)

    assert {k: v for k, v in json.loads(body).items() if k != "timestamp"} == {
        "entity": "model_version_alias",
        "action": "created",
        "data": {"name": "loans", "alias": "champion", "version": "1"},
    }
    assert json.loads(taken_away)["action"] == "deleted"
    is_from_mlflow = _of_the_page("is_from_mlflow")
    assert is_from_mlflow(headers, body, SECRET.encode())
    assert not is_from_mlflow(headers, body, b"another")
    assert not is_from_mlflow(headers, body.replace(b'"1"', b'"2"'), SECRET.encode())
    assert not is_from_mlflow(_an_hour_old(headers, body), body, SECRET.encode())
    unsigned = {k: v for k, v in headers.items() if k != "x-mlflow-signature"}
    assert not is_from_mlflow(unsigned, body, SECRET.encode())
    assert delivered.empty()


def _an_hour_old(headers: dict[str, str], body: bytes) -> dict[str, str]:
    """Return the headers of the same delivery as MLflow signed it an hour ago."""
    from mlflow.webhooks.delivery import _generate_hmac_signature

    sent = str(int(headers["x-mlflow-timestamp"]) - 3600)
    delivery = headers["x-mlflow-delivery-id"]
    signature = _generate_hmac_signature(SECRET, delivery, sent, body.decode())
    return headers | {"x-mlflow-timestamp": sent, "x-mlflow-signature": signature}


def test_what_mlflow_refuses_it_says(
    client: MlflowClient, receiver: tuple[str, Delivered], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, delivered = receiver
    hook = _hook(client, url)
    assert client.test_webhook(hook.webhook_id).success
    delivered.get(timeout=60)
    monkeypatch.delenv("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS")
    refused = client.test_webhook(hook.webhook_id)
    assert (refused.success, delivered.empty()) == (False, True)
    assert "public" in str(refused.error_message)
    monkeypatch.delenv("MLFLOW_WEBHOOK_ALLOWED_SCHEMES")
    with pytest.raises(Exception, match="scheme"):
        _hook(client, url)
