"""Past decisions judged by another policy, from what was measured then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from penstock.errors import InputError
from penstock.gate.decision import approves, decide, judged
from penstock.gate.evaluation import Evaluation
from penstock.gate.policy import Policy
from penstock.gate.rule import Case, Rule, failed_unmeasured
from penstock.gate.rules import RULES
from penstock.records.decision import Decision, RuleResult
from penstock.records.operations import Operations

GROUNDS = ("evaluation", "policy", "operations")
"""What a decision names by its digest."""


@dataclass(frozen=True)
class PastDecision:
    """A decision, and what it was made on.

    Args:
        name: What it is called, for example `models:/fraud/3`.
        decision: It.
        evaluation: What was measured on the holdout.
        policy: What was to hold; None: it was not kept, so which settings it was measured with is
            not known.
        operations: What was measured in the server; None: nothing was.
    """

    name: str
    decision: Decision
    evaluation: Evaluation
    policy: Policy | None
    operations: Operations | None = None


@dataclass(frozen=True)
class WhatIf:
    """What another policy says of a past decision.

    Args:
        name: See `PastDecision`.
        before: Whether it was approved.
        after: Whether the policy approves it; None: that cannot be known from what was measured.
        changes: Results that are new or have another verdict or severity, and those that are gone,
            in words.
        unknown: Rules that cannot be judged, and why.
    """

    name: str
    before: bool
    after: bool | None
    changes: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def flips(self) -> bool:
        """Whether the policy is known to decide otherwise."""
        return self.after is not None and self.after != self.before


def judge_again(past: PastDecision, *, policy: Policy) -> WhatIf:
    """Judge what was measured for a past decision by another policy.

    A rule is judged only where the figures are those that it would have asked for: where it was
    measured with other settings, or not at all, it is unknown. A decision of which a rule that
    blocks is unknown is so too, unless another one fails.

    Args:
        past: The decision and its grounds.
        policy: The policy to judge by.
    """
    case = Case(evaluation=past.evaluation, policy=policy, operations=past.operations)
    try:
        policy.check_fit(task=past.evaluation.task, metric=past.evaluation.metric)
    except InputError as error:
        return WhatIf(past.name, past.decision.approved, None, unknown=(f"policy: {error}",))
    known: list[RuleResult] = []
    unknown: list[tuple[str, bool]] = []
    for rule in RULES:
        for result, why in _again(rule, case, past):
            if why:
                unknown.append((f"{result.rule}: {why}", result.severity == "block"))
            else:
                known.append(result)
    refused = any(one.verdict == "fail" and one.severity == "block" for one in known)
    undecided = not refused and any(blocks for _, blocks in unknown)
    return WhatIf(
        name=past.name,
        before=past.decision.approved,
        after=None if undecided else approves(known, case, policy=policy),
        changes=tuple(_changes(past.decision, known, policy)),
        unknown=tuple(words for words, _ in unknown),
    )


def replays(past: PastDecision) -> bool | None:
    """Return whether the policy of a past decision gives the very same decision again.

    Rules, verdict and what it is tied to are compared; not the release of Penstock that decided,
    nor the digests of what it was decided on: a later release fills in settings that an earlier one
    did not know. Whoever read the records has compared these.

    Returns:
        None: the policy was not kept.
    """
    if past.policy is None:
        return None
    again = decide(
        past.evaluation.model_copy(update={"policy": past.policy.digest()}),
        policy=past.policy,
        operations=past.operations if past.decision.operations else None,
        image=past.decision.image,
    )
    known = {name: getattr(past.decision, name) for name in ("code", *GROUNDS)}
    return again.model_copy(update=known).digest() == past.decision.digest()


def _again(
    rule: Rule[Any, Any], case: Case, past: PastDecision
) -> Iterator[tuple[RuleResult, str]]:
    """Yield each result of a rule, and why it does not count; empty: it counts."""
    before = rule.settings(past.policy) if past.policy is not None else ()
    for settings in rule.settings(case.policy):
        alone = case.policy.model_copy(update={rule.name: _as_field(case.policy, rule, settings)})
        same = rule.measured_alike(settings, before)
        for result in judged(rule, Case(case.evaluation, alone, case.operations)):
            if failed_unmeasured(result):
                yield result, "it was not measured then"
            elif not same:
                yield result, _other_settings(past)
            else:
                yield result, ""


def _as_field(policy: Any, rule: Rule[Any, Any], settings: Any) -> Any:
    return (settings,) if isinstance(getattr(policy, rule.name), tuple) else settings


def _other_settings(past: PastDecision) -> str:
    if past.policy is None:
        return "the settings that it was measured with were not kept"
    return "it was measured with other settings then, or was off"


def _changes(decision: Decision, found: Sequence[RuleResult], policy: Policy) -> Iterator[str]:
    before = {one.rule: _ended(one) for one in decision.rules}
    for one in found:
        then, now = before.get(one.rule, "not in the policy"), _ended(one)
        if then != now:
            yield f"{one.rule}: {then} -> {now}. {one.sentence}"
    required = policy.describe()
    for name, then in before.items():
        if name not in required:
            yield f"{name}: {then} -> no longer in the policy."


def _ended(found: RuleResult) -> str:
    return f"{found.verdict} ({found.severity})"
