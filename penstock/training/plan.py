"""The settings of a training once `auto` is resolved: metric, and what the threshold is for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from penstock.errors import InputError
from penstock.metrics import Metric, metric_for
from penstock.policy.spec import Policy
from penstock.training.gains import gains_of
from penstock.training.inputs import Problem
from penstock.training.spec import TrainingSpec
from penstock.training.threshold import Gains, Objective

if TYPE_CHECKING:
    import numpy as np

RARE = 0.1
"""Share of the rarer of two classes below which accuracy says little."""


@dataclass(frozen=True)
class Plan:
    """The settings of a training once `auto` is resolved.

    Args:
        metric: What the search optimises.
        objective: What the threshold maximises; None where the threshold is given or there is none.
        threshold: The threshold, where it is given.
        gains: What rows are worth, where the threshold maximises that.
        unit: Of that worth.
    """

    metric: Metric
    objective: Objective | None
    threshold: float | None
    gains: Gains | None = None
    unit: str = ""


def plan_of(problem: Problem, spec: TrainingSpec, policy: Policy, *, train: Path) -> Plan:
    """Resolve what a project leaves to us.

    Args:
        problem: What is to be learned.
        spec: What the project says of the training.
        policy: Its rule on cost, if it has one, sets the threshold.
        train: The training part, whose columns the worth of a row may need.

    Raises:
        InputError: If the metric, the class weight or the threshold does not fit the task.
    """
    rare = problem.task == "binary" and _share_of_rarer(problem.truth[problem.judged]) < RARE
    automatic = {
        "binary": "average_precision" if rare else "roc_auc",
        "multiclass": "accuracy",
        "regression": "r2",
    }[problem.task]
    metric = metric_for(automatic if spec.metric == "auto" else spec.metric, task=problem.task)
    if problem.task == "regression" and spec.class_weight != "none":
        raise InputError(
            f"class_weight is {spec.class_weight!r}, but a regression has no classes",
            where="training.class_weight",
            remedy="Leave it at none.",
        )
    if problem.task != "binary":
        if spec.threshold != "auto":
            raise InputError(
                f"threshold is {spec.threshold!r}, but only two classes have one",
                where="training.threshold",
                remedy=f"Leave it at auto for a {problem.task} task.",
            )
        return Plan(metric, None, None)
    if isinstance(spec.threshold, str):
        chosen = _objective(spec.threshold, policy, rare=rare)
        if chosen != "cost":
            return Plan(metric, chosen, None)
        assert policy.cost is not None
        gains = gains_of(problem, policy.cost, train=train)
        return Plan(metric, chosen, None, gains, policy.cost.unit)
    if not 0 <= spec.threshold <= 1:
        raise InputError(
            f"threshold is {spec.threshold}, but scores are probabilities",
            where="training.threshold",
            remedy="Give a number from 0 to 1, or auto.",
        )
    return Plan(metric, None, spec.threshold)


def _objective(asked: Literal["auto"] | Objective, policy: Policy, *, rare: bool) -> Objective:
    if asked == "cost" and policy.cost is None:
        raise InputError(
            "threshold is 'cost', but the gate's policy does not say what decisions are worth",
            where="training.threshold",
            remedy="Add gate.cost with a matrix or an expression, or leave the threshold at auto.",
        )
    if asked != "auto":
        return asked
    if policy.cost is not None:
        return "cost"
    return "f1" if rare else "accuracy"


def _share_of_rarer(truth: np.ndarray) -> float:
    share = float(truth.mean())
    return min(share, 1 - share)
