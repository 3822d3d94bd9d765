"""Which rules of a policy refuse a model that is no better than guessing."""

from __future__ import annotations

from collections.abc import Iterator
from math import log

from penstock.metrics.descriptions import SCALES
from penstock.policy.classes import ClassesRule
from penstock.policy.cost import CostRule
from penstock.policy.rule_set import RuleSet
from penstock.policy.rules import Rule
from penstock.policy.slices import SlicesRule
from penstock.policy.trust import CalibrationRule
from penstock.records.model import Task

_GUESSED = {"roc_auc": 0.5, "roc_auc_ovr": 0.5, "r2": 0.0, "brier": 0.25, "recall": 1.0}
"""What a metric is of the best answer that does not look at the row, in whatever data: the share of
the class for a probability, the mean for a value, and for the recall always yes."""

_GUESSED_OF_TWO = {"accuracy": 0.5, "balanced_accuracy": 0.5, "log_loss": log(2)}
"""The same where there are two classes; of more it depends on how many."""

REMEDY = (
    "Let baseline block, or give a floor beyond what guessing reaches, such as roc_auc at_least "
    "0.7. without_quality: accepted lets a policy do without"
)


def quality_rules(policy: RuleSet, *, task: Task | None = None) -> tuple[str, ...]:
    """Return the blocking rules that refuse a model which is no better than guessing.

    Not among them are those that such a model passes (leakage, fairness, stability, calibration
    error, recall, the server), those of another severity, and those that do not apply to the first
    model, as the champion.

    Args:
        policy: The policy.
        task: What the model does; None: not known yet.

    Returns:
        Their names as a decision has them, for example `baseline` or `floor roc_auc`.
    """
    return tuple(dict.fromkeys(_named(policy, task)))


def blocking(policy: RuleSet) -> tuple[str, ...]:
    """Return the fields of a policy that hold a rule which blocks."""
    fields = {name: getattr(policy, name) for name in type(policy).model_fields}
    held = {name: one if isinstance(one, tuple) else (one,) for name, one in fields.items()}
    return tuple(
        name
        for name, rules in held.items()
        if any(isinstance(rule, Rule) and rule.severity == "block" for rule in rules)
    )


def missing(policy: RuleSet, *, task: Task | None = None) -> str:
    """Return what to say of a policy that no rule of quality is in; empty: one is.

    Args:
        policy: The policy.
        task: See `quality_rules`.
    """
    if policy.without_quality == "accepted" or quality_rules(policy, task=task):
        return ""
    said = ", ".join(blocking(policy))
    what = f"what blocks is {said}" if said else "nothing blocks, so that nothing can be approved"
    kind = f" of a {task} task" if task else ""
    return f"no rule refuses a model{kind} that is no better than guessing: {what}"


def beyond_guessing(
    metric: str, *, at_least: float | None, at_most: float | None, task: Task | None
) -> bool:
    """Return whether a bound on a metric may be missed by an answer that does not look at the row.

    Args:
        metric: The metric.
        at_least: The lower bound, if there is one.
        at_most: The upper bound, if there is one.
        task: What the model does; None: not known yet.
    """
    bound = at_least if at_least is not None else at_most
    if bound is None:
        return False
    guessed = _GUESSED | (_GUESSED_OF_TWO if task == "binary" else {})
    if metric not in guessed:
        return True
    scale = SCALES[metric]
    return scale.oriented(bound) > scale.oriented(guessed[metric])


def _named(policy: RuleSet, task: Task | None) -> Iterator[str]:
    named: dict[str, tuple[Rule | None, bool]] = {
        "baseline": (policy.baseline, policy.baseline.margin >= 0),
        "linear": (policy.linear, True),
        "classes: guessing": (policy.classes, _finds_classes(policy.classes, task)),
        "slices": (policy.slices, _floors_slices(policy.slices, task)),
        "calibration brier": (policy.calibration, _bounds_brier(policy.calibration, task)),
        "cost": (policy.cost, _bounds_worth(policy.cost)),
    }
    for name, (rule, asks) in named.items():
        if rule is not None and rule.severity == "block" and asks:
            yield name
    for floor in policy.floors:
        asks = beyond_guessing(
            floor.metric, at_least=floor.at_least, at_most=floor.at_most, task=task
        )
        if floor.severity == "block" and asks:
            yield f"floor {floor.metric}"


def _finds_classes(rule: ClassesRule | None, task: Task | None) -> bool:
    return rule is not None and rule.better_than_guessing and task != "regression"


def _floors_slices(rule: SlicesRule | None, task: Task | None) -> bool:
    return rule is not None and beyond_guessing(
        rule.metric, at_least=rule.at_least, at_most=rule.at_most, task=task
    )


def _bounds_brier(rule: CalibrationRule | None, task: Task | None) -> bool:
    if rule is None or rule.brier_at_most is None or task == "regression":
        return False
    # Of several classes the score goes to 2, and what guessing gives to 1.
    return rule.brier_at_most < (1.0 if task == "multiclass" else _GUESSED["brier"])


def _bounds_worth(rule: CostRule | None) -> bool:
    return rule is not None and rule.at_least is not None and rule.depends_on_the_model()
