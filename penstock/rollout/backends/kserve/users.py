"""Users' requests of both versions, counted by the pods and read from Prometheus.

A gateway's own figures have no arms, so each version's pods are queried. Counts are taken from
one moment at which every pod of both versions had been scraped to the next such moment, so that
both versions are compared over the same stretch; and from a moment after the traffic was set, so
that nothing counts that was answered under other weights. Where a figure is missing nothing counts:
a version of which nothing is known has no errors either.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from penstock.common import progress
from penstock.errors import ServiceError
from penstock.records.rollout import ArmSummary, Pairs
from penstock.rollout.backends.kserve.counters import Counters, summary
from penstock.rollout.backends.kserve.measured import Steering
from penstock.rollout.backends.kserve.pod_counters import PodCounters, Source, UnknownError
from penstock.rollout.backends.kserve.prometheus import Prometheus
from penstock.rollout.router import Observation

Pods = Callable[[int], Collection[str]]
"""Returns the names of a version's pods that are ready."""

_BETWEEN = 0.5
_AFTER_FAILURE = 5.0
_WAITING = "No figures of users' requests have come since the traffic was set."


class Users:
    """Counts users' requests of the stable version and the candidate.

    Args:
        source: The query.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._prometheus = Prometheus(source.spec)
        self._figures = PodCounters(source, self._prometheus)
        self._steering = Steering(headers={})
        self._counters: dict[tuple[int, str], Counters] = {}
        self._arms: dict[int, ArmSummary] = {}
        self._pairs = Pairs()
        self._since: float | None = None
        self._counting = False
        self._blind = ""
        self._failed = ""
        self._next = 0.0
        self._steered = 0.0

    def steer(self, steering: Steering) -> None:
        """Begin anew: what was answered before this traffic was set counts no more."""
        if steering.candidate != self._steering.candidate:
            self._pairs = Pairs()
        self._steering = steering
        self._since, self._counting = None, False
        self._steered = time.monotonic()
        self._blind = _WAITING if self._versions else ""

    def look(self, pods: Pods) -> None:
        """Add what has come, where every pod was scraped since the last time.

        What fails is reported, and leaves the counts as they are.

        Args:
            pods: Names the pods of a version that must have been scraped.
        """
        if not self._versions or time.monotonic() < self._next:
            return
        ready = {version: pods(version) for version in self._versions}
        pause = _BETWEEN
        try:
            self._advance(ready)
            self._tell("")
        except ServiceError as error:
            self._blind = f"Users' requests are not counted: {error}"
            pause = _AFTER_FAILURE
            waited = time.monotonic() - self._steered
            # A pod that has just come up is found by Prometheus a little later.
            if not isinstance(error, UnknownError) or waited > self._source.spec.stale_after:
                self._tell(str(error))
        self._next = time.monotonic() + pause

    def close(self) -> None:
        """Give the connections back."""
        self._prometheus.close()

    def added_to(self, seen: Observation) -> Observation:
        """Return an observation with users' requests in it."""
        nothing = ArmSummary()
        arms = {
            version: seen.arms.get(version, nothing).plus(self._arms.get(version, nothing))
            for version in seen.arms.keys() | self._arms.keys()
        }
        return replace(seen, arms=arms, pairs=seen.pairs.plus(self._pairs), blind=self._blind)

    @property
    def _versions(self) -> tuple[int, ...]:
        stable, candidate = self._steering.stable, self._steering.candidate
        return () if stable is None or candidate is None else (stable, candidate)

    def _advance(self, ready: Mapping[int, Collection[str]]) -> None:
        now = self._prometheus.now()
        if self._since is None:
            self._since = now
        scrapes = self._scrapes(ready, now)
        moments = [moment for each in scrapes.values() for moment in each.values()]
        if min(moments) <= self._since:
            self._blind = "" if self._counting else _WAITING
            return
        readings = {
            version: {
                name: self._figures.read(name, version, now, edges=self._steering.edges)
                for name in self._counter_names
            }
            for version in ready
        }
        if self._scrapes(ready, now) != scrapes:
            # Of two figures one would hold what came in between, and the other not.
            return
        grown = {
            version: {name: self._kept(version, name).grown(read) for name, read in each.items()}
            for version, each in readings.items()
        }
        self._since = max(moments)
        if self._counted(grown):
            self._blind = ""

    def _counted(self, grown: Mapping[int, Mapping[str, Mapping[str, float]]]) -> bool:
        """Add how counters grew; the first reading since the traffic was set is where they begin.

        In the shadow phase what the candidate answers are copies, which a gateway does not mark.
        """
        if not self._counting:
            self._counting = True
            return False
        stable, candidate = (
            summary(grown[version], edges=self._steering.edges) for version in self._versions
        )
        shadow = self._steering.weight == 0
        for version, arm in zip(self._versions, (stable, candidate), strict=True):
            if not (shadow and version == self._steering.candidate):
                self._arms[version] = self._arms.get(version, ArmSummary()).plus(arm)
        if shadow and self._source.alone:
            self._pairs = self._pairs.plus(Pairs(stable=stable, candidate=candidate))
        return True

    @property
    def _counter_names(self) -> list[str]:
        return self._source.counter_names(self._steering.edges.scores)

    def _kept(self, version: int, name: str) -> Counters:
        return self._counters.setdefault((version, name), Counters())

    def _scrapes(
        self, ready: Mapping[int, Collection[str]], now: float
    ) -> dict[int, dict[str, float]]:
        """Return when each pod that is ready was scraped last, by version."""
        return {
            version: self._figures.scraped(version, pods, now) for version, pods in ready.items()
        }

    def _tell(self, failed: str) -> None:
        """Say it once when figures stop coming, and once when they come again."""
        if failed and not self._failed:
            progress.say(f"users' requests are not counted: {failed}")
        if self._failed and not failed:
            progress.say("users' requests are counted again")
        self._failed = failed
