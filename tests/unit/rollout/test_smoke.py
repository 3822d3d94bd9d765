"""The smoke test against whatever may answer at an address: all but the model is a failure."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from running_process import served

from penstock import model
from penstock.errors import ServiceError
from penstock.records.release import Deployment
from penstock.rollout import smoke
from penstock.rollout.router import Address
from penstock.serving.parity_check import columns_of
from penstock.serving.prediction import prediction_of

ROWS = 3
Body = bytes | Callable[[Any], None]


class Foreign(HTTPServer):
    """Says to every request what a test lays down."""

    status: int = 200
    said: Body = b""
    headers: dict[str, str]


class Handler(BaseHTTPRequestHandler):
    server: Foreign

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        said = self.server.said
        if callable(said):
            self.end_headers()
            said(self.wfile)
            return
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_POST  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def foreign() -> Iterator[Foreign]:
    with served(Foreign(("127.0.0.1", 0), Handler)) as server:
        server.headers = {}
        yield server


def check(server: Foreign, scorer: Any, sample: dict[str, Any]) -> int:
    address = Address(f"http://127.0.0.1:{server.server_port}")
    return smoke.check(address, service="adult", scorer=scorer, sample=sample)


def sample_of(instances: list[dict[str, Any]]) -> dict[str, Any]:
    rows = [dict(row, since=datetime.fromisoformat(row["since"])) for row in instances[:ROWS]]
    return {name: [row[name] for row in rows] for name in rows[0]}


def answer(scorer: Any, sample: dict[str, Any]) -> dict[str, Any]:
    scores = scorer.scores_of(columns_of(sample, scorer.record.columns))
    made = prediction_of(scorer.record, labels=scorer.labels_of(scores), scores=scores)
    return {"predictions": made.labels, "probabilities": made.probabilities}


LABELS = {"predictions": ["no"] * ROWS}
WRONG: dict[str, Body] = {
    "no body": b"",
    "a page": b"<html><body>Please log in</body></html>",
    "not text": b"\x80\xff\x00",
    "a number": b"3",
    "nothing": b"null",
    "a list": b"[1, 2, 3]",
    "another's answer": b'{"outputs": [1, 2, 3]}',
    "no list": b'{"predictions": "yes"}',
    "objects": b'{"predictions": [{}, {}, {}], "probabilities": [[0, 1], [0, 1], [0, 1]]}',
    "too few": b'{"predictions": ["no"], "probabilities": [[0.5, 0.5]]}',
    "too many": json.dumps({"predictions": ["no"] * 9, "probabilities": [[1, 0]] * 9}).encode(),
    "labels alone": json.dumps(LABELS).encode(),
    "null scores": json.dumps(LABELS | {"probabilities": None}).encode(),
    "flat scores": json.dumps(LABELS | {"probabilities": [0.5] * ROWS}).encode(),
    "words for scores": json.dumps(LABELS | {"probabilities": [["a", "b"]] * ROWS}).encode(),
    "scores of one class": json.dumps(LABELS | {"probabilities": [[1.0]] * ROWS}).encode(),
    "no numbers": json.dumps(LABELS | {"probabilities": [[float("nan")] * 2] * ROWS}).encode(),
    "too large": json.dumps(LABELS | {"probabilities": [[10**400, 0]] * ROWS}).encode(),
    "infinite": json.dumps(LABELS | {"probabilities": [["?", 0]] * ROWS})
    .replace('"?"', "1e999")
    .encode(),
    "nested": b"[" * 100_000,
    "digits": b'{"predictions": [' + b"9" * 5000 + b"]}",
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_an_answer_of_somebody_else_is_a_failure(
    foreign: Foreign,
    models: Callable[..., Path],
    instances: list[dict[str, Any]],
    task: str,
    name: str,
) -> None:
    foreign.said = WRONG[name]
    with pytest.raises(ServiceError):
        check(foreign, model.load(models(task=task)), sample_of(instances))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_model_s_own_answer_passes(
    foreign: Foreign, models: Callable[..., Path], instances: list[dict[str, Any]], task: str
) -> None:
    scorer, sample = model.load(models(task=task)), sample_of(instances)
    right = answer(scorer, sample)
    foreign.said = json.dumps(right).encode()
    assert check(foreign, scorer, sample) == ROWS
    # One that is compressed was not asked for.
    foreign.headers = {"content-encoding": "gzip"}
    foreign.said = b"\x1f\x8b\x08\x00"
    with pytest.raises(ServiceError, match="it is no JSON"):
        check(foreign, scorer, sample)


@pytest.mark.parametrize("status", [204, 301, 302, 404, 503])
def test_other_statuses_are_quoted(
    foreign: Foreign, models: Callable[..., Path], instances: list[dict[str, Any]], status: int
) -> None:
    foreign.status, foreign.headers = status, {"location": "/elsewhere"}
    with pytest.raises(ServiceError, match=f"answered {status} to holdout rows"):
        check(foreign, model.load(models()), sample_of(instances))


def test_a_body_without_end_is_not_waited_for(
    foreign: Foreign,
    models: Callable[..., Path],
    instances: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scorer, sample = model.load(models()), sample_of(instances)
    over = threading.Event()

    def trickle(stream: Any) -> None:
        while not over.wait(0.05):
            stream.write(b" ")

    foreign.said = b" " * 2**20
    monkeypatch.setattr(smoke, "_LARGEST", 2**16)
    with pytest.raises(ServiceError, match="larger than 65,536 bytes"):
        check(foreign, scorer, sample)
    foreign.said = trickle
    monkeypatch.setattr(smoke, "_TIMEOUT", 0.5)
    with pytest.raises(ServiceError, match=r"does not answer within 0\.5 s"):
        check(foreign, scorer, sample)
    over.set()


@pytest.mark.parametrize("said", [b"<html>", b"[]", b"{}", b'{"inputs": [3]}', b"null"])
def test_no_line_to_ask_with_is_made_of_another_s_answer(
    foreign: Foreign, tmp_path: Path, said: bytes
) -> None:
    foreign.said = said
    url = f"http://127.0.0.1:{foreign.server_port}"
    deployment = Deployment.model_construct(url=url, service="adult")
    with pytest.raises(ServiceError, match="not the model server"):
        smoke.curl_line(deployment, holdout=tmp_path)


def test_a_line_for_a_gateway_with_a_key_names_it_and_does_not_hold_it(
    foreign: Foreign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from penstock.rollout.access import AccessSpec, curl_options

    monkeypatch.setenv("KEY", "secret-of-the-endpoint")
    access = AccessSpec(token="${env:KEY}", ca_file="/etc/ca.pem")
    options = curl_options(access)
    assert options == '--cacert /etc/ca.pem -H "authorization: Bearer $KEY" '
    assert curl_options(AccessSpec(token="${file:/run/t}")).endswith('Bearer $(cat /run/t)" ')
    foreign.status = 401
    deployment = Deployment.model_construct(
        url=f"http://127.0.0.1:{foreign.server_port}", service="adult"
    )
    with pytest.raises(ServiceError, match="401") as caught:
        smoke.curl_line(deployment, holdout=tmp_path, access=access)
    assert "secret-of" not in str(caught.value)
