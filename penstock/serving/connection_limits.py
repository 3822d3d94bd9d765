"""Limits of a server's connections: how many there are, and how long a client may take.

A client may hold a connection, and what its request and its answer take, only as long as it gets
on. The model server and the proxy of a rollout both keep to these limits.
"""

from __future__ import annotations

import asyncio
import json
import time
from http import HTTPStatus

HEAD_SECONDS = 15.0
"""How long the head of a request may take to come."""

HEAD_BYTES = 64 << 10
"""How large it may be."""

TOO_MANY = "too many connections; try again later"
"""The message of a connection that is refused."""

SETTLED = 5.0
"""Seconds without a request after which a connection gives way to a new one."""


class ConnectionTimer:
    """The time limits of one connection.

    Args:
        loop: The event loop.
        transport: The connection.
        body_seconds: How long a body may take to come, and an answer to be taken.
        head_seconds: How long the head of a request may take to come, if that is less.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        *,
        body_seconds: float,
        head_seconds: float = HEAD_SECONDS,
    ) -> None:
        self.idle_since: float | None = time.monotonic()
        self._loop = loop
        self._transport = transport
        self._body_seconds = body_seconds
        self._head_seconds = min(head_seconds, body_seconds)
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self.head_begins()

    def head_begins(self) -> None:
        """The first byte of a request is awaited, on a new connection, or has come."""
        self._read_within(self._head_seconds)

    def head_goes_on(self) -> None:
        """Some of a head has come; the first time counts."""
        if self._reading is None:
            self.head_begins()

    def request_begins(self) -> None:
        """The head is there, and whoever answers keeps the time of the body."""
        self.idle_since = None
        self._cancel_reading()

    def body_begins(self) -> None:
        """The head is there."""
        self.idle_since = None
        # The handler comes first where a body is late: it sends its own error.
        self._read_within(self._body_seconds + 1)

    def request_ends(self) -> None:
        """All of the request is there."""
        self._cancel_reading()

    def answer_ends(self) -> None:
        """All of the answer is written, though not yet taken."""
        self.idle_since = time.monotonic()

    def pause_writing(self) -> None:
        """The client does not take what it is sent."""
        if self._writing is None:
            self._writing = self._loop.call_later(self._body_seconds, self._transport.abort)

    def resume_writing(self) -> None:
        """It does again."""
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def end(self) -> None:
        """The connection is gone."""
        self._cancel_reading()
        self.resume_writing()

    def give_way(self) -> None:
        """End the connection, on which nothing is under way."""
        self._transport.abort()

    def _read_within(self, seconds: float) -> None:
        self._cancel_reading()
        self._reading = self._loop.call_later(seconds, self._transport.abort)

    def _cancel_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None


class Connections:
    """All connections of a server.

    Args:
        limit: How many there may be.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._timers: dict[ConnectionTimer, None] = {}

    def admit(self, timer: ConnectionTimer) -> bool:
        """Take a new connection in; return whether there is room for it.

        Where there is none, the connection that has been without a request longest gives way, if
        that is five seconds or more: else a few clients that hold theirs would keep all others out.
        """
        if len(self._timers) >= self._limit and not self._make_room():
            return False
        self._timers[timer] = None
        return True

    def remove(self, timer: ConnectionTimer) -> None:
        """Forget a connection."""
        self._timers.pop(timer, None)
        timer.end()

    def _make_room(self) -> bool:
        idle = [timer for timer in self._timers if timer.idle_since is not None]
        oldest = min(idle, key=lambda timer: timer.idle_since or 0.0, default=None)
        if oldest is None or time.monotonic() - (oldest.idle_since or 0.0) < SETTLED:
            return False
        self.remove(oldest)
        oldest.give_way()
        return True


def refusal(status: HTTPStatus, message: str) -> bytes:
    """Return a whole response of HTTP/1.1 that refuses a connection, which ends after it."""
    body = json.dumps({"error": message}).encode()
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "retry-after: 2",
        "connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def raise_file_limit() -> None:
    """Let this process have as many connections as the system's hard limit allows."""
    try:
        import resource
    except ImportError:
        # Only Unix has it.
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = 16_384 if hard == resource.RLIM_INFINITY else min(hard, 16_384)
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
