"""The ASGI application: bytes and headers in, bytes and headers out."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import penstock
from penstock.serving import feedback, openapi, responses
from penstock.serving.books import Books, Exchange, Headers
from penstock.serving.capture import Truths
from penstock.serving.mistakes import RequestError, parse_object
from penstock.serving.service import Protocol, Service

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_EXPLANATIONS_WAITING = 8
_JSON = b"application/json"

_log = logging.getLogger("kserve.penstock")


class InferenceApp:
    """Answers everything that kserve's own application would, and what it would not.

    kserve's routes answer several mistakes of a client with 500 and let any client unload the
    model, so nothing is passed on to them.

    Args:
        service: What answers.
        books: What is kept of it.
    """

    def __init__(self, service: Service, books: Books) -> None:
        self._service = service
        self._books = books
        # scikit-learn holds the interpreter while it predicts, ONNX Runtime lets go of it.
        lean = service.scorer.runtime == "onnx"
        threads = min(4, os.cpu_count() or 1) if lean else 1
        self._inline = service.limits.inline if lean else -1
        self._worker = ThreadPoolExecutor(threads, thread_name_prefix="predict")
        self._explainer = ThreadPoolExecutor(1, thread_name_prefix="explain")
        self._explaining = 0
        self._draining = False
        name, version = service.name, service.version
        self._predictions, self._read = self._routes(name, version)
        self._posted = {
            f"/v1/models/{name}:feedback": self._feedback,
            f"/v1/models/{name}:explain": self._explain,
        }
        self._headers = [
            (b"x-penstock-model", _header(name)),
            (b"x-penstock-version", _header(version)),
            (b"x-penstock-dataset", _header(service.record.dataset)),
        ]

    def _routes(
        self, name: str, version: str
    ) -> tuple[dict[str, Protocol], dict[str, Callable[[], Mapping[str, Any]]]]:
        notes = self._service.notes
        model = f"/v2/models/{name}"
        versioned = f"{model}/versions/{version}"
        predictions: dict[str, Protocol] = {
            f"/v1/models/{name}:predict": "v1",
            f"{model}/infer": "v2",
            f"{versioned}/infer": "v2",
            "/invocations": "mlflow",
        }
        server = {"name": "penstock", "version": penstock.__version__, "extensions": []}
        document = openapi.document(self._service)
        read: dict[str, Callable[[], Mapping[str, Any]]] = {
            "/": lambda: {"status": "alive"},
            "/v1/models": lambda: {"models": [name], **notes},
            f"/v1/models/{name}": self._ready,
            "/v2": lambda: {**server, **notes},
            "/v2/health/live": lambda: {"live": True},
            "/v2/health/ready": lambda: {"ready": not self._draining},
            "/v2/models": lambda: {"models": [name], **notes},
            model: self._service.metadata,
            versioned: self._service.metadata,
            f"{model}/ready": self._ready,
            f"{versioned}/ready": self._ready,
            "/openapi.json": lambda: document,
        }
        return predictions, read

    def drain(self) -> None:
        """Ask clients to leave: not ready any more, and each answer ends its connection."""
        self._draining = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection's event stream, as ASGI has it."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _lifespan(receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: Headers = dict(scope["headers"])
        method, path = scope["method"], scope["path"]
        exchange = Exchange.of(headers)
        if method == "GET" and path in self._read:
            found = self._read[path]()
            status = 503 if found.get("ready") is False else 200
            await self._respond(send, exchange, status, responses.encode(found))
            return
        if method == "GET" and path == "/metrics":
            accept = headers.get(b"accept", b"").decode("latin-1")
            body, content_type = self._books.meters.exposition(accept)
            await self._respond(send, exchange, 200, body, content_type=content_type.encode())
            return
        self._books.meters.in_flight.inc()
        try:
            await self._work(method, path, headers, exchange, receive, send)
        finally:
            self._books.meters.in_flight.dec()
            seconds = time.perf_counter() - exchange.started
            self._books.meters.answered(
                exchange.status, exchange.protocol, exchange.origin, seconds
            )

    async def _work(
        self,
        method: str,
        path: str,
        headers: Headers,
        exchange: Exchange,
        receive: Receive,
        send: Send,
    ) -> None:
        further: Sequence[tuple[bytes, bytes]] = ()
        try:
            status, body = 200, await self._answer(method, path, headers, exchange, receive)
        except RequestError as error:
            status, body, further = error.status, _error(error.message), error.headers
        except Exception:
            _log.exception("request %s could not be answered", exchange.request_id)
            status, body = 500, _error("the model failed on this request")
        await self._respond(send, exchange, status, body, further=further)

    async def _answer(
        self, method: str, path: str, headers: Headers, exchange: Exchange, receive: Receive
    ) -> bytes:
        protocol = self._predictions.get(path)
        handler = self._posted.get(path)
        if protocol is None and handler is None:
            raise self._unknown(method, path)
        exchange.protocol = protocol or path.rpartition(":")[2]
        if method != "POST":
            raise RequestError(
                f"{path} is called with POST", status=405, headers=[(b"allow", b"POST")]
            )
        body = await _body(headers, receive, limit=self._service.limits.body)
        exchange.size = len(body)
        if protocol is None:
            assert handler is not None
            return await handler(body, exchange)
        if len(body) <= self._inline:
            outcome = self._service.predict(body, protocol)
        else:
            outcome = await asyncio.get_running_loop().run_in_executor(
                self._worker, self._service.predict, body, protocol
            )
        self._books.enter(exchange, outcome, version=self._service.version)
        return outcome.body

    async def _feedback(self, body: bytes, exchange: Exchange) -> bytes:
        truths = feedback.parse(parse_object(body), record=self._service.record)
        found = self._books.memory.join(truths)
        for arm, sums in found.sums.items():
            self._books.meters.labelled(arm, sums)
        if self._books.capture is not None and found.new:
            self._books.capture.truths(
                Truths(time=time.time(), labels=found.new), size=exchange.size
            )
        return responses.encode(
            {
                "joined": found.joined,
                "unknown": found.unknown,
                "repeated": found.repeated,
                "live": found.sums["live"].model_dump(),
                "mirrored": found.sums["mirror"].model_dump(),
                "model_name": self._service.name,
                "model_version": self._service.version,
            }
        )

    async def _explain(self, body: bytes, exchange: Exchange) -> bytes:  # noqa: ARG002
        if self._explaining >= _EXPLANATIONS_WAITING:
            raise RequestError("too many explanations are under way; ask again later", status=429)
        self._explaining += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._explainer, self._service.explain, body
            )
        finally:
            self._explaining -= 1

    def _ready(self) -> Mapping[str, Any]:
        return {"name": self._service.name, "ready": not self._draining}

    def _unknown(self, method: str, path: str) -> RequestError:
        if path in self._read or path == "/metrics":
            return RequestError(
                f"{path} is read with GET, not {method}", status=405, headers=[(b"allow", b"GET")]
            )
        known = ", ".join(self._predictions)
        return RequestError(f"nothing is at {path[:200]}; predictions are at {known}", status=404)

    async def _respond(
        self,
        send: Send,
        exchange: Exchange,
        status: int,
        body: bytes,
        *,
        content_type: bytes = _JSON,
        further: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        exchange.status = status
        headers = [
            (b"content-type", content_type),
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", exchange.request_id.encode()),
            *self._headers,
            *further,
        ]
        if self._draining:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def _body(headers: Headers, receive: Receive, *, limit: int) -> bytes:
    if b"inference-header-content-length" in headers:
        raise RequestError("binary tensors are not taken; send the data as JSON")
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise RequestError("a compressed body is not taken", status=415)
    too_large = RequestError(f"the body is larger than the {limit:,} bytes taken", status=413)
    if int(headers.get(b"content-length", 0)) > limit:
        raise too_large
    blocks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestError("the client went away", status=400)
        block = message.get("body", b"")
        size += len(block)
        if size > limit:
            raise too_large
        blocks.append(block)
        more = message.get("more_body", False)
    return b"".join(blocks)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _header(text: str) -> bytes:
    """Return text as a header's value, which holds only ASCII."""
    return text.encode("ascii", "backslashreplace")


def _error(message: str) -> bytes:
    return responses.encode({"error": message})
