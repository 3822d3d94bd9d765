"""Spans of the model server, as the SDK hands them to its own exporter."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExportResult
from running_process import until

from penstock.errors import InputError
from penstock.serving.asgi import Receive, Scope, Send
from penstock.serving.tracing import EXPORTER, _Traced, traced

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = f"00-{TRACE}-{PARENT}-01".encode()
PATH = "/v1/models/adult:predict"


class Answering:
    """An application that answers with one status, or fails."""

    def __init__(self) -> None:
        self.status = 200

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        if not self.status:
            raise OSError("on purpose")
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    def drain(self) -> None:
        pass


def ask(application: Any, path: str = PATH, **headers: bytes) -> dict[str, str]:
    """Return the headers of the answer."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    given = [(name.encode(), value) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": path, "headers": given}
    asyncio.run(application(scope, receive, send))
    return {name.decode(): value.decode() for name, value in sent[0]["headers"]}


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the console's exporter is handed: it writes to the standard output of its import."""
    found: list[dict[str, Any]] = []

    def export(_: ConsoleSpanExporter, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        found.extend(json.loads(span.to_json()) for span in spans)
        return SpanExportResult.SUCCESS

    monkeypatch.setattr(ConsoleSpanExporter, "export", export)
    return found


def test_each_answer_is_a_span_within_the_caller_s(exported: list[dict[str, Any]]) -> None:
    answering = Answering()
    environment = {EXPORTER: "console"}
    application = traced(answering, name="adult", version="3", environment=environment)
    answered = ask(application, traceparent=CALLER, tracestate=b"vendor=7")
    answering.status = 400
    ask(application, traceparent=CALLER)
    answering.status = 503
    ask(application)
    answering.status = 200
    ask(application, path="/metrics", traceparent=CALLER)
    answering.status = 0
    with pytest.raises(OSError, match="on purpose"):
        ask(application)
    application.drain()
    until(lambda: len(exported) == 4)
    within, refused, failed, broken = exported
    assert (within["context"]["trace_id"], within["parent_id"]) == (f"0x{TRACE}", f"0x{PARENT}")
    assert "vendor" in within["context"]["trace_state"]
    # Out again: the client can name the span that answered it.
    span = within["context"]["span_id"].removeprefix("0x")
    assert answered["traceparent"] == f"00-{TRACE}-{span}-01"
    assert (within["kind"], within["name"]) == ("SpanKind.SERVER", f"POST {PATH}")
    assert within["attributes"] == {
        "http.request.method": "POST",
        "url.path": PATH,
        "penstock.model": "adult",
        "penstock.version": "3",
        "http.response.status_code": 200,
    }
    assert within["resource"]["attributes"]["service.name"] == "adult"
    assert refused["status"]["status_code"] == "UNSET", "a refusal is the client's error"
    assert failed["status"]["status_code"] == "ERROR"
    assert failed["parent_id"] is None
    assert failed["context"]["trace_id"] != f"0x{TRACE}"
    assert broken["attributes"]["error.type"] == "OSError"


def test_a_collector_that_does_not_answer_keeps_no_answer_waiting_at_the_end() -> None:
    answers, ended = threading.Event(), threading.Event()

    class Silent(SpanProcessor):
        """Heeds no timeout, as the SDK's own."""

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            del timeout_millis
            answers.wait(5)
            ended.set()
            return True

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Silent())
    application = _Traced(Answering(), provider, {})
    ask(application)
    application.drain()
    assert not ended.is_set()
    answers.set()
    assert ended.wait(30)


def test_nothing_is_traced_unless_it_is_asked_for() -> None:
    application: Any = object()
    for exporter in ({}, {EXPORTER: ""}, {EXPORTER: "none"}):
        assert traced(application, name="a", version="1", environment=exporter) is application


def test_an_exporter_that_is_not_installed_is_named() -> None:
    with pytest.raises(InputError, match=r"(?s)there are .*console.*pip install opentelemetry-exp"):
        traced(Answering(), name="a", version="1", environment={EXPORTER: "carrier-pigeon"})
