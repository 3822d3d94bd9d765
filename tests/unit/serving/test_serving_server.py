"""The model server as a real process, spoken to over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from penstock import files
from penstock.model import load

ROW = {
    "age": 30,
    "hours per-week": 41.5,
    "member": True,
    "job": "pilot",
    "since": "2026-01-01T00:00:00Z",
}
PREDICT = "/v1/models/adult:predict"
INFER = "/v2/models/adult/infer"


class Server:
    """A server process and how to reach it."""

    def __init__(self, folder: Path, log: Path) -> None:
        with contextlib.closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        self.client = httpx.Client(base_url=self.url, trust_env=False, timeout=30)
        command = [sys.executable, "-m", "penstock.serving", "--model", str(folder)]
        command += ["--name", "adult", "--version", "3", "--port", str(self.port)]
        command += ["--digest", files.digest_of_folder(folder), "--max-body", "3000000"]
        with log.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output)

    def wait(self) -> None:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            with contextlib.suppress(httpx.TransportError):
                if self.client.get("/v2/health/ready").status_code == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(30)


@pytest.fixture(scope="module")
def server(models: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    running = Server(models(), tmp_path_factory.mktemp("server") / "log")
    running.wait()
    yield running
    running.stop()


def v2_body(rows: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    kinds = {
        "age": "INT64",
        "hours per-week": "FP64",
        "member": "BOOL",
        "job": "BYTES",
        "since": "BYTES",
    }
    return {
        "inputs": [
            {"name": n, "datatype": k, "shape": [len(rows)], "data": [r[n] for r in rows]}
            for n, k in kinds.items()
        ]
    } | changes


@pytest.mark.slow
def test_both_protocols_answer_what_the_model_says(
    server: Server, models: Callable[..., Path], instances: list[dict[str, Any]]
) -> None:
    loaded = load(models())
    frame = loaded.frame({name: [row[name] for row in instances] for name in ROW})
    labels, scores = loaded.labels(frame).tolist(), loaded.scores(frame).tolist()

    v1 = server.client.post(PREDICT, json={"instances": instances})
    assert v1.status_code == 200
    assert v1.json()["predictions"] == labels
    assert v1.json()["classes"] == ["no", "yes"]
    assert [pair[1] for pair in v1.json()["probabilities"]] == scores
    said = {key: v1.json()[key] for key in ("model_name", "model_version", "dataset")}
    assert said == {"model_name": "adult", "model_version": "3", "dataset": loaded.record.dataset}

    for path in (INFER, "/v2/models/adult/versions/3/infer"):
        v2 = server.client.post(path, json=v2_body(instances, id="a"))
        assert v2.status_code == 200
        assert v2.json()["id"] == "a"
        assert v2.json()["outputs"][0]["data"] == labels
        assert v2.json()["outputs"][1]["data"][1::2] == scores


def test_health_readiness_and_metadata(server: Server) -> None:
    def get(path: str) -> Any:
        response = server.client.get(path)
        assert response.status_code == 200, path
        return response.json()

    assert get("/v2/health/live") == {"live": True}
    assert get("/v2/health/ready") == {"ready": True}
    assert get("/v1/models/adult") == {"name": "adult", "ready": True}
    assert get("/v2/models/adult/versions/3/ready") == {"name": "adult", "ready": True}
    inputs = get("/v2/models/adult")["inputs"]
    assert inputs[1] == {"name": "hours per-week", "datatype": "FP64", "shape": [-1]}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_listens_on_loopback_alone(server: Server) -> None:
    listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    local = {
        line.split()[1]
        for line in listening.splitlines()
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{server.port:04X}")
    }
    assert local == {f"0100007F:{server.port:04X}"}


def test_seen_null_and_unseen_levels_are_answered(server: Server) -> None:
    rows = [dict.fromkeys(ROW), ROW | {"job": "a level nobody saw"}]
    assert server.client.post(PREDICT, json={"instances": rows}).status_code == 200


def _row(**changes: Any) -> bytes:
    return json.dumps({"instances": [ROW | changes]}).encode()


def _without(name: str) -> bytes:
    return json.dumps({"instances": [{k: v for k, v in ROW.items() if k != name}]}).encode()


def _infer(index: int, **changes: Any) -> bytes:
    body = v2_body([ROW])
    body["inputs"][index] |= changes
    return json.dumps(body).encode()


MISTAKES: list[tuple[str, bytes, int, str]] = [
    (PREDICT, b"", 400, "not valid JSON.*line 1"),
    (PREDICT, b"{", 400, "not valid JSON.*line 1"),
    (PREDICT, b'{"instances": [{"age": NaN}]}', 400, "not valid JSON"),
    (PREDICT, b'{"instances": "\xff"}', 400, "not valid JSON"),
    (PREDICT, b"[" * 5000, 400, "not valid JSON"),
    (PREDICT, b"[1]", 400, "must be a JSON object, not a list"),
    (PREDICT, b'{"rows": []}', 400, 'unknown field "rows"'),
    (PREDICT, b"{}", 400, '"instances" is missing'),
    (PREDICT, b'{"instances": 3}', 400, '"instances" must be a list of rows, not a number'),
    (PREDICT, b'{"instances": []}', 400, "no row"),
    (PREDICT, b'{"instances": [[1, 2]]}', 400, r"instances\[0\] must be an object"),
    (PREDICT, b'{"specversion": "1.0", "type": "a"}', 400, "unknown field"),
    (PREDICT, _without("job"), 400, r'instances\[0\]: missing column "job".*null'),
    (PREDICT, _row(height=3), 400, r'instances\[0\]: unknown column "height"'),
    (PREDICT, _row(age="old"), 400, 'column "age": expected a whole number, got "old"'),
    (PREDICT, _row(age=30.5), 400, 'column "age": expected a whole number, got 30.5'),
    (PREDICT, _row(age=2**64), 400, 'column "age": expected a whole number'),
    (PREDICT, _row(age=True), 400, 'column "age": expected a whole number, got true'),
    (PREDICT, _row(**{"hours per-week": "4"}), 400, 'column "hours per-week": expected a number'),
    (PREDICT, _row(**{"hours per-week": [4]}), 400, 'column "hours per-week": expected a number'),
    (PREDICT, _row(member=1), 400, 'column "member": expected true or false, got 1'),
    (PREDICT, _row(job=7), 400, 'column "job": expected text, got 7'),
    (PREDICT, _row(job={"a": 1}), 400, 'column "job": expected text'),
    (PREDICT, _row(since="yesterday"), 400, 'column "since": expected a time in ISO 8601'),
    (PREDICT, _row(since="0001-01-01T00:00:00+10:00"), 400, 'column "since": expected a time'),
    (PREDICT, json.dumps({"instances": [ROW] * 10_001}).encode(), 413, "10,001 rows.*10,000"),
    (PREDICT, b" " * 3_000_001, 413, "larger than the 3,000,000 bytes"),
    (INFER, b"{}", 400, '"inputs" is missing'),
    (INFER, b'{"inputs": {}}', 400, '"inputs" must be a list'),
    (INFER, b'{"inputs": [3]}', 400, r"inputs\[0\] must be an object"),
    (INFER, b'{"inputs": [{"name": "age"}]}', 400, r'inputs\[0\]: the field "shape" is missing'),
    (INFER, json.dumps(v2_body([ROW], id=3)).encode(), 400, '"id" must be text'),
    (INFER, json.dumps(v2_body([])).encode(), 400, "no row"),
    (INFER, _infer(0, name=None), 400, r"inputs\[0\].name must be text"),
    (INFER, _infer(0, name="job"), 400, 'tensor "job" is given twice'),
    (INFER, _infer(0, name="years"), 400, 'missing column "age" and unknown column "years"'),
    (INFER, _infer(0, datatype="BYTES"), 400, 'tensor "age": datatype "BYTES".*send INT64'),
    (INFER, _infer(0, shape=[2]), 400, r'tensor "age": shape \[2\] does not fit its 1 values'),
    (INFER, _infer(0, shape="x"), 400, 'tensor "age": shape "x"'),
    (INFER, _infer(0, data=3), 400, 'tensor "age": data must be a list'),
    (INFER, _infer(0, data=[1, 2], shape=[2]), 400, '"hours per-week" has 1 rows and "age" has 2'),
    (INFER, _infer(3, data=[4]), 400, 'inputs row 0, column "job": expected text, got 4'),
]


@pytest.mark.parametrize(("path", "body", "status", "message"), MISTAKES)
def test_a_clients_mistake_is_named(
    server: Server, path: str, body: bytes, status: int, message: str
) -> None:
    response = server.client.post(path, content=body)
    assert response.status_code == status
    assert re.search(message, response.json()["error"]), response.text
    assert len(response.content) < 1000
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "message"),
    [
        ("POST", "/v1/models/other:predict", {}, 404, "/v1/models/adult:predict"),
        ("POST", "/v2/models/adult/versions/4/infer", {}, 404, "versions/3/infer"),
        ("POST", "/v1/models/adult:explain", {}, 404, "nothing is at"),
        ("GET", PREDICT, {}, 405, "POST"),
        ("DELETE", "/v2/models/adult", {}, 405, "GET"),
        ("POST", "/v2/repository/models/adult/unload", {}, 404, "nothing is at"),
        ("GET", "/docs", {}, 404, "nothing is at"),
        ("POST", INFER, {"inference-header-content-length": "x"}, 400, "binary tensors"),
        ("POST", PREDICT, {"content-encoding": "gzip"}, 415, "compressed"),
        ("POST", PREDICT, {"ce-id": "1", "ce-type": "a"}, 400, "not valid JSON"),
    ],
)
def test_what_is_not_served_says_so(
    server: Server, method: str, path: str, headers: dict[str, str], status: int, message: str
) -> None:
    response = server.client.request(method, path, headers=headers)
    assert response.status_code == status
    assert message in response.json()["error"]
    assert server.client.get("/v2/models/adult/ready").status_code == 200


def test_a_model_that_fails_tells_the_client_nothing_of_its_inside(
    models: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # No model folder that passes its checks fails while it predicts, so one is made to.
    monkeypatch.setattr(sys, "argv", ["pytest"])
    from penstock.serving.server import InferenceApp, Limits, ServedModel

    def fails(*_: Any) -> None:
        raise RuntimeError("secret inside")

    loaded = load(models())
    monkeypatch.setattr(loaded.pipeline, "predict_proba", fails)
    app: Any = InferenceApp(
        ServedModel(loaded, name="adult", version="3", limits=Limits()), kserve_app=app_not_used
    )

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.post(PREDICT, json={"instances": [ROW]})

    response = asyncio.run(ask())
    assert response.status_code == 500
    assert response.json() == {"error": "the model failed on this request"}


async def app_not_used(*_: Any) -> None:
    raise AssertionError


def test_a_body_in_chunks_is_limited_too(server: Server) -> None:
    response = server.client.post(PREDICT, content=(b" " * 100_000 for _ in range(31)))
    assert response.status_code == 413


def test_an_accepted_request_is_answered_before_it_stops(
    server: Server, models: Callable[..., Path], tmp_path: Path
) -> None:
    """Last of this file: it ends the server that the other tests share."""
    body = json.dumps({"instances": [ROW] * 10_000}).encode()
    got: list[int] = []
    asking = threading.Thread(
        target=lambda: got.append(
            httpx.post(f"{server.url}{PREDICT}", content=body, timeout=60).status_code
        )
    )
    started = time.monotonic()
    asking.start()
    time.sleep(0.1)
    assert asking.is_alive(), "the request must still be worked on for this test to say anything"
    os.kill(server.process.pid, signal.SIGTERM)
    asking.join(60)
    assert got == [200]
    assert time.monotonic() - started > 0.1
    assert server.process.wait(30) == 0


def test_an_altered_folder_is_not_served(models: Callable[..., Path], tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(models(), folder)
    digest = files.digest_of_folder(folder)
    (folder / "requirements.txt").write_text("altered\n")
    command = [sys.executable, "-m", "penstock.serving", "--model", str(folder), "--name", "adult"]
    command += ["--version", "3", "--port", "0", "--digest", digest]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert digest in ended.stderr
    assert str(folder) in ended.stderr
    assert "Traceback" not in ended.stderr
