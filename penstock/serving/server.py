"""kserve's model server, on one address, in front of our application."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import sys
import types
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from penstock.errors import MissingLibraryError
from penstock.serving import logs
from penstock.serving.connections import Connections, raise_file_limit

if TYPE_CHECKING:
    from penstock.serving.app import Receive, Scope, Send
    from penstock.serving.service import Limits, Service

LEAVE_SECONDS = 0.5
"""How long a server that was told to stop goes on answering, so that clients who keep their
connection are told to leave it. Closed at once, it would lose what they are about to send."""


class Application(Protocol):
    """What answers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, as ASGI has it."""
        ...

    def drain(self) -> None:
        """Ask clients to leave."""
        ...


def serve(application: Application, service: Service, *, host: str, port: int) -> None:
    """Answer until SIGTERM or SIGINT; requests that were accepted are answered first."""
    with _light_import():
        from kserve.model import Model
        from kserve.model_server import ModelServer

    class ServedModel(Model):  # type: ignore[misc]
        """The model, as kserve's registry knows it."""

        def __init__(self) -> None:
            super().__init__(service.name)
            self.ready = True

    class Server(ModelServer):  # type: ignore[misc]
        """REST alone, in one process, on an address of our choice."""

        async def _serve(self) -> None:
            # kserve offers no way to name the address, nor an application of one's own: its server
            # is configured by now, but does not listen before this runs.
            for waiting in self.servers:
                waiting.close()
            await _run(self._rest_server, application, service.limits, host=host)

    server = Server(http_port=port, workers=1, enable_grpc=False, enable_latency_logging=False)
    # A line for each request and each probe would fill a laptop's disk in weeks.
    logging.getLogger("uvicorn.access").handlers.clear()
    logging.getLogger("kserve.trace").setLevel(logging.WARNING)
    logs.spare()
    raise_file_limit()
    server.start([ServedModel()])


async def _run(rest: Any, application: Application, limits: Limits, *, host: str) -> None:
    from penstock.serving.protocol import Bounded

    config, listener = rest.config, rest._server
    config.host = host
    config.app = application
    config.server_header = False
    # A request that asks for a websocket is then answered as if it did not.
    config.ws = "none"
    config.http = partial(
        Bounded, connections=Connections(limits.connections), seconds=limits.seconds
    )
    close = listener.shutdown

    async def leave(sockets: Any = None) -> None:
        application.drain()
        deadline = asyncio.get_running_loop().time() + LEAVE_SECONDS
        while asyncio.get_running_loop().time() < deadline and not listener.force_exit:
            await asyncio.sleep(0.05)
        await close(sockets)

    listener.shutdown = leave
    await listener.serve()


@contextlib.contextmanager
def _light_import() -> Iterator[None]:
    """Let kserve's server be imported without what only its clients use.

    `import kserve` loads its Kubernetes client and 200 generated classes, and its server pandas
    for two signatures: together 2 s of CPU at each start, for nothing that this process uses.
    """
    spec = importlib.util.find_spec("kserve")
    if spec is None:
        raise MissingLibraryError("kserve", extra="serve")
    sys.modules["kserve"] = importlib.util.module_from_spec(spec)
    stand_in = None
    if "pandas" not in sys.modules:
        stand_in = types.ModuleType("pandas")
        stand_in.DataFrame = object  # type: ignore[attr-defined]
        sys.modules["pandas"] = stand_in
    try:
        yield
    finally:
        if sys.modules.get("pandas") is stand_in:
            del sys.modules["pandas"]
