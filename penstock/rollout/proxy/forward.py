"""Forwarding a request to the version that the routing table chooses."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from http import HTTPStatus

from aiohttp import web
from multidict import CIMultiDict

from penstock.rollout.proxy import feedback
from penstock.rollout.proxy.experiment import User
from penstock.rollout.proxy.mirroring import Mirror
from penstock.rollout.proxy.requests import (
    Limits,
    ProxyRequest,
    RequestReader,
    closing,
    error,
    passed_on,
    whole,
)
from penstock.rollout.proxy.routing_table import Arm, RoutingTable
from penstock.rollout.proxy.stats import Outcome, Pair
from penstock.rollout.proxy.upstream import (
    ClientGoneError,
    NoAnswerError,
    Reply,
    TooLargeError,
    TooSlowError,
    UnreachableError,
    Upstream,
)
from penstock.serving.request_body import Budget, Share
from penstock.serving.request_errors import RequestError
from penstock.serving.request_headers import MIRROR, REQUEST_ID

_log = logging.getLogger("penstock.proxy")

_TAKEN = (HTTPStatus.OK, HTTPStatus.NOT_FOUND)
"""Answers to labels beside which values count: also where no version knows the labels' rows."""


@dataclass
class Proxy:
    """Sends each request to the arm that the routing table chooses, and counts the outcome.

    Only predictions are counted: other requests say nothing about how good a version is.
    """

    upstream: Upstream
    key: str
    limits: Limits = field(default_factory=Limits)
    table: RoutingTable = field(default_factory=RoutingTable)
    mirror: Mirror = field(init=False)

    def __post_init__(self) -> None:
        self.mirror = Mirror(self.upstream)
        self._budget = Budget(self.limits.bodies)
        self._reader = RequestReader(self.key, self.limits)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        refusal = self._reader.refusal(request)
        if refusal is not None:
            return refusal
        try:
            with self._budget.share() as share:
                incoming = await self._reader.read(request, share)
                if incoming.kind == "feedback":
                    return await self._feedback(request, incoming, share)
                return await self._answer(request, incoming)
        except TooLargeError:
            return self._reader.too_large()
        except TooSlowError:
            return closing(error(408, f"the body did not arrive within {self.limits.seconds:g} s"))
        except RequestError as refused:
            return closing(error(refused.status, refused.message, headers=refused.headers))
        except ClientGoneError:
            # Nobody reads this, and it is no version's fault.
            return error(499, "the client closed the connection")

    async def _answer(self, request: web.BaseRequest, incoming: ProxyRequest) -> web.StreamResponse:
        # Read only now: a slow upload must not be sent by a table that is long past.
        table = self.table
        named = table.named(incoming.path)
        arm = named or table.choose(request.headers)
        if arm is None:
            return error(503, "no version is being served")
        pair = (
            self._mirror(incoming, arm, table) if incoming.kind == "predict" and not named else None
        )
        user = _user(table, incoming) if not named else None
        try:
            try:
                reply = await self._send(incoming, arm, table, pair, user=user)
            except UnreachableError:
                other = table.instead_of(arm)
                if other is None or named:
                    raise
                # Nothing of it was processed, so it may be sent again.
                arm = other
                reply = await self._send(incoming, arm, table, None, user=user)
        except UnreachableError:
            return _unanswered(incoming, f"version {arm.version} cannot be reached")
        except NoAnswerError:
            return _unanswered(incoming, f"version {arm.version} did not answer")
        return await _relay(request, reply)

    async def _send(
        self,
        incoming: ProxyRequest,
        arm: Arm,
        table: RoutingTable,
        pair: Pair | None,
        *,
        user: User | None,
    ) -> Reply:
        """Send the request to one arm and count the outcome."""
        arm.load.requests += 1
        outcome = Outcome(0, replayed=incoming.replayed)
        try:
            reply = await self.upstream.ask(
                arm.address,
                incoming.method,
                incoming.target,
                incoming.headers,
                incoming.body,
                incoming.stream,
            )
            outcome = Outcome.of(reply, replayed=incoming.replayed)
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
            arm.load.requests -= 1
            if incoming.kind == "predict":
                # Later, because reading the answer for its scores must not delay the client.
                asyncio.get_running_loop().call_soon(
                    _count, arm, table, outcome, pair, user, incoming.request_id
                )
        return reply

    def _mirror(self, incoming: ProxyRequest, arm: Arm, table: RoutingTable) -> Pair | None:
        if not table.mirrored(arm):
            return None
        if incoming.stream is not None:
            table.pairs.dropped += 1
            return None
        headers = incoming.headers.copy()
        headers[MIRROR] = self.key
        pair = Pair(table.pairs, table.edges, incoming.request_id)
        sent = self.mirror.send(
            table.arms["candidate"],
            pair,
            target=incoming.target,
            headers=headers,
            body=incoming.body or b"",
            replayed=incoming.replayed,
        )
        return pair if sent else None

    async def _feedback(
        self, request: web.BaseRequest, incoming: ProxyRequest, share: Share
    ) -> web.StreamResponse:
        if incoming.stream is not None:
            incoming.body, incoming.stream = await whole(incoming.stream, share), None
        if len(incoming.body or b"") > feedback.MAX_BODY:
            return self._reader.too_large(feedback.MAX_BODY)
        headers, body = feedback.decompressed(incoming, share)
        given = feedback.given(body, experiment=self.table.experiment is not None)
        if given.valued:
            # The servers know labels alone.
            body = incoming.body = given.labels_alone()
            incoming.headers = headers
        # What holds values alone is not for the servers.
        to_servers = body or not given.valued
        response = await self._labels(request, incoming, headers, body) if to_servers else None
        experiment, values = self.table.experiment, 0
        if experiment is not None and (response is None or response.status in _TAKEN):
            labelled = response is not None and response.status == HTTPStatus.OK
            values = experiment.feedback(given.entries(labelled=labelled))
        if response is None:
            response = web.json_response({"values": values})
            response.headers[REQUEST_ID] = incoming.request_id
        return response

    async def _labels(
        self,
        request: web.BaseRequest,
        incoming: ProxyRequest,
        headers: CIMultiDict[str],
        body: bytes,
    ) -> web.StreamResponse:
        answer = await feedback.fan_out(self.upstream, self.table, incoming.target, headers, body)
        if answer is None:
            return await self._answer(request, incoming)
        named = {REQUEST_ID: incoming.request_id}
        return web.Response(body=answer, content_type="application/json", headers=named)


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


def _count(
    arm: Arm,
    table: RoutingTable,
    outcome: Outcome,
    pair: Pair | None,
    user: User | None,
    request_id: str,
) -> None:
    experiment = table.running()
    # The arms of an experiment are compared by what its users sent, and by nothing else.
    stats = arm.stats if experiment is None or user is not None else experiment.apart
    stats.add(outcome, edges=table.edges)
    if experiment is not None and not outcome.replayed:
        experiment.answered(user, request_id, outcome, weight=table.weight)
    if pair:
        pair.ended(stable=outcome)


def _user(table: RoutingTable, incoming: ProxyRequest) -> User | None:
    """Return the user of an experiment who sent a request; None: nobody that is known."""
    experiment = table.running()
    if experiment is None or incoming.kind != "predict" or incoming.replayed:
        return None
    return experiment.user(incoming.headers)


def _unanswered(incoming: ProxyRequest, message: str) -> web.Response:
    response = error(502, message)
    response.headers[REQUEST_ID] = incoming.request_id
    return response
