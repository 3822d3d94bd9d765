"""Uvicorn on one address, with our application behind it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Protocol

import uvicorn

from penstock.processes import logs
from penstock.serving.connections import Connections, raise_file_limit
from penstock.serving.protocol import Bounded

if TYPE_CHECKING:
    import socket

    from penstock.serving.app import Receive, Scope, Send
    from penstock.serving.service import Limits

LEAVE_SECONDS = 0.5
"""How long a server that was told to stop goes on answering, so that clients who keep their
connection are told to leave it. Closed at once, it would lose what they are about to send."""

IDLE_SECONDS = 65
"""How long a connection without a request is kept: longer than the proxies before it keep theirs,
which would else send a request into one that is being closed."""

STOP_SECONDS = 30
"""How long requests that were accepted may take once the server was told to stop."""


class Application(Protocol):
    """What answers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, as ASGI has it."""
        ...

    def drain(self) -> None:
        """Ask clients to leave."""
        ...


def serve(application: Application, limits: Limits, *, host: str, port: int) -> None:
    """Answer until SIGTERM or SIGINT; requests that were accepted are answered first."""
    logs.to_standard_error()
    raise_file_limit()
    config = uvicorn.Config(
        application,
        host=host,
        port=port,
        http=partial(  # type: ignore[arg-type]
            Bounded, connections=Connections(limits.connections), seconds=limits.seconds
        ),
        # A request that asks for a websocket is then answered as if it did not.
        ws="none",
        log_config=None,
        # A line for each request and each probe would fill a laptop's disk in weeks.
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    _Server(config, application).run()


class _Server(uvicorn.Server):
    """Tells clients to leave before it stops listening, and returns once it has stopped."""

    def __init__(self, config: uvicorn.Config, application: Application) -> None:
        super().__init__(config)
        self._application = application

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop, after a while in which clients are asked to leave."""
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
