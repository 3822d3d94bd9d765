"""The rule on what decisions are worth."""

from __future__ import annotations

from penstock.gate._results import not_measured
from penstock.policy.spec import Policy
from penstock.records.decision import RuleResult
from penstock.records.evaluation import Evaluation


def rules(evaluation: Evaluation, policy: Policy) -> tuple[RuleResult, ...]:  # noqa: ARG001
    """Return what the rule on cost found."""
    if policy.cost is None:
        return ()
    return (not_measured("cost", policy.cost, "the worth of decisions"),)
