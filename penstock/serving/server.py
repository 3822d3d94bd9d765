"""Uvicorn on one address, within limits, with our application behind it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from penstock.processes import logs
from penstock.serving.connection_limits import (
    HEAD_BYTES,
    TOO_MANY,
    Connections,
    ConnectionTimer,
    raise_file_limit,
    refusal,
)

if TYPE_CHECKING:
    import socket

    from penstock.serving.asgi import Receive, Scope, Send
    from penstock.serving.service import Limits

LEAVE_SECONDS = 0.5
"""How long a server that is stopped goes on answering, so that clients who keep their
connection get `connection: close`. Closed at once, it would lose what they are about to send."""

IDLE_SECONDS = 65
"""How long a connection without a request is kept: longer than the proxies before it keep theirs,
which would else send a request into one that is being closed."""

STOP_SECONDS = 30
"""How long requests that were accepted may take once the server is stopped."""


class Application(Protocol):
    """What answers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, as ASGI has it."""
        ...

    def drain(self) -> None:
        """Ask clients to leave."""
        ...


def serve(
    application: Application,
    limits: Limits,
    *,
    host: str,
    port: int,
    listener: socket.socket | None = None,
) -> None:
    """Answer until SIGTERM or SIGINT; requests that were accepted are answered first.

    Args:
        application: What answers.
        limits: How many connections there may be, and how long a client may take.
        host: The address to listen on.
        port: The port.
        listener: A socket that is bound there already.
    """
    logs.to_standard_error()
    raise_file_limit()
    config = uvicorn.Config(
        application,
        host=host,
        port=port,
        http=partial(  # type: ignore[arg-type]
            _LimitedProtocol, connections=Connections(limits.connections), seconds=limits.seconds
        ),
        # A request for a websocket is then answered as any other.
        ws="none",
        log_config=None,
        # A line for each request and each probe would fill a laptop's disk in weeks.
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    _Server(config, application).run(sockets=[listener] if listener is not None else None)


class _LimitedProtocol(HttpToolsProtocol):
    """One connection.

    Args:
        connections: All connections of the server.
        seconds: How long a body may take to come, and an answer to be taken.
        given: What uvicorn gives a protocol.
    """

    def __init__(self, *, connections: Connections, seconds: float, **given: Any) -> None:
        super().__init__(**given)
        self._all = connections
        self._seconds = seconds
        self._timer: ConnectionTimer | None = None
        self._head = 0
        self._in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or refuse it."""
        timer = ConnectionTimer(self.loop, transport, body_seconds=self._seconds)
        if not self._all.admit(timer):
            timer.end()
            transport.write(refusal(HTTPStatus.SERVICE_UNAVAILABLE, TOO_MANY))
            transport.close()
            return
        self._timer = timer
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        if self._timer is not None:
            self._all.remove(self._timer)
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._timer is None or self.transport.is_closing():
            return
        self._head += len(data) if self._in_head else 0
        super().data_received(data)
        if self._in_head and self._head > HEAD_BYTES and not self.transport.is_closing():
            too_large = f"the headers are larger than the limit of {HEAD_BYTES:,} bytes"
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            self.transport.write(refusal(status, too_large))
            self.transport.close()

    def on_message_begin(self) -> None:
        """Begin to wait for a head."""
        self._in_head, self._head = True, 0
        self._open_timer.head_begins()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin to wait for a body."""
        self._in_head = False
        self._open_timer.body_begins()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that a request is whole."""
        self._in_head, self._head = True, 0
        self._open_timer.request_ends()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Note that it is answered."""
        if not self.pipeline:
            self._open_timer.answer_ends()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Give the client a while to take what it is sent."""
        self._open_timer.pause_writing()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Go on."""
        self._open_timer.resume_writing()
        super().resume_writing()

    @property
    def _open_timer(self) -> ConnectionTimer:
        assert self._timer is not None, "a connection that was refused is not read"
        return self._timer


class _Server(uvicorn.Server):
    """Tells clients to leave before it stops listening, and returns once it has stopped."""

    def __init__(self, config: uvicorn.Config, application: Application) -> None:
        super().__init__(config)
        self._application = application

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop, after a while in which clients get `connection: close`."""
        self._application.drain()
        deadline = asyncio.get_running_loop().time() + LEAVE_SECONDS
        while asyncio.get_running_loop().time() < deadline and not self.force_exit:
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Heed signals, and do not raise them again as uvicorn does.

        The process would end by them before it has written what it captured.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle_exit)
        yield
