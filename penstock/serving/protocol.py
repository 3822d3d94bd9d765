"""Uvicorn's HTTP protocol, within bounds."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from penstock.serving.connections import HEAD_BYTES, TOO_MANY, Bound, Connections, refusal


class Bounded(HttpToolsProtocol):
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
        self._bound: Bound | None = None
        self._head = 0
        self._in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or refuse it."""
        bound = Bound(self.loop, transport, body_seconds=self._seconds)
        if not self._all.enter(bound):
            bound.end()
            transport.write(refusal(HTTPStatus.SERVICE_UNAVAILABLE, TOO_MANY))
            transport.close()
            return
        self._bound = bound
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        if self._bound is not None:
            self._all.leave(self._bound)
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._bound is None or self.transport.is_closing():
            return
        self._head += len(data) if self._in_head else 0
        super().data_received(data)
        if self._in_head and self._head > HEAD_BYTES and not self.transport.is_closing():
            too_large = f"the head is larger than the {HEAD_BYTES:,} bytes taken"
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            self.transport.write(refusal(status, too_large))
            self.transport.close()

    def on_message_begin(self) -> None:
        """Begin to wait for a head."""
        self._in_head, self._head = True, 0
        self._its_bound.head_begins()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin to wait for a body."""
        self._in_head = False
        self._its_bound.body_begins()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that a request is whole."""
        self._in_head, self._head = True, 0
        self._its_bound.request_ends()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Note that it is answered."""
        if not self.pipeline:
            self._its_bound.answer_ends()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Give the client a while to take what it is sent."""
        self._its_bound.pause_writing()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Go on."""
        self._its_bound.resume_writing()
        super().resume_writing()

    @property
    def _its_bound(self) -> Bound:
        assert self._bound is not None, "a connection that was refused is not read"
        return self._bound
