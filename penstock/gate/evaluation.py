"""The record of what was measured on the holdout: what the gate reads, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import create_model

from penstock.gate.policy import Policy
from penstock.gate.rules import RULES
from penstock.records.evaluation import EvaluationBase

if TYPE_CHECKING:
    from penstock.gate.holdout import Context
    from penstock.reports.page import Section

    _Measured = EvaluationBase
else:
    _Measured = create_model(
        "_Measured",
        __base__=EvaluationBase,
        **{rule.record_name or rule.name: rule.record for rule in RULES if rule.record},
    )


class Evaluation(_Measured):
    """What was measured of a model on the holdout. What a rule needs is `rule.measured(it)`."""

    notes: tuple[str, ...] = ()

    def sentences(self) -> tuple[str, ...]:
        """Return the sentences of the rules that stand beside every verdict."""
        return tuple(sentence for rule in RULES for sentence in rule.sentences(self))

    def sections(self) -> list[Section]:
        """Return the sections of the page on what the rules measured."""
        found = (rule.section(self) for rule in RULES)
        return [section for section in found if section is not None]


def measured_for(policy: Policy, context: Context) -> dict[str, Any]:
    """Measure what a policy's rules need: the fields of an `Evaluation` that they have.

    Args:
        policy: The rules.
        context: The holdout, and what the models say of it.

    Raises:
        InputError: If a rule needs what these rows or this model cannot give.
    """
    found = {rule.record_name or rule.name: rule.measurement(policy, context) for rule in RULES}
    return {name: value for name, value in found.items() if value is not None}
