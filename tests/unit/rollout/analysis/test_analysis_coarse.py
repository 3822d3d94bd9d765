"""Latency in coarse buckets, as a server's own histogram has them: never told better than it is."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest

from penstock.records.rollout import SERVED_LATENCY, ArmSummary, Finding, HistogramBuckets, Interval
from penstock.rollout.analysis.judge import judge
from penstock.rollout.spec import RulesSpec

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TRIPLING = tuple(0.0001 * 3**power for power in range(12))


def latency(
    *, edges: tuple[float, ...], ratio: float, blocks: int = 30, counted: bool = True, seed: int = 0
) -> Finding:
    """Judge a step whose figures come in blocks of a scrape, with empty looks in between."""
    rng = np.random.default_rng(seed)

    def arm(median: float) -> ArmSummary:
        seconds = median * np.exp(0.3 * rng.standard_normal(300))
        bins, counts = np.unique(np.searchsorted(edges, seconds), return_counts=True)
        found = dict(zip(bins.tolist(), counts.tolist(), strict=True)) if counted else {}
        return ArmSummary(requests=300, latency=found)

    nothing = ArmSummary()
    intervals = [
        Interval(
            started=NOW,
            seconds=1,
            phase="step",
            weight=50,
            stable=arm(0.01) if look % 5 == 0 else nothing,
            candidate=arm(0.01 * ratio) if look % 5 == 0 else nothing,
        )
        for look in range(5 * blocks)
    ]
    findings = judge(
        intervals,
        phase="step",
        step=0,
        rules=RulesSpec(),
        min_samples=300,
        grids=HistogramBuckets(latency=edges),
        task="binary",
    )
    return next(finding for finding in findings if finding.rule == "latency")


def test_the_server_s_edges_lie_so_close_that_the_usual_bound_can_be_judged() -> None:
    ratios = [b / a for a, b in pairwise(SERVED_LATENCY)]
    assert max(ratios) < math.sqrt(1.5) + 0.03
    assert latency(edges=SERVED_LATENCY, ratio=1.0).verdict == "pass"
    assert latency(edges=SERVED_LATENCY, ratio=2.5).verdict == "fail"


@pytest.mark.parametrize("edges", [SERVED_LATENCY, TRIPLING], ids=["served", "tripling"])
@pytest.mark.parametrize("seed", range(5))
def test_a_candidate_beyond_the_bound_never_passes(edges: tuple[float, ...], seed: int) -> None:
    finding = latency(edges=edges, ratio=1.55, seed=seed)
    assert finding.verdict != "pass", finding.sentence
    assert finding.high is None or finding.high >= 1.55


def test_buckets_wider_than_the_bound_say_nothing() -> None:
    finding = latency(edges=TRIPLING, ratio=1.0)
    assert finding.verdict == "inconclusive"
    assert finding.high is None or finding.high >= 3


def test_latency_that_was_not_measured_is_never_passed_and_said() -> None:
    finding = latency(edges=SERVED_LATENCY, ratio=1.0, counted=False)
    assert (finding.verdict, finding.value) == ("inconclusive", None)
    assert "no request so far has the figures for it" in finding.sentence


def test_answers_that_were_measured_elsewhere_are_named() -> None:
    measured = ArmSummary(requests=500, latency={100: 400, 101: 100})
    more = ArmSummary(requests=900, server_errors=100, latency={100: 400, 101: 100})
    for arm, said in ((measured, False), (more, True)):
        intervals = [
            Interval(started=NOW, seconds=1, phase="step", weight=50, stable=arm, candidate=arm)
        ] * 4
        found = judge(
            intervals,
            phase="step",
            step=0,
            rules=RulesSpec(),
            min_samples=300,
            grids=HistogramBuckets(),
            task="binary",
        )
        sentence = next(f.sentence for f in found if f.rule == "latency")
        assert ("2,400 responses of both are left out" in sentence) == said, sentence
