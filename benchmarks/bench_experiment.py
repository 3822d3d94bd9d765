"""How often an experiment with two equal versions says otherwise, and how surely it sees a better.

Users come one by one and are looked at after each. The alternative is a t-test of the two arms at
the same level, read at every look too, as dashboards invite to. The sums are worked out for all
experiments at once here; `follows_the_reading` shows that they are those of the reading itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from targets import Target, report  # isort: skip

from penstock.records.experiment import ExperimentPlan
from penstock.rollout.experiment import sequence
from penstock.rollout.experiment.observations import Observations
from penstock.rollout.experiment.reading import reading_of
from penstock.rollout.experiment.size import Size, sd_of_rate, size_of

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, int]], Floats]

QUESTION = (
    "Of experiments with two equal versions, looked at after every user, how many ever say that "
    "one is better, and how many with the smallest effect are decided by the computed users? "
    "Beside a t-test that is read at every look, and one that is read once."
)
ALPHA, POWER, PRIOR = 0.05, 0.8, 10.0
FIRST = 30
"""Users of each arm from which the t-test is looked at: fewer would flatter us further."""


@dataclass(frozen=True)
class Case:
    """One kind of KPI, scaled to [0, 1].

    Args:
        draw: A champion's users.
        better: A challenger's, whose mean is `effect` higher.
        effect: The smallest effect.
        sd: Standard deviation over users, as it is expected before.
        mean: The mean that is expected.
        weight: The challenger's share of users, in percent.
    """

    draw: Draw
    better: Draw
    effect: float
    sd: float
    mean: float
    weight: int = 50


def _rate(rate: float) -> Draw:
    return lambda rng, shape: (rng.random(shape) < rate).astype(float)


def _shares(mean: float, rows: int) -> Draw:
    """Return the mean of a user's rows; users differ, and rows of one hang together."""

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
        own = rng.beta(2 * mean, 2 * (1 - mean), shape)
        return np.asarray(rng.binomial(rows, own) / rows)

    return draw


def _spent(bought: float) -> Draw:
    """Return what a user spends, of 500 at most: most nothing, few much."""

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
        amount = np.minimum(rng.lognormal(3.0, 1.2, shape), 500) / 500
        return np.where(rng.random(shape) < bought, amount, 0.0)

    return draw


def _moments(draw: Draw) -> tuple[float, float]:
    drawn = draw(np.random.default_rng(9), (4000, 1000))
    return float(drawn.mean()), float(drawn.std())


def cases() -> dict[str, Case]:
    """Return the kinds of KPI by name."""
    spent, more = _spent(0.2), _spent(0.25)
    (mean, _), (higher, sd) = _moments(spent), _moments(more)
    shared, shared_more = _shares(0.5, 5), _shares(0.53, 5)
    return {
        "rate of 10 %, half of the users": Case(
            _rate(0.1), _rate(0.12), 0.02, sd_of_rate(0.1, effect=0.02), 0.1
        ),
        "rate of 10 %, a fifth of them": Case(
            _rate(0.1), _rate(0.13), 0.03, sd_of_rate(0.1, effect=0.03, weight=20), 0.1, weight=20
        ),
        "rate of 1 %": Case(_rate(0.01), _rate(0.016), 0.006, sd_of_rate(0.01, effect=0.006), 0.01),
        "mean of 5 rows a user": Case(shared, shared_more, 0.03, _moments(shared)[1], 0.5),
        "amounts with a long tail": Case(spent, more, higher - mean, sd, mean),
    }


@dataclass
class Found:
    """What came of many experiments.

    Attributes:
        ours: Share that the reading ever decided.
        right: Share that it decided for the better one.
        peeked: Share that a t-test, read at every look, ever decided.
        once: Share that a t-test decided, read at the end alone.
        users: Users after which the reading was decided, where it was; the median.
    """

    ours: float
    right: float
    peeked: float
    once: float
    users: float


def simulate(
    case: Case, users: int, *, variance: float, count: int, seed: int, equal: bool
) -> Found:
    """Run experiments to their end, with a look after every user."""
    rng = np.random.default_rng(seed)
    decided, right, peeked, once, when = [], [], [], [], []
    block = max(1, 4_000_000 // users)
    for begin in range(0, count, block):
        shape = (min(block, count - begin), users)
        arm = rng.random(shape) < case.weight / 100
        kpi = np.where(
            arm, (case.draw if equal else case.better)(rng, shape), case.draw(rng, shape)
        )
        crossed, sign = reading(case, arm, kpi, variance=variance)
        first = np.where(crossed.any(axis=1), crossed.argmax(axis=1), users)
        ever = first < users
        decided += ever.tolist()
        rows = np.flatnonzero(ever)
        right += (sign[rows, first[rows]] > 0).tolist() + [False] * int((~ever).sum())
        when += first[rows].tolist()
        t = t_test(arm, kpi)
        peeked += (np.abs(t) > 1.959964).any(axis=1).tolist()
        once += (np.abs(t[:, -1]) > 1.959964).tolist()
    shares = [float(np.mean(one)) for one in (decided, right, peeked, once)]
    return Found(*shares, users=float(np.median(when)) if when else float("nan"))


def reading(
    case: Case, arm: NDArray[np.bool_], kpi: Floats, *, variance: float
) -> tuple[NDArray[np.bool_], Floats]:
    """Return at which looks 0 lies outside of the interval, and the sums, (experiments, users)."""
    share, scale = case.weight / 100, 1 - case.weight / 100
    before = np.cumsum(kpi, axis=1) - kpi
    guess = (case.mean * PRIOR + before) / (PRIOR + np.arange(kpi.shape[1]))
    score = (arm - share) * (kpi - guess)
    total, squared = np.cumsum(score, axis=1), np.cumsum(score**2, axis=1)
    limit = sequence.threshold(1 - ALPHA)
    bets = sequence.bets(scale=scale, variance=variance, confidence=1 - ALPHA)
    crossed = np.zeros(kpi.shape, dtype=bool)
    # No mixture reaches the limit below this, so it is worked out for what lies above it alone.
    rows, looks = np.nonzero(total**2 >= 2 * limit * squared)
    for begin in range(0, len(rows), 100_000):
        part = slice(begin, begin + 100_000)
        found = np.abs(total[rows[part], looks[part]]), squared[rows[part], looks[part]]
        crossed[rows[part], looks[part]] = sequence.log_wealth(*found, bets, scale=scale) >= limit
    return crossed, total


def t_test(arm: NDArray[np.bool_], kpi: Floats) -> Floats:
    """Return Welch's statistic after every user; 0 before each arm has enough."""
    sides = []
    for mine in (arm, ~arm):
        n = np.cumsum(mine, axis=1).astype(float)
        mean = np.cumsum(kpi * mine, axis=1) / np.maximum(n, 1)
        square = np.cumsum(kpi**2 * mine, axis=1) / np.maximum(n, 1)
        sides.append((n, mean, np.maximum(square - mean**2, 0) / np.maximum(n - 1, 1)))
    (n1, m1, v1), (n0, m0, v0) = sides
    enough = (n1 >= FIRST) & (n0 >= FIRST) & (v1 + v0 > 0)
    return np.where(enough, (m1 - m0) / np.sqrt(np.where(enough, v1 + v0, 1)), 0.0)


def follows_the_reading(case: Case, *, users: int, seed: int) -> float:
    """Return how far both intervals are apart at most, where each user is read by itself."""
    rng = np.random.default_rng(seed)
    arm = rng.random((1, users)) < case.weight / 100
    kpi = np.where(arm, case.better(rng, (1, users)), case.draw(rng, (1, users)))
    plan = ExperimentPlan(
        salt="s", header="x", weight=case.weight, kpi="value", low=0, high=1, window=0.5,
        centre=case.mean, variance=100.0, users=users, seconds=1,
    )  # fmt: skip
    share, scale = case.weight / 100, 1 - case.weight / 100
    before = np.cumsum(kpi, axis=1) - kpi
    guess = (case.mean * PRIOR + before) / (PRIOR + np.arange(users))
    score = ((arm - share) * (kpi - guess))[0]
    bets = sequence.bets(scale=scale, variance=100.0, confidence=0.95)
    limit, most = sequence.threshold(0.95), 0.0
    found = Observations(plan)
    for k in range(users):
        side = "candidate" if arm[0, k] else "stable"
        common = {"t": float(k), "id": str(k)}
        found.add({"e": "request", "user": str(k), "arm": side, "weight": case.weight, **common})
        found.add({"e": "feedback", "row": 0, "value": float(kpi[0, k]), **common})
        found.until(k + 0.5)
        shown = reading_of(found.sums, plan, weight=case.weight, waiting=0, now=datetime.now(UTC))
        if shown.low is None or shown.low <= -1:
            continue
        half = sequence.boundary(
            float((score[: k + 1] ** 2).sum()), bets, scale=scale, threshold=limit
        )
        low = (score[: k + 1].sum() - half) / ((k + 1) * share * scale)
        most = max(most, abs(low - shown.low))
    return most


def _targets(
    equal: Mapping[str, Found], better: Mapping[str, Found], sizes: Mapping[str, Size], apart: float
) -> list[Target]:
    targets = []
    for name in equal:
        targets += [
            Target(
                f"{name}: two equal versions, ever called different over all looks",
                100 * equal[name].ours, 5.0, "%",
            ),
            Target(
                f"{name}: the better one seen by {sizes[name].users:,} users",
                100 * better[name].right, 100 * POWER, "%", "at least",
            ),
        ]  # fmt: skip
    targets.append(Target("the reading itself, beside what is simulated here", apart, 1e-9, ""))
    return targets


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the experiments")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    count = 200 if options.quick else 2000
    equal, better, sizes = {}, {}, {}
    for seed, (name, case) in enumerate(cases().items()):
        size = sizes[name] = size_of(
            effect=case.effect, sd=case.sd, weight=case.weight, power=POWER, confidence=1 - ALPHA
        )
        # Half as long again as planned: an experiment need not stop where it was to.
        longer = size.users * 3 // 2
        equal[name] = simulate(
            case, longer, variance=size.variance, count=count, seed=2 * seed, equal=True
        )
        better[name] = simulate(
            case, size.users, variance=size.variance, count=count, seed=2 * seed + 1, equal=False
        )
        print(
            f"{name}: equal: ours {equal[name].ours:.2%}, t-test read at every look "
            f"{equal[name].peeked:.2%}, once {equal[name].once:.2%}; better: ours "
            f"{better[name].right:.2%} by {size.users:,} users, median {better[name].users:,.0f}; "
            f"a t-test read once takes {size.fixed:,}",
            flush=True,
        )
    apart = follows_the_reading(cases()["rate of 10 %, a fifth of them"], users=400, seed=99)
    figures = {
        "quick": options.quick,
        "experiments": count,
        "two equal versions, ever called different, %": {
            name: {
                "reading at every look": 100 * one.ours,
                "t-test at every look": 100 * one.peeked,
                "t-test once": 100 * one.once,
            }
            for name, one in equal.items()
        },
        "the smallest effect": {
            name: {
                "users computed": sizes[name].users,
                "decided rightly by then, %": 100 * one.right,
                "median users until it is": one.users,
                "users of a t-test read once": sizes[name].fixed,
                "inflation": sizes[name].inflation,
            }
            for name, one in better.items()
        },
    }
    return report(
        "experiment",
        question=QUESTION,
        figures=figures,
        targets=_targets(equal, better, sizes, apart),
        path=options.json,
    )


if __name__ == "__main__":
    raise SystemExit(main())
