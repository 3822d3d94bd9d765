"""How often the guardian returns a healthy champion, and how late one that does harm, simulated.

A service answers some 60 requests a minute, more by day, fewer by night. Its errors come in
bursts, and about twice a month all fails for a minute; answers are slower by day; the loss of its
labels moves over the week. The champion is as the one before it, or worse within the tolerance.
Limits come from the guardian itself; its test runs for all services at once here, and
`follows_the_guardian` shows that it is the same.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from targets import Target, report  # isort: skip

from penstock.monitoring.guardian.harm import BLOCK, MONTH, after_reading, guard_of
from penstock.monitoring.settings.monitoring import GuardianSpec
from penstock.monitoring.signals.detector import BETS
from penstock.records.guard import Guard
from penstock.records.rollout import (
    ArmSummary,
    HistogramBuckets,
    Interval,
    Labelled,
    Rollout,
    Transition,
)

Floats = NDArray[np.float64]

QUESTION = (
    "In how many of 10,000 healthy months is a champion returned, and how long after it began to "
    "do harm (right after promotion, an hour, a day, 30 days later) is one that does?"
)
SPEC = GuardianSpec()
BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
DAY, MINUTES = 1440, 43_200
CANARY = 60
"""Minutes of the canary, in which the champion before has half of the requests."""

FAST, SLOW = 80, 160
EDGES = HistogramBuckets().latency
ERRORS, LABELS, LOSS, SPREAD = 0.002, 6, 0.15, 0.2

WORSE = {"errors": 0.015, "slow": 0.03, "loss": 0.03}
"""Worse, and within the tolerance of each."""

HARMS: Mapping[str, dict[str, float]] = {
    "all fails": {"errors": 1.0},
    "a tenth fails": {"errors": 0.1},
    "5 % fail": {"errors": 0.05},
    "all is slow": {"slow": 1.0},
    "a fifth is slow": {"slow": 0.2},
    "loss from 0.15 to 0.4": {"loss": 0.25},
}
AFTER = {"right after": 0, "an hour": 60, "a day": DAY, "30 days": MINUTES}


@dataclass
class Services:
    """Services, each with a champion; `worse` is added to what is expected of it."""

    count: int
    seed: int
    together: int = 1

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.clock = self.rng.uniform(0, DAY, self.count)
        self.minute = 0
        self.down = np.zeros(self.count)

    def answer(self, worse: Mapping[str, float], *, minutes: int) -> Floats:
        """Answer for so long; return (services, 3 signals, [rows, amount])."""
        rng, count = self.rng, self.count
        self.minute += minutes
        phase = 2 * np.pi * (self.clock + self.minute) / DAY
        requests = rng.poisson(60 * minutes * (1 + 0.7 * np.sin(phase)))
        # Bursts: how often a request fails differs from minute to minute.
        rate = ERRORS * rng.gamma(0.5, 2.0, count) + worse.get("errors", 0.0)
        rate += rng.poisson(2 * minutes / MINUTES, count) / minutes
        failed = rng.binomial(requests, np.minimum(rate, 1.0))
        answers = requests - failed
        slow = 0.004 + 0.003 * np.sin(phase)
        slow = np.minimum(slow * rng.gamma(2, 0.5, count) + worse.get("slow", 0.0), 1.0)
        labels = np.full(count, LABELS * minutes)
        mean = LOSS + 0.01 * np.sin(phase / 7) + worse.get("loss", 0.0)
        loss = mean + SPREAD / math.sqrt(LABELS * minutes) * rng.standard_normal(count)
        rows = np.stack([requests, answers, labels], axis=1).astype(float)
        amounts = [failed, rng.binomial(answers, slow), labels * np.clip(loss, 0, 1)]
        return np.stack([rows, np.stack(amounts, axis=1)], axis=2)

    def guards(self) -> list[Guard]:
        """Release each: a canary, in which the champion before is as healthy as it ever is."""
        shown = sum(self.answer({}, minutes=1) for _ in range(CANARY)) // 2
        return [_promoted(arm_of(one)) for one in np.asarray(shown)]


def arm_of(counts: Floats) -> ArmSummary:
    """Return counts of the three signals as the proxy has them."""
    (requests, failed), (answers, slow), (labels, loss) = counts.tolist()
    latency = {FAST: int(answers - slow), SLOW: int(slow)}
    mean = loss / labels if labels else 0.0
    return ArmSummary(
        requests=int(requests),
        server_errors=int(failed),
        latency={place: count for place, count in latency.items() if count},
        labelled=Labelled(requests=int(labels), loss=loss, squared=labels * (mean**2 + SPREAD**2)),
    )


def _promoted(stable: ArmSummary) -> Guard:
    rollout = Rollout(
        identity="2",
        service="shop",
        router="local",
        url="",
        candidate=2,
        stable=1,
        uri="",
        model="",
        decision="",
        started=BEGIN,
        plan={},
        outcome="promoted",
        transitions=(Transition(sequence=0, time=BEGIN, phase="done", reason=""),),
        intervals=(Interval(started=BEGIN, seconds=1, phase="step", weight=50, stable=stable),),
    )
    return guard_of(rollout, before=None, edges=EDGES, spec=SPEC)


class Many:
    """The guardian's test of many services at once."""

    def __init__(self, guards: list[Guard]) -> None:
        self.most = np.array([[limit.greatest for limit in guard.limits] for guard in guards])
        self.evidence = np.zeros((*self.most.shape, len(BETS)))
        self.waiting = np.zeros((*self.most.shape, 2))
        self.last = np.zeros(self.most.shape)
        self.total = np.zeros(len(guards))
        self.bound = MONTH / SPEC.false_returns / timedelta(days=1)
        self.top = 100 * self.bound * len(BETS) * self.most.shape[1]

    def read(self, counts: Floats, *, minute: float) -> NDArray[np.bool_]:
        """Take a reading; return which are shown to do harm."""
        self.waiting += counts
        full = self.waiting[..., 0] >= BLOCK
        means = np.divide(
            self.waiting[..., 1], self.waiting[..., 0], out=np.zeros_like(self.most), where=full
        )
        waited = np.where(full, minute / DAY - self.last, 0.0)
        gain = np.where(full, means / self.most - 1, 0.0)
        before = self.evidence.mean(axis=2)
        self.evidence += waited[..., None]
        self.evidence *= 1 + np.array(BETS) * gain[..., None]
        np.minimum(self.evidence, self.top, out=self.evidence)
        self.last[full] = minute / DAY
        self.waiting[full] = 0
        # The guardian looks after each signal.
        after, signals = self.evidence.mean(axis=2), self.most.shape[1]
        totals = [
            np.concatenate([after[:, : k + 1], before[:, k + 1 :]], axis=1).mean(axis=1)
            for k in range(signals)
        ]
        self.total = np.max(totals, axis=0)
        return np.asarray(self.total >= self.bound)


def follows_the_guardian(*, hours: int, seed: int) -> float:
    """Return how far the logarithms of both are apart at most, over some hours with harm."""
    services = Services(2, seed)
    guards = services.guards()
    many, totals, most = Many(guards), [ArmSummary()] * 2, 0.0
    for minute in range(10, hours * 60 + 1, 10):
        worse = {"errors": 0.03, "loss": 0.05} if minute > hours * 30 else {}
        counts = services.answer(worse, minutes=10)
        many.read(counts, minute=minute)
        logs = np.log(np.maximum(many.total, 1e-300))
        for k, guard in enumerate(guards):
            totals[k] = totals[k].plus(arm_of(counts[k]))
            guards[k] = after_reading(
                guard,
                {"epoch": "", "arm": totals[k].model_dump(mode="json")},
                now=BEGIN + timedelta(minutes=minute),
                spec=SPEC,
            )
            if guard.harm is None:
                most = max(most, abs(guards[k].log_evidence - logs[k]))
    return most


def false_returns(count: int, *, seed: int, minutes: int, worse: Mapping[str, float]) -> float:
    """Return the share of healthy months in which a champion is returned."""
    services = Services(count, seed)
    many = Many(services.guards())
    returned = np.zeros(count, dtype=bool)
    for minute in range(minutes, MINUTES + 1, minutes):
        returned |= many.read(services.answer(worse, minutes=minutes), minute=minute)
    return float(returned.mean())


def delays(
    count: int, harm: Mapping[str, float], *, after: int, seed: int, minutes: int = 1
) -> Floats:
    """Return after how many minutes of harm each is returned; infinite: not within a day."""
    services = Services(count, seed)
    many = Many(services.guards())
    step = max(minutes, 60 if after > DAY else 1)
    for minute in range(step, after + 1, step):
        many.read(services.answer({}, minutes=step), minute=minute)
    found = np.full(count, np.inf)
    for minute in range(minutes, DAY + 1, minutes):
        shown = many.read(services.answer(harm, minutes=minutes), minute=after + minute)
        found[shown & np.isinf(found)] = minute
        if np.isfinite(found).all():
            break
    return found


def main() -> int:
    """Simulate, and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--months", type=int, default=10_000)
    parser.add_argument("--services", type=int, default=200, help="of each harm and time")
    parser.add_argument("--every", type=int, default=1, help="minutes between two readings")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    apart = follows_the_guardian(hours=48, seed=1)
    healthy: dict[str, float] = {}
    for name, worse in (("as the one before", {}), ("worse within the tolerance", WORSE)):
        healthy[name] = false_returns(
            options.months // 2, seed=2, minutes=options.every, worse=worse
        )
        print(f"Healthy, {name}: {healthy[name]:.2%} returned", flush=True)
    late: dict[str, dict[str, Any]] = {}
    for harm, worse in HARMS.items():
        for name, after in AFTER.items():
            found = delays(options.services, worse, after=after, seed=3, minutes=options.every)
            figures = {
                "returned": float(np.isfinite(found).mean()),
                "median": float(np.median(found)),
                "95 %": float(np.quantile(found, 0.95, method="higher")),
            }
            late[f"{harm}, {name}"] = figures
            print(f"{harm}, {name}: {figures}", flush=True)
    return report(
        "guardian",
        question=QUESTION,
        figures={"healthy": healthy, "minutes until the return": late},
        targets=[
            Target(
                "Months in which a healthy champion is returned", max(healthy.values()), 0.02, ""
            ),
            Target(
                "Champions that do harm and are returned within a day, the least of all kinds",
                min(one["returned"] for one in late.values()),
                1.0,
                "",
                side="at least",
            ),
            Target(
                "Readings until the return where all fails, 95 % of champions",
                max(one["95 %"] for name, one in late.items() if name.startswith("all fails"))
                / options.every,
                15.0,
                "",
            ),
            Target("The simulated test beside the guardian's, logarithms", apart, 1e-6, ""),
        ],
        path=options.json,
    )


if __name__ == "__main__":
    raise SystemExit(main())
