"""A server that KServe's request logger sends events to; rows are captured as our own server does.

An event is answered with 202 at once: rows are written by the capture's thread, and dropped and
counted where it cannot follow.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.exposition import choose_encoder

from penstock.captures.files import Bounds
from penstock.captures.segments import CapturedModel
from penstock.serving import request_body, responses
from penstock.serving.asgi import Receive, Scope, Send, lifespan
from penstock.serving.capture import Capture
from penstock.serving.cloudevents import STRUCTURED
from penstock.serving.logged_events import Event, Pairs, event_of, rows_of
from penstock.serving.request_body import Budget
from penstock.serving.request_errors import RequestError, kind
from penstock.serving.server import serve
from penstock.serving.service import Limits

_BATCH = "application/cloudevents-batch+json"
_JSON = [(b"content-type", b"application/json")]
_PREFIX = b"ce-"


@dataclass(frozen=True)
class SinkSettings:
    """What is captured.

    Attributes:
        service: Name of the service whose events come.
        version: Its version, where a response names none.
        columns: Names of the inputs that are sent without names, in their order.
        sample: Share of the requests that is captured.
    """

    service: str
    version: str = "1"
    columns: Sequence[str] = ()
    sample: float = 1.0


class Sink:
    """Takes events and captures the rows in them.

    Args:
        folder: Where rows are written.
        settings: What is captured.
        bounds: How much is kept.

    Raises:
        InputError: If the folder cannot be written to.
    """

    def __init__(self, folder: Path, *, settings: SinkSettings, bounds: Bounds) -> None:
        self._settings = settings
        self._limits = Limits()
        self._budget = Budget(self._limits.bodies)
        self._pairs = Pairs()
        self._ready = True
        self._registry = CollectorRegistry()
        self._events = self._counter("penstock_sink_events", "Events taken", "side")
        self._refused = self._counter("penstock_sink_refused_events", "Events refused")
        self._unpaired = self._counter(
            "penstock_sink_unpaired_events", "Events whose other half did not come in time"
        )
        self._repeated = self._counter(
            "penstock_sink_repeated_events", "Events that had come before"
        )
        written = self._counter("penstock_captured_rows", "Rows written")
        dropped = self._counter("penstock_capture_dropped_rows", "Rows not captured")
        self._capture = Capture(
            folder,
            bounds=bounds,
            written=written.inc,
            dropped=dropped.inc,
            model=CapturedModel(service=settings.service, version=settings.version),
            sample=settings.sample,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection's event stream, as ASGI has it."""
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        headers = dict(scope["headers"])
        content: Sequence[tuple[bytes, bytes]] = _JSON
        try:
            if scope["method"] == "POST":
                with self._budget.share() as share:
                    body = await request_body.receive(
                        headers,
                        receive,
                        share,
                        limit=self._limits.body,
                        seconds=self._limits.seconds,
                    )
                    self._take(headers, body)
                status, answer = 202, b""
            else:
                status, answer, content = self._read(scope["path"], headers)
        except RequestError as error:
            self._refused.inc()
            status, answer = error.status, responses.encode({"error": error.message})
            content = [*_JSON, *error.headers]
        sent = [*content, (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": status, "headers": sent})
        await send({"type": "http.response.body", "body": answer})

    def drain(self) -> None:
        """Be ready no more."""
        self._ready = False

    def close(self) -> None:
        """Write what is waiting; events whose other half has not come are given up."""
        self._pairs.close()
        self._capture.close()

    def _take(self, headers: Mapping[bytes, bytes], body: bytes) -> None:
        if request_body.encoding_of(headers):
            body = request_body.decompressed(body, limit=self._limits.body)
        # What is good is taken, whatever it comes with.
        refused = [error for each in _events(headers, body) if (error := self._refusal(each))]
        self._count()
        if refused:
            self._refused.inc(len(refused) - 1)
            raise refused[0]

    def _refusal(self, event: Event | RequestError) -> RequestError | None:
        """Take an event; return why it was not taken, None where it was."""
        if isinstance(event, RequestError):
            return event
        self._events.labels(side=event.side).inc()
        pair = self._pairs.add(event)
        if pair is None:
            return None
        settings = self._settings
        try:
            rows = rows_of(*pair, version=settings.version, columns=settings.columns)
        except RequestError as error:
            return error
        self._capture.rows(rows, size=pair[0].size + pair[1].size)
        return None

    def _count(self) -> None:
        self._unpaired.inc(self._pairs.unpaired)
        self._repeated.inc(self._pairs.repeated)
        self._pairs.unpaired = self._pairs.repeated = 0

    def _read(
        self, path: str, headers: Mapping[bytes, bytes]
    ) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        if path == "/metrics":
            self._pairs.expire()
            self._count()
            accept = headers.get(b"accept", b"").decode("latin-1")
            encoder, content_type = choose_encoder(accept)
            return 200, encoder(self._registry), [(b"content-type", content_type.encode())]
        ready = self._ready and not self._capture.thread.down
        return (200 if ready else 503), responses.encode({"ready": ready}), _JSON

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self._registry)


def run(sink: Sink, *, host: str, port: int, listener: socket.socket | None = None) -> None:
    """Take events until told to stop."""
    try:
        serve(sink, Limits(), host=host, port=port, listener=listener)
    finally:
        sink.close()


def _events(headers: Mapping[bytes, bytes], body: bytes) -> list[Event | RequestError]:
    """Return the events in a request: one in binary or structured mode, or a batch of them.

    Of a batch, also what is wrong with those that are none.
    """
    media = headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not valid JSON: {error}") from error
    if media == _BATCH:
        if not isinstance(found, list):
            raise RequestError(f"a batch must be a list of events, not {kind(found)}")
        return [_or_why_not(each, len(body) // max(1, len(found))) for each in found]
    if media == STRUCTURED:
        return [_structured(found, len(body))]
    attributes = {
        name.removeprefix(_PREFIX).decode("latin-1"): value.decode("latin-1")
        for name, value in headers.items()
        if name.startswith(_PREFIX)
    }
    return [event_of(attributes, found, size=len(body))]


def _or_why_not(event: Any, size: int) -> Event | RequestError:
    try:
        return _structured(event, size)
    except RequestError as error:
        return error


def _structured(event: Any, size: int) -> Event:
    if not isinstance(event, dict):
        raise RequestError(f"an event must be a JSON object, not {kind(event)}")
    return event_of(event, event.get("data"), size=size)
