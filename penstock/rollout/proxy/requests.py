"""Reading a request: what is rejected at once, and what a version gets of the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote

from aiohttp import HttpVersion10, HttpVersion11, web
from multidict import CIMultiDict, MultiMapping

from penstock.rollout.proxy.upstream import ClientGoneError, TooLargeError, TooSlowError
from penstock.rollout.proxy.upstream_connection import WHOLE
from penstock.serving.request_body import Share
from penstock.serving.request_headers import (
    MIRROR,
    REPLAY,
    REQUEST_ID,
    ROLLOUT,
    RolloutKey,
    digest_of,
    new_request_id,
    request_id_of,
)

_CONTINUE = "100-continue"


# What holds for one connection and not for the message (RFC 9110, section 7.6.1), and `expect`,
# which the proxy answers itself.
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "expect",
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

Kind = Literal["predict", "feedback", "other"]


@dataclass(frozen=True)
class Limits:
    """Limits of requests and connections.

    Attributes:
        body: Bytes in one request's body.
        bodies: Bytes of the bodies that are held, of all requests under way, beyond 64 KiB each.
        seconds: How long a body may take to come, and an answer to be taken.
        connections: Connections at a time.
    """

    body: int = 16 << 20
    bodies: int = 128 << 20
    seconds: float = 60.0
    connections: int = 1000


@dataclass
class ProxyRequest:
    """A request as it goes to an arm.

    Attributes:
        method: Its method.
        target: Path and query.
        kind: `predict` is evidence, `feedback` goes to every arm, `other` is only passed on.
        headers: Its headers; of the rollout's own headers only genuine ones are in them.
        body: The body, whole; None: there is none, or it is streamed.
        stream: The rest of the client's connection, where the body is too large to be kept.
    """

    method: str
    target: str
    kind: Kind
    headers: CIMultiDict[str]
    body: bytes | None = None
    stream: AsyncIterator[bytes] | None = None

    @property
    def path(self) -> str:
        """The path as an arm reads it."""
        return path_of(self.target)

    @property
    def replayed(self) -> bool:
        """Whether a rollout sent it, not a user."""
        return REPLAY in self.headers

    @property
    def request_id(self) -> str:
        """What joins it with its label later, and with its copy."""
        return self.headers[REQUEST_ID]


@dataclass
class RequestReader:
    """Reads requests.

    Attributes:
        key: The value of the headers of the rollout's own requests.
        limits: Limits of requests and connections.
    """

    key: str
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self._rollout_key = RolloutKey(digest_of(self.key))

    def refusal(self, request: web.BaseRequest) -> web.Response | None:
        """Return the answer to what is not to be passed on, before its body is read."""
        headers = request.headers
        if (request.content_length or 0) > self.limits.body:
            return self.too_large()
        if not request.raw_path.startswith("/"):
            return error(400, "the request's target must be a path")
        if request.version not in (HttpVersion10, HttpVersion11):
            return closing(error(505, "only HTTP/1.0 and HTTP/1.1 are supported"))
        codings = ",".join(headers.getall("transfer-encoding", ())).strip().lower()
        if codings not in ("", "chunked"):
            # What its framing is to an arm must not depend on who reads the header.
            return closing(error(501, "the only transfer coding supported is chunked"))
        if headers.get("expect", _CONTINUE).lower() != _CONTINUE:
            return error(417, f"the only expectation supported is {_CONTINUE}")
        return None

    async def read(self, request: web.BaseRequest, share: Share) -> ProxyRequest:
        """Return a request, its body whole if it is small, else yet to be read.

        Raises:
            TooLargeError: If it is larger than is taken; as while the rest is read.
            TooSlowError: If it does not come in time; likewise.
            ClientGoneError: If the client leaves; likewise.
            RequestError: If other requests take all memory there is.
        """
        incoming = ProxyRequest(
            request.method, request.raw_path, _kind(request), self._headers(request)
        )
        if not request.body_exists:
            return incoming
        if "expect" in request.headers and request.version >= HttpVersion11:
            # Else it waits a while before it sends the body.
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        blocks = self._blocks(request)
        if request.content_length is not None and request.content_length <= WHOLE:
            incoming.body = await whole(blocks, share)
        else:
            incoming.stream = blocks
        return incoming

    def _headers(self, request: web.BaseRequest) -> CIMultiDict[str]:
        """Return the headers that an arm gets: with an id, without forged rollout headers."""
        headers = passed_on(request.headers)
        for name in ROLLOUT:
            values = headers.popall(name, ())
            if name != MIRROR and any(self._rollout_key.matches(_raw(value)) for value in values):
                headers[name] = self.key
        given = headers.popall(REQUEST_ID, ("",))[0]
        headers[REQUEST_ID] = request_id_of(_raw(given)) or new_request_id()
        return headers

    async def _blocks(self, request: web.BaseRequest) -> AsyncIterator[bytes]:
        size = 0
        deadline = asyncio.get_running_loop().time() + self.limits.seconds
        try:
            while True:
                async with asyncio.timeout_at(deadline):
                    block = await request.content.readany()
                if not block:
                    return
                size += len(block)
                if size > self.limits.body:
                    raise TooLargeError
                yield block
        except TimeoutError as late:
            raise TooSlowError from late
        except (ConnectionError, web.RequestPayloadError) as gone:
            raise ClientGoneError from gone

    def too_large(self, limit: int | None = None) -> web.Response:
        """Return the response to a body that is larger than the limit."""
        most = limit or self.limits.body
        return error(413, f"the body is larger than the limit of {most:,} bytes")


def error(
    status: int, message: str, *, headers: Sequence[tuple[bytes, bytes]] = ()
) -> web.Response:
    """Return a response of the proxy's own."""
    named = {name.decode(): value.decode() for name, value in headers}
    return web.json_response({"error": message}, status=status, headers=named)


def passed_on(headers: MultiMapping[str]) -> CIMultiDict[str]:
    """Return the headers that belong to the message and not to one connection."""
    listed = ",".join(headers.getall("connection", ()))
    named = {name.strip().lower() for name in listed.split(",")}
    dropped = _HOP_BY_HOP | named
    return CIMultiDict((k, v) for k, v in headers.items() if k.lower() not in dropped)


def closing(response: web.Response) -> web.Response:
    """Have the connection end after a response: nobody knows what the bytes that follow are."""
    response.force_close()
    return response


async def whole(blocks: AsyncIterator[bytes], share: Share) -> bytes:
    """Return a body that comes in blocks, within a share of the memory there is."""
    kept, size = [], 0
    async for block in blocks:
        size += len(block)
        share.grow_to(size)
        kept.append(block)
    return kept[0] if len(kept) == 1 else b"".join(kept)


def path_of(target: str) -> str:
    """Return the path in a request's target, as an arm reads it: without escapes and query."""
    return unquote(target.partition("?")[0].partition("#")[0])


def _raw(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


def _kind(request: web.BaseRequest) -> Kind:
    if request.method != "POST":
        return "other"
    path = path_of(request.raw_path)
    if path.endswith((":predict", "/infer", "/invocations")):
        return "predict"
    return "feedback" if path.endswith(":feedback") else "other"
