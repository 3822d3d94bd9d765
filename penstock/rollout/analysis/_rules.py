"""The rules: each reads the evidence and returns one finding with its sentence.

Every rule has two tests, each at level (1 - confidence) / 2 over all looks together: one that the
figure is beyond its bound (fail), one that it is within (pass). The bound is the same for both, so
what is allowed never counts against the candidate; if neither is shown, the rule is inconclusive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from penstock.records.rollout import ArmSummary, Finding, HistogramBuckets, Verdict
from penstock.rollout.analysis import _latency, _means, _rates, _scores
from penstock.rollout.analysis._evidence import Evidence
from penstock.rollout.spec import RulesSpec

MEDIAN = 0.5


@dataclass(frozen=True)
class Stage:
    """What the current stage of the plan requires and has seen.

    Attributes:
        phase: Of the stage.
        min_samples: Requests that each version must have answered in this very stage.
        stable: Requests the stable version has answered in it.
        candidate: Requests the candidate has answered in it.
        alone: The candidate has all traffic: the stable version needs no samples.
    """

    phase: Literal["shadow", "step"]
    min_samples: int
    stable: int
    candidate: int
    alone: bool

    @property
    def missing(self) -> int:
        """Requests that the version with fewer of them still needs."""
        fewest = self.candidate if self.alone else min(self.stable, self.candidate)
        return max(0, self.min_samples - fewest)

    def verdict(self, *, fails: bool, passes: bool) -> Verdict:
        """Harm counts at once, proof of the contrary only with all samples in."""
        if fails:
            return "fail"
        return "pass" if passes and not self.missing else "inconclusive"

    def need(self, *, passes: bool) -> str:
        """What an inconclusive rule waits for, as the end of its sentence."""
        if self.missing:
            what = "mirrored requests" if self.phase == "shadow" else "requests of this step"
            return f" {_count(self.missing)} {what} are missing."
        return "" if passes else " This is not yet enough evidence for a verdict."


def nothing_yet(rule: str, stage: Stage, *, bound: float) -> Finding:
    """Return the finding of a rule that has no evidence."""
    need = f"{_count(stage.missing)} requests are missing."
    if not stage.missing:
        need = "no request so far has the figures for it."
    return Finding(
        rule=rule,
        verdict="inconclusive",
        value=None,
        bound=bound,
        sentence=f"Nothing to judge {rule} by yet: {need}",
    )


def rates(
    rule: Literal["errors", "refusals"], evidence: Evidence, stage: Stage, rules: RulesSpec
) -> Finding:
    """Judge the share of 5xx or of 4xx answers."""
    bound = rules.error_increase if rule == "errors" else rules.refusal_increase
    tables = evidence.tables(_errors if rule == "errors" else _refusals)
    n_s, x_s, n_c, x_c = (
        float(part.sum()) for part in (tables.n_s, tables.x_s, tables.n_c, tables.x_c)
    )
    if not n_s or not n_c:
        return nothing_yet(rule, stage, bound=bound)
    low, high, fails, passes = _rates.ends(
        tables, threshold=_threshold(rules), fail=bound, bound=bound
    )
    did = "failed" if rule == "errors" else "refused"
    sentence = (
        f"Of {_count(n_c)} requests the candidate {did} {_percent(x_c / n_c)}, the stable version "
        f"{_percent(x_s / n_s)} of {_count(n_s)}: {_between(low, high)}, {_points(bound)} allowed."
    )
    verdict = stage.verdict(fails=fails, passes=passes)
    return Finding(
        rule=rule,
        verdict=verdict,
        value=float(tables.difference),
        low=low,
        high=high,
        bound=bound,
        stable_samples=round(n_s),
        candidate_samples=round(n_c),
        sentence=sentence + _rest(verdict, stage, passes=passes),
    )


def latency(evidence: Evidence, stage: Stage, rules: RulesSpec, grids: HistogramBuckets) -> Finding:
    """Judge a high quantile of latency and the median by their ratios; name which decided."""
    latencies = _latency.latencies_of(evidence, grids.latency)
    n_s, n_c = float(latencies.stable.sum()), float(latencies.candidate.sum())
    bound = rules.latency_ratio
    if not n_s or not n_c:
        return nothing_yet("latency", stage, bound=bound)
    levels = sorted({rules.latency_quantile, MEDIAN}, reverse=True)
    threshold = _threshold(rules, share=1 / len(levels))
    ratios = {
        level: _latency.ratio_of(latencies, level, threshold=threshold, fail=bound, bound=bound)
        for level in levels
    }
    fails = any(ratio.fails for ratio in ratios.values())
    passes = all(ratio.passes for ratio in ratios.values())
    # The sentence is about what decides: a failure, else what is still open, else the quantile.
    decisive = next(
        (level for level in levels if ratios[level].fails),
        next((level for level in levels if not ratios[level].passes), levels[0]),
    )
    verdict = stage.verdict(fails=fails, passes=passes)
    return Finding(
        rule="latency",
        verdict=verdict,
        value=ratios[decisive].value,
        low=ratios[decisive].low,
        high=ratios[decisive].high,
        bound=bound,
        stable_samples=round(n_s),
        candidate_samples=round(n_c),
        sentence=_latency_sentence(ratios, decisive, n_c, bound)
        + _unmeasured(evidence)
        + _rest(verdict, stage, passes=passes),
    )


def agreement(rows: int, agreeing: int, stage: Stage, rules: RulesSpec) -> Finding:
    """Judge the share of mirrored requests on a row of which both versions agree."""
    bound = rules.agreement
    if bound == 0:
        return Finding(
            rule="agreement",
            verdict="not judged",
            value=None,
            bound=None,
            sentence="Agreement is not judged: its bound is 0.",
        )
    if not rows:
        return nothing_yet("agreement", stage, bound=bound)
    threshold = _threshold(rules)
    agreeing = min(agreeing, rows)
    low, high = _means.share_ends(agreeing, rows, threshold)
    line = np.array([bound])
    fails = _means.log_wealth_of_share(agreeing, rows, line, above=False)[0] >= threshold
    passes = _means.log_wealth_of_share(agreeing, rows, line, above=True)[0] >= threshold
    if bound == 1:
        # That all rows agree cannot be shown: a bound of 1 requires that none was seen to differ.
        fails, passes = agreeing < rows, agreeing == rows
    verdict = stage.verdict(fails=bool(fails), passes=bool(passes))
    sentence = (
        f"Both versions agree on {_percent(agreeing / rows)} of {_count(rows)} mirrored requests: "
        f"between {_percent(low)} and {_percent(high)}, at least {_percent(bound)} needed."
    )
    return Finding(
        rule="agreement",
        verdict=verdict,
        value=agreeing / rows,
        low=low,
        high=high,
        bound=bound,
        stable_samples=rows,
        candidate_samples=rows,
        sentence=sentence + _rest(verdict, stage, passes=bool(passes)),
    )


def scores(evidence: Evidence, stage: Stage, rules: RulesSpec, *, with_labels: bool) -> Finding:
    """Judge the distribution of scores, and that of labels if `with_labels`."""
    read = _scores.scores_of(evidence, with_labels=with_labels)
    n_s, n_c = read.rows
    if not n_s or not n_c:
        return nothing_yet("scores", stage, bound=rules.score_ks)
    alpha = (1 - rules.confidence) / 2
    distance = _scores.kolmogorov_smirnov(
        read, threshold=math.log(2 / alpha), fail=rules.score_ks, bound=rules.score_ks
    )
    index = _scores.stability_index(
        read, alpha=alpha / 4, fail=rules.score_psi, bound=rules.score_psi
    )
    constant = _scores.one_value_only(read, alpha=alpha / 4)
    passes = distance.passes and index.passes and not constant
    verdict = stage.verdict(fails=distance.fails or index.fails or constant, passes=passes)
    sentence = (
        f"The scores of {_count(n_c)} requests by the candidate and {_count(n_s)} by the stable "
        f"version, one row of each, lie {distance.value:.2f} apart (Kolmogorov-Smirnov, 0 to 1): "
        f"between {distance.low:.2f} and {distance.high:.2f}, {rules.score_ks:g} allowed; the "
        f"population stability index is {index.value:.2f}: between {index.low:.2f} and "
        f"{index.high:.2f}, {rules.score_psi:g} allowed."
    )
    if constant:
        sentence = "The candidate gives every row the same score. " + sentence
    return Finding(
        rule="scores",
        verdict=verdict,
        value=distance.value,
        low=distance.low,
        high=distance.high,
        bound=rules.score_ks,
        stable_samples=n_s,
        candidate_samples=n_c,
        sentence=sentence + _rest(verdict, stage, passes=passes),
    )


def labels(evidence: Evidence | None, stage: Stage, rules: RulesSpec) -> Finding:
    """Judge the mean loss on requests whose true labels have come.

    Neither verdict comes before `min_labels` requests of each version have theirs: whoever sends
    labels chooses which come first.
    """
    bound = rules.label_loss_increase
    moments = None if evidence is None else evidence.moments()
    n_s, n_c = (0.0, 0.0) if moments is None else (moments[0][:, 0].sum(), moments[1][:, 0].sum())
    missing = max(0, rules.min_labels - round(min(n_s, n_c)))
    required = rules.labels == "required"
    if moments is None or not n_s or not n_c:
        need = "are required" if required else "would be needed to judge them; they are optional"
        return Finding(
            rule="labels",
            verdict="inconclusive" if required else "not judged",
            value=None,
            bound=bound,
            stable_samples=round(n_s),
            candidate_samples=round(n_c),
            sentence=f"No true labels have come yet: {_count(rules.min_labels)} {need}.",
        )
    stable, candidate = moments
    threshold = _threshold(rules)
    value, low, high = _means.means_ends(stable, candidate, threshold)
    fails = _means.log_wealth_of_means(stable, candidate, bound, above=True) >= threshold
    passes = _means.log_wealth_of_means(stable, candidate, bound, above=False) >= threshold
    verdict = stage.verdict(fails=fails and not missing, passes=passes and not missing)
    if verdict == "inconclusive" and missing and not required:
        verdict = "not judged"
    mean_c, mean_s = candidate[:, 1].sum() / n_c, stable[:, 1].sum() / n_s
    sentence = (
        f"On {_count(n_c)} requests whose labels have come the candidate's mean loss is "
        f"{mean_c:.3f}, the stable version's {mean_s:.3f} on {_count(n_s)}: between {low:+.3f} and "
        f"{high:+.3f} more, {bound:g} allowed."
    )
    if missing:
        sentence += f" {_count(missing)} labelled requests are missing."
    elif verdict == "inconclusive":
        sentence += stage.need(passes=passes)
    return Finding(
        rule="labels",
        verdict=verdict,
        value=value,
        low=min(low, value),
        high=max(high, value),
        bound=bound,
        stable_samples=round(n_s),
        candidate_samples=round(n_c),
        sentence=sentence,
    )


def _threshold(rules: RulesSpec, *, share: float = 1.0) -> float:
    """Log-wealth that rejects a null at its share of the level of one side."""
    return math.log(2 / (share * (1 - rules.confidence)))


def _rest(verdict: Verdict, stage: Stage, *, passes: bool) -> str:
    return stage.need(passes=passes) if verdict == "inconclusive" else ""


def _latency_sentence(
    ratios: dict[float, _latency.Ratio], decisive: float, answers: float, bound: float
) -> str:
    ratio = ratios[decisive]
    lies = f"at least {_times(ratio.low)}"
    if ratio.high is not None:
        lies = f"between {_times(ratio.low)} and {_times(ratio.high)}"
    name = "median" if decisive == MEDIAN else f"{100 * decisive:g} % quantile"
    others = [
        f" Its {'median' if level == MEDIAN else f'{100 * level:g} % quantile'} is "
        f"{_times(other.value)} times."
        for level, other in ratios.items()
        if level != decisive
    ]
    return (
        f"Of {_count(answers)} responses the {name} took {_span(ratio.candidate)} with the "
        f"candidate and {_span(ratio.stable)} with the stable version, {_times(ratio.value)} "
        f"times: {lies}, {bound:g} allowed." + "".join(others)
    )


def _unmeasured(evidence: Evidence) -> str:
    """Say how many responses are left out because they were measured in another place."""
    arms = (*evidence.stable, *evidence.candidate)
    answered = sum(arm.requests - arm.client_errors - arm.server_errors for arm in arms)
    without = answered - sum(sum(arm.latency.values()) for arm in arms)
    if without <= 0:
        return ""
    return f" {_count(without)} responses of both are left out: they were not measured alike."


def _errors(arm: ArmSummary) -> int:
    return arm.server_errors


def _refusals(arm: ArmSummary) -> int:
    return arm.client_errors


def _percent(share: float) -> str:
    """Return 0.0512 as `5.1 %`, shares below one percent with two decimals."""
    return f"{_points(share)} %"


def _points(share: float) -> str:
    """Return 0.029 as `2.9` and 0.0012 as `0.12`: percentage points."""
    value = 100 * share
    text = f"{value:.{1 if abs(value) >= 1 else 2}f}"
    return text.rstrip("0").rstrip(".")


def _count(number: float) -> str:
    """Return 1204 as `1,204`."""
    return f"{round(number):,}"


def _between(low: float, high: float) -> str:
    """Say where a difference of shares lies, in points."""
    if high <= 0:
        return f"between {_points(-high)} and {_points(-low)} points fewer"
    if low < 0:
        return f"between {_points(-low)} points fewer and {_points(high)} points more"
    return f"between {_points(low)} and {_points(high)} points more"


def _times(ratio: float) -> str:
    """Return 1.496 as `1.50`."""
    return f"{ratio:.2f}"


def _span(seconds: float) -> str:
    """Return a latency with its unit."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.3g} s"
