"""How an outcome reaches people, and that a lost message is said and changes nothing."""

from __future__ import annotations

import http.server
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_process import served

from penstock import notification as notice


class _Hook(http.server.BaseHTTPRequestHandler):
    bodies: list[dict]
    status = 200

    def do_POST(self) -> None:
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[tuple[str, type[_Hook]]]:
    handler = type("Hook", (_Hook,), {"bodies": []})
    with served(http.server.HTTPServer(("127.0.0.1", 0), handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}/secret", handler


def test_a_webhook_gets_a_body_that_slack_takes(hook: tuple[str, type[_Hook]]) -> None:
    address, handler = hook
    text = notice.outcome_text(name="wine", state="SUCCEEDED")
    assert notice.post(text, state="SUCCEEDED", webhook=address) == []
    assert handler.bodies == [{"text": "wine: released. The run succeeded."}]


def test_the_environment_can_hold_the_address(
    hook: tuple[str, type[_Hook]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_WEBHOOK", hook[0])
    notice.post("x", state="FAILED")
    assert hook[1].bodies == [{"text": "x"}]


def test_what_cannot_be_delivered_is_said_without_the_secret(
    hook: tuple[str, type[_Hook]], tmp_path: Path
) -> None:
    address, handler = hook
    handler.status = 500
    problems = notice.post(
        "x", state="FAILED", webhook=address, file=str(tmp_path / "a" / ".." / "a" / "log")
    )
    assert len(problems) == 1
    assert "127.0.0.1" in problems[0]
    assert "secret" not in problems[0]
    assert json.loads((tmp_path / "a" / "log").read_text()) == {"state": "FAILED", "text": "x"}


def test_a_failed_run_is_never_called_released() -> None:
    text = notice.outcome_text(name="wine", state="FAILED", error="Task fail failed")
    assert text.startswith("wine: not released.")
    assert "Task fail failed" in text
    assert "not released" in notice.outcome_text(name="wine", state="CANCELLED")
