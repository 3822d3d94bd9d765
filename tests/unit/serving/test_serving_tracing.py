"""Spans of the model server: a real server, and the SDK's exporter to its standard output."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from serving_process import ROW, Start

from penstock.errors import InputError
from penstock.serving.tracing import EXPORTER, traced

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def spans(text: str) -> Iterator[dict[str, Any]]:
    """Yield the spans that the exporter wrote between the lines of a log."""
    decoder, at = json.JSONDecoder(), 0
    while (at := text.find("\n{", at)) >= 0:
        found, at = decoder.raw_decode(text, at + 1)
        if "context" in found:
            yield found


def test_each_answer_is_a_span_within_the_caller_s(
    models: Callable[..., Path], start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(EXPORTER, "console")
    server = start(models())
    caller = f"00-{TRACE}-{PARENT}-01"
    answered = server.predict(ROW, traceparent=caller, tracestate="vendor=7")
    refused = server.predict({"age": "none"}, traceparent=caller)
    alone = server.predict(ROW)
    server.client.get("/metrics")
    assert [each.status_code for each in (answered, refused, alone)] == [200, 400, 200]
    server.stop()
    within, wrong, own = spans("\n" + server.log())
    assert (within["context"]["trace_id"], within["parent_id"]) == (f"0x{TRACE}", f"0x{PARENT}")
    assert within["context"]["trace_state"] == "[vendor:7]"
    # Out again: the client can name the span that answered it.
    span = within["context"]["span_id"].removeprefix("0x")
    assert answered.headers["traceparent"] == f"00-{TRACE}-{span}-01"
    assert (within["kind"], within["name"]) == (
        "SpanKind.SERVER",
        "POST /v1/models/adult:predict",
    )
    assert within["attributes"] == {
        "http.request.method": "POST",
        "url.path": "/v1/models/adult:predict",
        "penstock.model": "adult",
        "penstock.version": "3",
        "http.response.status_code": 200,
    }
    assert within["resource"]["attributes"]["service.name"] == "adult"
    assert wrong["attributes"]["http.response.status_code"] == 400
    assert wrong["status"]["status_code"] == "UNSET", "a refusal is the client's error"
    assert own["parent_id"] is None
    assert own["context"]["trace_id"] != f"0x{TRACE}"


def test_nothing_is_traced_unless_it_is_asked_for() -> None:
    application: Any = object()
    for exporter in ({}, {EXPORTER: ""}, {EXPORTER: "none"}):
        assert traced(application, name="a", version="1", environment=exporter) is application


def test_an_exporter_that_is_not_installed_is_named() -> None:
    with pytest.raises(InputError, match=r"there are .*console.*pip install opentelemetry-exp"):
        traced(object(), name="a", version="1", environment={EXPORTER: "carrier-pigeon"})  # type: ignore[arg-type]
