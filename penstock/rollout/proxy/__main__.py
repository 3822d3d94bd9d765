"""The proxy of a local service: one public port, and versions behind it by weight.

`python -m penstock.rollout.proxy --listen-fd 5 --admin-fd 6 --token-file FILE`

The admin port takes `PUT /table` with arms, weight and routing, and answers `GET /table` with them
and the stats. A routing table is built and its term compared before it replaces the current one, by
one assignment: every request sees either the old table or the new one, and a table that is rejected
changes nothing. The public port listens from the first table on.
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
from penstock.rollout.proxy.forward import Proxy
from penstock.rollout.proxy.requests import Limits, error
from penstock.rollout.proxy.server import Handle, runner_of
from penstock.rollout.proxy.upstream import Upstream
from penstock.serving.connection_limits import raise_file_limit
from penstock.serving.request_headers import key_of


class Admin:
    """The admin API, by which the controller that started the proxy updates its routing table.

    Args:
        proxy: The proxy.
        token: The bearer token of a call.
        opened: Called once, when the first table is in effect.
    """

    def __init__(self, proxy: Proxy, *, token: str, opened: Callable[[], Awaitable[None]]) -> None:
        self._proxy = proxy
        self._expected = f"Bearer {token}"
        self._opened: Callable[[], Awaitable[None]] | None = opened
        self._term = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer `GET /table` and `PUT /table`."""
        given = request.headers.get("authorization", "").encode(errors="surrogateescape")
        if not hmac.compare_digest(given, self._expected.encode()):
            return error(403, "the token is not valid")
        if request.path != "/table" or request.method not in ("GET", "PUT"):
            return error(404, "unknown path or method: use GET /table or PUT /table")
        if request.method == "PUT":
            refusal = await self._replace(await request.content.read())
            if refusal:
                return refusal
        body = orjson.dumps(self._proxy.table.counts(), option=orjson.OPT_NON_STR_KEYS)
        return web.Response(body=body, content_type="application/json")

    async def _replace(self, body: bytes) -> web.Response | None:
        """Put a routing table into effect, or return why not: then nothing has changed."""
        try:
            given = orjson.loads(body)
            term = given["term"]
            if type(term) is not int:
                raise TypeError(f"the term must be an integer, not {term!r}")
            table = self._proxy.table.replaced(given)
        except (LookupError, TypeError, ValueError) as problem:
            return error(400, f"not a valid routing table: {problem!r}")
        if term < self._term:
            return error(409, f"term {term} is over: term {self._term} has begun")
        self._term = term
        self._proxy.table = table
        if self._opened:
            opened, self._opened = self._opened, None
            await opened()
        return None


async def _serve(options: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    upstream = Upstream()
    limits = Limits(
        body=options.max_body,
        bodies=options.max_bodies,
        seconds=options.max_seconds,
        connections=options.max_connections,
    )
    token = options.token_file.read_text(encoding="utf-8").strip()
    proxy = Proxy(upstream, key=key_of(token), limits=limits)
    public = await _runner(proxy.handle, limits)
    admin = Admin(
        proxy,
        token=token,
        opened=lambda: _listen(public, options.listen_fd),
    )
    controlling = await _runner(admin.handle, limits)
    await _listen(controlling, options.admin_fd)
    await stopped.wait()
    for runner in (public, controlling):
        await runner.cleanup()
    upstream.close()


async def _runner(handler: Handle, limits: Limits) -> web.ServerRunner:
    return await runner_of(handler, connections=limits.connections, body_seconds=limits.seconds)


async def _listen(runner: web.ServerRunner, descriptor: int) -> None:
    await web.SockSite(runner, socket.socket(fileno=descriptor), backlog=1024).start()


def main(arguments: list[str]) -> int:
    """Run the proxy until SIGTERM; requests that were accepted are answered first."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    parser = argparse.ArgumentParser(prog="python -m penstock.rollout.proxy")
    parser.add_argument("--listen-fd", type=int, required=True, help="bound public socket")
    parser.add_argument("--admin-fd", type=int, required=True, help="bound socket of the admin API")
    parser.add_argument(
        "--token-file", type=Path, required=True, help="file with the token of admin calls"
    )
    add = parser.add_argument
    add("--max-body", type=int, default=Limits.body, help="bytes in a request")
    add("--max-bodies", type=int, default=Limits.bodies, help="bytes of all requests under way")
    add(
        "--max-seconds",
        type=float,
        default=Limits.seconds,
        help="seconds until a body must be there",
    )
    add("--max-connections", type=int, default=Limits.connections, help="connections at a time")
    add("--log", type=Path, help="the file that the output goes to; it is rotated by size")
    options = parser.parse_args(arguments)
    logs.spare()
    raise_file_limit()
    if options.log is not None:
        logs.bound(options.log)
    uvloop.run(_serve(options))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
