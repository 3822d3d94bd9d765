"""The tests behind the rules: levels kept while one peeks, and known values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from penstock.records.rollout import ArmSummary, Interval, Pairs
from penstock.rollout.analysis import _latency, _means, _rates
from penstock.rollout.analysis._evidence import evidence_of

LEVEL = 0.05
THRESHOLD = math.log(1 / LEVEL)
"""A level that 300 rollouts can tell from its double."""
ROLLOUTS = 300


def starts(strata: int) -> np.ndarray:
    place = np.arange(1.0, strata + 1)
    return np.log(0.5) - np.log(place * (place + 1))


def tables(n_s: np.ndarray, x_s: np.ndarray, n_c: np.ndarray, x_c: np.ndarray) -> _rates.Tables:
    sides = [np.asarray(side, dtype=float) for side in (n_s, x_s, n_c, x_c)]
    return _rates.Tables(*sides, starts=starts(len(sides[0])))


def ever(
    wealth: Callable[[_rates.Tables], float],
    *,
    share: float,
    gap: float,
    rates: Callable[[np.random.Generator], np.ndarray],
    rollouts: int = ROLLOUTS,
) -> float:
    """Share of simulated rollouts that reject at any of their looks."""
    rejected = 0
    for seed in range(rollouts):
        rng = np.random.default_rng(seed)
        base = rates(rng)
        requests = rng.poisson(50, len(base))
        n_c = rng.binomial(requests, share)
        n_s = requests - n_c
        x_s, x_c = rng.binomial(n_s, base), rng.binomial(n_c, np.minimum(base + gap, 1))
        rejected += any(
            wealth(tables(n_s[:look], x_s[:look], n_c[:look], x_c[:look])) >= THRESHOLD
            for look in range(1, len(base) + 1)
        )
    return rejected / rollouts


def steady(rng: np.random.Generator) -> np.ndarray:
    return np.full(40, 0.01)


def spotless(rng: np.random.Generator) -> np.ndarray:
    return np.zeros(40)


def stormy(rng: np.random.Generator) -> np.ndarray:
    """Outages of both arms, and a tide."""
    tide = 0.05 + 0.05 * np.sin(np.arange(40) / 6)
    return np.where(rng.random(40) < 0.1, rng.uniform(0, 0.7, 40), tide)


LONG = pytest.mark.long


@pytest.mark.parametrize(
    ("rates", "share"),
    [
        (steady, 0.1),
        *(pytest.param(rates, 0.1, marks=LONG) for rates in (spotless, stormy)),
        *(pytest.param(rates, 0.5, marks=LONG) for rates in (steady, spotless, stormy)),
    ],
)
def test_looking_each_second_keeps_the_level_of_a_pass(
    rates: Callable[[np.random.Generator], np.ndarray], share: float
) -> None:
    def wealth(seen: _rates.Tables) -> float:
        return float(_rates.log_wealth_below(seen, np.array([0.02]))[0])

    # Three standard errors above the level.
    assert ever(wealth, share=share, gap=0.02, rates=rates) <= LEVEL + 0.038


@pytest.mark.parametrize(
    "rates", [stormy, *(pytest.param(r, marks=LONG) for r in (steady, spotless))]
)
def test_looking_each_second_keeps_the_level_of_a_failure(
    rates: Callable[[np.random.Generator], np.ndarray],
) -> None:
    def wealth(seen: _rates.Tables) -> float:
        return float(_rates.log_wealth_above(seen, np.array([0.02]))[0])

    assert ever(wealth, share=0.5, gap=0.02, rates=rates) <= LEVEL + 0.038


def test_the_test_has_power_too() -> None:
    def below(seen: _rates.Tables) -> float:
        return float(_rates.log_wealth_below(seen, np.array([0.02]))[0])

    def above(seen: _rates.Tables) -> float:
        return float(_rates.log_wealth_above(seen, np.array([0.02]))[0])

    assert ever(below, share=0.5, gap=0.0, rates=spotless, rollouts=50) > 0.95
    assert ever(above, share=0.5, gap=0.10, rates=steady, rollouts=50) > 0.95


def test_what_is_laid_on_the_beginnings_of_harm_is_never_more_than_there_is() -> None:
    """Else looking at a longer rollout would reject more often than the level says."""
    arm = ArmSummary(requests=50, latency={60: 50})
    stages = [("shadow", 0, 0)] * 300 + [("step", 0, 10)] * 90 + [("step", 1, 50)] * 90
    intervals = [
        Interval.model_validate(
            {
                "started": datetime(2026, 1, 1, tzinfo=UTC),
                "seconds": 1.0,
                "phase": phase,
                "step": step,
                "weight": weight,
                "stable": arm,
                "candidate": arm,
                "pairs": Pairs(stable=arm, candidate=arm),
            }
        )
        for phase, step, weight in stages
    ]
    for until_then in (1, 40, 299, 320, len(intervals)):
        evidence = evidence_of(intervals[:until_then], phases=("shadow", "step"))
        assert evidence is not None
        groups = _latency.latencies_of(evidence, EDGES).starts
        for weights in (evidence.starts, groups):
            assert np.exp(weights).sum() <= 1 + 1e-9


EDGES = tuple(1e-3 * 1.05**step for step in range(160))


def latencies(rng: np.random.Generator, *, ratio: float, share: float) -> _latency.Latencies:
    """Forty strata, in some of which both versions are ten times as slow."""
    storms = np.where(rng.random(40) < 0.15, 10.0, 1.0)
    sides = []
    for times, kept in ((1.0, 1 - share), (ratio, share)):
        answers = [
            times * storm * rng.lognormal(np.log(0.01), 0.5, rng.binomial(400, kept))
            for storm in storms
        ]
        grid = (0.0, *EDGES, np.inf)
        sides.append(np.array([np.histogram(some, grid)[0] for some in answers], dtype=float))
    edges = np.array([EDGES[0] / 1.05, *EDGES, EDGES[-1] * 1.05])
    return _latency.Latencies(
        edges=edges,
        stable=sides[0],
        candidate=sides[1],
        starts=starts(40),
        totals=(sides[0].sum(axis=0), sides[1].sum(axis=0)),
    )


def until(seen: _latency.Latencies, look: int) -> _latency.Latencies:
    return replace(
        seen, stable=seen.stable[:look], candidate=seen.candidate[:look], starts=seen.starts[:look]
    )


@pytest.mark.parametrize(
    ("share", "level"),
    [
        (0.5, 0.99),
        *(pytest.param(*one, marks=LONG) for one in ((0.1, 0.5), (0.1, 0.99), (0.5, 0.5))),
    ],
)
def test_a_candidate_at_the_line_neither_passes_nor_fails_however_often_one_looks(
    level: float, share: float
) -> None:
    passed = failed = 0
    for seed in range(100):
        seen = latencies(np.random.default_rng(seed), ratio=1.5, share=share)
        looks = [until(seen, look) for look in (1, 2, 4, 8, 15, 25, 40)]
        passed += any(_latency._surely_below(one, level, 1.5, THRESHOLD) for one in looks)
        failed += any(_latency._surely_above(one, level, 1.5, THRESHOLD) for one in looks)
    # Three standard errors above the level.
    assert passed <= 100 * LEVEL + 6.5
    assert failed <= 100 * LEVEL + 6.5


@pytest.mark.parametrize("level", [0.5, 0.99])
def test_latency_is_told_apart_through_storms_that_both_are_in(level: float) -> None:
    equal = latencies(np.random.default_rng(1), ratio=1.0, share=0.5)
    slow = latencies(np.random.default_rng(2), ratio=3.0, share=0.5)
    assert _latency._surely_below(equal, level, 1.5, THRESHOLD)
    assert not _latency._surely_above(equal, level, 1.0, THRESHOLD)
    assert _latency._surely_above(slow, level, 1.5, THRESHOLD)
    assert not _latency._surely_below(slow, level, 3.0, THRESHOLD)


rate = st.floats(0.0005, 0.98)


@settings(max_examples=200, deadline=None)
@given(rate, rate, st.integers(1, 200), st.integers(1, 200), st.floats(-0.9, 0.9))
def test_the_projection_is_the_nearest_point_of_the_null(
    stable: float, candidate: float, n_s: int, n_c: int, gap: float
) -> None:
    def divergence(p: float, q: np.ndarray) -> np.ndarray:
        result: np.ndarray = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
        return result

    grid = np.linspace(max(0, -gap) + 2e-6, min(1, 1 - gap) - 2e-6, 4001)
    nearest = (n_s * divergence(stable, grid) + n_c * divergence(candidate, grid + gap)).min()
    found = _rates._projection(
        *(np.array(float(one)) for one in (stable, candidate, n_s, n_c, gap))
    )
    there = np.array([float(found)])
    value = n_s * divergence(stable, there) + n_c * divergence(candidate, there + gap)
    assert float(value[0]) <= nearest + 1e-6 * (1 + abs(nearest))


@settings(max_examples=60, deadline=None)
@given(rate, rate, st.integers(1, 12), st.integers(1, 12), st.floats(-0.5, 0.5), rate)
def test_one_stratum_is_an_e_variable_for_every_point_of_the_null(
    stable: float, candidate: float, n_s: int, n_c: int, gap: float, level: float
) -> None:
    """Expectation under the null at most 1, by summing over all outcomes."""
    assume(0 < level + gap < 1)
    gains = []
    weights = []
    for x_s in range(n_s + 1):
        for x_c in range(n_c + 1):
            one = tables(np.array([n_s]), np.array([x_s]), np.array([n_c]), np.array([x_c]))
            alternatives = np.array([[[stable]]]), np.array([[[candidate]]])
            sign = 1.0 if candidate - stable > gap else -1.0
            gain = _rates._log_ratios(one, *alternatives, np.array([gap]), sign=sign)
            gains.append(float(gain[0, 0, 0]))
            weights.append(
                math.comb(n_s, x_s)
                * level**x_s
                * (1 - level) ** (n_s - x_s)
                * math.comb(n_c, x_c)
                * (level + gap) ** x_c
                * (1 - level - gap) ** (n_c - x_c)
            )
    assert math.fsum(w * math.exp(g) for w, g in zip(weights, gains, strict=True)) <= 1 + 1e-4


@pytest.mark.parametrize("level", [0.001, 0.05, 0.4])
@pytest.mark.parametrize(("wealth", "gap"), [("above", 0.02), ("below", 0.02), ("above", 0.0)])
def test_wealth_is_no_more_than_one_on_average(level: float, wealth: str, gap: float) -> None:
    """On the null's border, summed over all outcomes of one stratum."""
    n_s, n_c = 18, 7
    x_s, x_c = (grid.ravel() for grid in np.mgrid[: n_s + 1, : n_c + 1])
    chances = [
        math.comb(n_s, s)
        * math.comb(n_c, c)
        * level**s
        * (1 - level) ** (n_s - s)
        * (level + gap) ** c
        * (1 - level - gap) ** (n_c - c)
        for s, c in zip(x_s.tolist(), x_c.tolist(), strict=True)
    ]
    log_wealth = _rates.log_wealth_above if wealth == "above" else _rates.log_wealth_below
    gains = [
        float(
            log_wealth(
                tables(np.array([n_s]), np.array([s]), np.array([n_c]), np.array([c])),
                np.array([gap]),
            )[0]
        )
        for s, c in zip(x_s, x_c, strict=True)
    ]
    mean = math.fsum(p * math.exp(gain) for p, gain in zip(chances, gains, strict=True))
    assert 0.3 < mean <= 1 + 1e-4


@given(
    st.lists(st.tuples(*[st.integers(0, 50)] * 4), min_size=1, max_size=20),
)
def test_swapping_the_arms_flips_the_difference(rows: list[tuple[int, int, int, int]]) -> None:
    data = np.array(rows)
    n_s, n_c = data[:, 0] + data[:, 1], data[:, 2] + data[:, 3]
    one = tables(n_s, data[:, 0], n_c, data[:, 2])
    other = tables(n_c, data[:, 2], n_s, data[:, 0])
    assert float(one.difference) == pytest.approx(-float(other.difference), abs=1e-12)


def test_ten_times_the_evidence_narrows_the_interval() -> None:
    rng = np.random.default_rng(0)
    n = np.full(40, 50)
    x_s, x_c = rng.binomial(n, 0.02), rng.binomial(n, 0.03)
    narrow = tables(10 * n, 10 * x_s, 10 * n, 10 * x_c)
    ends = [
        _rates.ends(one, threshold=THRESHOLD, fail=0.02, bound=0.02)
        for one in (tables(n, x_s, n, x_c), narrow)
    ]
    assert ends[1][1] - ends[1][0] < 0.5 * (ends[0][1] - ends[0][0])
    assert ends[0][0] <= 0.01 <= ends[0][1]


def test_a_share_has_the_closed_form_of_a_uniform_mixture() -> None:
    """Against a null of 0 + all successes the wealth is a power series that can be summed."""
    found = _means.log_wealth_of_share(20, 20, np.array([0.5]), above=True)[0]
    exact = math.log((1 - 0.5**21) / 21 / 0.5 / 0.5**20)
    assert found == pytest.approx(exact, rel=2e-3)


def test_an_agreement_looked_at_each_row_keeps_its_level() -> None:
    rejected = 0
    for seed in range(ROLLOUTS):
        agreeing = np.cumsum(np.random.default_rng(seed).random(300) < 0.8)
        rejected += any(
            _means.log_wealth_of_share(int(agreeing[n - 1]), n, np.array([0.8]), above=True)[0]
            >= THRESHOLD
            for n in range(1, 301, 3)
        )
    assert rejected / ROLLOUTS <= LEVEL + 0.038


@pytest.mark.long
@pytest.mark.parametrize("above", [True, False])
def test_means_looked_at_each_second_keep_their_level(above: bool) -> None:
    rejected = 0
    for seed in range(ROLLOUTS):
        rng = np.random.default_rng(seed)
        stable, candidate = [], []
        for _ in range(40):
            # Both arms have good and bad seconds together.
            level = rng.uniform(0.05, 0.6)
            sides = (rng.random(18) < level, rng.random(2) < level + 0.05)
            stable.append((18, sides[0].sum(), sides[0].sum()))
            candidate.append((2, sides[1].sum(), sides[1].sum()))
        left, right = np.array(stable, dtype=float), np.array(candidate, dtype=float)
        rejected += any(
            _means.log_wealth_of_means(left[:look], right[:look], 0.05, above=above) >= THRESHOLD
            for look in range(1, 41)
        )
    assert rejected / ROLLOUTS <= LEVEL + 0.038


def test_the_interval_of_means_covers_and_closes() -> None:
    rng = np.random.default_rng(3)
    losses = rng.beta(1, 6, (200, 50)), np.minimum(rng.beta(1, 6, (200, 50)) + 0.1, 1)
    stable, candidate = (
        np.column_stack([np.full(200, 50.0), side.sum(axis=1), (side**2).sum(axis=1)])
        for side in losses
    )
    value, low, high = _means.means_ends(stable, candidate, THRESHOLD)
    assert value == pytest.approx(0.1, abs=0.01)
    assert low < 0.1 < high
    assert high - low < 0.03
