"""Turning a router's growing counters into intervals of evidence."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeVar

from penstock.errors import CapacityError, LeaseLostError, ServiceError
from penstock.records.replicas import Replicas
from penstock.records.rollout import ArmSummary, Interval, Pairs
from penstock.rollout.router import Observation, Router

T = TypeVar("T")

_ATTEMPTS = 5


class Watch:
    """Reads a router in one phase of a rollout.

    Args:
        router: The router.
        candidate: The version that is judged.
        stable: The version that it is compared with.
        phase: What the intervals are marked with, and `step` and `weight` too.
    """

    def __init__(
        self,
        router: Router,
        *,
        candidate: int,
        stable: int,
        phase: Literal["shadow", "step"],
        step: int,
        weight: int,
    ) -> None:
        self._router = router
        self._versions = {"stable": stable, "candidate": candidate}
        self._marks = {"phase": phase, "step": step, "weight": weight}
        self._before = Observation(epoch="", arms={}, pairs=Pairs())
        self._since = time.monotonic()

    def begin(self) -> None:
        """Take the reading that the first interval is counted from."""
        self._before = self._read()
        self._since = time.monotonic()

    def look(self) -> Interval:
        """Return what was seen since the last look.

        A proxy that died is started again; what it had counted since the last look is lost.

        Raises:
            ServiceError: If it does not come back.
        """
        now = self._read()
        seconds = time.monotonic() - self._since
        self._since += seconds
        before, self._before = self._before, now
        if now.epoch != before.epoch:
            before = Observation(epoch=now.epoch, arms={}, pairs=Pairs())
        nothing = ArmSummary()
        arms = {
            role: _since(now.arms.get(version, nothing), before.arms.get(version, nothing))
            for role, version in self._versions.items()
        }
        return Interval.model_validate(
            {
                "started": datetime.now(UTC) - timedelta(seconds=seconds),
                "seconds": seconds,
                **self._marks,
                **arms,
                "blind": now.blind,
                "replicas": self._replicas(now, before),
                "pairs": now.pairs.minus(before.pairs)
                if now.pairs.candidate.requests >= before.pairs.candidate.requests
                else now.pairs,
            }
        )

    def _replicas(self, now: Observation, before: Observation) -> dict[str, Replicas]:
        """Return the servers of both versions between two readings, as far as both show."""
        found = {}
        for role, version in self._versions.items():
            here = now.servers.get(version)
            if here is not None:
                there = before.servers.get(version, here)
                found[role] = Replicas(
                    least=min(here.ready, there.ready),
                    most=max(here.ready, there.ready),
                    ended=here.ended - there.ended,
                )
        return found

    def _read(self) -> Observation:
        return persistently(self._router, self._router.observe)


def persistently(router: Router, action: Callable[[], T]) -> T:
    """Return what `action` returns; where it fails, mend the service and try again, a few times.

    Raises:
        ServiceError: If it still fails.
        LeaseLostError: At once: the service is another controller's now.
        CapacityError: At once: it was waited for already.
    """
    for attempt in range(_ATTEMPTS):
        try:
            if attempt:
                router.mend()
            return action()
        except (LeaseLostError, CapacityError):
            raise
        except ServiceError:
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("the last attempt returns or raises")


def _since(now: ArmSummary, before: ArmSummary) -> ArmSummary:
    """Return what has come since; counters that fell belong to a server that began anew."""
    return now if now.requests < before.requests else now.minus(before)
