"""The model server: kserve's, on one address, in front of one verified model."""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kserve.model import Model as KServeModel
from kserve.model_server import ModelServer as KServeServer

from penstock.errors import InputError
from penstock.serving import protocol
from penstock.serving.answer import Answer, answer_of
from penstock.serving.protocol import Columns, RequestError

if TYPE_CHECKING:
    from penstock.model import LoadedModel

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger("kserve.penstock")


@dataclass(frozen=True)
class Limits:
    """How much one request may ask for.

    Attributes:
        rows: Rows in one request.
        body: Bytes in one request's body.
    """

    rows: int = 10_000
    body: int = 16 << 20


class ServedModel(KServeModel):  # type: ignore[misc]
    """One version of a model under the name that requests use."""

    def __init__(self, loaded: LoadedModel, *, name: str, version: str, limits: Limits) -> None:
        super().__init__(name)
        self.loaded = loaded
        self.version = version
        self.limits = limits
        self.ready = True

    def get_input_types(self) -> list[dict[str, Any]]:
        """Return the v2 metadata of the columns."""
        return protocol.input_tensors(self.loaded.record)

    def get_output_types(self) -> list[dict[str, Any]]:
        """Return the v2 metadata of the answer."""
        return protocol.output_tensors(self.loaded.record)

    def answer_v1(self, body: bytes) -> bytes:
        """Return the response to a `:predict` body.

        Raises:
            RequestError: If the body does not fit the model.
        """
        record = self.loaded.record
        columns = protocol.v1_columns(
            protocol.parse_object(body), columns=record.columns, max_rows=self.limits.rows
        )
        answer = self._answer(columns)
        return protocol.encode(
            protocol.v1_response(answer, record=record, name=self.name, version=self.version)
        )

    def answer_v2(self, body: bytes) -> bytes:
        """Return the response to an `infer` body.

        Raises:
            RequestError: If the body does not fit the model.
        """
        record = self.loaded.record
        request = protocol.parse_object(body)
        columns = protocol.v2_columns(request, columns=record.columns, max_rows=self.limits.rows)
        response = protocol.v2_response(
            self._answer(columns),
            record=record,
            name=self.name,
            version=self.version,
            request_id=request.get("id"),
        )
        return protocol.encode(response)

    def _answer(self, columns: Columns) -> Answer:
        try:
            frame = self.loaded.frame(_arrays(columns, self.loaded))
        except InputError as error:
            raise RequestError(str(error)) from error
        return answer_of(self.loaded, frame)


def _arrays(columns: Columns, loaded: LoadedModel) -> dict[str, Any]:
    import numpy as np

    numeric = {c.name for c in loaded.record.columns if c.type in ("integer", "number")}
    return {
        name: np.array(values, dtype=np.float64) if name in numeric else values
        for name, values in columns.items()
    }


class InferenceApp:
    """The ASGI application: predictions are answered here, health and metadata by kserve.

    kserve's own prediction routes answer several mistakes of a client with 500, and it lets any
    client unload the model, so only the routes that read are passed on to it.
    """

    def __init__(self, model: ServedModel, *, kserve_app: App) -> None:
        self._model = model
        self._kserve = kserve_app
        # scikit-learn holds the interpreter while it predicts: one thread loses nothing and keeps
        # the event loop free to answer health checks.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="predict")
        name = model.name
        versioned = f"/v2/models/{name}/versions/{model.version}"
        self._predictions = {
            f"/v1/models/{name}:predict": model.answer_v1,
            f"/v2/models/{name}/infer": model.answer_v2,
            f"{versioned}/infer": model.answer_v2,
        }
        self._passed = {
            path: path
            for path in (
                "/",
                "/v1/models",
                f"/v1/models/{name}",
                "/v2",
                "/v2/health/live",
                "/v2/health/ready",
                "/v2/models",
                f"/v2/models/{name}",
                f"/v2/models/{name}/ready",
                "/metrics",
            )
        }
        self._passed[versioned] = f"/v2/models/{name}"
        self._passed[f"{versioned}/ready"] = f"/v2/models/{name}/ready"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection's event stream, as ASGI has it."""
        if scope["type"] == "lifespan":
            await self._kserve(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        path = scope["path"]
        if scope["method"] == "GET" and path in self._passed:
            await self._kserve(scope | {"path": self._passed[path]}, receive, send)
            return
        try:
            status, body = 200, await self._predict(scope, receive)
        except RequestError as error:
            status, body = error.status, protocol.encode({"error": error.message})
        except Exception:
            _log.exception("the request could not be answered")
            status, body = 500, protocol.encode({"error": "the model failed on this request"})
        await _respond(send, status, body)

    async def _predict(self, scope: Scope, receive: Receive) -> bytes:
        path = scope["path"]
        answer = self._predictions.get(path)
        if answer is None:
            if path in self._passed:
                raise RequestError(f"{path} is read with GET", status=405)
            raise RequestError(self._unknown(path), status=404)
        if scope["method"] != "POST":
            raise RequestError(f"{path} is called with POST", status=405)
        body = await _body(scope, receive, limit=self._model.limits.body)
        return await asyncio.get_running_loop().run_in_executor(self._worker, answer, body)

    def _unknown(self, path: str) -> str:
        known = ", ".join(self._predictions)
        return f"nothing is at {path[:200]}; predictions are at {known}"


async def _body(scope: Scope, receive: Receive, *, limit: int) -> bytes:
    headers = dict(scope["headers"])
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


async def _respond(send: Send, status: int, body: bytes) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class ModelServer(KServeServer):  # type: ignore[misc]
    """kserve's server, REST alone, on one address of our choice and in one process."""

    def __init__(self, *, host: str, port: int) -> None:
        super().__init__(http_port=port, workers=1, enable_grpc=False, enable_latency_logging=False)
        self._host = host
        # A line for each request and each probe would fill a laptop's disk in weeks.
        logging.getLogger("uvicorn.access").handlers.clear()
        logging.getLogger("kserve.trace").setLevel(logging.WARNING)
        warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")

    def serve(self, model: ServedModel) -> None:
        """Answer until SIGTERM or SIGINT; requests that were accepted are answered first."""
        self._model = model
        self.start([model])

    async def _serve(self) -> None:
        # kserve offers no way to name the address: its server is configured by now, but does not
        # listen before this runs.
        config = self._rest_server.config
        config.host = self._host
        from kserve.model_server import app

        config.app = InferenceApp(self._model, kserve_app=app)
        await super()._serve()
