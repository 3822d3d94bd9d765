"""Policy and evaluation in, decision out."""

from __future__ import annotations

from pathlib import Path

from penstock import files
from penstock.gate.report import decision_page
from penstock.gate.spec import Floor, MarginRule, Policy, Severity
from penstock.progress import say
from penstock.records.decision import Decision, RuleResult, Verdict
from penstock.records.evaluation import Comparison, Evaluation

_BASELINES = ("majority", "mean")


def decide(evaluation: Evaluation, *, policy: Policy) -> Decision:
    """Judge a candidate.

    It is approved only if no blocking rule failed and at least one passed: a policy in which
    nothing blocks, or nothing applies, approves nothing.

    Args:
        evaluation: What was measured on the holdout.
        policy: What must hold.

    Returns:
        The decision, tied by digests to the model, the holdout, the evaluation and the policy.
    """
    rules = (
        _baseline(evaluation, policy.baseline),
        _linear(evaluation, policy.linear),
        _champion(evaluation, policy.champion),
        *(_floor(evaluation, floor) for floor in policy.floors),
    )
    blocking = [rule.verdict for rule in rules if rule.severity == "block"]
    return Decision(
        approved="fail" not in blocking and "pass" in blocking,
        model=evaluation.model,
        dataset=evaluation.dataset,
        evaluation=evaluation.digest(),
        policy=files.digest_of_text(files.canonical_json(policy.model_dump(mode="json"))),
        rules=rules,
    )


def run(evaluation: Path, *, policy: Policy, name: str, output: Path, report: Path) -> Decision:
    """Judge the candidate of an evaluation record and write the decision and its page.

    Args:
        evaluation: File of the evaluation record.
        policy: What must hold.
        name: The project's name, for the page.
        output: Where to write the decision record.
        report: Where to write the page.
    """
    measured = Evaluation.read(evaluation)
    decision = decide(measured, policy=policy)
    files.write_text(report, decision_page(decision, evaluation=measured, name=name))
    decision.write(output)
    say(("approved" if decision.approved else "refused") + f", {len(decision.rules)} rules")
    return decision


def _baseline(evaluation: Evaluation, rule: MarginRule) -> RuleResult:
    name = next((n for n in _BASELINES if evaluation.scores_of(n)), _BASELINES[0])
    return _lower_end_above(
        rule="baseline",
        title=f"the {name} baseline",
        comparison=evaluation.comparison(against=name, metric=evaluation.metric),
        bound=rule.margin,
        severity=rule.severity,
        confidence=evaluation.confidence,
    )


def _champion(evaluation: Evaluation, rule: MarginRule) -> RuleResult:
    if not evaluation.champion:
        return RuleResult(
            rule="champion",
            severity=rule.severity,
            verdict="not applicable",
            value=None,
            bound=-rule.margin,
            sentence="There is no champion yet to compare with.",
        )
    return _lower_end_above(
        rule="champion",
        title=f"the champion {evaluation.champion}",
        comparison=evaluation.comparison(against="champion", metric=evaluation.metric),
        bound=-rule.margin,
        severity=rule.severity,
        confidence=evaluation.confidence,
    )


def _linear(evaluation: Evaluation, rule: MarginRule) -> RuleResult:
    comparison = evaluation.comparison(against="linear", metric=evaluation.metric)
    if comparison is None:
        return _not_measured("linear", rule.severity, "the linear model", bound=-rule.margin)
    value = comparison.advantage.value
    passed = value >= -rule.margin
    return RuleResult(
        rule="linear",
        severity=rule.severity,
        verdict=_verdict(passed=passed),
        value=value,
        bound=-rule.margin,
        sentence=(
            f"On {evaluation.metric} the candidate's advantage over a plain linear model is "
            f"{value:+.4g}, {'not below' if passed else 'below'} {-rule.margin:+.4g}."
        ),
    )


def _floor(evaluation: Evaluation, floor: Floor) -> RuleResult:
    name = f"floor {floor.metric}"
    estimate = evaluation.candidate.metrics.get(floor.metric)
    if estimate is None:
        bound = floor.at_least if floor.at_least is not None else floor.at_most
        return _not_measured(name, floor.severity, floor.metric, bound=bound)
    if floor.at_least is not None:
        value = estimate.low if floor.on == "interval" else estimate.value
        passed, bound, must = value >= floor.at_least, floor.at_least, "at least"
    else:
        value = estimate.high if floor.on == "interval" else estimate.value
        bound = floor.at_most if floor.at_most is not None else float("-inf")
        passed, must = value <= bound, "at most"
    subject = "The unfavourable end of its interval" if floor.on == "interval" else "It"
    return RuleResult(
        rule=name,
        severity=floor.severity,
        verdict=_verdict(passed=passed),
        value=value,
        bound=bound,
        sentence=f"{floor.metric} must be {must} {bound:.4g}. {subject} is {value:.4g}.",
    )


def _lower_end_above(
    *,
    rule: str,
    title: str,
    comparison: Comparison | None,
    bound: float,
    severity: Severity,
    confidence: float,
) -> RuleResult:
    if comparison is None:
        return _not_measured(rule, severity, title, bound=bound)
    advantage = comparison.advantage
    passed = advantage.low > bound
    return RuleResult(
        rule=rule,
        severity=severity,
        verdict=_verdict(passed=passed),
        value=advantage.low,
        bound=bound,
        sentence=(
            f"On {comparison.metric} the candidate's advantage over {title} is "
            f"{advantage.value:+.4g} ({confidence:.0%} interval {advantage.low:+.4g} to "
            f"{advantage.high:+.4g}); its lower end {'lies' if passed else 'does not lie'} above "
            f"{bound:+.4g}."
        ),
    )


def _not_measured(rule: str, severity: Severity, title: str, *, bound: float | None) -> RuleResult:
    return RuleResult(
        rule=rule,
        severity=severity,
        verdict="fail",
        value=None,
        bound=bound,
        sentence=f"The evaluation does not measure {title}, so the rule cannot pass.",
    )


def _verdict(*, passed: bool) -> Verdict:
    return "pass" if passed else "fail"
