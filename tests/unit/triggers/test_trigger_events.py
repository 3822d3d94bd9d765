"""What is read of CloudEvents, and what is refused, each with a sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cloudevents.http import CloudEvent, to_binary, to_structured

from penstock.serving.request_errors import RequestError
from penstock.triggers.events import BATCH, Event, events_of

SENT = {"id": "17", "source": "https://shop.example/orders", "type": "com.shop.sold"}
STRUCTURED = "application/cloudevents+json"


def _headers(given: dict[str, str]) -> dict[bytes, bytes]:
    return {name.lower().encode(): value.encode() for name, value in given.items()}


@pytest.mark.parametrize("form", [to_binary, to_structured])
def test_what_the_sdk_of_cloudevents_sends_is_read(form: Any) -> None:
    headers, body = form(CloudEvent({**SENT, "subject": "2026/11.csv"}, {"rows": 3}))
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = events_of(_headers(headers), body)
    assert found == [Event(**SENT, subject="2026/11.csv")]


def test_a_header_is_percent_encoded_utf8() -> None:
    headers = {"ce-id": '"a%20\\"b\\""', "ce-source": "/k%C3%B6ln", "ce-type": "t"}
    found = events_of(_headers({**headers, "ce-specversion": "1.0"}), b"\xff")
    assert found == [Event(source="/köln", id='a "b"', type="t")]


def test_of_a_batch_each_event_is_read_or_refused() -> None:
    good = {**SENT, "specversion": "1.0"}
    body = json.dumps([good, {**good, "id": 3}, 7, {**good, "id": "18"}]).encode()
    one, two, three, four = events_of({b"content-type": BATCH.encode()}, body)
    assert (one, four) == (Event(**SENT), Event(**{**SENT, "id": "18"}))
    assert isinstance(two, RequestError)
    assert two.message == 'event 2: the attribute "id" must be text, not a number'
    assert isinstance(three, RequestError)
    assert three.message == "event 3: an event must be a JSON object, not a number"
    assert events_of({b"content-type": BATCH.encode()}, b"[]") == []


@pytest.mark.parametrize(
    ("media", "body", "status", "sentence"),
    [
        (STRUCTURED, b'{"id": "1", "sou', 400, "the body is not valid JSON"),
        (STRUCTURED, b'{"id": "1"}', 400, 'the attribute "specversion" is missing'),
        (STRUCTURED, {"specversion": "0.3"}, 400, 'specversion "0.3" is not supported'),
        (STRUCTURED, {"id": ""}, 400, 'the attribute "id" is missing'),
        (STRUCTURED, {"source": None}, 400, 'the attribute "source" is missing'),
        (STRUCTURED, {"type": "a\nb"}, 400, 'the attribute "type" holds a control character'),
        (STRUCTURED, {"subject": ["a"]}, 400, 'the attribute "subject" must be text, not a list'),
        (STRUCTURED, {"id": "x" * 2049}, 400, '"id" is longer than 2,048 characters'),
        (STRUCTURED, b"[]", 400, "an event must be a JSON object, not a list"),
        (BATCH, b"{}", 400, "a batch must be a list of events, not an object"),
        ("application/cloudevents+avro", b"", 415, "are not read; send application/cloudevents"),
        ("application/json", b"{}", 415, "this is no CloudEvent"),
    ],
)
def test_what_is_no_event_is_refused(
    media: str, body: bytes | dict[str, Any], status: int, sentence: str
) -> None:
    if isinstance(body, dict):
        body = json.dumps({**SENT, "specversion": "1.0", **body}).encode()
    with pytest.raises(RequestError) as refused:
        events_of({b"content-type": media.encode()}, body)
    assert refused.value.status == status
    assert sentence in refused.value.message
