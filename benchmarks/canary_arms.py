"""Simulated arms for bench_canary.py: what two versions answer to requests, second by second."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from penstock.records.rollout import ArmSummary, HistogramBuckets, Interval, Labelled, Pairs

GRIDS = HistogramBuckets()
LATENCY_EDGES = np.array(GRIDS.latency)
SCORE_EDGES = np.array(GRIDS.scores)
MEDIAN, SIGMA = 0.010, 0.5
"""Latency is lognormal: 10 ms in the median, 32 ms at the 99 % quantile."""
Z99 = 2.3263478740408408
RATE = 50.0
LOGIT_SPREAD = 1.5


@dataclass(frozen=True)
class Scenario:
    """One kind of candidate under one kind of traffic.

    Attributes:
        name: What the table calls it.
        good: Whether promoting it is right; None: either is defensible.
        base: Share of requests that the stable version fails.
        extra: What the candidate fails on top.
        slower: The candidate's latency is so many times the stable version's.
        tail: The same for the 99 % quantile alone; the median stays.
        shift: The candidate's scores on the logit scale lie so many standard deviations higher.
        traffic: steady, bursty (gusts, and outages that both arms share) or diurnal (rate, errors
            and latency rise and fall together).
    """

    name: str
    good: bool | None
    base: float = 0.001
    extra: float = 0.0
    slower: float = 1.0
    tail: float = 1.0
    shift: float = 0.0
    traffic: str = "steady"

    @property
    def grain(self) -> int:
        """Seconds an interval may last: what changes faster must lie in intervals of its own."""
        return {"steady": 1000, "diurnal": 5, "bursty": 1}[self.traffic]

    @property
    def sigma(self) -> float:
        """Spread of the logarithm of the candidate's latency."""
        return SIGMA + math.log(self.tail) / Z99

    def conditions(self, rng: np.random.Generator, begin: float, seconds: int) -> Conditions:
        """Draw what traffic does in each second from `begin` on."""
        time = begin + np.arange(seconds)
        if self.traffic == "diurnal":
            tide = 0.5 + 0.5 * np.sin(2 * np.pi * time / 600)
            base = 0.001 + 0.009 * tide
            return Conditions(RATE * (0.3 + 1.4 * tide), base, 1 + 0.5 * tide)
        if self.traffic == "bursty":
            gusts = np.repeat(rng.gamma(1.0, 1.0, seconds // 5 + 1), 5)[:seconds]
            outage = np.convolve(rng.random(seconds) < 0.01, np.ones(3), "full")[:seconds] > 0
            base = np.where(outage, 0.2, self.base)
            return Conditions(RATE * (0.2 + 0.8 * gusts), base, np.where(outage, 3.0, 1.0))
        flat = np.ones(seconds)
        return Conditions(RATE * flat, self.base * flat, flat)


@dataclass(frozen=True)
class Conditions:
    """What both arms meet, by second: requests a second, failing share, factor on latency."""

    rate: np.ndarray
    base: np.ndarray
    load: np.ndarray


@dataclass
class Trace:
    """One rollout's traffic, drawn as it is asked for."""

    scenario: Scenario
    rng: np.random.Generator
    clock: int = 0
    asked: int = field(default=0)

    def interval(self, *, phase: str, step: int, weight: int, seconds: int) -> Interval:
        """Draw the next stretch: mirrored pairs in the shadow phase, split traffic in a step."""
        now = self.scenario.conditions(self.rng, self.clock, seconds)
        self.clock += seconds
        requests = self.rng.poisson(now.rate)
        share = 1.0 if phase == "shadow" else weight / 100
        to_candidate = self.rng.binomial(requests, share)
        mirrored = phase == "shadow"
        stable = self._arm(now, requests if mirrored else requests - to_candidate, changed=False)
        candidate = self._arm(now, to_candidate, changed=True)
        self.asked += candidate.requests
        rows = min(stable.requests - stable.server_errors, _answered(candidate))
        agreeing = int(self.rng.binomial(rows, 0.97 if not self.scenario.shift else 0.92))
        empty = ArmSummary()
        pairs = Pairs.model_construct(
            stable=stable, candidate=candidate, rows=rows, agreeing=agreeing, dropped=0
        )
        return Interval.model_construct(
            started=None,
            seconds=float(seconds),
            phase=phase,
            step=step,
            weight=weight,
            stable=empty if mirrored else stable,
            candidate=empty if mirrored else candidate,
            pairs=pairs if mirrored else Pairs(),
        )

    def _arm(self, now: Conditions, requests: np.ndarray, *, changed: bool) -> ArmSummary:
        case = self.scenario
        failing = np.minimum(now.base + (case.extra if changed else 0.0), 1.0)
        errors = self.rng.binomial(requests, failing)
        loads = np.repeat(now.load, requests - errors)
        sigma, factor = (case.sigma, case.slower) if changed else (SIGMA, 1.0)
        latency = MEDIAN * factor * loads * np.exp(sigma * self.rng.standard_normal(len(loads)))
        logits = LOGIT_SPREAD * (
            self.rng.standard_normal(len(loads)) + (case.shift if changed else 0.0)
        )
        return ArmSummary.model_construct(
            requests=int(requests.sum()),
            replayed=0,
            client_errors=0,
            server_errors=int(errors.sum()),
            unreachable=0,
            latency=_histogram(latency, LATENCY_EDGES),
            scores=_histogram(1 / (1 + np.exp(-logits)), SCORE_EDGES),
            labels={},
            labelled=Labelled(),
        )


def _answered(arm: ArmSummary) -> int:
    return arm.requests - arm.server_errors


def _histogram(values: np.ndarray, edges: np.ndarray) -> dict[int, int]:
    counts = np.bincount(np.searchsorted(edges, values, side="right"))
    occupied = np.flatnonzero(counts)
    return dict(zip(occupied.tolist(), counts[occupied].tolist(), strict=True))
