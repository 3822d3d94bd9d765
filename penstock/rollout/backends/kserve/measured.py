"""Replaying the holdout through a gateway, and measuring here what comes of it.

A gateway's answers do not say which version failed where none answered, so each request names the
arm it is for: its share of the requests is the weight, and what becomes of it is counted where it
belongs. That users' requests are shared by the same weights is the prober's to show.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from penstock.errors import InputError
from penstock.records.rollout import ArmSummary, Pairs
from penstock.rollout.access import UNKNOWN, AccessSpec, is_open, trusted, with_access
from penstock.rollout.backends.kserve.prober import VERSION_HEADER
from penstock.rollout.proxy.stats import Buckets, Outcome, Pair, PairStats, Stats
from penstock.rollout.router import Observation
from penstock.rollout.traffic import paced

if TYPE_CHECKING:
    import aiohttp

# Drawn, not dealt in turn: rows are sent round and round, and a pattern of its own would give each
# version other rows, whose scores differ whatever the versions do.
_random = random.Random()  # noqa: S311
_OPEN = AccessSpec()


@dataclass(frozen=True)
class Steering:
    """Which arm the next request is for.

    Attributes:
        headers: By version, what a request carries to get there.
        stable: The stable version.
        candidate: The candidate.
        weight: The candidate's share, in percent.
        mirror: Share of the stable version's requests that the candidate gets too.
        edges: Of the histograms.
    """

    headers: Mapping[int, Mapping[str, str]]
    stable: int | None = None
    candidate: int | None = None
    weight: int = 0
    mirror: float = 0.0
    edges: Buckets = field(default_factory=Buckets)


class Measured:
    """Counts what it sends.

    Args:
        url: Where a body is posted to.
        access: How requests get in there.
    """

    def __init__(self, url: str, *, access: AccessSpec = _OPEN) -> None:
        self._url = url
        self._access = access
        self._trusted = True if is_open(url) else trusted(access.ca_file)
        self._lock = threading.Lock()
        self._epoch = secrets.token_hex(8)
        self._steering = Steering(headers={})
        self._arms: dict[int, Stats] = {}
        self._pairs = PairStats()
        self._shut_out = ""

    @property
    def shut_out(self) -> str:
        """Why the gateway did not let in what was sent last, in a sentence; empty: it did."""
        return self._shut_out

    def steer(self, steering: Steering) -> None:
        """Send what follows as `steering` says; pairs of another candidate are dropped."""
        with self._lock:
            if steering.candidate != self._steering.candidate and steering.candidate is not None:
                self._pairs = PairStats()
            self._steering = steering

    def observe(self) -> Observation:
        """Return what was counted so far."""
        with self._lock:
            return Observation(
                epoch=self._epoch,
                arms={
                    version: ArmSummary.model_validate(stats.counts())
                    for version, stats in self._arms.items()
                },
                pairs=Pairs.model_validate(self._pairs.counts()),
            )

    def replay(
        self, bodies: Sequence[bytes], *, rate: float
    ) -> contextlib.AbstractContextManager[None]:
        """Send requests at a steady rate until the block ends."""

        async def ask(session: aiohttp.ClientSession, number: int) -> None:
            steering = self._steering
            if steering.stable is not None:
                await self._one(session, bodies[number % len(bodies)], steering)

        return paced(ask, rate=rate)

    async def _one(self, session: aiohttp.ClientSession, body: bytes, steering: Steering) -> None:
        stable, candidate = steering.stable, steering.candidate
        assert stable is not None
        if candidate is None:
            await self._ask(session, stable, body, steering)
        elif _random.random() < steering.mirror:
            # Both at once, so that each has the other as its load and both meet the same moment.
            one, other = await asyncio.gather(
                self._ask(session, stable, body, steering),
                self._post(session, candidate, body, steering),
            )
            with self._lock:
                if one and other and self._steering.candidate == candidate:
                    pair = Pair(self._pairs, steering.edges, secrets.token_hex(8))
                    pair.ended(stable=one, candidate=other)
        else:
            chosen = _random.random() * 100 < steering.weight
            await self._ask(session, candidate if chosen else stable, body, steering)

    async def _ask(
        self, session: aiohttp.ClientSession, version: int, body: bytes, steering: Steering
    ) -> Outcome | None:
        outcome = await self._post(session, version, body, steering)
        if outcome is not None:
            with self._lock:
                self._arms.setdefault(version, Stats()).add(outcome, edges=steering.edges)
        return outcome

    async def _post(
        self, session: aiohttp.ClientSession, version: int, body: bytes, steering: Steering
    ) -> Outcome | None:
        """Return how a request ended; None: it was not let in, so nothing is known of the arm."""
        import aiohttp

        try:
            headers = with_access(steering.headers[version], self._access)
        except InputError as error:
            self._shut_out = str(error)
            return None
        begun = time.perf_counter()
        outcome = Outcome(0, replayed=True)
        try:
            # What is sent here is for nobody that the gateway may name.
            async with session.post(
                self._url, data=body, headers=headers, ssl=self._trusted, allow_redirects=False
            ) as response:
                outcome.body = await response.read()
                by = response.headers.get(VERSION_HEADER)
                if not by and response.status == UNKNOWN:
                    self._shut_out = f"The gateway answers with status {UNKNOWN}."
                    return None
                self._shut_out = ""
                # An answer of the gateway's own, or of another version, is none of this one's.
                if by == str(version):
                    outcome.status = response.status
        except aiohttp.ClientConnectorError:
            outcome.unreachable = True
        except (aiohttp.ClientError, TimeoutError):
            outcome.status = 0
        outcome.seconds = time.perf_counter() - begun
        return outcome
