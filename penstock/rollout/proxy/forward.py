"""Answering a request with what an arm answers to it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from aiohttp import web
from multidict import CIMultiDict

from penstock.rollout.proxy import feedback
from penstock.rollout.proxy.mirroring import Copies
from penstock.rollout.proxy.requests import Asked, Bounds, Intake, closing, error, passed_on, whole
from penstock.rollout.proxy.routing_table import Arm, Table
from penstock.rollout.proxy.stats import Outcome, Pair
from penstock.rollout.proxy.upstream import (
    ClientGoneError,
    NoAnswerError,
    Reply,
    TooLargeError,
    TooSlowError,
    UnreachableError,
    Upstream,
    outcome_of,
)
from penstock.serving import request_body
from penstock.serving.request_body import Budget, Share
from penstock.serving.request_errors import RequestError
from penstock.serving.request_headers import MIRROR, REQUEST_ID

_log = logging.getLogger("penstock.splitter")

_LABELS_BODY = 4 << 20
"""Bytes in the body of a request that brings labels, as the model server takes them."""


@dataclass
class Splitter:
    """Sends each request to the arm that its table chooses, and counts what comes of it.

    Only predictions are counted: other requests say nothing of how good a version is.
    """

    upstream: Upstream
    key: str
    bounds: Bounds = field(default_factory=Bounds)
    table: Table = field(default_factory=Table)
    copies: Copies = field(init=False)

    def __post_init__(self) -> None:
        self.copies = Copies(self.upstream)
        self._budget = Budget(self.bounds.bodies)
        self._intake = Intake(self.key, self.bounds)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        refusal = self._intake.refusal(request)
        if refusal is not None:
            return refusal
        try:
            with self._budget.share() as share:
                asked = await self._intake.read(request, share)
                if asked.kind == "feedback":
                    return await self._feedback(request, asked, share)
                return await self._answer(request, asked)
        except TooLargeError:
            return self._intake.too_large()
        except TooSlowError:
            return closing(error(408, f"the body did not come within {self.bounds.seconds:g} s"))
        except RequestError as refused:
            return closing(error(refused.status, refused.message, headers=refused.headers))
        except ClientGoneError:
            # Nobody reads this, and it is no version's fault.
            return error(499, "the client went away")

    async def _answer(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        # Read only now: a slow upload must not be sent by a table that is long past.
        table = self.table
        named = table.named(asked.path)
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
        headers[MIRROR] = self.key
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

    async def _feedback(
        self, request: web.BaseRequest, asked: Asked, share: Share
    ) -> web.StreamResponse:
        if asked.stream is not None:
            asked.body, asked.stream = await whole(asked.stream, share), None
        if len(asked.body or b"") > _LABELS_BODY:
            return self._intake.too_large(_LABELS_BODY)
        headers, body = self._readable(asked, share)
        answer = await feedback.fan_out(self.upstream, self.table, asked.target, headers, body)
        if answer is None:
            return await self._answer(request, asked)
        named = {REQUEST_ID: asked.request_id}
        return web.Response(body=answer, content_type="application/json", headers=named)

    def _readable(self, asked: Asked, share: Share) -> tuple[CIMultiDict[str], bytes]:
        """Return a request's body as it was before it was compressed, and the headers of that."""
        body, headers = asked.body or b"", asked.headers
        encoding = headers.get("content-encoding", "").encode("utf-8", "surrogateescape")
        try:
            compressed = request_body.encoding_of({b"content-encoding": encoding})
        except RequestError:
            # The arm says what is wrong with it.
            return headers, body
        if not compressed:
            return headers, body
        share.grow_to(len(body) + request_body.largest(body, limit=_LABELS_BODY))
        try:
            body = request_body.decompressed(body, limit=_LABELS_BODY)
        except RequestError:
            return headers, body
        headers = headers.copy()
        headers.popall("content-encoding")
        return headers, body


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
