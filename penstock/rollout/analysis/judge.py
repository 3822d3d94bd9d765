"""The analysis of a canary: what each rule finds in the evidence, and the verdict over all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from penstock.records.rollout import (
    ArmSummary,
    Finding,
    HistogramBuckets,
    Interval,
)
from penstock.rollout.spec import AbortSpec, RulesSpec

_BURST_INTERVALS = 10
"""Newest intervals that are put together until there are requests enough to see a burst."""
_SURE = math.log(100)
"""By which a stable version that also fails is distinguished from one that shares an outage."""


def judge(
    intervals: Sequence[Interval],
    *,
    phase: Literal["shadow", "step"],
    step: int,
    rules: RulesSpec,
    min_samples: int,
    grids: HistogramBuckets,
    task: Literal["binary", "multiclass", "regression"],
) -> tuple[Finding, ...]:
    """Return what each rule says of a rollout.

    The shadow phase is judged by mirrored pairs. Steps are judged by what both versions answered
    in all steps so far, latency and scores by the pairs too: to compare a high quantile or a whole
    distribution takes more answers than a first step brings. Each interval is a stratum: two
    versions are only ever compared within one, where they met the same load.

    A failure counts as soon as it is certain; nothing passes before the current stage has
    `min_samples`. Every verdict holds at the level of `rules.confidence` over all looks together.

    Args:
        intervals: All intervals of the rollout, oldest first.
        phase: The present phase.
        step: Index of the step; 0 in the shadow phase.
        rules: The bounds.
        min_samples: Requests that each version must have served in this step, or mirrored requests
            in the shadow phase.
        grids: The edges of the histograms.
        task: The model's task.

    Returns:
        Findings by the name of the rule: errors, refusals, latency, agreement (in the shadow
        phase), scores, labels.
    """
    # numpy is only needed here, and importing the engine must stay cheap.
    from penstock.rollout.analysis import _rules
    from penstock.rollout.analysis._evidence import evidence_of

    stable, candidate = _seen(intervals, phase=phase, step=step)
    stage = _rules.Stage(
        phase=phase,
        min_samples=min_samples,
        stable=stable,
        candidate=candidate,
        alone=phase == "step" and bool(intervals) and intervals[-1].weight == 100,
    )
    evidence = evidence_of(intervals, phases=(phase,))
    everything = (
        evidence if phase == "shadow" else evidence_of(intervals, phases=("shadow", "step"))
    )
    findings = [_rules.labels(evidence, stage, rules)]
    if evidence is None or everything is None:
        bounds = {
            "errors": rules.error_increase,
            "refusals": rules.refusal_increase,
            "latency": rules.latency_ratio,
            "scores": rules.score_ks,
        }
        return (
            *(_rules.nothing_yet(rule, stage, bound=bound) for rule, bound in bounds.items()),
            *findings,
        )
    mirrored = []
    if phase == "shadow":
        pairs = [one.pairs for one in intervals if one.phase == "shadow"]
        rows, agreeing = sum(one.rows for one in pairs), sum(one.agreeing for one in pairs)
        mirrored = [_rules.agreement(rows, agreeing, stage, rules)]
    return (
        _rules.rates("errors", evidence, stage, rules),
        _rules.rates("refusals", evidence, stage, rules),
        _rules.latency(everything, stage, rules, grids),
        *mirrored,
        _rules.scores(everything, stage, rules, with_labels=task == "multiclass"),
        *findings,
    )


def verdict_of(findings: Sequence[Finding]) -> Literal["pass", "fail", "inconclusive"]:
    """Return the verdict over all findings.

    Any failure fails. Else anything inconclusive is inconclusive. A pass takes at least one rule
    that passed: a rollout of which nothing was judged has shown nothing.
    """
    verdicts = [finding.verdict for finding in findings]
    if "fail" in verdicts:
        return "fail"
    if "inconclusive" in verdicts or "pass" not in verdicts:
        return "inconclusive"
    return "pass"


def abort(intervals: Sequence[Interval], *, abort: AbortSpec) -> Finding | None:
    """Return why the rollout must end at once, or None.

    A burst is a share of 5xx answers of at least `error_burst` in the newest interval; intervals
    of the same stage are added, ten at most, until there are `burst_requests`, and further until it
    is shown that the stable version does not share it: that it fails less than half as often. A
    few requests do not show that where some of the stable version's failed too.
    """
    stable, candidate, seconds = ArmSummary(), ArmSummary(), 0.0
    for interval in reversed(intervals[-_BURST_INTERVALS:]):
        if (interval.phase, interval.step) != (intervals[-1].phase, intervals[-1].step):
            break
        mirrored = interval.phase == "shadow"
        stable = stable.plus(interval.pairs.stable if mirrored else interval.stable)
        candidate = candidate.plus(interval.pairs.candidate if mirrored else interval.candidate)
        seconds += interval.seconds
        if candidate.requests < abort.burst_requests:
            continue
        share = candidate.server_errors / candidate.requests
        if share < abort.error_burst:
            break
        if not _shared(stable, share=share):
            return _burst(stable, candidate, seconds, abort.error_burst)
    return None


def _shared(stable: ArmSummary, *, share: float) -> bool:
    """Return whether the stable version may fail half as often as a share of requests, or more.

    It may, unless as few failures as it had come by chance in one of a hundred cases at most, by
    the bound of Hoeffding (1963, theorem 1) on the lower tail of a binomial distribution. Without
    any failure of its own it shares nothing, however few requests it had.
    """
    if not stable.server_errors:
        return False
    rate, seen = share / 2, stable.server_errors / stable.requests
    if seen >= rate:
        return True
    apart = seen * math.log(seen / rate) + (1 - seen) * math.log((1 - seen) / (1 - rate))
    return stable.requests * apart < _SURE


def _burst(stable: ArmSummary, candidate: ArmSummary, seconds: float, bound: float) -> Finding:
    share = candidate.server_errors / candidate.requests
    beside = stable.server_errors / stable.requests if stable.requests else 0.0
    return Finding(
        rule="error burst",
        verdict="fail",
        value=share,
        bound=bound,
        stable_samples=stable.requests,
        candidate_samples=candidate.requests,
        sentence=f"In {seconds:.1f} s the candidate failed {candidate.server_errors:,} of "
        f"{candidate.requests:,} requests ({100 * share:.0f} %; the stable version "
        f"{100 * beside:.0f} %): {100 * bound:.0f} % end a rollout at once.",
    )


def _seen(
    intervals: Sequence[Interval], *, phase: Literal["shadow", "step"], step: int
) -> tuple[int, int]:
    """Requests that stable version and candidate have answered in this very stage."""
    here = [one for one in intervals if (one.phase, one.step) == (phase, step)]
    arms = [
        (one.pairs.stable, one.pairs.candidate)
        if phase == "shadow"
        else (one.stable, one.candidate)
        for one in here
    ]
    return sum(stable.requests for stable, _ in arms), sum(other.requests for _, other in arms)
