"""How others decide, for bench_canary.py: what was taken from their documentation, and where from.

Flagger (docs "How it works", "Metrics analysis"): `interval: 1m`, `threshold: 5` (the maximum
number of failed checks before rollback), `stepWeight: 10`, `maxWeight: 50`; request-success-rate
at least 99 %, request-duration (the 99 % quantile) at most a fixed bound. A failed check holds the
weight and counts; enough of them roll back; a passed check raises the weight, at the maximum it
promotes. Their bound on duration is 500 ms for a service of theirs; here it is 1.5 times the stable
version's usual 99 % quantile, which is what somebody who knows the service would write.

Argo Rollouts (docs "Analysis & Progressive Delivery", background analysis): `interval: 5m`,
`successCondition: result >= 0.95`, `failureLimit: 3` (the third failed measurement fails the run),
steps of 20, 40, 60, 80 %, ten minutes each. No metric of latency in that example.

Kayenta (spinnaker.io "How canary judgment works" and "Best practices", NetflixACAJudge.scala,
MannWhitneyClassifier.scala): one point a minute for canary and a baseline of the same size; the
Mann-Whitney interval at confidence 0.98 of the shift, and High when its lower end is above 0.25
times the Hodges-Lehmann estimate; at least 50 points, hence a run an hour, three hours in all, over
a growing window. Both metrics are critical, direction `increase`. Left out: removal of outliers
(off unless configured) and the correction for ties.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from canary_arms import MEDIAN, SIGMA, Z99, Conditions, Scenario

_Z98 = 2.3263478740408408
SLO = MEDIAN * math.exp(SIGMA * Z99) * 1.5


@dataclass(frozen=True)
class Outcome:
    """How one rollout ended: promoted, rolled back, or rolled back as inconclusive."""

    end: str
    samples: int
    seconds: float


@dataclass(frozen=True)
class Thresholds:
    """Fixed thresholds, a number of failures allowed."""

    interval: int
    weights: tuple[int, ...]
    success: float
    failures: int
    slo: float | None
    patience: int


FLAGGER = Thresholds(60, (10, 20, 30, 40, 50), 0.99, 5, SLO, 1)
ARGO = Thresholds(300, (20, 40, 60, 80), 0.95, 3, None, 2)


def by_thresholds(case: Scenario, rng: np.random.Generator, rules: Thresholds) -> Outcome:
    """Judge one rollout as Flagger or Argo Rollouts do."""
    failed, samples, clock = 0, 0, 0
    held = rules.slo is not None
    for weight in rules.weights:
        passed = 0
        while passed < rules.patience:
            now = case.conditions(rng, clock, rules.interval)
            minute = _minute(case, rng, now, share=weight / 100, slo=rules.slo)
            clock += rules.interval
            samples += minute.requests
            bad = minute.errors > (1 - rules.success) * minute.requests or (
                rules.slo is not None and minute.slow > 0.01 * (minute.requests - minute.errors)
            )
            failed += bad
            if failed >= rules.failures:
                return Outcome("rolled back", samples, clock)
            # Flagger waits where it is after a failed check, Argo goes on by the clock.
            passed += not (bad and held)
    return Outcome("promoted", samples, clock)


def by_mann_whitney(case: Scenario, rng: np.random.Generator) -> Outcome:
    """Judge one rollout as Kayenta does, canary and baseline at 10 % each."""
    series: dict[str, list[np.ndarray]] = {"canary": [], "baseline": []}
    samples, clock = 0, 0
    for _ in range(3):
        now = case.conditions(rng, clock, 3600)
        clock += 3600
        for arm, points in series.items():
            hour, requests = _hour(case, rng, now, changed=arm == "canary")
            points.append(hour)
            samples += requests if arm == "canary" else 0
        canary, baseline = (np.concatenate(series[arm]) for arm in ("canary", "baseline"))
        if any(_is_high(canary[:, metric], baseline[:, metric]) for metric in (0, 1)):
            return Outcome("rolled back", samples, clock)
    return Outcome("promoted", samples, clock)


@dataclass(frozen=True)
class _Minute:
    requests: int
    errors: int
    slow: int


def _minute(
    case: Scenario, rng: np.random.Generator, now: Conditions, *, share: float, slo: float | None
) -> _Minute:
    requests = rng.binomial(rng.poisson(now.rate), share)
    errors = rng.binomial(requests, np.minimum(now.base + case.extra, 1))
    slow = 0
    if slo is not None:
        over = np.log(slo / (MEDIAN * case.slower * now.load)) / case.sigma
        slow = int(rng.binomial(requests - errors, _upper_tail(over)).sum())
    return _Minute(int(requests.sum()), int(errors.sum()), slow)


def _hour(
    case: Scenario, rng: np.random.Generator, now: Conditions, *, changed: bool
) -> tuple[np.ndarray, int]:
    """Sixty points of error rate and 99 % quantile, and the requests they come from."""
    requests = rng.poisson(now.rate * 0.1)
    errors = rng.binomial(requests, np.minimum(now.base + (case.extra if changed else 0), 1))
    answered = requests - errors
    sigma, factor = (case.sigma, case.slower) if changed else (SIGMA, 1.0)
    loads = np.repeat(now.load, answered)
    latency = MEDIAN * factor * loads * np.exp(sigma * rng.standard_normal(len(loads)))
    by_minute = np.split(latency, np.cumsum(answered.reshape(60, 60).sum(axis=1))[:-1])
    quantiles = [_quantile(minute) for minute in by_minute]
    rates = errors.reshape(60, 60).sum(axis=1) / np.maximum(requests.reshape(60, 60).sum(axis=1), 1)
    return np.column_stack([rates, quantiles]), int(requests.sum())


def _quantile(values: np.ndarray) -> float:
    if not len(values):
        return 0.0
    place = int(0.99 * (len(values) - 1))
    return float(np.partition(values, place)[place])


def _is_high(canary: np.ndarray, baseline: np.ndarray) -> bool:
    """Lower end of the Mann-Whitney interval above a quarter of the Hodges-Lehmann estimate."""
    if np.array_equal(canary, baseline):
        return False
    shifts = np.sort(np.subtract.outer(canary, baseline).ravel())
    m, n = len(canary), len(baseline)
    rank = int(m * n / 2 - _Z98 * math.sqrt(m * n * (m + n + 1) / 12))
    return bool(shifts[max(rank, 0)] > 0.25 * abs(float(np.median(shifts))))


def _upper_tail(z: np.ndarray) -> np.ndarray:
    return np.array([0.5 * math.erfc(value / math.sqrt(2)) for value in np.atleast_1d(z)])
