"""What the gate decided, and for which model."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from penstock.errors import NotApprovedError
from penstock.records.base import Record, Value

Verdict = Literal["pass", "fail", "not applicable"]


class RuleResult(Value):
    """One rule of the policy and what it found."""

    rule: str
    severity: Literal["block", "warn"]
    verdict: Verdict
    value: float | None
    bound: float | None
    sentence: str
    because: str = Field(default="", description="Why the policy has the rule, in its own words")


class Decision(Record):
    """The gate's word on one model, tied by digests to what it was given on."""

    KIND: ClassVar[str] = "decision"

    approved: bool
    model: str
    dataset: str = Field(description="Content digest of the holdout")
    evaluation: str = Field(description="Digest of the evaluation record")
    policy: str
    operations: str = Field(default="", description="Digest of the operations record")
    champion: str = Field(
        default="", description="`models:/name/version` that it was compared with; empty: none"
    )
    commit: str = Field(default="", description="Git commit of the code that trained the model")
    code: str = Field(default="", description="Version of Penstock that decided")
    image: str = Field(default="", description="Image that decided; empty outside of one")
    rules: tuple[RuleResult, ...]

    def reason(self) -> str:
        """Return why in one sentence: the rules that block, or that all passed."""
        blocked = [r.sentence for r in self.rules if r.severity == "block" and r.verdict == "fail"]
        if self.approved:
            passed = sum(r.verdict == "pass" for r in self.rules)
            return f"Approved: {passed} of {len(self.rules)} rules passed and none blocks."
        return "Refused: " + (" ".join(blocked) or "no rule passed.")

    def figures(self) -> dict[str, float]:
        """Return how many rules ended how, and what each of them measured, by name.

        `rules_failed` counts those that block, `rules_warned` failed ones that only warn.
        """
        failed = [rule.severity for rule in self.rules if rule.verdict == "fail"]
        counts = {
            "rules_passed": sum(rule.verdict == "pass" for rule in self.rules),
            "rules_failed": failed.count("block"),
            "rules_warned": failed.count("warn"),
            "rules_not_applicable": sum(r.verdict == "not applicable" for r in self.rules),
        }
        measured = {r.rule: r.value for r in self.rules if r.value is not None}
        return {**{name: float(count) for name, count in counts.items()}, **measured}

    def require_approval_of(self, model_digest: str) -> None:
        """Return only if this decision approves the model with `model_digest`.

        The rules are looked at again, so an `approved` that was edited by hand does not help.

        Raises:
            NotApprovedError: Naming what does not hold.
        """
        blocking = [r for r in self.rules if r.severity == "block"]
        if not self.approved:
            raise NotApprovedError(f"the decision refuses this model. {self.reason()}")
        if any(r.verdict == "fail" for r in blocking) or not any(
            r.verdict == "pass" for r in blocking
        ):
            raise NotApprovedError(
                "the decision says approved but its own rules do not",
                remedy="Run the decide step again; do not edit its record.",
            )
        if self.model != model_digest:
            raise NotApprovedError(
                f"the decision approves model {self.model}, not this one ({model_digest})",
                remedy="The model was altered or replaced after the decision: run the gate on it.",
            )
