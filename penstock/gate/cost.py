"""The rule on what decisions are worth."""

from __future__ import annotations

from penstock.gate._results import not_measured, result
from penstock.policy.spec import Policy
from penstock.records.decision import RuleResult
from penstock.records.evaluation import Evaluation


def rules(evaluation: Evaluation, policy: Policy) -> tuple[RuleResult, ...]:
    """Return what the rule on cost found."""
    rule, kpi = policy.cost, evaluation.kpi
    if rule is None:
        return ()
    if kpi is None:
        return (not_measured("cost", rule, "the worth of decisions", bound=rule.at_least),)
    figure, unit = kpi.per_thousand, f" {kpi.unit}" if kpi.unit else ""
    worth = (
        f"The value per 1,000 decisions is {figure.value:,.2f}{unit} ({evaluation.confidence:.0%} "
        f"interval {figure.low:,.2f} to {figure.high:,.2f})"
    )
    if (champion := kpi.others.get("champion")) is not None:
        worth += f", the champion's {champion.value:,.2f}{unit}"
    if rule.at_least is None:
        sentence = f"{worth}. It is reported, not enforced."
        return (result("cost", rule, passed=None, value=figure.value, sentence=sentence),)
    value = figure.low if rule.on == "interval" else figure.value
    subject = "the lower end of the interval" if rule.on == "interval" else "the figure"
    passed = value >= rule.at_least
    return (
        result(
            "cost",
            rule,
            passed=passed,
            value=value,
            bound=rule.at_least,
            sentence=(
                f"{worth}; {subject} is {'not below' if passed else 'below'} "
                f"{rule.at_least:,.2f}{unit}."
            ),
        ),
    )
