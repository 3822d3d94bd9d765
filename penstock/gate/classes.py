"""The rule on predicted classes: one result each for guessing, recall and the champion."""

from __future__ import annotations

from penstock.gate._results import not_measured, result
from penstock.policy.classes import ClassesRule
from penstock.policy.rules import Severity
from penstock.policy.spec import Policy
from penstock.records.classes import Classes, ClassFigures
from penstock.records.decision import RuleResult
from penstock.records.evaluation import Evaluation

GUESSING, RECALL, CHAMPION = "classes: guessing", "classes: recall", "classes: champion"

_NAMED = 3
"""Classes that a sentence names."""


def rules(evaluation: Evaluation, policy: Policy) -> tuple[RuleResult, ...]:
    """Return what the rule on predicted classes found; nothing for a regression."""
    rule, found = policy.classes, evaluation.classes
    if rule is None or evaluation.task == "regression":
        return ()
    if found is None:
        return (not_measured("classes", rule, "recall and precision by class"),)
    results = []
    if rule.better_than_guessing:
        results.append(_guessing(rule, found, evaluation.confidence))
    if rule.recall_at_least is not None:
        severity = severity_of_recall(rule, policy, two=evaluation.task == "binary")
        results.append(_recall(rule, found, rule.recall_at_least, severity))
    if rule.margin is not None:
        results.append(_champion(rule, found, evaluation, rule.margin))
    return tuple(results)


def severity_of_recall(rule: ClassesRule, policy: Policy, *, two: bool) -> Severity:
    """Return what happens if a class is found too seldom."""
    if rule.recall_severity != "auto":
        return rule.recall_severity
    if policy.cost is not None or not two:
        return "info" if rule.severity == "info" else "warn"
    return rule.severity


def _guessing(rule: ClassesRule, found: Classes, confidence: float) -> RuleResult:
    figure, bound = found.balanced_accuracy, 1 / len(found.classes)
    passed = figure.low > bound
    return result(
        GUESSING,
        rule,
        passed=passed,
        value=figure.low,
        bound=bound,
        sentence=f"The mean recall of the {len(found.classes)} classes (balanced accuracy) is "
        f"{figure.value:.4g} ({confidence:.0%} interval {figure.low:.4g} to {figure.high:.4g}); "
        f"its lower end {'lies' if passed else 'does not lie'} above {bound:.4g}, which guessing "
        "gives.",
    )


def _recall(rule: ClassesRule, found: Classes, bound: float, severity: Severity) -> RuleResult:
    own = rule.model_copy(update={"severity": severity})
    judged = [one for one in found.weakest if one.rows >= rule.min_rows]
    if not judged:
        sentence = f"No class has {rule.min_rows:,} rows in the holdout. Hold out more rows."
        return result(RECALL, own, passed=False, bound=bound, sentence=sentence)
    missed = [one for one in judged if _value(one) < bound]
    if missed:
        told = "; ".join(_told(one, found) for one in missed[:_NAMED])
        more = f" and {len(missed) - _NAMED} more" if len(missed) > _NAMED else ""
        sentence = f"Recall lies below {bound:.4g}: {told}{more}."
        if found.positive in {one.name for one in missed}:
            sentence += " ".join(("", *found.sentences()[1:]))
            sentence += " Set training.threshold, or the worth of decisions in gate.cost."
    else:
        sentence = f"The lowest recall of a class: {_told(judged[0], found)}; at least {bound:.4g}."
    return result(
        RECALL,
        own,
        passed=not missed,
        value=_value(judged[0]),
        bound=bound,
        sentence=sentence + _skipped(rule, found),
    )


def _champion(
    rule: ClassesRule, found: Classes, evaluation: Evaluation, margin: float
) -> RuleResult:
    if evaluation.champion_state == "none" and not evaluation.champion:
        sentence = "There is no champion yet to compare with."
        return result(CHAMPION, rule, passed=None, bound=-margin, sentence=sentence)
    advantage = found.advantage
    if advantage is None:
        what = "the champion's balanced accuracy on these rows"
        return not_measured(CHAMPION, rule, what, bound=-margin)
    passed = advantage.value >= -margin
    beside = [
        f"of {found.named(one.name)} {_value(one):.0%} (champion {one.champion:.0%})"
        for one in found.shown
        if one.recall is not None and one.champion is not None
    ]
    return result(
        CHAMPION,
        rule,
        passed=passed,
        value=advantage.value,
        bound=-margin,
        sentence=f"The balanced accuracy differs from the champion's by {advantage.value:+.4g}, "
        f"{'not below' if passed else 'below'} {-margin:+.4g}. Recall "
        f"{', '.join(beside) or 'not known'}.",
    )


def _skipped(rule: ClassesRule, found: Classes) -> str:
    few = [one.name for one in found.classes if one.rows < rule.min_rows]
    if not few:
        return ""
    names = ", ".join(few[:_NAMED]) + (" and others" if len(few) > _NAMED else "")
    return f" Not judged, with fewer than {rule.min_rows:,} rows: {names}."


def _told(one: ClassFigures, found: Classes) -> str:
    hits = round(_value(one) * one.rows)
    return f"{found.named(one.name)} {_value(one):.4g} ({hits:,} of {one.rows:,} rows)"


def _value(one: ClassFigures) -> float:
    return 0.0 if one.recall is None else one.recall.value
