"""One HTTP/1.1 connection to a version.

A client of our own, because it notes the time when bytes arrive, before the event loop resumes the
task that waits for them: else the version whose response is relayed first would look faster than
the other one that got the request at the same moment. It also makes the proxy cheap.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import cast

import httptools
from multidict import CIMultiDict

WHOLE = 1 << 20
"""Bodies up to this size are handed over in one piece, which is faster than streaming them."""

_READ_TIMEOUT = 300.0


class BrokenError(Exception):
    """The connection broke, or no answer came in time."""


class Connection(asyncio.Protocol):
    """Sends one request at a time.

    After `send` has returned, these describe the answer.

    Attributes:
        status: Its status.
        headers: Its headers.
        whole: Its body, or None where it is to be read with `blocks`.
        received: When its last byte came that was waited for, by `time.perf_counter`.
        reusable: Whether another request may be sent once it has ended.
        idle_since: When the last one ended.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: CIMultiDict[str] = CIMultiDict()
        self.whole: bytes | None = None
        self.received = 0.0
        self.reusable = False
        self.idle_since = 0.0
        self._parser: httptools.HttpResponseParser | None = None
        self._blocks: deque[bytes] = deque()
        self._size = 0
        self._streamed = self._bodiless = self._ended = False
        self._problem: BrokenError | None = None
        self._changed: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    async def send(self, head: bytes, body: AsyncIterator[bytes] | None, *, bodiless: bool) -> None:
        """Send a request; return when its answer is here, or the beginning of a large one.

        Args:
            head: The request's head, with the body where that is whole.
            body: The blocks of a body that is streamed, framed as the head says.
            bodiless: Whether the answer has no body whatever its head says, as to HEAD.

        Raises:
            BrokenError: If the connection breaks, or nothing comes for five minutes.
        """
        self._begin(bodiless)
        self._transport.write(head)
        sending = asyncio.ensure_future(self._send_body(body)) if body else None
        if sending:
            sending.add_done_callback(lambda _: self._wake())
        try:
            while not (self._ended or self._streamed):
                await self._change()
                if sending and sending.done():
                    sending.result()
        finally:
            # An answer that comes before the request was all sent ends the connection after it.
            if sending and not sending.done():
                sending.cancel()
                self.reusable = False
        if not self._streamed:
            self.whole = b"".join(self._blocks)
            self._blocks.clear()

    async def blocks(self) -> AsyncIterator[bytes]:
        """Yield the blocks of an answer that was not whole when `send` returned.

        Raises:
            BrokenError: As `send` does.
        """
        while True:
            while self._blocks:
                block = self._blocks.popleft()
                self._size -= len(block)
                yield block
            self._transport.resume_reading()
            if self._ended:
                return
            await self._change()

    def close(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    @property
    def closed(self) -> bool:
        """Whether no request can be sent any more."""
        return self._problem is not None or self._transport.is_closing()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        self.received = time.perf_counter()
        if self._parser is None or self._ended:
            self._break("it sent data without a request")
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._break(f"its response is not valid HTTP: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        """Fail whoever waits, unless the end of the connection is that of the answer."""
        until_close = self.status and not self._sized
        if error is None and until_close and not self._ended:
            self.on_message_complete()
        self._break("it closed the connection")

    def pause_writing(self) -> None:
        """Hold back the rest of a large request."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Go on with it."""
        self._writable.set()

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header."""
        self.headers.add(_text(name), _text(value))

    def on_headers_complete(self) -> None:
        """Decide whether the body is waited for."""
        assert self._parser is not None
        status = self._parser.get_status_code()
        if status < 200:
            return
        self.status = status
        self.reusable = self._parser.should_keep_alive() and not self._bodiless
        length = self.headers.get("content-length", "")
        if self._bodiless:
            self.on_message_complete()
        elif not (length.isdecimal() and int(length) <= WHOLE) and status not in (204, 304):
            self._streamed = True
            self._wake()

    def on_body(self, block: bytes) -> None:
        """Keep a block."""
        self._blocks.append(block)
        self._size += len(block)
        if self._streamed:
            if self._size > WHOLE:
                self._transport.pause_reading()
            self._wake()

    def on_message_complete(self) -> None:
        """Note the end of the answer."""
        if self.status == 0:
            # 100 Continue and its like: the answer is yet to come.
            self.headers = CIMultiDict()
            return
        self._ended = True
        self._wake()

    @property
    def _sized(self) -> bool:
        return "content-length" in self.headers or "transfer-encoding" in self.headers

    def _begin(self, bodiless: bool) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.status, self.headers, self.whole = 0, CIMultiDict(), None
        self._blocks.clear()
        self._size = 0
        self._streamed, self._bodiless, self._ended = False, bodiless, False
        self.reusable = False

    async def _send_body(self, body: AsyncIterator[bytes]) -> None:
        async for block in body:
            await self._writable.wait()
            self._transport.write(block)

    async def _change(self) -> None:
        """Return when something came; raise what went wrong."""
        if self._problem:
            raise self._problem
        loop = asyncio.get_running_loop()
        self._changed = loop.create_future()
        silent = loop.call_later(_READ_TIMEOUT, self._break, f"no data for {_READ_TIMEOUT:g} s")
        try:
            await self._changed
        finally:
            silent.cancel()
            self._changed = None
        if self._problem and not self._ended:
            raise self._problem

    def _wake(self) -> None:
        if self._changed and not self._changed.done():
            self._changed.set_result(None)

    def _break(self, reason: str) -> None:
        self._problem = self._problem or BrokenError(reason)
        self._writable.set()
        self._transport.abort()
        self._wake()


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
