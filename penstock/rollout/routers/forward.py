"""Answering a request with what an arm answers to it."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from aiohttp import web
from multidict import CIMultiDict

from penstock.rollout.routers import feedback
from penstock.rollout.routers.connection import WHOLE
from penstock.rollout.routers.copies import Copies
from penstock.rollout.routers.table import Arm, Table
from penstock.rollout.routers.tally import Outcome, Pair
from penstock.rollout.routers.upstream import (
    ClientGoneError,
    NoAnswerError,
    Reply,
    TooLargeError,
    UnreachableError,
    Upstream,
    outcome_of,
)
from penstock.serving import payload
from penstock.serving.mistakes import RequestError

_log = logging.getLogger("penstock.splitter")

MAX_BODY = 16 << 20

REQUEST_ID = "x-request-id"
REPLAY = "x-penstock-replay"
MIRROR = "x-penstock-mirror"

# What holds for one connection and not for the message (RFC 9110, section 7.6.1), and `expect`,
# which the front answers itself.
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


@dataclass
class Asked:
    """A request as it goes to an arm.

    Attributes:
        method: Its method.
        target: Path and query.
        kind: `predict` is evidence, `feedback` goes to every arm, `other` is only passed on.
        headers: Its headers.
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
    def replayed(self) -> bool:
        """Whether a rollout sent it, not a user."""
        return REPLAY in self.headers

    @property
    def request_id(self) -> str:
        """What joins it with its label later, and with its copy."""
        return self.headers[REQUEST_ID]


@dataclass
class Splitter:
    """Sends each request to the arm that its table chooses, and counts what comes of it.

    Only predictions are counted: other requests say nothing of how good a version is.
    """

    upstream: Upstream
    max_body: int = MAX_BODY
    table: Table = field(default_factory=Table)
    copies: Copies = field(init=False)

    def __post_init__(self) -> None:
        self.copies = Copies(self.upstream)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        if (request.content_length or 0) > self.max_body:
            return self._too_large()
        if not request.raw_path.startswith("/"):
            return error(400, "the request's target must be a path")
        try:
            asked = await self._read(request)
            if asked.kind == "feedback":
                return await self._feedback(request, asked)
            return await self._answer(request, asked)
        except TooLargeError:
            return self._too_large()
        except ClientGoneError:
            # Nobody reads this, and it is no version's fault.
            return error(499, "the client went away")

    async def _answer(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        # Read only now: a slow upload must not be sent by a table that is long past.
        table = self.table
        named = table.named(asked.target.partition("?")[0])
        arm = named or table.choose(request.headers)
        if arm is None:
            return error(503, "no version is being served")
        pair = self._copy(asked, arm, table) if asked.kind == "predict" and not named else None
        try:
            try:
                reply = await self._ask(asked, arm, table, pair)
            except UnreachableError:
                other = table.instead_of(arm)
                if other is None or named:
                    raise
                # Nothing of it was processed, so it may be asked again.
                arm = other
                reply = await self._ask(asked, arm, table, None)
        except UnreachableError:
            return _unanswered(asked, f"version {arm.version} cannot be reached")
        except NoAnswerError:
            return _unanswered(asked, f"version {arm.version} did not answer")
        return await _relay(request, reply)

    async def _ask(self, asked: Asked, arm: Arm, table: Table, pair: Pair | None) -> Reply:
        """Ask one arm and count what comes of it."""
        arm.in_flight += 1
        outcome = Outcome(0, replayed=asked.replayed)
        try:
            reply = await self.upstream.ask(
                arm.port, asked.method, asked.target, asked.headers, asked.body, asked.stream
            )
            outcome = outcome_of(reply, replayed=asked.replayed)
        except UnreachableError as failure:
            outcome.unreachable = True
            _log.warning("version %s cannot be reached: %s", arm.version, failure)
            raise
        except NoAnswerError as failure:
            _log.warning("version %s did not answer: %s", arm.version, failure)
            raise
        except (TooLargeError, ClientGoneError):
            outcome.status = 499
            raise
        finally:
            arm.in_flight -= 1
            if asked.kind == "predict":
                # Later, because reading the answer for its scores must not delay the client.
                asyncio.get_running_loop().call_soon(_count, arm, table, outcome, pair)
        return reply

    def _copy(self, asked: Asked, arm: Arm, table: Table) -> Pair | None:
        if not table.mirrored(arm):
            return None
        if asked.stream is not None:
            table.pairs.dropped += 1
            return None
        headers = asked.headers.copy()
        headers[MIRROR] = "1"
        pair = Pair(table.pairs, table.edges, asked.request_id)
        sent = self.copies.send(
            table.arms["candidate"],
            pair,
            target=asked.target,
            headers=headers,
            body=asked.body or b"",
            replayed=asked.replayed,
        )
        return pair if sent else None

    async def _feedback(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        if asked.stream is not None:
            asked.body, asked.stream = b"".join([block async for block in asked.stream]), None
        headers, body = self._readable(asked)
        answer = await feedback.fan_out(self.upstream, self.table, asked.target, headers, body)
        if answer is None:
            return await self._answer(request, asked)
        named = {REQUEST_ID: asked.request_id}
        return web.Response(body=answer, content_type="application/json", headers=named)

    def _readable(self, asked: Asked) -> tuple[CIMultiDict[str], bytes]:
        """Return a request's body as it was before it was compressed, and the headers of that."""
        body, headers = asked.body or b"", asked.headers
        encoding = headers.get("content-encoding", "").encode("utf-8", "surrogateescape")
        try:
            if payload.encoding_of({b"content-encoding": encoding}):
                body = payload.decompressed(body, limit=self.max_body)
                headers = headers.copy()
                headers.popall("content-encoding")
        except RequestError:
            # The arm says what is wrong with it.
            pass
        return headers, body

    async def _read(self, request: web.BaseRequest) -> Asked:
        headers = passed_on(request.headers)
        headers.popall(MIRROR, None)
        headers.setdefault(REQUEST_ID, uuid.uuid4().hex)
        asked = Asked(request.method, request.raw_path, _kind(request), headers)
        if not request.body_exists:
            return asked
        if request.headers.get("expect", "").lower() == "100-continue":
            # Else it waits a while before it sends the body.
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        if request.content_length is not None and request.content_length <= WHOLE:
            blocks = [block async for block in self._blocks(request)]
            asked.body = blocks[0] if len(blocks) == 1 else b"".join(blocks)
        else:
            asked.stream = self._blocks(request)
        return asked

    async def _blocks(self, request: web.BaseRequest) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for block in request.content.iter_any():
                size += len(block)
                if size > self.max_body:
                    raise TooLargeError
                yield block
        except (ConnectionError, web.RequestPayloadError) as gone:
            raise ClientGoneError from gone

    def _too_large(self) -> web.Response:
        return error(413, f"the body is larger than the {self.max_body:,} bytes taken")


def error(status: int, message: str) -> web.Response:
    """Return an answer of the front's own."""
    return web.json_response({"error": message}, status=status)


def passed_on(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """Return the headers that belong to the message and not to one connection."""
    named = {name.strip().lower() for name in headers.get("connection", "").split(",")}
    dropped = _HOP_BY_HOP | named
    return CIMultiDict((k, v) for k, v in headers.items() if k.lower() not in dropped)


async def _relay(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    headers = passed_on(reply.headers)
    if reply.rest is None:
        headers.popall("content-length", None)
        return web.Response(status=reply.status, headers=headers, body=reply.body)
    response = web.StreamResponse(status=reply.status, headers=headers)
    await response.prepare(request)
    async for block in reply.rest:
        await response.write(block)
    await response.write_eof()
    return response


def _count(arm: Arm, table: Table, outcome: Outcome, pair: Pair | None) -> None:
    arm.tally.add(outcome, edges=table.edges)
    if pair:
        pair.ended(stable=outcome)


def _unanswered(asked: Asked, message: str) -> web.Response:
    response = error(502, message)
    response.headers[REQUEST_ID] = asked.request_id
    return response


def _kind(request: web.BaseRequest) -> Kind:
    if request.method != "POST":
        return "other"
    path = request.raw_path.partition("?")[0]
    if path.endswith((":predict", "/infer", "/invocations")):
        return "predict"
    return "feedback" if path.endswith(":feedback") else "other"
