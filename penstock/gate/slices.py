"""The rule on slices."""

from __future__ import annotations

from penstock.gate._results import not_measured, result
from penstock.policy.slices import SlicesRule
from penstock.policy.spec import Policy
from penstock.records.decision import RuleResult
from penstock.records.evaluation import Evaluation
from penstock.records.slices import Slice, Slices

_SAID = 3
"""Slices that the sentence names; the evaluation's page has all."""


def rules(evaluation: Evaluation, policy: Policy) -> tuple[RuleResult, ...]:
    """Return what the rule on slices found: none or one."""
    rule, found = policy.slices, evaluation.slices
    if rule is None:
        return ()
    if found is None:
        return (not_measured("slices", rule, "slices"),)
    return (_judge(rule, found, evaluation),)


def _judge(rule: SlicesRule, found: Slices, evaluation: Evaluation) -> RuleResult:
    judged = [one for one in found.slices if one.estimate is not None]
    if not judged:
        return result(
            "slices",
            rule,
            passed=False,
            sentence=f"No slice could be judged: none has the {rule.min_rows:,} rows, or rows of "
            "either class, that it takes.",
        )
    bound = rule.at_least if rule.at_least is not None else rule.at_most
    lost = evaluation.champion_state not in ("none", "compared") or (
        bool(evaluation.champion) and not found.compared
    )
    if rule.margin is not None and lost:
        return not_measured("slices", rule, "slices against the champion", bound=bound)
    held = []
    if bound is not None:
        held.append(f"{_side(found)} {bound:.4g}")
    if found.compared:
        held.append(f"worse than the champion by more than {rule.margin:.4g}")
    weakest = judged[0]
    if not held:
        return result(
            "slices",
            rule,
            passed=None,
            value=_value(weakest),
            sentence="The policy gives no floor and there is no champion to hold slices against. "
            + _weakest(judged, found, evaluation.confidence),
        )
    measured = all(
        (bound is None or one.p_floor is not None)
        and (not found.compared or one.p_worse is not None)
        for one in judged
    )
    if not measured:
        return not_measured("slices", rule, "every slice that it lists", bound=bound)
    accused = [one for one in judged if one.accused(alpha=rule.alpha)]
    if found.unjudged and not accused:
        return result(
            "slices",
            rule,
            passed=False,
            bound=bound,
            sentence=f"The policy names {', '.join(found.unjudged)}, of which no slice has the "
            f"{rule.min_rows:,} rows, or rows of either class, that it takes to judge one, so the "
            "rule cannot pass. Hold out more rows, or lower min_rows.",
        )
    if accused:
        return result(
            "slices",
            rule,
            passed=False,
            value=_value(accused[0]),
            bound=bound,
            sentence=_accusation(accused, found, rule, bound),
        )
    return result(
        "slices",
        rule,
        passed=True,
        value=_value(weakest),
        bound=bound,
        sentence=f"None of {found.looked_at:,} slices is shown to be {' or '.join(held)}, at a "
        f"{rule.alpha:.0%} chance of accusing any of them wrongly. "
        + _weakest(judged, found, evaluation.confidence),
    )


def _accusation(accused: list[Slice], found: Slices, rule: SlicesRule, bound: float | None) -> str:
    count = len(accused) + found.omitted
    # What the policy names comes before what was found.
    first = sorted(accused, key=lambda one: one.found)[:_SAID]
    told = [_charge(one, found, rule, bound) for one in first]
    more = f" and {count - len(told):,} more" if count > len(told) else ""
    return (
        f"{count:,} of {found.looked_at:,} slices {'is' if count == 1 else 'are'} shown to be bad: "
        f"{'; '.join(told)}{more}. The chance of accusing any slice wrongly is {rule.alpha:.0%}."
    )


def _charge(one: Slice, found: Slices, rule: SlicesRule, bound: float | None) -> str:
    estimate, advantage = one.estimate, one.advantage
    assert estimate is not None
    said = [f"{one.name} ({one.rows:,} rows): {found.metric} is {estimate.value:.4g}"]
    if bound is not None and one.p_floor is not None and one.p_floor <= rule.alpha:
        said.append(f"{_side(found)} {bound:.4g}")
    if advantage is not None and one.p_worse is not None and one.p_worse <= rule.alpha:
        said.append(
            f"worse than the champion's by {-advantage.value:.4g}, more than the margin "
            f"{rule.margin:.4g}"
        )
    return ", ".join(said)


def _weakest(judged: list[Slice], found: Slices, confidence: float) -> str:
    told = []
    for one in judged[:_SAID]:
        estimate = one.estimate
        assert estimate is not None
        told.append(
            f"{one.name} ({found.metric} {estimate.value:.4g}, {confidence:.0%} interval "
            f"{estimate.low:.4g} to {estimate.high:.4g}, {one.rows:,} rows)"
        )
    return f"The weakest: {'; '.join(told)}."


def _value(one: Slice) -> float | None:
    return None if one.estimate is None else one.estimate.value


def _side(found: Slices) -> str:
    return "below the floor" if found.higher_is_better else "above the limit"
