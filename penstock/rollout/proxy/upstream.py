"""Sending a request to one version, and its response."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from multidict import CIMultiDict

from penstock.rollout.proxy.upstream_connection import BrokenError, Connection

Address = tuple[str, int]
"""Host and port."""

LOOPBACK = "127.0.0.1"

_CONNECT_TIMEOUT = 5.0

_IDLE = 30.0
"""Seconds a connection is kept. The server closes an idle one after 65: closing ours well before
means that no request is sent into a connection that is being closed."""


class UnreachableError(Exception):
    """No connection came about, so nothing of the request was processed."""


class NoAnswerError(Exception):
    """The connection broke, or no answer came in time."""


class TooLargeError(Exception):
    """The request is larger than the limit."""


class ClientGoneError(Exception):
    """The client closed the connection before it had sent all of its request."""


class TooSlowError(ClientGoneError):
    """The client takes too long to send its request."""


@dataclass
class Reply:
    """An answer.

    Attributes:
        status: Its status.
        headers: All of its headers.
        seconds: From sending the request to having the body, or its beginning where it is streamed.
        body: The body, or None where it is to be streamed from `rest`.
        rest: The blocks of a body that is still being received; it must be read to its end.
    """

    status: int
    headers: CIMultiDict[str]
    seconds: float
    body: bytes | None
    rest: AsyncIterator[bytes] | None = None


class Upstream:
    """Connections to the arms, kept between requests."""

    def __init__(self) -> None:
        self._idle: dict[Address, list[Connection]] = {}

    async def ask(
        self,
        address: Address,
        method: str,
        target: str,
        headers: CIMultiDict[str],
        body: bytes | None = None,
        stream: AsyncIterator[bytes] | None = None,
    ) -> Reply:
        """Send one request to an address; return the answer.

        Raises:
            UnreachableError: If no connection came about; nothing was read from `stream` then.
            NoAnswerError: If no whole answer came.
            TooLargeError: If `stream` raised it; ClientGoneError likewise.
        """
        head = _head(method, target, headers, body, chunked=_chunked(headers, stream))
        if stream is not None and _chunked(headers, stream):
            stream = _framed(stream)
        connection = self._kept(address) or await _connect(address)
        # Only now: whether a connection was there says nothing of the version.
        started = time.perf_counter()
        try:
            await connection.send(head + (body or b""), stream, bodiless=method == "HEAD")
        except BrokenError as error:
            raise NoAnswerError(str(error)) from error
        except BaseException:
            connection.close()
            raise
        seconds = connection.received - started
        reply = Reply(connection.status, connection.headers, seconds, connection.whole)
        if reply.body is None:
            reply.rest = self._rest(address, connection)
        else:
            self._keep(address, connection)
        return reply

    def close(self) -> None:
        """Close all idle connections."""
        for connections in self._idle.values():
            for connection in connections:
                connection.close()

    async def _rest(self, address: Address, connection: Connection) -> AsyncIterator[bytes]:
        try:
            async for block in connection.blocks():
                yield block
        except BrokenError as error:
            raise NoAnswerError(str(error)) from error
        except BaseException:
            connection.close()
            raise
        self._keep(address, connection)

    def _kept(self, address: Address) -> Connection | None:
        idle = self._idle.get(address, [])
        while idle:
            connection = idle.pop()
            if not connection.closed and time.perf_counter() - connection.idle_since < _IDLE:
                return connection
            connection.close()
        return None

    def _keep(self, address: Address, connection: Connection) -> None:
        if connection.reusable and not connection.closed:
            connection.idle_since = time.perf_counter()
            self._forget_old()
            self._idle.setdefault(address, []).append(connection)
        else:
            connection.close()

    def _forget_old(self) -> None:
        """Close what was not used for long: connections of a burst, or to a dead server."""
        now = time.perf_counter()
        for address, kept in list(self._idle.items()):
            # The oldest is first, and the newest is taken first.
            while kept and (kept[0].closed or now - kept[0].idle_since >= _IDLE):
                kept.pop(0).close()
            if not kept:
                del self._idle[address]


async def _connect(address: Address) -> Connection:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            _, connection = await loop.create_connection(Connection, *address)
    except OSError as error:
        # TimeoutError is one too.
        raise UnreachableError(str(error) or "the connection timed out") from error
    return connection


def _head(
    method: str, target: str, headers: CIMultiDict[str], body: bytes | None, *, chunked: bool
) -> bytes:
    lines = [f"{method} {target} HTTP/1.1"]
    if "host" not in headers:
        lines.append("host: localhost")
    for name, value in headers.items():
        if body is None or name.lower() != "content-length":
            lines.append(f"{name}: {value}")
    if body is not None:
        lines.append(f"content-length: {len(body)}")
    elif chunked:
        lines.append("transfer-encoding: chunked")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")


def _chunked(headers: CIMultiDict[str], stream: AsyncIterator[bytes] | None) -> bool:
    return stream is not None and "content-length" not in headers


async def _framed(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for block in stream:
        yield b"%x\r\n%s\r\n" % (len(block), block)
    yield b"0\r\n\r\n"
