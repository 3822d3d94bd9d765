"""The rule on how a model serves."""

from __future__ import annotations

from penstock.gate._results import not_measured
from penstock.policy.spec import Policy
from penstock.records.decision import RuleResult
from penstock.records.operations import Operations


def rules(operations: Operations | None, policy: Policy) -> tuple[RuleResult, ...]:  # noqa: ARG001
    """Return what the rule on operations found."""
    if policy.operations is None:
        return ()
    return (not_measured("operations", policy.operations, "the candidate in its server"),)
