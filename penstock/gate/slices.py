"""The rule on slices."""

from __future__ import annotations

from penstock.gate._results import not_measured
from penstock.policy.spec import Policy
from penstock.records.decision import RuleResult
from penstock.records.evaluation import Evaluation


def rules(evaluation: Evaluation, policy: Policy) -> tuple[RuleResult, ...]:  # noqa: ARG001
    """Return what the rule on slices found."""
    if policy.slices is None:
        return ()
    return (not_measured("slices", policy.slices, "slices"),)
