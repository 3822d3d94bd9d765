"""Mirroring: copies of requests go to the candidate, whose responses no client sees."""

from __future__ import annotations

import asyncio
import logging

from multidict import CIMultiDict

from penstock.rollout.proxy.routing_table import Arm
from penstock.rollout.proxy.stats import Outcome, Pair
from penstock.rollout.proxy.upstream import (
    NoAnswerError,
    UnreachableError,
    Upstream,
)

_log = logging.getLogger("penstock.proxy")

_UNDER_WAY = 64
_BYTES = 16 << 20
"""Copies at a time, and bytes of their bodies: beyond either none is sent, because a slow candidate
must not fill the memory of what everybody's requests go through."""


class Mirror:
    """Sends copies to the candidate, beside the requests that they are copies of.

    Beside and not after: both versions then have the same requests at the same moments, with the
    same neighbours on the machine, and each the other as its load. A copy that waited until the
    client was answered would come in the stable version's pace, never two at once where users sent
    two at once, and the candidate's slowest answers would look better than they will be.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._under_way: set[asyncio.Task[None]] = set()
        self._bytes = 0

    def send(
        self,
        arm: Arm,
        pair: Pair,
        *,
        target: str,
        headers: CIMultiDict[str],
        body: bytes,
        replayed: bool,
    ) -> bool:
        """Send a copy soon; return whether there was room for it."""
        if len(self._under_way) >= _UNDER_WAY or self._bytes + len(body) > _BYTES:
            pair.stats.dropped += 1
            return False
        self._bytes += len(body)
        # A task starts when the loop is free next, which is when the request itself was sent.
        task = asyncio.get_running_loop().create_task(
            self._send(arm, pair, target, headers, body, replayed)
        )
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return True

    async def _send(
        self,
        arm: Arm,
        pair: Pair,
        target: str,
        headers: CIMultiDict[str],
        body: bytes,
        replayed: bool,
    ) -> None:
        arm.load.requests += 1
        outcome = Outcome(0, replayed=replayed)
        try:
            reply = await self._upstream.ask(arm.address, "POST", target, headers, body)
            outcome = Outcome.of(reply, replayed=replayed)
            if reply.rest is not None:
                async for _ in reply.rest:
                    pass
        except UnreachableError:
            outcome.unreachable = True
        except NoAnswerError:
            outcome.status = 0
        finally:
            arm.load.requests -= 1
            self._bytes -= len(body)
        try:
            pair.ended(candidate=outcome)
        except Exception:
            # Whatever an answer holds, a copy is evidence and nothing more.
            _log.exception("a pair could not be compared")
            pair.stats.dropped += 1
