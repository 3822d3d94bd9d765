"""The rules on groups of people."""

from __future__ import annotations

from penstock.gate._results import not_measured, result
from penstock.policy.fairness import FairnessRule
from penstock.policy.spec import Policy
from penstock.records.decision import RuleResult
from penstock.records.evaluation import Evaluation
from penstock.records.fairness import Group


def rules(evaluation: Evaluation, policy: Policy) -> tuple[RuleResult, ...]:
    """Return what the rules on groups found, one for each."""
    return tuple(_judge(rule, evaluation) for rule in policy.fairness)


def _judge(rule: FairnessRule, evaluation: Evaluation) -> RuleResult:
    name = f"fairness {rule.metric} by {' and '.join(rule.columns)}"
    found = next(
        (
            one
            for one in evaluation.fairness
            if (one.columns, one.metric, one.min_rows) == (rule.columns, rule.metric, rule.min_rows)
        ),
        None,
    )
    if found is None:
        return not_measured(name, rule, "these groups")
    words = rule.metric.replace("_", " ")
    judged = [group for group in found.groups if not group.small]
    if found.difference is None or (rule.ratio_at_least is not None and found.ratio is None):
        return result(
            name,
            rule,
            passed=False,
            bound=_bound(rule),
            sentence=f"{len(judged)} of {len(found.groups)} groups have {rule.min_rows:,} rows "
            f"that bear on the {words}: nothing can be compared, so the rule cannot pass.",
        )
    said: list[str] = []
    failed, asked = [], []
    for label, figure, limit, must in (
        ("difference", found.difference, rule.difference_at_most, "at most"),
        ("ratio", found.ratio, rule.ratio_at_least, "at least"),
    ):
        if limit is None or figure is None:
            continue
        holds = figure.value <= limit if must == "at most" else figure.value >= limit
        asked.append((figure.value, limit))
        if not holds:
            failed.append((figure.value, limit))
        said.append(
            f"The {label} of the {words} between groups is {figure.value:.3g} "
            f"({evaluation.confidence:.0%} interval {figure.low:.3g} to {figure.high:.3g}); it "
            f"must be {must} {limit:.3g}{'' if holds else ', and is not'}."
        )
    said.append(_ends(judged))
    small = len(found.groups) - len(judged)
    if small:
        said.append(f"{small} small {'group is' if small == 1 else 'groups are'} left out.")
    value, bound = (failed or asked)[0]
    return result(name, rule, passed=not failed, value=value, bound=bound, sentence=" ".join(said))


def _bound(rule: FairnessRule) -> float | None:
    return rule.difference_at_most if rule.difference_at_most is not None else rule.ratio_at_least


def _ends(groups: list[Group]) -> str:
    """Return which groups lie furthest apart, by each figure."""
    told = []
    for metric in groups[0].figures:
        defined = [
            (value, group.name) for group in groups if (value := group.figures[metric]) is not None
        ]
        (least, lowest), (most, highest) = min(defined), max(defined)
        words = metric.replace("_", " ")
        told.append(f"{words}: lowest {least:.3g} for {lowest}, highest {most:.3g} for {highest}")
    return f"By group, {'; '.join(told)}."
