"""The ASGI application: bytes and headers in, bytes and headers out."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import penstock
from penstock.serving import cloudevents, feedback, openapi, request_body, responses
from penstock.serving.asgi import Receive, Scope, Send, lifespan
from penstock.serving.binary_tensors import HEADER_LENGTH
from penstock.serving.request_body import Budget, Share
from penstock.serving.request_errors import RequestError, parse_object
from penstock.serving.request_log import Headers, RequestContext, RequestLog
from penstock.serving.service import Protocol, Service

_EXPLANATIONS_WAITING = 8
_ASKING = 16
_JSON = b"application/json"
_BINARY = b"application/octet-stream"
_PLAIN: tuple[tuple[bytes, bytes], ...] = ((b"content-type", _JSON),)

Answered = tuple[bytes, Sequence[tuple[bytes, bytes]]]
"""The body of an answer, and the headers that say what it is."""

_log = logging.getLogger(__name__)


class InferenceApp:
    """Answers what KServe's model server does, by the same protocols, and MLflow's beside them.

    KServe's own routes answer several mistakes of a client with 500, and let any client unload the
    model.

    Args:
        service: What answers.
        request_log: What is kept of requests and answers.
    """

    def __init__(self, service: Service, request_log: RequestLog) -> None:
        self._service = service
        self._request_log = request_log
        # scikit-learn holds the interpreter while it predicts, ONNX Runtime lets go of it.
        # A thread that waits for a feature server holds nothing up.
        asks = service.features is not None
        lean = service.scorer.runtime == "onnx" and not asks
        threads = min(4, os.cpu_count() or 1) if lean else _ASKING if asks else 1
        self._inline = service.limits.inline if lean else -1
        self._worker = ThreadPoolExecutor(threads, thread_name_prefix="predict")
        self._explainer = ThreadPoolExecutor(1, thread_name_prefix="explain")
        self._explaining = 0
        self._budget = Budget(service.limits.bodies)
        self._draining = False
        name, version = service.name, service.version
        self._predictions, self._read = self._routes(name, version)
        self._posted = {
            f"/v1/models/{name}:feedback": self._feedback,
            f"/v1/models/{name}:explain": self._explain,
            "/v2/repository/index": self._index,
        }
        self._headers = [
            (b"x-penstock-model", _header(name)),
            (b"x-penstock-version", _header(version)),
            (b"x-penstock-dataset", _header(service.record.dataset_version)),
        ]

    def _routes(
        self, name: str, version: str
    ) -> tuple[dict[str, Protocol], dict[str, Callable[[], Mapping[str, Any]]]]:
        notes = self._service.notes
        model = f"/v2/models/{name}"
        versioned = f"{model}/versions/{version}"
        predictions: dict[str, Protocol] = {
            f"/v1/models/{name}:predict": "v1",
            f"/v1/models/{name}/versions/{version}:predict": "v1",
            f"{model}/infer": "v2",
            f"{versioned}/infer": "v2",
            "/invocations": "mlflow",
        }
        server = {
            "name": "penstock",
            "version": penstock.__version__,
            "extensions": ["binary_tensor_data", "model_repository(index)"],
        }
        document = openapi.document(self._service)
        read: dict[str, Callable[[], Mapping[str, Any]]] = {
            "/": lambda: {"status": "alive"},
            "/v1/models": lambda: {"models": [name], **notes},
            f"/v1/models/{name}": self._ready,
            f"/v1/models/{name}/versions/{version}": self._ready,
            "/v2": lambda: {**server, **notes},
            "/v2/health/live": lambda: {"live": True},
            "/v2/health/ready": lambda: {"ready": self._is_ready},
            "/v2/models": lambda: {"models": [name], **notes},
            model: self._service.metadata,
            versioned: self._service.metadata,
            f"{model}/ready": self._ready,
            f"{versioned}/ready": self._ready,
            "/ping": lambda: {"status": "alive"},
            "/health": lambda: {"status": "alive"},
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
            await lifespan(receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: Headers = dict(scope["headers"])
        method, path = scope["method"], scope["path"]
        context = RequestContext.of(headers, key=self._request_log.rollout_key)
        # The server sends no body to HEAD, whatever it is given.
        reads = method in ("GET", "HEAD")
        if reads and path in self._read:
            found = self._read[path]()
            status = 503 if found.get("ready") is False else 200
            await self._respond(send, context, status, responses.encode(found))
            return
        if reads and path == "/metrics":
            accept = headers.get(b"accept", b"").decode("latin-1")
            body, content_type = self._request_log.metrics.exposition(accept)
            content = [(b"content-type", content_type.encode())]
            await self._respond(send, context, 200, body, headers=content)
            return
        self._request_log.metrics.in_flight.inc()
        try:
            await self._work(method, path, headers, context, receive, send)
        finally:
            self._request_log.metrics.in_flight.dec()
            seconds = time.perf_counter() - context.started
            self._request_log.metrics.answered(
                context.status, context.protocol, context.origin, seconds
            )

    async def _work(
        self,
        method: str,
        path: str,
        headers: Headers,
        context: RequestContext,
        receive: Receive,
        send: Send,
    ) -> None:
        content: Sequence[tuple[bytes, bytes]] = _PLAIN
        try:
            status = 200
            body, content = await self._answer(method, path, headers, context, receive)
        except RequestError as error:
            status, body, content = error.status, _error(error.message), [*_PLAIN, *error.headers]
        except Exception:
            _log.exception("request %s could not be answered", context.request_id)
            status, body = 500, _error("the model failed on this request")
        await self._respond(send, context, status, body, headers=content)

    async def _answer(
        self, method: str, path: str, headers: Headers, context: RequestContext, receive: Receive
    ) -> Answered:
        protocol = self._predictions.get(path)
        handler = self._posted.get(path)
        if protocol is None and handler is None:
            raise self._unknown(method, path)
        if protocol or ":" in path:
            context.protocol = protocol or path.rpartition(":")[2]
        if method != "POST":
            raise RequestError(f"{path} takes POST", status=405, headers=[(b"allow", b"POST")])
        limit = self._service.limits.body
        if handler == self._feedback:
            self._request_log.access.check(headers)
            limit = min(limit, self._service.limits.labels)
        # Until it is answered: what a body is read into is many times as large.
        with self._budget.share() as share:
            body = await self._body(headers, receive, share, limit=limit)
            context.size = len(body)
            if protocol is None:
                assert handler is not None
                return await handler(body, context), _PLAIN
            return await self._predict(body, protocol, headers, context)

    async def _body(self, headers: Headers, receive: Receive, share: Share, *, limit: int) -> bytes:
        compressed = request_body.encoding_of(headers)
        seconds = self._service.limits.seconds
        body = await request_body.receive(headers, receive, share, limit=limit, seconds=seconds)
        if not compressed:
            return body
        share.grow_to(len(body) + request_body.largest(body, limit=limit))
        # A small one may hold a large one, which is not to keep the event loop.
        whole = await asyncio.get_running_loop().run_in_executor(
            self._worker, partial(request_body.decompressed, body, limit=limit)
        )
        share.shrink_to(len(whole))
        return whole

    async def _predict(
        self, body: bytes, protocol: Protocol, headers: Headers, context: RequestContext
    ) -> Answered:
        predict = partial(
            self._service.predict,
            body,
            protocol,
            header_length=request_body.header_length_of(headers),
            csv=protocol == "mlflow" and request_body.is_csv(headers),
        )
        if len(body) <= self._inline:
            outcome = predict()
        else:
            outcome = await asyncio.get_running_loop().run_in_executor(self._worker, predict)
        self._request_log.record(context, outcome, version=self._service.version)
        mode = cloudevents.mode_of(headers) if protocol == "v1" else None
        if mode is not None:
            return cloudevents.answer(outcome.body, mode, name=self._service.name)
        if outcome.header_length is None:
            return outcome.body, _PLAIN
        length = b"%d" % outcome.header_length
        return outcome.body, [(b"content-type", _BINARY), (HEADER_LENGTH.encode(), length)]

    async def _index(self, body: bytes, context: RequestContext) -> bytes:  # noqa: ARG002
        """Return what Triton's clients list models by; it holds one, whatever they filter by."""
        state = "READY" if self._is_ready else "UNAVAILABLE"
        name, version = self._service.name, self._service.version
        index = [{"name": name, "version": version, "state": state, "reason": ""}]
        return responses.encode(index)

    async def _feedback(self, body: bytes, context: RequestContext) -> bytes:
        truths = feedback.parse(parse_object(body), record=self._service.record)
        if not truths:
            # As the proxy of a local service answers while no experiment counts them.
            return responses.encode({"values": 0})
        found = self._request_log.memory.join(truths)
        self._request_log.keep(found, size=context.size)
        # Where rows are shipped, labels are joined with them there, whichever server they reached.
        if found.unknown == len(truths) and self._request_log.shipment is None:
            raise RequestError(
                f"none of the {len(truths):,} labels is of a row that this server remembers: it "
                "never answered it, or answered so many since that it has forgotten it",
                status=404,
            )
        for arm, sums in found.sums.items():
            self._request_log.metrics.labelled(arm, sums)
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

    async def _explain(self, body: bytes, context: RequestContext) -> bytes:  # noqa: ARG002
        if self._explaining >= _EXPLANATIONS_WAITING:
            raise RequestError("too many explanations are in progress; try again later", status=429)
        self._explaining += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._explainer, self._service.explain, body
            )
        finally:
            self._explaining -= 1

    @property
    def _is_ready(self) -> bool:
        return not self._draining and not self._request_log.broken

    def _ready(self) -> Mapping[str, Any]:
        found = {"name": self._service.name, "ready": self._is_ready}
        broken = self._request_log.broken
        return (
            found | {"reason": f"the thread {broken} failed and is not restarted"}
            if broken
            else found
        )

    def _unknown(self, method: str, path: str) -> RequestError:
        if path in self._read or path == "/metrics":
            return RequestError(
                f"{path} takes GET, not {method}", status=405, headers=[(b"allow", b"GET")]
            )
        known = ", ".join(self._predictions)
        return RequestError(f"unknown path {path[:200]}; predictions are at {known}", status=404)

    async def _respond(
        self,
        send: Send,
        context: RequestContext,
        status: int,
        body: bytes,
        *,
        headers: Sequence[tuple[bytes, bytes]] = _PLAIN,
    ) -> None:
        context.status = status
        headers = [
            *headers,
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", context.request_id.encode()),
            *self._headers,
        ]
        if self._draining:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _header(text: str) -> bytes:
    """Return text as a header's value, which holds only ASCII."""
    return text.encode("ascii", "backslashreplace")


def _error(message: str) -> bytes:
    return responses.encode({"error": message})
