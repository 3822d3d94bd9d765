"""The settings of a training once `auto` is resolved: metric, and what the threshold is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from penstock.errors import InputError
from penstock.metrics import Metric, metric_for
from penstock.metrics.business_value import DecisionValue
from penstock.own_code.reference import Reference
from penstock.records.model import Abstention, Task
from penstock.training import estimators
from penstock.training.inputs import Problem
from penstock.training.monotonic import check_families
from penstock.training.own_metric import check_direction
from penstock.training.spec import TrainingSpec
from penstock.training.threshold import Gains, Objective, gains_of

RARE = 0.1
"""Share of the rarer of two classes below which the ranking of the few counts, not of all."""

ENOUGH = 30
"""Rows of the rarest class to be expected in the holdout, for a ranking of every class to be
measured there; the evaluation needs 20."""

_HOLDOUT = 0.25
"""Rows held out for each trained on, where the split is not known."""


@dataclass(frozen=True)
class Plan:
    """The settings of a training once `auto` is resolved.

    Args:
        metric: What the search optimises.
        objective: What the threshold maximises; None where the threshold is given or there is none.
        threshold: The threshold, where it is given.
        gains: What rows are worth, where the threshold maximises that.
        unit: Of that value.
        abstention: Where a row is left to a person; None: nowhere.
    """

    metric: Metric
    objective: Objective | None
    threshold: float | None
    gains: Gains | None = None
    unit: str = ""
    abstention: Abstention | None = None


class PolicyCheck(Protocol):
    """What refuses a policy that cannot judge a training: `penstock.gate.policy.Policy.check`.

    The gate comes after training, so the caller of both hands it over.
    """

    def __call__(self, *, columns: Sequence[str], target: str, task: Task, metric: str) -> None:
        """Raise `InputError` if the policy does not fit the table, the task or the metric."""


def plan_of(
    problem: Problem,
    spec: TrainingSpec,
    *,
    train: Path,
    value: DecisionValue | None = None,
    check: PolicyCheck | None = None,
) -> Plan:
    """Resolve what a project leaves to us.

    Args:
        problem: What is to be learned.
        spec: What the project says of the training.
        train: The training part, whose columns the value of a row may need.
        value: What decisions are worth; it sets the threshold.
        check: What refuses a policy that does not fit; None: nothing is checked.

    Raises:
        InputError: If the metric, the class weight, the threshold or the policy does not fit the
            task, a candidate does not keep the monotonic constraints, or cannot hold the target.
        MissingLibraryError: If the library of a candidate is not installed.
    """
    estimators.check_installed(spec.candidates)
    _refuse_large_target(problem, spec)
    check_families(spec.families, spec.monotonic)
    if spec.monotonic and spec.trials < 2:
        raise InputError(
            "the first trial is the linear model, which keeps no monotonic constraint",
            where="training.trials",
            remedy="Allow 2 or more.",
        )
    metric = _metric(problem, spec)
    if check is not None:
        columns = [column.name for column in problem.dataset.columns]
        check(columns=columns, target=problem.target, task=problem.task, metric=metric.name)
    if problem.task == "regression" and spec.class_weight != "none":
        raise InputError(
            f"class_weight is {spec.class_weight!r}, but a regression has no classes",
            where="training.class_weight",
            remedy="Leave it at none.",
        )
    if problem.task == "regression" and spec.calibration != "none":
        raise InputError(
            f"calibration is {spec.calibration!r}, but a regression states no probabilities",
            where="training.calibration",
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
    band = None if value is None else value.abstention()
    if isinstance(spec.threshold, str):
        chosen = _objective(spec.threshold, value)
        if chosen != "cost":
            return Plan(metric, chosen, None, abstention=band)
        assert value is not None
        return Plan(metric, chosen, None, gains_of(problem, value, train=train), value.unit, band)
    if not 0 <= spec.threshold <= 1:
        raise InputError(
            f"threshold is {spec.threshold}, but scores are probabilities",
            where="training.threshold",
            remedy="Give a number from 0 to 1, or auto.",
        )
    return Plan(metric, None, spec.threshold, abstention=band)


def _refuse_large_target(problem: Problem, spec: TrainingSpec) -> None:
    """Refuse numbers that no 32-bit float holds, as which XGBoost and LightGBM take a target."""
    import numpy as np

    names = sorted({"xgboost", "lightgbm"} & set(spec.candidates))
    if problem.task != "regression" or not names:
        return
    most, largest = float(np.abs(problem.y).max()), float(np.finfo(np.float32).max)
    if most > largest:
        raise InputError(
            f"a value is as large as {most:.3g}: {' and '.join(names)} takes 32-bit floats, of "
            f"which the largest is {largest:.2g}",
            where=f"target {problem.target!r}",
            remedy="Give it in a larger unit, or name other training.candidates.",
        )


def _metric(problem: Problem, spec: TrainingSpec) -> Metric:
    if not spec.own_metric.function:
        name = _automatic(problem) if spec.metric == "auto" else spec.metric
        return metric_for(name, task=problem.task)
    reference = Reference.of(spec.own_metric.function)
    metric = metric_for(reference.name, task=problem.task)
    check_direction(metric, problem, reference=str(reference))
    return metric


def _automatic(problem: Problem) -> str:
    """Return the metric for a task and how rare its rarest class is (docs/adr/0024)."""
    if problem.task == "regression":
        return "r2"
    # Of the whole part: the holdout has a share of that, however few rows are learned from.
    rarest, rows = min(problem.judged_rows), sum(problem.judged_rows)
    if problem.task == "binary":
        return "average_precision" if rarest < RARE * rows else "roc_auc"
    split = problem.split
    apart = split is not None and split.method in ("time", "group")
    if apart or problem.fold_rule.kind in ("time", "group"):
        # A fold or the holdout may lack a class, and then no ranking of it is defined.
        return "log_loss"
    share = _HOLDOUT if split is None else split.holdout_rows / max(1, split.train_rows)
    return "roc_auc_ovr" if rarest * share >= ENOUGH else "log_loss"


def _objective(setting: Literal["auto"] | Objective, value: DecisionValue | None) -> Objective:
    if setting == "cost" and value is None:
        raise InputError(
            "threshold is 'cost', but the gate's policy does not say what decisions are worth",
            where="training.threshold",
            remedy="Add gate.cost with a matrix or an expression, or leave the threshold at auto.",
        )
    if setting != "auto":
        return setting
    return "cost" if value is not None else "f1_macro"
