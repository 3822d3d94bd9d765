"""What the gate decided, and for which model."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

from pydantic import Field

from penstock.errors import NotApprovedError
from penstock.records.base import Record, Value

Verdict = Literal["pass", "fail", "not applicable"]
Severity = Literal["block", "warn", "info"]
"""What a failed rule does: it refuses the model, it is shown as a warning, or it is listed."""


class RuleResult(Value):
    """One rule of the policy and what it found."""

    rule: str
    severity: Severity
    verdict: Verdict
    value: float | None
    bound: float | None
    sentence: str
    because: str = Field(default="", description="Why the policy has the rule, in its own words")


class Decision(Record):
    """The gate's decision on one model, tied by digests to what it was given on.

    Example:
        >>> rule = RuleResult(
        ...     rule="floor roc_auc", severity="block", verdict="fail", value=0.71, bound=0.8,
        ...     sentence="roc_auc is 0.710, below the bound 0.8.",
        ... )
        >>> decision = Decision(
        ...     approved=False, model="sha256:aa", dataset="rows1:bb", evaluation="sha256:cc",
        ...     policy="sha256:dd", rules=(rule,),
        ... )
        >>> print(decision.counts())
        0 rules passed, 0 do not apply, 1 failed: floor roc_auc (block).
        >>> decision.require_approval_of("sha256:aa")
        Traceback (most recent call last):
        penstock.errors.NotApprovedError: the decision refuses this model. Refused: 0 rules ...
    """

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

    @property
    def ordered(self) -> tuple[RuleResult, ...]:
        """The rules in the order of pages: failures first, the gravest of them before all."""
        return tuple(sorted(self.rules, key=_rank))

    def reason(self) -> str:
        """Return how it was decided, how many rules ended how, and why if it was refused."""
        return f"{'Approved' if self.approved else 'Refused'}: {self.grounds()}"

    def grounds(self) -> str:
        """Return the same without the word."""
        if self.approved:
            return self.counts()
        failed = [rule for rule in self.ordered if rule.verdict == "fail"]
        blocked = [rule.sentence for rule in failed if rule.severity == "block"]
        nothing = [
            "A model is approved only if at least one rule of severity block passes that guessing "
            "does not pass."
        ]
        return " ".join((self.counts(), *(blocked or nothing)))

    def counts(self) -> str:
        """Return how many rules ended how, failures by name: `… 1 failed: slices (warn)`."""
        failed = [rule for rule in self.ordered if rule.verdict == "fail"]
        passed = sum(rule.verdict == "pass" for rule in self.rules)
        absent = len(self.rules) - passed - len(failed)
        text = (
            f"{passed} {'rule' if passed == 1 else 'rules'} passed, "
            f"{absent} {'does' if absent == 1 else 'do'} not apply, {len(failed)} failed"
        )
        named = ", ".join(f"{rule.rule} ({rule.severity})" for rule in failed)
        return f"{text}: {named}." if named else f"{text}."

    def figures(self) -> dict[str, float]:
        """Return how many rules ended how, and what each of them measured, by name.

        `rules_failed` counts all that failed, as the sentence does, `rules_blocking` those among
        them that refuse the model, `rules_warning` those that warn.
        """
        failed = [rule.severity for rule in self.rules if rule.verdict == "fail"]
        counts = {
            "rules_passed": sum(rule.verdict == "pass" for rule in self.rules),
            "rules_failed": len(failed),
            "rules_blocking": failed.count("block"),
            "rules_warning": failed.count("warn"),
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


def _rank(rule: RuleResult) -> int:
    if rule.verdict == "fail":
        return get_args(Severity).index(rule.severity)
    return len(get_args(Severity)) + (rule.verdict != "pass")
