"""Where events come in over HTTP. A request is answered with 202 once its events are on disk."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from penstock.errors import PenstockError
from penstock.serving import request_body
from penstock.serving.asgi import Receive, Scope, Send, lifespan
from penstock.serving.request_body import Budget
from penstock.serving.request_errors import RequestError, show
from penstock.serving.service import Limits
from penstock.triggers.events import Event, events_of

if TYPE_CHECKING:
    from penstock.triggers.store import Taken

LIMITS = Limits(body=1 << 20, bodies=16 << 20, seconds=30.0, connections=200)
"""How much senders may ask for: 1 MiB a request, of the largest batch too."""

_JSON = [(b"content-type", b"application/json")]
_TEXT = [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")]
_SCHEME = b"bearer "
_SHOWN = 10
"""Refusals that an answer quotes."""


@dataclass(frozen=True)
class Access:
    """Who may send events.

    Attributes:
        token: What a sender must show; empty: nothing, for only this machine reaches the address.
    """

    token: str = ""

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Return if events with these headers are taken.

        Raises:
            RequestError: 401 where the token is missing or wrong; 403 where a web page sends them.
        """
        if not self.token:
            # A page that this machine's browser shows reaches loopback too.
            if b"origin" in headers:
                raise RequestError(
                    "a web page may not send events here; set trigger.token", status=403
                )
            return
        given = headers.get(b"authorization", b"")
        shown = given[len(_SCHEME) :].strip() if given.lower().startswith(_SCHEME) else b""
        if not hmac.compare_digest(shown, self.token.encode()):
            raise RequestError(
                "events need the header `authorization: Bearer TOKEN`, with the token of "
                "trigger.token",
                status=401,
                headers=[(b"www-authenticate", b"Bearer")],
            )


class Endpoint:
    """Takes events.

    Args:
        take: Writes events down; what it returns is on disk.
        access: Who may send them.
        types: Those that are taken; empty: every type.
        figures: Returns the figures in Prometheus' text format.
        refused: Gets how many events, or requests without any, were turned away.
    """

    def __init__(
        self,
        take: Callable[[Sequence[Event]], Taken],
        *,
        access: Access,
        types: Collection[str],
        figures: Callable[[], str],
        refused: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._write = take
        self._refused = refused
        self._access = access
        self._types = frozenset(types)
        self._figures = figures
        self._budget = Budget(LIMITS.bodies)
        self._ready = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection's event stream, as ASGI has it."""
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        headers = dict(scope["headers"])
        content: Sequence[tuple[bytes, bytes]] = _JSON
        try:
            if scope["method"] == "POST":
                status, answer = await self._take(headers, receive)
            elif scope["method"] in ("GET", "HEAD"):
                status, answer, content = await self._read(scope["path"])
            else:
                raise RequestError(
                    "send events by POST", status=405, headers=[(b"allow", b"GET, HEAD, POST")]
                )
        except RequestError as error:
            if scope["method"] == "POST":
                self._refused(1)
            status, answer = error.status, orjson.dumps({"error": error.message})
            content = [*_JSON, *error.headers]
        except PenstockError as error:
            # It was not written down, so it is not taken: the sender has it still.
            status, answer = 503, orjson.dumps({"error": str(error)})
            content = [*_JSON, (b"retry-after", b"10")]
        sent = [*content, (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": status, "headers": sent})
        await send(
            {"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer}
        )

    def drain(self) -> None:
        """Be ready no more."""
        self._ready = False

    async def _take(self, headers: Mapping[bytes, bytes], receive: Receive) -> tuple[int, bytes]:
        self._access.check(headers)
        with self._budget.share() as share:
            body = await request_body.receive(
                headers, receive, share, limit=LIMITS.body, seconds=LIMITS.seconds
            )
            if request_body.encoding_of(headers):
                body = request_body.decompressed(body, limit=LIMITS.body)
            found = [self._subscribed(each) for each in events_of(headers, body)]
        good = [each for each in found if isinstance(each, Event)]
        bad = [each for each in found if isinstance(each, RequestError)]
        # What is good is taken, whatever it comes with: a sender that does not try again loses
        # nothing, and one that does sends what is known.
        taken = await asyncio.to_thread(self._write, good) if good else None
        if bad:
            self._refused(len(bad))
        answer = {
            "taken": taken.new if taken else 0,
            "known": taken.known if taken else 0,
            "refused": [each.message for each in bad[:_SHOWN]],
        }
        return (bad[0].status if bad else 202), orjson.dumps(answer)

    def _subscribed(self, event: Event | RequestError) -> Event | RequestError:
        if isinstance(event, RequestError) or not self._types or event.type in self._types:
            return event
        known = ", ".join(sorted(self._types))
        return RequestError(
            f"no release is subscribed to events of the type {show(event.type)}; trigger.types "
            f"has {known:.500}",
            status=422,
        )

    async def _read(self, path: str) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        if path == "/metrics":
            return 200, (await asyncio.to_thread(self._figures)).encode(), _TEXT
        return (200 if self._ready else 503), orjson.dumps({"ready": self._ready}), _JSON
