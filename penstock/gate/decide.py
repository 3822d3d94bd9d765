"""Policy and measurements in, decision out."""

from __future__ import annotations

from pathlib import Path

import penstock
from penstock import files
from penstock.errors import IntegrityError
from penstock.gate import classes, cost, fairness, health, performance, serving, slices, trust
from penstock.gate.report import decision_page
from penstock.policy.spec import Policy
from penstock.progress import say
from penstock.records.decision import Decision
from penstock.records.evaluation import Evaluation
from penstock.records.operations import Operations


def decide(
    evaluation: Evaluation,
    *,
    policy: Policy,
    operations: Operations | None = None,
    image: str = "",
) -> Decision:
    """Judge a candidate.

    It is approved only if no blocking rule failed and at least one passed: a policy in which
    nothing blocks, or nothing applies, approves nothing.

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
    rules = (
        *performance.rules(evaluation, policy),
        *classes.rules(evaluation, policy),
        *slices.rules(evaluation, policy),
        *fairness.rules(evaluation, policy),
        *trust.rules(evaluation, policy),
        *health.rules(evaluation, policy),
        *cost.rules(evaluation, policy),
        *serving.rules(operations, policy),
    )
    blocking = [rule.verdict for rule in rules if rule.severity == "block"]
    return Decision(
        approved="fail" not in blocking and "pass" in blocking,
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
    say(f"{'approved' if decision.approved else 'refused'}: {decision.tally()}")
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
