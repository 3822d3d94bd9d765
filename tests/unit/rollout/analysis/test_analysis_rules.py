"""Each rule seen to pass, to fail and to be inconclusive, on records as a router gives them."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.records.rollout import (
    ArmSummary,
    Finding,
    HistogramBuckets,
    Interval,
    Labelled,
    Pairs,
)
from penstock.rollout.analysis.judge import abort, judge, verdict_of
from penstock.rollout.spec import AbortSpec, CanarySpec, RulesSpec

GRIDS = HistogramBuckets()
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def histogram(values: np.ndarray, edges: tuple[float, ...]) -> dict[int, int]:
    bins, counts = np.unique(np.searchsorted(edges, values, side="right"), return_counts=True)
    return dict(zip(bins.tolist(), counts.tolist(), strict=True))


def arm(
    rng: np.random.Generator,
    requests: int,
    *,
    errors: float = 0.0,
    refusals: float = 0.0,
    median: float = 0.010,
    sigma: float = 0.3,
    shift: float = 0.0,
    spread: float = 1.5,
    labels: dict[str, float] | None = None,
    loss: float | None = None,
) -> ArmSummary:
    failed, refused = rng.binomial(requests, errors), rng.binomial(requests, refusals)
    answered = max(0, requests - failed - refused)
    logits = spread * (rng.standard_normal(answered) + shift)
    losses = np.zeros(0) if loss is None else rng.beta(2 * loss, 2 * (1 - loss), answered)
    names = list(labels or {})
    drawn = rng.multinomial(answered, list((labels or {}).values())) if names else []
    return ArmSummary(
        requests=requests,
        client_errors=refused,
        server_errors=failed,
        latency=histogram(median * np.exp(sigma * rng.standard_normal(answered)), GRIDS.latency),
        scores=histogram(1 / (1 + np.exp(-logits)), GRIDS.scores),
        labels={name: int(rows) for name, rows in zip(names, drawn, strict=True) if rows},
        labelled=Labelled(
            requests=len(losses), loss=float(losses.sum()), squared=float((losses**2).sum())
        ),
    )


def shadow(
    *, seconds: int = 40, rate: int = 50, seed: int = 0, agreeing: float = 0.98, **candidate: Any
) -> list[Interval]:
    rng = np.random.default_rng(seed)
    same = {key: candidate.pop(f"stable_{key}") for key in COMMON if f"stable_{key}" in candidate}
    result = []
    for _ in range(seconds):
        pairs = Pairs(
            stable=arm(rng, rate, **same),
            candidate=arm(rng, rate, **{**same, **candidate}),
            rows=rate,
            agreeing=int(rng.binomial(rate, agreeing)),
        )
        result.append(Interval(started=NOW, seconds=1, phase="shadow", weight=0, pairs=pairs))
    return result


COMMON = ("errors", "labels", "loss", "shift", "spread")
CONSTANT = {"spread": 1e-9, "shift": 2e8}
"""Logits of 0.2, all within one bin."""


def step(
    *,
    weight: int = 50,
    index: int = 0,
    seconds: int = 40,
    rate: int = 50,
    seed: int = 1,
    **candidate: Any,
) -> list[Interval]:
    rng = np.random.default_rng(seed)
    to_candidate = max(1, rate * weight // 100)
    return [
        Interval(
            started=NOW,
            seconds=1,
            phase="step",
            step=index,
            weight=weight,
            stable=arm(rng, rate - to_candidate),
            candidate=arm(rng, to_candidate, **candidate),
        )
        for _ in range(seconds)
    ]


def findings(
    intervals: list[Interval],
    *,
    phase: Literal["shadow", "step"] = "shadow",
    index: int = 0,
    min_samples: int = 300,
    task: Literal["binary", "multiclass", "regression"] = "binary",
    **rules: Any,
) -> dict[str, Finding]:
    found = judge(
        intervals,
        phase=phase,
        step=index,
        rules=RulesSpec(**rules),
        min_samples=min_samples,
        grids=GRIDS,
        task=task,
    )
    return {finding.rule: finding for finding in found}


def test_a_sound_candidate_passes_every_rule() -> None:
    found = findings(shadow())
    assert {rule: finding.verdict for rule, finding in found.items()} == {
        "errors": "pass",
        "refusals": "pass",
        "latency": "pass",
        "agreement": "pass",
        "scores": "pass",
        "labels": "not judged",
    }
    assert verdict_of(list(found.values())) == "pass"


def test_a_step_is_judged_without_agreement() -> None:
    found = findings([*shadow(), *step(weight=50)], phase="step")
    assert set(found) == {"errors", "refusals", "latency", "scores", "labels"}
    assert verdict_of(list(found.values())) == "pass"


@pytest.mark.parametrize(
    ("rule", "harm"),
    [
        ("errors", {"errors": 0.10}),
        ("refusals", {"refusals": 0.10}),
        ("latency", {"median": 0.030}),
        ("scores", {"shift": 0.8}),
        ("agreement", {"agreeing": 0.6}),
    ],
)
def test_each_rule_fails_by_what_it_is_for_and_by_nothing_else(
    rule: str, harm: dict[str, float]
) -> None:
    found = findings(shadow(seconds=30, **harm))
    failed = {name for name, finding in found.items() if finding.verdict == "fail"}
    assert failed == {rule}
    assert verdict_of(list(found.values())) == "fail"


@pytest.mark.parametrize("rule", ["errors", "refusals", "latency", "scores", "agreement"])
def test_each_rule_is_inconclusive_while_samples_are_missing(rule: str) -> None:
    found = findings(shadow(seconds=2), min_samples=300)
    assert found[rule].verdict == "inconclusive"
    assert "200 mirrored requests are missing" in found[rule].sentence


def test_min_samples_counts_the_current_step_alone() -> None:
    before = [*shadow(), *step(weight=10, seconds=100)]
    found = findings([*before, *step(weight=50, index=1, seconds=4)], phase="step", index=1)
    assert verdict_of(list(found.values())) == "inconclusive"
    assert "200 requests of this step are missing" in found["errors"].sentence
    assert found["errors"].candidate_samples == 100 * 5 + 4 * 25


def test_a_candidate_with_all_traffic_needs_no_stable_samples() -> None:
    before = [*shadow(), *step(weight=50, seconds=40)]
    found = findings(
        [*before, *step(weight=100, index=1, seconds=10)], phase="step", index=1, min_samples=400
    )
    assert verdict_of(list(found.values())) == "pass"


def test_harm_counts_before_the_samples_are_in() -> None:
    found = findings(shadow(seconds=6, errors=0.3), min_samples=10_000)
    assert found["errors"].verdict == "fail"


def test_without_any_request_nothing_passes() -> None:
    empty = Interval(started=NOW, seconds=1, phase="shadow", weight=0)
    for intervals in ([], [empty]):
        found = findings(intervals)
        assert verdict_of(list(found.values())) == "inconclusive"
        assert all(finding.value is None for finding in found.values())


def test_twenty_requests_are_inconclusive() -> None:
    found = findings(shadow(seconds=20, rate=1))
    assert verdict_of(list(found.values())) == "inconclusive"


def test_the_tail_alone_and_the_median_alone_are_both_caught() -> None:
    slow_tail = findings(shadow(seconds=120, sigma=0.3 + math.log(3) / 2.326))["latency"]
    assert slow_tail.verdict == "fail"
    assert "99 % quantile took" in slow_tail.sentence
    # Twice the median, hardly more at the quantile: the spread is what shrinks.
    moved = findings(shadow(seconds=40, median=0.018, sigma=0.08))["latency"]
    assert moved.verdict == "fail"
    assert "the median took" in moved.sentence


def test_latency_by_1_2_is_within_what_is_allowed() -> None:
    found = findings(shadow(seconds=100, median=0.012))["latency"]
    assert found.verdict == "pass"
    assert found.value == pytest.approx(1.2, rel=0.08)
    assert found.low is not None
    assert found.high is not None
    assert 1 <= found.low <= 1.2 <= found.high <= 1.5


def test_a_small_shift_of_scores_is_harmless_and_half_a_deviation_is_not() -> None:
    assert findings(shadow(seconds=60, shift=0.1))["scores"].verdict == "pass"
    assert findings(shadow(seconds=200, shift=0.5))["scores"].verdict == "fail"


def test_constant_scores_fail_even_where_most_scores_are_alike() -> None:
    found = findings(shadow(seconds=10, **CONSTANT))["scores"]
    assert found.verdict == "fail"
    assert "the same score" in found.sentence
    # Nine in ten of the stable version's scores fall in one bin too.
    intervals = shadow(seconds=10)
    mixed = []
    for interval in intervals:
        stable = interval.pairs.stable.model_copy(update={"scores": {24: 45, 30: 5}})
        candidate = interval.pairs.candidate.model_copy(update={"scores": {24: 50}})
        pairs = interval.pairs.model_copy(update={"stable": stable, "candidate": candidate})
        mixed.append(interval.model_copy(update={"pairs": pairs}))
    assert findings(mixed)["scores"].verdict == "fail"


def test_both_constant_is_no_difference() -> None:
    both = shadow(**{f"stable_{key}": value for key, value in CONSTANT.items()})
    assert findings(both)["scores"].verdict == "pass"


def test_requests_about_one_row_do_not_make_a_candidate_constant() -> None:
    mixed = []
    for interval in shadow(seconds=1):
        stable = interval.pairs.stable.model_copy(update={"scores": {24: 20}})
        candidate = interval.pairs.candidate.model_copy(update={"scores": {30: 20}})
        pairs = interval.pairs.model_copy(update={"stable": stable, "candidate": candidate})
        mixed.append(interval.model_copy(update={"pairs": pairs}))
    assert "the same score" not in findings(mixed)["scores"].sentence


def test_multiclass_labels_count_and_binary_labels_do_not() -> None:
    even, odd = {"a": 0.4, "b": 0.3, "c": 0.3}, {"a": 0.1, "b": 0.6, "c": 0.3}
    intervals = shadow(seconds=40, stable_labels=even, labels=odd)
    assert findings(intervals, task="multiclass")["scores"].verdict == "fail"
    assert findings(intervals, task="binary")["scores"].verdict == "pass"
    same = shadow(seconds=60, stable_labels=even)
    assert findings(same, task="multiclass")["scores"].verdict == "pass"


def test_labels_pass_fail_and_wait() -> None:
    assert findings(shadow(seconds=60, stable_loss=0.15))["labels"].verdict == "pass"
    worse = findings(shadow(seconds=20, stable_loss=0.15, loss=0.5))["labels"]
    assert worse.verdict == "fail"
    assert worse.value == pytest.approx(0.35, abs=0.05)
    few = shadow(seconds=2, stable_loss=0.15)
    assert findings(few)["labels"].verdict == "not judged"
    assert findings(few, labels="required")["labels"].verdict == "inconclusive"
    assert findings(shadow(), labels="required")["labels"].verdict == "inconclusive"
    # Enough of them, but not certain enough: what has come is judged, so it holds things up.
    assert findings(shadow(seconds=6, stable_loss=0.15))["labels"].verdict == "inconclusive"


def test_labels_fail_nothing_before_enough_requests_have_theirs() -> None:
    few = list(shadow(seconds=3, stable_loss=0.1, loss=0.9))
    assert sum(one.pairs.candidate.labelled.requests for one in few) < 200
    assert findings(few, min_labels=100)["labels"].verdict == "fail", "the evidence is strong"
    held = findings(few)["labels"]
    assert held.verdict == "not judged"
    assert "labelled requests are missing" in held.sentence
    assert findings(few, labels="required")["labels"].verdict == "inconclusive"


def test_labels_of_earlier_releases_are_read() -> None:
    assert Labelled.model_validate({"rows": 3, "loss": 1.0, "squared": 0.5}) == Labelled(
        requests=3, loss=1.0, squared=0.5
    )


def test_agreement_of_zero_is_left_out_and_of_one_takes_no_exception() -> None:
    assert findings(shadow(), agreement=0)["agreement"].verdict == "not judged"
    assert findings(shadow(agreeing=1.0), agreement=1)["agreement"].verdict == "pass"
    assert findings(shadow(agreeing=0.99), agreement=1)["agreement"].verdict == "fail"


def test_rising_weight_and_load_do_not_blame_the_candidate() -> None:
    """Simpson's paradox: later hours are worse for both, and the candidate sees more of them."""
    rng = np.random.default_rng(5)
    intervals = shadow()
    for index, (weight, errors, median) in enumerate([(10, 0.0, 0.010), (50, 0.08, 0.030)]):
        for _ in range(60):
            mine = 50 * weight // 100
            intervals.append(
                Interval(
                    started=NOW,
                    seconds=1,
                    phase="step",
                    step=index,
                    weight=weight,
                    stable=arm(rng, 50 - mine, errors=errors, median=median),
                    candidate=arm(rng, mine, errors=errors, median=median),
                )
            )
    found = findings(intervals, phase="step", index=1)
    assert [name for name, finding in found.items() if finding.verdict == "fail"] == []
    # Taken together the arms differ by more than is allowed.
    stable, candidate = (
        sum(getattr(one, side).server_errors for one in intervals)
        / max(1, sum(getattr(one, side).requests for one in intervals))
        for side in ("stable", "candidate")
    )
    assert candidate - stable > 0.02
    assert found["errors"].value == pytest.approx(0.0, abs=0.015)
    assert found["latency"].value == pytest.approx(1.0, abs=0.15)


def test_harm_that_begins_late_is_not_outvoted() -> None:
    sound = [*shadow(seconds=60), *step(weight=10, seconds=100)]
    late = step(weight=50, index=1, seconds=12, errors=0.15)
    assert findings([*sound, *late], phase="step", index=1)["errors"].verdict == "fail"
    slow = step(weight=50, index=1, seconds=12, median=0.030)
    assert findings([*sound, *slow], phase="step", index=1)["latency"].verdict == "fail"


def test_sentences_are_plain() -> None:
    found = findings(shadow(seconds=30, errors=0.10))["errors"]
    assert found.sentence.startswith("Of 1,500 requests the candidate failed ")
    assert "points more, 2 allowed." in found.sentence
    assert "the stable version 0 % of 1,500" in found.sentence


def test_abort_sees_a_burst_in_either_phase_and_gathers_small_intervals() -> None:
    spec = AbortSpec()
    assert abort([], abort=spec) is None
    assert abort(shadow(seconds=3), abort=spec) is None
    burst = abort([*shadow(seconds=3), *shadow(seconds=1, errors=0.9)], abort=spec)
    assert burst is not None
    assert burst.verdict == "fail"
    small = step(weight=10, rate=40, seconds=2, errors=1.0)
    assert abort(small, abort=spec) is None
    few = abort([*small, *step(weight=10, rate=40, seconds=1, errors=1.0)], abort=spec)
    assert few is not None
    assert few.candidate_samples == 12


def test_abort_does_not_blame_the_candidate_for_an_outage_of_both() -> None:
    both = shadow(seconds=1, errors=0.9, stable_errors=0.9)
    assert abort(both, abort=AbortSpec()) is None
    # What another stage saw does not count here.
    assert abort([*both, *step(weight=10, rate=20, seconds=1)], abort=AbortSpec()) is None


def test_a_few_failures_of_the_stable_version_do_not_show_that_an_outage_is_not_its_own() -> None:
    """Both had more requests than they carry; by chance a third of twelve failed."""
    few = step(weight=50, rate=24, seconds=1)[0]
    few = few.model_copy(
        update={
            "stable": ArmSummary(requests=12, server_errors=4),
            "candidate": ArmSummary(requests=10, server_errors=8),
        }
    )
    assert abort([few], abort=AbortSpec()) is None
    # A tenth of many shows it, and so does a stable version that never failed.
    clear = few.model_copy(update={"stable": ArmSummary(requests=60, server_errors=6)})
    assert abort([clear], abort=AbortSpec()) is not None
    sound = few.model_copy(update={"stable": ArmSummary(requests=2)})
    assert abort([sound], abort=AbortSpec()) is not None
    # What was not shown by the newest interval alone is shown with those before it.
    rare = few.model_copy(update={"stable": ArmSummary(requests=10, server_errors=1)})
    assert abort([rare], abort=AbortSpec()) is None
    found = abort([rare] * 3, abort=AbortSpec())
    assert found is not None
    assert found.candidate_samples > 10


def test_verdicts_add_up() -> None:
    def made(*verdicts: str) -> list[Finding]:
        return [
            Finding.model_validate(
                {"rule": "r", "verdict": verdict, "value": None, "bound": None, "sentence": "s"}
            )
            for verdict in verdicts
        ]

    assert verdict_of([]) == "inconclusive"
    assert verdict_of(made("not judged")) == "inconclusive"
    assert verdict_of(made("pass", "not judged")) == "pass"
    assert verdict_of(made("pass", "inconclusive")) == "inconclusive"
    assert verdict_of(made("pass", "inconclusive", "fail")) == "fail"


counts = st.integers(0, 60)


@st.composite
def arms(draw: st.DrawFn) -> ArmSummary:
    requests = draw(counts)
    failed = draw(st.integers(0, requests))
    refused = draw(st.integers(0, requests - failed))
    answered = requests - failed - refused
    bins = st.dictionaries(st.integers(0, 280), st.integers(1, 20), max_size=4)
    rows = draw(counts)
    loss = draw(st.floats(0, rows)) if rows else 0.0
    return ArmSummary(
        requests=requests,
        server_errors=failed,
        client_errors=refused,
        latency=draw(bins) if answered else {},
        scores={place % 50: rows for place, rows in draw(bins).items()} if answered else {},
        labels=draw(st.dictionaries(st.sampled_from("abc"), st.integers(1, 9), max_size=3)),
        labelled=Labelled(requests=rows, loss=loss, squared=loss * loss / max(rows, 1)),
    )


@st.composite
def histories(draw: st.DrawFn) -> list[Interval]:
    result = []
    for phase, index in draw(st.sampled_from([[("shadow", 0)], [("shadow", 0), ("step", 0)]])):
        for _ in range(draw(st.integers(0, 4))):
            rows = draw(counts)
            pairs = Pairs(
                stable=draw(arms()),
                candidate=draw(arms()),
                rows=rows,
                agreeing=draw(st.integers(0, rows)),
            )
            result.append(
                Interval(
                    started=NOW,
                    seconds=1,
                    phase=phase,
                    step=index,
                    weight=draw(st.sampled_from([10, 100])),
                    stable=draw(arms()),
                    candidate=draw(arms()),
                    pairs=pairs,
                )
            )
    return result


@settings(max_examples=40, deadline=None)
@given(histories(), st.sampled_from(["shadow", "step"]), st.sampled_from(["binary", "multiclass"]))
def test_any_history_gives_finite_ordered_reproducible_findings(
    intervals: list[Interval], phase: Literal["shadow", "step"], task: Literal["binary"]
) -> None:
    first = findings(intervals, phase=phase, task=task)
    assert first == findings(intervals, phase=phase, task=task)
    for finding in first.values():
        figures = (finding.value, finding.low, finding.high, finding.bound)
        assert all(figure is None or math.isfinite(figure) for figure in figures)
        if finding.value is not None and finding.low is not None:
            assert finding.low <= finding.value + 1e-9
        if finding.value is not None and finding.high is not None:
            assert finding.value <= finding.high + 1e-9
        assert finding.sentence
        assert "nan" not in finding.sentence
    abort(intervals, abort=AbortSpec())


def test_two_thousand_intervals_are_judged_quickly() -> None:
    block = [*shadow(seconds=50), *step(weight=10, seconds=50)]
    intervals = [*block[:50] * 20, *block[50:] * 20]
    findings(intervals, phase="step")
    spent = time.process_time()
    findings(intervals, phase="step")
    # 60 ms on an idle machine; several times that where it is shared.
    assert time.process_time() - spent < 1.0


def test_a_healthy_rollout_at_the_default_rate_takes_about_two_minutes() -> None:
    plan = CanarySpec()
    rate = int(plan.traffic.rate)
    intervals = shadow(seconds=60, rate=rate)
    assert (
        verdict_of(list(findings(intervals, min_samples=plan.shadow.min_pairs).values())) == "pass"
    )
    for index, (one, seconds) in enumerate(zip(plan.steps, (75, 20), strict=True)):
        intervals += step(weight=one.weight, index=index, seconds=seconds, rate=rate)
        found = findings(intervals, phase="step", index=index, min_samples=one.min_samples)
        assert verdict_of(list(found.values())) == "pass"
