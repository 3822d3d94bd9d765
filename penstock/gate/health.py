"""The rules on what a model rests on: leakage, and the rows that it learned from."""

from __future__ import annotations

from penstock.gate._results import not_measured
from penstock.policy.spec import Policy
from penstock.records.decision import RuleResult
from penstock.records.evaluation import Evaluation


def rules(evaluation: Evaluation, policy: Policy) -> tuple[RuleResult, ...]:  # noqa: ARG001
    """Return what the rules on leakage and training data found."""
    asked = {"leakage": policy.leakage, "training data": policy.training_data}
    return tuple(not_measured(name, rule, name) for name, rule in asked.items() if rule is not None)
