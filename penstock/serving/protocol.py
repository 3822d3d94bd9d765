"""Uvicorn's HTTP protocol, within bounds."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from penstock.serving.connections import HEAD_BYTES, TOO_MANY, Bound, Connections, refusal
from penstock.serving.service import Limits


def bounded(limits: Limits) -> type[asyncio.Protocol]:
    """Return the protocol class of one server."""
    all_of_them: list[Connections] = []

    def connections() -> Connections:
        if not all_of_them:
            loop = asyncio.get_running_loop()
            all_of_them.append(Connections(limits.connections, now=loop.time))
        return all_of_them[0]

    class Bounded(HttpToolsProtocol):
        """One connection."""

        bound: Bound | None = None
        _head: int = 0
        _in_head: bool = True

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            """Take a connection, or refuse it."""
            bound = Bound(self.loop, transport, body_seconds=limits.seconds)
            if not connections().enter(bound):
                bound.end()
                transport.write(refusal(HTTPStatus.SERVICE_UNAVAILABLE, TOO_MANY))
                transport.close()
                return
            self.bound = bound
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            """Forget it."""
            if self.bound is not None:
                connections().leave(self.bound)
                super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            """Parse what came."""
            if self.bound is None or self.transport.is_closing():
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
            if self.bound is not None:
                self.bound.head_begins()
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            """Begin to wait for a body."""
            self._in_head = False
            if self.bound is not None:
                self.bound.body_begins()
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            """Note that a request is whole."""
            self._in_head, self._head = True, 0
            if self.bound is not None:
                self.bound.request_ends()
            super().on_message_complete()

        def on_response_complete(self) -> None:
            """Note that it is answered."""
            if self.bound is not None and not self.pipeline:
                self.bound.answer_ends()
            super().on_response_complete()

        def pause_writing(self) -> None:
            """Give the client a while to take what it is sent."""
            if self.bound is not None:
                self.bound.pause_writing()
            super().pause_writing()

        def resume_writing(self) -> None:
            """Go on."""
            if self.bound is not None:
                self.bound.resume_writing()
            super().resume_writing()

    return Bounded
