"""What each metric is: its range and direction, and what it says in plain words."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.records.model import Task


@dataclass(frozen=True)
class Scale:
    """What is known of a metric without computing it.

    Args:
        name: As scikit-learn names it, for example `roc_auc`.
        tasks: Where it is defined.
        higher_is_better: False for an error or a loss.
        lowest: The least value that it can have; minus infinity if there is none.
        highest: The greatest; infinity if there is none.
    """

    name: str
    tasks: tuple[Task, ...]
    higher_is_better: bool
    lowest: float = 0.0
    highest: float = 1.0

    def oriented(self, value: float) -> float:
        """Return `value` turned so that more is better."""
        return value if self.higher_is_better else -value


_INF = float("inf")
_CLASSES: tuple[Task, ...] = ("binary", "multiclass")

SCALES: dict[str, Scale] = {
    scale.name: scale
    for scale in (
        Scale("roc_auc", ("binary",), True),
        Scale("average_precision", ("binary",), True),
        Scale("accuracy", _CLASSES, True),
        Scale("balanced_accuracy", _CLASSES, True),
        Scale("f1", ("binary",), True),
        Scale("f1_macro", _CLASSES, True),
        Scale("precision", ("binary",), True),
        Scale("recall", ("binary",), True),
        Scale("roc_auc_ovr", ("multiclass",), True),
        Scale("log_loss", _CLASSES, False, highest=_INF),
        Scale("brier", ("binary",), False),
        Scale("r2", ("regression",), True, lowest=-_INF),
        Scale("rmse", ("regression",), False, highest=_INF),
        Scale("mae", ("regression",), False, highest=_INF),
        Scale("median_absolute_error", ("regression",), False, highest=_INF),
        Scale("mape", ("regression",), False, highest=_INF),
    )
}
"""Of every metric, the commonest of a task first."""


def names_for(task: Task) -> tuple[str, ...]:
    """Return the names of every metric that is defined for the task, the commonest first.

    Example:
        >>> "roc_auc" in names_for("binary"), "roc_auc" in names_for("regression")
        (True, False)
    """
    return tuple(name for name, scale in SCALES.items() if task in scale.tasks)


DESCRIPTIONS = {
    "roc_auc": "Chance that a row of the positive class scores above a row of the other; "
    "guessing gives 0.5",
    "average_precision": "Precision averaged over all shares of positives found; guessing gives "
    "the share of positives",
    "accuracy": "Share of rows that are predicted right",
    "balanced_accuracy": "Share of each class that is found, averaged over the classes",
    "precision": "Share of the rows called positive that are",
    "recall": "Share of the positives that are found",
    "f1": "Precision and recall in one figure (their harmonic mean)",
    "f1_macro": "F1 of each class, averaged over the classes",
    "roc_auc_ovr": "Chance that a row of a class scores above a row of another for that class, "
    "averaged over the classes",
    "log_loss": "Mean negative logarithm of the probability stated for what was true; 0 is perfect",
    "brier": "Mean squared distance between the stated probability and what was true (1 or 0)",
    "r2": "Share of the target's variation that the model accounts for; the mean alone gives 0",
    "rmse": "Size of a typical error in the target's unit, large ones counting more",
    "mae": "Mean size of the errors, in the target's unit",
    "median_absolute_error": "Half of the errors are smaller than this, in the target's unit",
    "mape": "Mean size of the errors as a share of the true value",
}
"""What each metric says, for readers who are no statisticians."""
