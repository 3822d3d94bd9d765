"""CloudEvents around a v1 request and its answer, as KServe's own server takes and makes them.

In binary mode the event's attributes are headers and the body is a v1 request; in structured mode
the body is the event, and its `data` the request. Source: CloudEvents 1.0, HTTP protocol binding.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from penstock.serving.request_errors import RequestError, kind

Mode = Literal["binary", "structured"]

STRUCTURED = "application/cloudevents+json"
"""The media type of a structured event."""

_ATTRIBUTES = (b"ce-id", b"ce-source", b"ce-specversion", b"ce-type")


def mode_of(headers: Mapping[bytes, bytes]) -> Mode | None:
    """Return how a request is an event; None: it is none."""
    media = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media == STRUCTURED.encode():
        return "structured"
    return "binary" if all(name in headers for name in _ATTRIBUTES) else None


def data_of(request: dict[str, Any]) -> dict[str, Any]:
    """Return the v1 request in a structured event; a request that is no event comes back as it is.

    Raises:
        RequestError: If the event's data is no object.
    """
    if not request.keys() >= {"specversion", "data"}:
        return request
    data = request["data"]
    if not isinstance(data, dict):
        raise RequestError(f"the event's data must be a JSON object, not {kind(data)}")
    return data


def answer(body: bytes, mode: Mode, *, name: str) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Return an answer as an event, and the headers that say what it is.

    Args:
        body: The v1 answer.
        mode: The request's.
        name: The model's name.
    """
    attributes = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": f"io.kserve.inference.{name}",
        "type": "io.kserve.inference.response",
        "time": datetime.now(UTC).isoformat(),
    }
    if mode == "binary":
        headers = [
            (f"ce-{key}".encode(), value.encode("ascii", "backslashreplace"))
            for key, value in attributes.items()
        ]
        return body, [(b"content-type", b"application/json"), *headers]
    event = attributes | {"datacontenttype": "application/json", "data": orjson.Fragment(body)}
    return orjson.dumps(event), [(b"content-type", STRUCTURED.encode())]
