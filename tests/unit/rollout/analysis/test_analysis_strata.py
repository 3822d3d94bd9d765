"""Evidence in fewer intervals: judged as if none had been merged."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from penstock.records.rollout import (
    ArmSummary,
    HistogramBuckets,
    Interval,
    Labelled,
    Pairs,
    merged,
    total,
)
from penstock.rollout.analysis.judge import abort, judge
from penstock.rollout.analysis.strata import compacted
from penstock.rollout.spec import AbortSpec, RulesSpec

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def arm(chance: random.Random, errors: float) -> ArmSummary:
    requests = chance.randrange(5, 30)
    failed = sum(chance.random() < errors for _ in range(requests))
    good = requests - failed
    return ArmSummary(
        requests=requests,
        server_errors=failed,
        latency={chance.randrange(40, 60): good},
        scores={chance.randrange(0, 50): good},
        labels={"yes": good},
        labelled=Labelled(rows=4, loss=chance.random(), squared=chance.random() / 2),
    )


def intervals(count: int, *, errors: float, begin: int = 0, step: int = 0) -> list[Interval]:
    chance = random.Random(count + step)
    return [
        Interval(
            started=BEGIN + timedelta(seconds=begin + place),
            seconds=1.0,
            phase="step",
            step=step,
            weight=10,
            stable=arm(chance, 0.02),
            candidate=arm(chance, errors),
        )
        for place in range(count)
    ]


@pytest.mark.parametrize(
    ("count", "errors"),
    [
        *((63, 0.02), (99, 0.08), (300, 0.02), (700, 0.08)),
        *(pytest.param(count, 0.02, marks=pytest.mark.long) for count in (10, 81, 99, 257, 700)),
        *(pytest.param(count, 0.08, marks=pytest.mark.long) for count in (10, 63, 81, 257, 300)),
    ],
)
def test_a_verdict_is_the_same(count: int, errors: float) -> None:
    whole = intervals(200, errors=0.02) + intervals(count, errors=errors, begin=200, step=1)
    short = compacted(whole)
    assert len(short) <= len(whole)
    verdicts = [
        judge(
            each,
            phase="step",
            step=1,
            rules=RulesSpec(),
            min_samples=100,
            grids=HistogramBuckets(),
            task="binary",
        )
        for each in (whole, short)
    ]
    for one, other in zip(*verdicts, strict=True):
        assert (one.rule, one.verdict, one.stable_samples) == (
            other.rule,
            other.verdict,
            other.stable_samples,
        )
        for name in ("value", "low", "high"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-9)
    assert abort(whole, abort=AbortSpec()) == abort(short, abort=AbortSpec())


@pytest.mark.long
def test_it_is_as_short_as_its_strata_and_loses_nothing() -> None:
    whole = intervals(2000, errors=0.02)
    short = compacted(whole)
    assert len(short) < 260
    assert short[-16:] == tuple(whole[-16:])
    assert sum(one.looks for one in short) == 2000
    assert sum(one.seconds for one in short) == 2000
    before, after = total(i.candidate for i in whole), total(i.candidate for i in short)
    assert (after.requests, after.scores, after.latency) == (
        before.requests,
        before.scores,
        before.latency,
    )
    assert compacted(short) == short
    # Going on, and compacting now and then, comes to the same.
    again: list[Interval] = []
    for one in whole:
        again.append(one)
        if len(again) % 100 == 0:
            again = list(compacted(again))
    assert [one.looks for one in compacted(again)] == [one.looks for one in short]


def test_merging_sums_both_versions_and_their_pairs() -> None:
    one, two = intervals(2, errors=0.5)
    pairs = Pairs(stable=one.stable, candidate=one.candidate, rows=3, agreeing=2)
    both = merged([one.model_copy(update={"pairs": pairs, "blind": "why"}), two])
    assert both.candidate == one.candidate.plus(two.candidate)
    assert both.pairs == pairs
    assert (both.started, both.seconds, both.looks, both.blind) == (one.started, 2.0, 2, "why")
