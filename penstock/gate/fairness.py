"""The rules on groups of people."""

from __future__ import annotations

from penstock.gate._results import not_measured
from penstock.policy.spec import Policy
from penstock.records.decision import RuleResult
from penstock.records.evaluation import Evaluation


def rules(evaluation: Evaluation, policy: Policy) -> tuple[RuleResult, ...]:  # noqa: ARG001
    """Return what the rules on groups found."""
    return tuple(
        not_measured(f"fairness {', '.join(rule.columns)}", rule, "the groups")
        for rule in policy.fairness
    )
