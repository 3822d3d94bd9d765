"""The rules on whether a model can be believed: its probabilities, and how steady it is."""

from __future__ import annotations

from penstock.gate._results import not_measured
from penstock.policy.spec import Policy
from penstock.records.decision import RuleResult
from penstock.records.evaluation import Evaluation


def rules(evaluation: Evaluation, policy: Policy) -> tuple[RuleResult, ...]:  # noqa: ARG001
    """Return what the rules on calibration and stability found."""
    asked = {"calibration": policy.calibration, "stability": policy.stability}
    return tuple(not_measured(name, rule, name) for name, rule in asked.items() if rule is not None)
