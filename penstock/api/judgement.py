"""What the gate said of a model."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.api.drawn import drawn
from penstock.gate.evaluation import Evaluation
from penstock.records.decision import Decision


@dataclass(frozen=True)
class Judgement:
    """A decision and what it was made on.

    Attributes:
        decision: Approved or not, rule by rule.
        evaluation: What was measured on the rows that the model had not seen.
        page: The decision's page, a whole HTML document.
    """

    decision: Decision
    evaluation: Evaluation
    page: str

    @property
    def approved(self) -> bool:
        """Whether the policy lets the model be released."""
        return self.decision.approved

    def __repr__(self) -> str:
        return f"Judgement({self.decision.reason()!r})"

    def _repr_html_(self) -> str:
        return drawn(
            "Approved" if self.approved else "Refused",
            self.decision.counts(),
            tone="good" if self.approved else "bad",
            headers=["Rule", "Severity", "Verdict", "Why"],
            rows=[
                [rule.rule, rule.severity, rule.verdict, rule.sentence]
                for rule in self.decision.ordered
            ],
        )
