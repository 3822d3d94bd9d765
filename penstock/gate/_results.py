"""What the rules have in common: a verdict in words, and a failure where nothing was measured."""

from __future__ import annotations

from penstock.policy.rules import Rule
from penstock.records.decision import RuleResult, Verdict


def result(
    name: str,
    rule: Rule,
    *,
    passed: bool | None,
    sentence: str,
    value: float | None = None,
    bound: float | None = None,
) -> RuleResult:
    """Return what a rule found.

    Args:
        name: The rule's name in the policy, with what it is about: `floor recall`.
        rule: The rule, whose severity and reason the result carries.
        passed: None: the rule does not apply.
        sentence: Why, in words that need no other page.
        value: What was measured, if it is one figure.
        bound: What it was held against.
    """
    verdict: Verdict = "not applicable" if passed is None else "pass" if passed else "fail"
    return RuleResult(
        rule=name,
        severity=rule.severity,
        verdict=verdict,
        value=value,
        bound=bound,
        sentence=sentence,
        because=rule.because,
    )


def not_measured(
    name: str, rule: Rule, what: str, *, bound: float | None = None, why: str = ""
) -> RuleResult:
    """Return a failure for want of a figure: a rule never passes because nothing was measured.

    Args:
        name: The rule's name in the policy.
        rule: The rule.
        what: What was not measured.
        bound: What it would have been held against.
        why: Why it was not, in a sentence, if that is known.
    """
    sentence = f"The evaluation does not measure {what}, so the rule cannot pass. {why}".strip()
    return result(name, rule, passed=False, sentence=sentence, bound=bound)
