"""CloudEvents 1.0 in a request: structured, binary or a batch, read as far as a trigger needs them.

Who sent an event (`source`) and its `id` identify it; its `type` is what one subscribes to; its
data is not read. Source: CloudEvents 1.0.2, JSON event format and HTTP protocol binding.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import orjson

from penstock.serving.cloudevents import STRUCTURED
from penstock.serving.request_errors import RequestError, kind, show

BATCH = "application/cloudevents-batch+json"
"""The media type of a batch."""

LONGEST = 2048
"""Characters of an attribute."""

_ANY = "application/cloudevents"
_PREFIX = b"ce-"
# The specification's type String has none of these.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True)
class Event:
    """An event, without its data.

    Attributes:
        source: Where it happened.
        id: Unique with the source; the same each time that it is sent.
        type: What happened.
        subject: What it happened to; empty: not said.
    """

    source: str
    id: str
    type: str
    subject: str = ""


def events_of(headers: Mapping[bytes, bytes], body: bytes) -> list[Event | RequestError]:
    """Return the events in a request; in place of one that is none, what is wrong with it.

    Args:
        headers: The request's, their names in lower case.
        body: Its body, not compressed.

    Raises:
        RequestError: If the request as a whole holds no events.

    Example:
        >>> headers = {b"ce-id": b"1", b"ce-source": b"/shop", b"ce-type": b"sold"}
        >>> events_of({**headers, b"ce-specversion": b"1.0"}, b"")
        [Event(source='/shop', id='1', type='sold', subject='')]
    """
    media = headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
    if media == BATCH:
        found = _json(body)
        if not isinstance(found, list):
            raise RequestError(f"a batch must be a list of events, not {kind(found)}")
        return [_or_error(each, f"event {number}: ") for number, each in enumerate(found, 1)]
    if media == STRUCTURED:
        return [_event(_json(body))]
    if media.startswith(_ANY):
        raise RequestError(
            f"events as {show(media)} are not read; send {STRUCTURED} or {BATCH}", status=415
        )
    attributes = {
        name.removeprefix(_PREFIX).decode("latin-1"): _decoded(name, value)
        for name, value in headers.items()
        if name.startswith(_PREFIX)
    }
    if not attributes:
        raise RequestError(
            f"this is no CloudEvent: it has neither headers ce-id, ce-source, ce-type and "
            f"ce-specversion, nor the content type {STRUCTURED} or {BATCH}",
            status=415,
        )
    return [_event(attributes)]


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not valid JSON: {error}") from error


def _or_error(raw: Any, prefix: str) -> Event | RequestError:
    try:
        return _event(raw)
    except RequestError as error:
        return RequestError(prefix + error.message, status=error.status)


def _event(raw: Any) -> Event:
    if not isinstance(raw, dict):
        raise RequestError(f"an event must be a JSON object, not {kind(raw)}")
    version = _attribute(raw, "specversion")
    if version != "1.0":
        raise RequestError(f'specversion {show(version)} is not supported; send "1.0"')
    return Event(
        source=_attribute(raw, "source"),
        id=_attribute(raw, "id"),
        type=_attribute(raw, "type"),
        subject=_attribute(raw, "subject") if raw.get("subject") else "",
    )


def _attribute(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    if value is None or value == "":
        raise RequestError(f'the attribute "{name}" is missing')
    if not isinstance(value, str):
        raise RequestError(f'the attribute "{name}" must be text, not {kind(value)}')
    if len(value) > LONGEST:
        raise RequestError(f'the attribute "{name}" is longer than {LONGEST:,} characters')
    if _CONTROL.search(value):
        raise RequestError(f'the attribute "{name}" holds a control character')
    return value


def _decoded(name: bytes, value: bytes) -> str:
    """Return the value of a header: percent-encoded UTF-8, perhaps in quotation marks."""
    text = value.decode("latin-1").strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = re.sub(r"\\(.)", r"\1", text[1:-1])
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise RequestError(f"the header {name.decode('latin-1')} is not UTF-8") from error
