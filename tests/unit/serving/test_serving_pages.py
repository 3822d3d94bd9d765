"""docs/tracing.md and docs/endpoint-access.md: their commands in their order, on real servers."""

from __future__ import annotations

import http.server
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from documented import Walk
from running_process import LOOPBACK, RunningProcess, answers, free_port, served, until
from serving_process import ROW, Start

from penstock.model import digest_of

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.long
def test_the_page_of_traces_is_walked(models: Callable[..., Path], tmp_path: Path) -> None:
    shutil.copytree(models(), tmp_path / "model")
    port = free_port()
    with Walk("docs/tracing.md", tmp_path) as walk:
        # The exporter of OTLP is a package beside ours; the SDK's own writes the same spans.
        walk.run("export OTEL_TRACES_EXPORTER", ("=otlp", "=console"))
        line = walk.take(
            "python -m penstock.serving",
            ("sha256:...", digest_of(models())),
            ("8080", str(port)),
        )
    log, environment = tmp_path / "log", walk.environment()
    with RunningProcess(walk.script(line), log=log, cwd=tmp_path, env=environment) as server:
        url = f"http://{LOOPBACK}:{port}"
        server.wait_until(lambda: answers(f"{url}/v2/health/ready"))
        answered = httpx.post(
            f"{url}/v1/models/credit:predict",
            json={"instances": [ROW]},
            headers={"traceparent": CALLER},
            trust_env=False,
            verify=False,
        )
        assert answered.status_code == 200
        span = answered.headers["traceparent"].split("-")[2]
        until(lambda: f'"span_id": "0x{span}"' in server.output())
    said = server.output()
    assert f'"parent_id": "0x{CALLER.split("-")[2]}"' in said
    assert '"penstock.version": "2"' in said


@dataclass
class Gateway:
    """What Envoy Gateway does by components/endpoint-keys: without a key no answer.

    Attributes:
        server: What it lets requests through to.
        keys: What the Secret holds, whole files.
    """

    server: str
    keys: tuple[str, ...]

    def answer(self, path: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        if headers.get("authorization", "").removeprefix("Bearer ") not in self.keys:
            return 401, b"{}"
        passed = {k: v for k, v in headers.items() if k.lower() not in ("authorization", "host")}
        asked = httpx.post(
            f"{self.server}{path}", content=body, headers=passed, trust_env=False, verify=False
        )
        return asked.status_code, asked.content


@contextmanager
def gateway(made: Gateway) -> Iterator[str]:
    class Answers(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, said = made.answer(self.path, self.headers, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: Any) -> None:
            pass

    with served(http.server.ThreadingHTTPServer((LOOPBACK, 0), Answers)) as server:
        yield f"http://{LOOPBACK}:{server.server_port}"


def test_the_page_of_access_is_walked(
    start_onnx: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "feedback").write_text("the-token-of-labels")
    monkeypatch.setenv("FEEDBACK_TOKEN", "the-token-of-labels")
    server = start_onnx("--feedback-token-file", str(tmp_path / "feedback"))
    (tmp_path / "rows.json").write_text(json.dumps({"instances": [ROW]}))
    with Walk("docs/endpoint-access.md", tmp_path) as walk:
        for name in ("app", "rollout"):
            walk.run("openssl rand")
            assert len((tmp_path / f"{name}.key").read_text()) == 64, "and no line's end"
        keys = tuple((tmp_path / f"{name}.key").read_text() for name in ("app", "rollout"))
        with gateway(Gateway(server.url, keys)) as address:
            here = ("https://models.example.org/v1/models/credit", f"{address}/v1/models/adult")
            asked = json.loads(walk.run("curl", here))
            assert len(asked["predictions"]) == 1
            labelled = json.loads(walk.run("curl", here, ('"label": 1', '"label": "yes"')))
            assert labelled["joined"] == 1
            # Nobody without a key; no label without the server's own token.
            assert (
                httpx.post(
                    f"{address}/v1/models/adult:predict", content=b"{}", verify=False
                ).status_code
                == 401
            )
            refused = httpx.post(
                f"{address}/v1/models/adult:feedback",
                json={"labels": [{"request_id": "a", "label": "yes"}]},
                headers={"authorization": f"Bearer {keys[0]}"},
                verify=False,
            )
            assert refused.status_code == 401
