"""The front process of the local router: one public port, and versions behind it by weight.

`python -m penstock.rollout.routers.splitter --listen-fd 5 --admin-fd 6 --token-file FILE`

The admin port takes `PUT /arms` with the whole table and answers `GET /arms` with counts. Replacing
the table is one assignment, so every request sees either the old weights or the new.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import json
import logging
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

_log = logging.getLogger("penstock.splitter")

MAX_BODY = 16 << 20
_WHOLE = 1 << 20
"""Bodies up to this size are handed over in one piece, which is faster than streaming them."""

# What holds for one connection and not for the message (RFC 9110, section 7.6.1).
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NOT_ADDED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


@dataclass
class Arm:
    """One version behind the front, and what `penstock.rollout.router.ArmCounts` counts of it."""

    version: int
    url: str
    weight: int
    requests: int = 0
    client_errors: int = 0
    server_errors: int = 0
    unreachable: int = 0
    in_flight: int = 0


class _TooLargeError(Exception):
    """The client sent more than is taken."""


class Splitter:
    """Forwards each request to one arm, drawn by weight."""

    def __init__(self, session: aiohttp.ClientSession, *, max_body: int = MAX_BODY) -> None:
        self._session = session
        self._max_body = max_body
        self._arms: tuple[Arm, ...] = ()
        # A draw that spreads load; nothing is kept secret by it.
        self._random = random.Random()  # noqa: S311

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms, in the order of the table."""
        return self._arms

    def replace(self, arms: list[dict[str, Any]]) -> None:
        """Take a new table; an arm that stays keeps its counts."""
        known = {arm.url: arm for arm in self._arms}
        table = []
        for fields in arms:
            arm = known.get(fields["url"]) or Arm(**fields)
            arm.weight = fields["weight"]
            table.append(arm)
        self._arms = tuple(table)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request with what an arm answers to it."""
        arms = self._arms
        weights = [arm.weight for arm in arms]
        if not any(weights):
            return _error(503, "no version is being served")
        if (request.content_length or 0) > self._max_body:
            return self._too_large()
        if not request.raw_path.startswith("/"):
            return _error(400, "the request's target must be a path")
        arm = self._random.choices(arms, weights)[0]
        arm.requests += 1
        arm.in_flight += 1
        try:
            return await self._forward(request, arm)
        finally:
            arm.in_flight -= 1

    async def _forward(self, request: web.BaseRequest, arm: Arm) -> web.StreamResponse:
        headers = _passed_on(request.headers)
        try:
            async with self._session.request(
                request.method,
                URL(arm.url + request.raw_path, encoded=True),
                headers=headers,
                data=await self._body(request),
                allow_redirects=False,
                skip_auto_headers=_NOT_ADDED,
            ) as upstream:
                if upstream.status >= 500:
                    arm.server_errors += 1
                elif upstream.status >= 400:
                    arm.client_errors += 1
                return await _relay(request, upstream)
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            return self._failed(request, arm, error)

    def _failed(self, request: web.BaseRequest, arm: Arm, error: Exception) -> web.Response:
        if isinstance(error.__cause__, _TooLargeError):
            arm.client_errors += 1
            return self._too_large()
        if request.transport is None or request.transport.is_closing():
            # The client went away: nobody reads this, and it is not the version's fault.
            arm.client_errors += 1
            return _error(499, "the client went away")
        _log.warning("version %s failed: %s: %s", arm.version, type(error).__name__, error)
        if isinstance(error, aiohttp.ClientConnectorError):
            arm.unreachable += 1
            return _error(502, f"version {arm.version} cannot be reached")
        arm.server_errors += 1
        return _error(502, f"version {arm.version} did not answer")

    async def _body(self, request: web.BaseRequest) -> bytes | AsyncIterator[bytes] | None:
        if not request.body_exists:
            return None
        if request.content_length is not None and request.content_length <= _WHOLE:
            return await request.content.read() if request.content_length else b""
        return self._stream(request)

    async def _stream(self, request: web.BaseRequest) -> AsyncIterator[bytes]:
        size = 0
        async for block in request.content.iter_any():
            size += len(block)
            if size > self._max_body:
                raise _TooLargeError
            yield block

    def _too_large(self) -> web.Response:
        return _error(413, f"the body is larger than the {self._max_body:,} bytes taken")


class Admin:
    """The port by which the router that started the front steers it."""

    def __init__(self, splitter: Splitter, *, token: str) -> None:
        self._splitter = splitter
        self._expected = f"Bearer {token}"

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer `GET /arms` and `PUT /arms`."""
        given = request.headers.get("authorization", "").encode(errors="surrogateescape")
        if not hmac.compare_digest(given, self._expected.encode()):
            return _error(403, "the token is not right")
        if request.path != "/arms" or request.method not in ("GET", "PUT"):
            return _error(404, "there is GET /arms and PUT /arms")
        if request.method == "PUT":
            self._splitter.replace(json.loads(await request.content.read())["arms"])
        return web.json_response({"arms": [asdict(arm) for arm in self._splitter.arms]})


async def _relay(request: web.BaseRequest, upstream: aiohttp.ClientResponse) -> web.StreamResponse:
    headers = _passed_on(upstream.headers)
    length = upstream.content_length
    if length is not None and length <= _WHOLE and request.method != "HEAD":
        headers.popall("content-length", None)
        return web.Response(status=upstream.status, headers=headers, body=await upstream.read())
    response = web.StreamResponse(status=upstream.status, headers=headers)
    await response.prepare(request)
    async for block in upstream.content.iter_any():
        await response.write(block)
    await response.write_eof()
    return response


def _passed_on(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    named = {name.strip().lower() for name in headers.get("connection", "").split(",")}
    dropped = _HOP_BY_HOP | named
    return CIMultiDict((k, v) for k, v in headers.items() if k.lower() not in dropped)


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)


async def _serve(options: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    # The server closes an idle connection after 65 s. Closing ours well before means that no
    # request is sent into a connection that is being closed.
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=300)
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        splitter = Splitter(session, max_body=options.max_body)
        token = options.token_file.read_text(encoding="utf-8").strip()
        admin = Admin(splitter, token=token)
        runners = [
            await _listen(splitter.handle, options.listen_fd),
            await _listen(admin.handle, options.admin_fd),
        ]
        await stopped.wait()
        for runner in runners:
            await runner.cleanup()


async def _listen(handler: Any, descriptor: int) -> web.ServerRunner:
    server = web.Server(handler, access_log=None, keepalive_timeout=75)
    runner = web.ServerRunner(server, shutdown_timeout=30)
    await runner.setup()
    await web.SockSite(runner, socket.socket(fileno=descriptor), backlog=1024).start()
    return runner


def main(arguments: list[str]) -> int:
    """Run the front until SIGTERM; requests that were accepted are answered first."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    parser = argparse.ArgumentParser(prog="python -m penstock.rollout.routers.splitter")
    parser.add_argument("--listen-fd", type=int, required=True, help="bound public socket")
    parser.add_argument("--admin-fd", type=int, required=True, help="bound socket for steering")
    parser.add_argument("--token-file", type=Path, required=True, help="what admin calls show")
    parser.add_argument("--max-body", type=int, default=MAX_BODY, help="bytes in a request")
    uvloop.run(_serve(parser.parse_args(arguments)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
