"""Policy and measurements in, decision out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import penstock
from penstock.common import files
from penstock.common.progress import say
from penstock.errors import IntegrityError
from penstock.gate.evaluation import Evaluation
from penstock.gate.policy import Policy
from penstock.gate.report import decision_page
from penstock.gate.rule import Case, Rule
from penstock.gate.rules import RULES
from penstock.records.decision import Decision, RuleResult
from penstock.records.operations import Operations


def decide(
    evaluation: Evaluation,
    *,
    policy: Policy,
    operations: Operations | None = None,
    image: str = "",
) -> Decision:
    """Judge a candidate.

    It is approved only if no blocking rule failed and at least one passed that measures how good
    it is: a policy in which nothing blocks, or nothing of that kind applies, approves nothing. Such
    a rule is one that guessing does not pass (`Policy.quality_rules`), or holds the candidate
    against a champion. Where the policy says `without_quality: accepted`, any blocking rule does.

    Args:
        evaluation: What was measured on the holdout, for this very policy.
        policy: What must hold.
        operations: What was measured of the candidate in its server; None where nothing was.
        image: The image that this runs in, if any.

    Returns:
        The decision, tied by digests to the model, the holdout, the measurements and the policy.

    Raises:
        IntegrityError: If the evaluation was made for another policy, or the operations were
            measured on another model.
    """
    _check(evaluation, policy=policy, operations=operations)
    case = Case(evaluation=evaluation, policy=policy, operations=operations)
    rules = tuple(found for rule in RULES for found in judged(rule, case))
    return Decision(
        approved=approves(rules, case, policy=policy),
        model=evaluation.model,
        dataset=evaluation.dataset,
        evaluation=evaluation.digest(),
        policy=policy.digest(),
        operations="" if operations is None else operations.digest(),
        champion=evaluation.champion,
        commit=evaluation.commit,
        code=penstock.__version__,
        image=image,
        rules=rules,
    )


def judged(rule: Rule[Any, Any], case: Case) -> Iterator[RuleResult]:
    """Yield what a rule found, each result under a name that the rule describes."""
    for settings in rule.settings(case.policy):
        described = {name for name, _ in rule.describe(settings)}
        for found in rule.judge(settings, case):
            if found.rule not in described:
                raise AssertionError(f"{rule.name} does not describe {found.rule!r}")
            yield found


def approves(rules: Sequence[RuleResult], case: Case, *, policy: Policy) -> bool:
    """Return whether results approve a candidate: see `decide`."""
    blocking = [rule for rule in rules if rule.severity == "block"]
    counted = None if policy.without_quality == "accepted" else _counted(case)
    passed = any(r.verdict == "pass" and (counted is None or r.rule in counted) for r in blocking)
    return passed and all(rule.verdict != "fail" for rule in blocking)


def _counted(case: Case) -> frozenset[str]:
    """Return the names of results that say how good a model is, on these rows."""
    return frozenset(
        name
        for rule in RULES
        for settings in rule.settings(case.policy)
        for name in rule.quality_shown(settings, case.evaluation)
    )


def run(
    evaluation: Path,
    *,
    policy: Policy,
    name: str,
    output: Path,
    report: Path,
    operations: Path | None = None,
    image: str = "",
) -> Decision:
    """Judge the candidate of an evaluation record and write the decision and its page.

    Args:
        evaluation: File of the evaluation record.
        policy: What must hold.
        name: The project's name, for the page.
        output: Where to write the decision record.
        report: Where to write the page.
        operations: File of the operations record, if there is one.
        image: The image that this runs in, if any.
    """
    measured = Evaluation.read(evaluation)
    served = None if operations is None else Operations.read(operations)
    decision = decide(measured, policy=policy, operations=served, image=image)
    files.write_text(report, decision_page(decision, evaluation=measured, policy=policy, name=name))
    decision.write(output)
    say(f"{'approved' if decision.approved else 'refused'}: {decision.counts()}")
    return decision


def _check(evaluation: Evaluation, *, policy: Policy, operations: Operations | None) -> None:
    if evaluation.policy != policy.digest():
        raise IntegrityError(
            f"the evaluation was made for policy {evaluation.policy or 'none'}, this one is "
            f"{policy.digest()}",
            where="policy",
            remedy="Evaluate again with the policy that is to judge.",
        )
    if operations is None:
        return
    for field in ("model", "dataset"):
        theirs, ours = getattr(operations, field), getattr(evaluation, field)
        if theirs != ours:
            raise IntegrityError(
                f"it was measured with {field} {theirs}, the evaluation with {ours}",
                where="operations",
                remedy="Probe the server with the candidate and holdout that were evaluated.",
            )
