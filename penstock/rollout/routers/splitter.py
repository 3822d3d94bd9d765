"""The front process of the local router: one public port, and versions behind it by weight.

`python -m penstock.rollout.routers.splitter --listen-fd 5 --admin-fd 6 --token-file FILE`

The admin port takes `PUT /table` with arms, weight and routing, and answers `GET /table` with them
and the counters. A table is made whole and its term compared before it replaces the one that is in
effect, by one assignment: every request sees either the old one or the new, and a table that is
refused changes nothing. The public port listens from the first table on.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson
import uvloop
from aiohttp import web

from penstock.processes import logs
from penstock.rollout.routers.edge import Handle, Server
from penstock.rollout.routers.forward import Splitter
from penstock.rollout.routers.intake import Bounds, error
from penstock.rollout.routers.upstream import Upstream
from penstock.serving.connections import raise_file_limit
from penstock.serving.marks import key_of


class Admin:
    """The port by which the router that started the front steers it.

    Args:
        splitter: What is steered.
        token: What a call must show.
        opened: Called once, when the first table is in effect.
    """

    def __init__(
        self, splitter: Splitter, *, token: str, opened: Callable[[], Awaitable[None]]
    ) -> None:
        self._splitter = splitter
        self._expected = f"Bearer {token}"
        self._opened: Callable[[], Awaitable[None]] | None = opened
        self._term = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer `GET /table` and `PUT /table`."""
        given = request.headers.get("authorization", "").encode(errors="surrogateescape")
        if not hmac.compare_digest(given, self._expected.encode()):
            return error(403, "the token is not right")
        if request.path != "/table" or request.method not in ("GET", "PUT"):
            return error(404, "there is GET /table and PUT /table")
        if request.method == "PUT":
            refusal = await self._replace(await request.content.read())
            if refusal:
                return refusal
        body = orjson.dumps(self._splitter.table.counts(), option=orjson.OPT_NON_STR_KEYS)
        return web.Response(body=body, content_type="application/json")

    async def _replace(self, body: bytes) -> web.Response | None:
        """Put a table into effect, or return why not: then nothing has changed."""
        try:
            given = orjson.loads(body)
            term = given["term"]
            if type(term) is not int:
                raise TypeError(f"a term is a whole number, not {term!r}")
            table = self._splitter.table.replaced(given)
        except (LookupError, TypeError, ValueError) as problem:
            return error(400, f"not a table: {problem!r}")
        if term < self._term:
            return error(409, f"term {self._term} has begun")
        self._term = term
        self._splitter.table = table
        if self._opened:
            opened, self._opened = self._opened, None
            await opened()
        return None


async def _serve(options: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    upstream = Upstream()
    bounds = Bounds(
        body=options.max_body,
        bodies=options.max_bodies,
        seconds=options.max_seconds,
        connections=options.max_connections,
    )
    token = options.token_file.read_text(encoding="utf-8").strip()
    splitter = Splitter(upstream, key=key_of(token), bounds=bounds)
    public = await _runner(splitter.handle, bounds)
    admin = Admin(
        splitter,
        token=token,
        opened=lambda: _listen(public, options.listen_fd),
    )
    steering = await _runner(admin.handle, bounds)
    await _listen(steering, options.admin_fd)
    await stopped.wait()
    for runner in (public, steering):
        await runner.cleanup()
    upstream.close()


async def _runner(handler: Handle, bounds: Bounds) -> web.ServerRunner:
    server = Server(handler, connections=bounds.connections, body_seconds=bounds.seconds)
    runner = web.ServerRunner(server, shutdown_timeout=30)
    await runner.setup()
    return runner


async def _listen(runner: web.ServerRunner, descriptor: int) -> None:
    await web.SockSite(runner, socket.socket(fileno=descriptor), backlog=1024).start()


def main(arguments: list[str]) -> int:
    """Run the front until SIGTERM; requests that were accepted are answered first."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    parser = argparse.ArgumentParser(prog="python -m penstock.rollout.routers.splitter")
    parser.add_argument("--listen-fd", type=int, required=True, help="bound public socket")
    parser.add_argument("--admin-fd", type=int, required=True, help="bound socket for steering")
    parser.add_argument("--token-file", type=Path, required=True, help="what admin calls show")
    add = parser.add_argument
    add("--max-body", type=int, default=Bounds.body, help="bytes in a request")
    add("--max-bodies", type=int, default=Bounds.bodies, help="bytes of all requests under way")
    add("--max-seconds", type=float, default=Bounds.seconds, help="seconds that a body may take")
    add("--max-connections", type=int, default=Bounds.connections, help="connections at a time")
    add("--log", type=Path, help="the file that the output goes to, to be kept small")
    options = parser.parse_args(arguments)
    logs.spare()
    raise_file_limit()
    if options.log is not None:
        logs.bound(options.log)
    uvloop.run(_serve(options))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
