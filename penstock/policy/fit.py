"""Whether a policy asks what a task has, once the task and the primary metric are known."""

from __future__ import annotations

from penstock.errors import InputError
from penstock.metrics.descriptions import SCALES, Scale, names_for
from penstock.policy import quality
from penstock.policy.bounds import check_margin
from penstock.policy.spec import Policy
from penstock.records.model import Task


def check_fit(policy: Policy, *, task: Task, metric: str) -> None:
    """Refuse a policy that can never be met, or never fails, for want of what the task has.

    Args:
        policy: The policy.
        task: What the model does.
        metric: The primary metric, in whose units margins are.

    Raises:
        InputError: If a floor's metric is not defined for the task, a margin is as wide as the
            whole range of the primary metric, or no rule that blocks can refuse a bad model of the
            task; the message names the field.
    """
    lacking = quality.missing(policy, task=task)
    if lacking:
        raise InputError(lacking, where="gate.without_quality", remedy=f"{quality.REMEDY}.")
    for number, floor in enumerate(policy.floors):
        if task not in SCALES[floor.metric].tasks:
            raise InputError(
                f"{floor.metric} is not defined for a {task} task",
                where=f"gate.floors.{number}.metric",
                remedy=f"Use one of: {', '.join(names_for(task))}.",
            )
    calibration = policy.calibration
    if calibration is not None and task == "binary" and (calibration.brier_at_most or 0) >= 1:
        raise InputError(
            f"the Brier score of two classes is at most 1, so {calibration.brier_at_most:g} is "
            "always met",
            where="gate.calibration.brier_at_most",
            remedy="Give a bound below 1.",
        )
    if metric in SCALES:
        check_margins(policy, SCALES[metric])


def check_margins(policy: Policy, metric: Scale) -> None:
    """Refuse margins as wide as the whole range of the primary metric.

    Raises:
        InputError: If one is; the message names the field.
    """
    stability = policy.stability
    asked = [
        ("gate.baseline.margin", policy.baseline.margin, "can never be exceeded"),
        ("gate.baseline.margin", -policy.baseline.margin, "is always exceeded"),
        ("gate.linear.margin", policy.linear.margin, "is never exceeded"),
        ("gate.champion.margin", policy.champion.margin, "is never exceeded"),
    ]
    if stability is not None:
        name = "gate.stability.drop_at_most"
        asked.append((name, stability.drop_at_most, "is never exceeded"))
    for where, margin, outcome in asked:
        try:
            check_margin(where.rpartition(".")[2], margin, metric=metric, outcome=outcome)
        except ValueError as error:
            raise InputError(
                str(error), where=where, remedy="It is in units of the primary metric."
            ) from error
