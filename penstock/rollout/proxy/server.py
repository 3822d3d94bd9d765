"""The HTTP server of the proxy: aiohttp's, within limits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, cast

from aiohttp import web

from penstock.rollout.proxy.pod_limits import STOP_SECONDS
from penstock.serving.connection_limits import TOO_MANY, Connections, ConnectionTimer, refusal

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_KEPT_SECONDS = 75.0

_log = logging.getLogger("penstock.proxy")


class Server(web.Server):
    """Accepts connections within limits.

    Args:
        handler: Answers a request.
        connections: How many connections there may be.
        body_seconds: How long a body may take to come, and an answer to be taken.
    """

    def __init__(self, handler: Handle, *, connections: int, body_seconds: float) -> None:
        # A compressed body is the arms' to read: they are sent it, and its headers, as it came.
        self._options: dict[str, Any] = {
            "access_log": None,
            "keepalive_timeout": _KEPT_SECONDS,
            "auto_decompress": False,
        }
        super().__init__(_within(handler), **self._options)
        self.all_connections = Connections(connections)
        self.body_seconds = body_seconds

    def __call__(self) -> web.RequestHandler:
        """Return the protocol of a new connection."""
        return _Handler(self, loop=asyncio.get_running_loop(), **self._options)


async def runner_of(handler: Handle, *, connections: int, body_seconds: float) -> web.ServerRunner:
    """Return what runs a server; once it is to end, requests have 30 seconds to be answered.

    Args:
        handler: Answers a request.
        connections: As of `Server`.
        body_seconds: As of `Server`.
    """
    server = Server(handler, connections=connections, body_seconds=body_seconds)
    runner = web.ServerRunner(server, shutdown_timeout=STOP_SECONDS)
    await runner.setup()
    return runner


class _Handler(web.RequestHandler):
    """One connection."""

    __slots__ = ("_server", "_timer")

    def __init__(self, server: Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._server = server
        self._timer: ConnectionTimer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, or refuse it."""
        # uvloop's is one in all but name.
        real = cast("asyncio.Transport", transport)
        timer = ConnectionTimer(
            asyncio.get_running_loop(), real, body_seconds=self._server.body_seconds
        )
        if not self._server.all_connections.admit(timer):
            timer.end()
            real.write(refusal(HTTPStatus.SERVICE_UNAVAILABLE, TOO_MANY))
            real.close()
            return
        self._timer = timer
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget it."""
        if self._timer is not None:
            self._server.all_connections.remove(self._timer)
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._timer is None:
            return
        super().data_received(data)
        if data and self._current_request is None and not self._messages:
            self._timer.head_goes_on()

    def begin(self) -> None:
        """Note that a request is there."""
        if self._timer is not None:
            # The body's time is the handler's to keep, which knows when it is whole.
            self._timer.request_begins()

    def end(self) -> None:
        """Note that it is answered."""
        if self._timer is not None and not self._messages:
            self._timer.answer_ends()

    def pause_writing(self) -> None:
        """Give the client a while to take what it is sent."""
        if self._timer is not None:
            self._timer.pause_writing()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Go on."""
        if self._timer is not None:
            self._timer.resume_writing()
        super().resume_writing()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be handled; what is no HTTP is the client's doing, not an event."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return super().handle_error(request, status, exc, message)
        _log.info("not valid HTTP: %s", message)
        response = web.json_response({"error": _sentence(message)}, status=status)
        response.force_close()
        return response


def _within(handler: Handle) -> Handle:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, _Handler)
        connection.begin()
        try:
            return await handler(request)
        finally:
            connection.end()

    return handle


def _sentence(message: str | None) -> str:
    # What follows the first line shows the bytes.
    return (
        f"the request is not valid HTTP: {(message or '').partition(chr(10))[0][:200].rstrip(': ')}"
    )
