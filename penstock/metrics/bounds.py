"""Whether a bound can do what it says: on the right side of its metric, and within its range."""

from __future__ import annotations

from math import log

from penstock.metrics.descriptions import SCALES, Scale
from penstock.records.model import Task

MIN_CLASS_ROWS = 20
"""Rows of the rarest class below which metrics of scores have no interval that holds."""

_WORST_LOG_LOSS = 36.0436
"""The negative logarithm of the least probability that scikit-learn's `log_loss` takes, the machine
epsilon of a double."""

GUESSED = {"roc_auc": 0.5, "roc_auc_ovr": 0.5, "r2": 0.0, "brier": 0.25, "recall": 1.0}
"""What a metric is of the best answer that does not look at the row, in whatever data: the share of
the class for a probability, the mean for a value, and for the recall always yes."""

_GUESSED_OF_TWO = {"accuracy": 0.5, "balanced_accuracy": 0.5, "log_loss": log(2)}
"""The same where there are two classes; of more it depends on how many."""


def check_metric(name: str) -> Scale:
    """Return the metric called `name`.

    Raises:
        ValueError: If there is none; the message lists what there is.
    """
    if name not in SCALES:
        raise ValueError(f"metric: there is no {name!r}. Known are: {', '.join(SCALES)}")
    return SCALES[name]


def check_bounds(name: str, *, at_least: float | None, at_most: float | None) -> None:
    """Refuse a bound that refuses the better model, can never be met, or always is.

    Args:
        name: The metric.
        at_least: The lower bound, if there is one.
        at_most: The upper bound, if there is one.

    Raises:
        ValueError: If the metric is not known, or the bound is one of these; the message names the
            field and what is meant.
    """
    metric = check_metric(name)
    higher = metric.higher_is_better
    field, right, bound = (
        ("at_least", "at_least", at_least) if higher else ("at_most", "at_most", at_most)
    )
    wrong = at_most if higher else at_least
    if wrong is not None:
        field = "at_most" if higher else "at_least"
        raise ValueError(
            f"{field}: {name} is better the {'higher' if higher else 'lower'}, so {field} would "
            f"refuse the better model. Give {right}"
        )
    if bound is None:
        return
    best, worst = (metric.highest, metric.lowest) if higher else (metric.lowest, metric.highest)
    if metric.oriented(bound) > metric.oriented(best):
        raise ValueError(
            f"{field}: {_range(metric)}, so {bound:g} can never be met{_percent(metric, bound)}"
        )
    if name == "log_loss" and bound >= _WORST_LOG_LOSS:
        raise ValueError(
            f"{field}: probabilities are stated to 2.2e-16, so log_loss is at most 36.04 and "
            f"{bound:g} is always met"
        )
    if metric.oriented(bound) <= metric.oriented(worst):
        raise ValueError(f"{field}: {_range(metric)}, so {bound:g} is always met")


def check_margin(field: str, margin: float, *, metric: Scale, outcome: str) -> None:
    """Refuse a margin as wide as the whole range of the metric.

    Args:
        field: The field's name.
        margin: Its value, in units of the metric.
        metric: The metric.
        outcome: What would always come of it, for the message: `can never be met`.

    Raises:
        ValueError: If it is.
    """
    if margin >= metric.highest - metric.lowest:
        raise ValueError(
            f"{field}: {_range(metric)}, so {margin:g} {outcome}{_percent(metric, margin)}"
        )


def beyond_guessing(
    metric: str, *, at_least: float | None, at_most: float | None, task: Task | None
) -> bool:
    """Return whether a bound on a metric may be missed by an answer that does not look at the row.

    Args:
        metric: The metric.
        at_least: The lower bound, if there is one.
        at_most: The upper bound, if there is one.
        task: What the model does; None: not known yet.

    Example:
        >>> beyond_guessing("roc_auc", at_least=0.5, at_most=None, task="binary")
        False
    """
    bound = at_least if at_least is not None else at_most
    if bound is None:
        return False
    guessed = GUESSED | (_GUESSED_OF_TWO if task == "binary" else {})
    if metric not in guessed:
        return True
    scale = SCALES[metric]
    return scale.oriented(bound) > scale.oriented(guessed[metric])


def _range(metric: Scale) -> str:
    if metric.lowest == float("-inf"):
        return f"{metric.name} is at most {metric.highest:g}"
    if metric.highest == float("inf"):
        return f"{metric.name} is at least {metric.lowest:g}"
    return f"{metric.name} lies between {metric.lowest:g} and {metric.highest:g}"


def _percent(metric: Scale, value: float) -> str:
    """Return the share that somebody means who writes percent."""
    means = metric.highest == 1 and 2 <= value <= 100
    return f". Did you mean {value / 100:g}?" if means else ""
