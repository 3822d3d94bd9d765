"""Policy and measurements in, decision out."""

from __future__ import annotations

from pathlib import Path

import penstock
from penstock.common import files
from penstock.common.progress import say
from penstock.errors import IntegrityError
from penstock.gate import classes, cost, fairness, health, performance, serving, slices, trust
from penstock.gate.report import decision_page
from penstock.policy.quality import quality_rules
from penstock.policy.rules import Floor
from penstock.policy.spec import Policy
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

    It is approved only if no blocking rule failed and at least one passed that measures how good
    it is: a policy in which nothing blocks, or nothing of that kind applies, approves nothing. Such
    a rule is one that guessing does not pass (`penstock.policy.quality`), or holds the candidate
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
    blocking = [rule for rule in rules if rule.severity == "block"]
    counted = None if policy.without_quality == "accepted" else _counted(evaluation, policy)
    passed = any(r.verdict == "pass" and (counted is None or r.rule in counted) for r in blocking)
    return Decision(
        approved=passed and all(rule.verdict != "fail" for rule in blocking),
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


_BESIDE_CHAMPION = ("champion", "champion superiority", "classes: champion")


def _counted(evaluation: Evaluation, policy: Policy) -> frozenset[str]:
    """Return the rules that say how good a model is, in these rows."""
    names = {*quality_rules(policy, task=evaluation.task), *_BESIDE_CHAMPION}
    if evaluation.slices is not None and evaluation.slices.compared:
        names.add("slices")
    asked = {f"floor {floor.metric}" for floor in policy.floors}
    held = {f"floor {one.metric}" for one in policy.floors if not _is_trivial(one, evaluation)}
    return frozenset(names - (asked - held))


def _is_trivial(floor: Floor, evaluation: Evaluation) -> bool:
    """Return whether the trivial baseline meets a floor, so that it says nothing of a model."""
    baseline = evaluation.scores_of("majority") or evaluation.scores_of("mean")
    figure = baseline.metrics.get(floor.metric) if baseline else None
    if figure is None:
        return False
    if floor.at_least is not None:
        return figure.value >= floor.at_least
    return floor.at_most is not None and figure.value <= floor.at_most


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
