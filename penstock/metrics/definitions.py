"""The metrics a model is searched, judged and released by: one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from penstock.errors import InputError
from penstock.metrics.descriptions import SCALES, Scale
from penstock.metrics.descriptions import names_for as names_for
from penstock.records.model import Label, Task

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Metric:
    """A metric that can be computed.

    Args:
        scale: Its name, tasks, direction and range.
        needs: `scores` for probabilities (binary: shape (n,); multiclass: (n, k)) or a
            regression's values; `labels` for predicted classes, as codes.
        of: The function: `of(truth, given)`, both as `codes` or floats. A binary truth is 1 for
            the positive class and 0 for the other, a multiclass one is the index into `classes`.
    """

    scale: Scale
    needs: Literal["scores", "labels"]
    of: Callable[[np.ndarray, np.ndarray], float]

    @property
    def name(self) -> str:
        """Its name, for example `roc_auc`."""
        return self.scale.name

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Where it is defined."""
        return self.scale.tasks

    @property
    def higher_is_better(self) -> bool:
        """False for an error or a loss."""
        return self.scale.higher_is_better

    def oriented(self, value: float) -> float:
        """Return `value` turned so that more is better."""
        return self.scale.oriented(value)


LARGEST_TARGET = 1e70
"""Targets of a regression up to which the fourth powers that intervals take are finite."""


def refuse_huge(target: np.ndarray, *, where: str) -> None:
    """Refuse a regression's target that is too large to compute with.

    Raises:
        InputError: If one lies beyond `LARGEST_TARGET`.
    """
    import numpy as np

    huge = target[int(np.abs(target).argmax())]
    if abs(huge) > LARGEST_TARGET:
        raise InputError(
            f"the target is as large as {huge:.3g}: nothing can be computed with targets beyond "
            f"{LARGEST_TARGET:g}",
            where=where,
            remedy="Correct it in the source, or give it in a larger unit.",
        )


def metric_for(name: str, *, task: Task) -> Metric:
    """Return the metric called `name`.

    Raises:
        InputError: If it is not known or not defined for the task; the message lists what is.

    Example:
        >>> import numpy as np
        >>> truth, predicted = np.array([1, 0, 1, 1]), np.array([1, 0, 0, 1])
        >>> metric_for("accuracy", task="binary").of(truth, predicted)
        0.75
    """
    found = METRICS.get(name)
    if found is None or task not in found.tasks:
        raise InputError(
            f"{name!r} is not a metric for a {task} task",
            where="training.metric",
            remedy=f"Use one of: auto, {', '.join(names_for(task))}.",
        )
    return found


def codes(
    values: Sequence[Any] | np.ndarray, *, classes: Sequence[Label], positive: Label | None = None
) -> np.ndarray:
    """Return labels as the integers that metrics compare.

    Args:
        values: Labels, shape (n,).
        classes: Every class, in the model's order.
        positive: Binary task: the class that becomes 1; the other becomes 0.

    Raises:
        InputError: If a value is none of the classes.

    Example:
        >>> codes(["yes", "no", "yes"], classes=["no", "yes"], positive="yes").tolist()
        [1, 0, 1]
    """
    import numpy as np

    if positive is not None:
        table = {label: int(label == positive) for label in classes}
    else:
        table = {label: index for index, label in enumerate(classes)}
    try:
        return np.fromiter((table[v] for v in values), dtype=np.int64, count=len(values))
    except KeyError as error:
        raise InputError(
            f"{error.args[0]!r} is not a class of the model",
            where="target",
            remedy=f"Known classes: {', '.join(map(str, classes))}.",
        ) from error


def _roc_auc(truth: np.ndarray, given: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(truth, given))


def _average_precision(truth: np.ndarray, given: np.ndarray) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(truth, given))


def _log_loss(truth: np.ndarray, given: np.ndarray) -> float:
    from sklearn.metrics import log_loss

    count = 2 if given.ndim == 1 else given.shape[1]
    return float(log_loss(truth, given, labels=range(count)))


def _accuracy(truth: np.ndarray, given: np.ndarray) -> float:
    return float((truth == given).mean())


def _balanced_accuracy(truth: np.ndarray, given: np.ndarray) -> float:
    """Return the mean over the classes in `truth` of the share of each that was found."""
    import numpy as np

    rows = np.bincount(truth)
    found = np.bincount(truth[truth == given], minlength=len(rows))
    return float((found[rows > 0] / rows[rows > 0]).mean())


def _f1(truth: np.ndarray, given: np.ndarray) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(truth, given, zero_division=0.0))


def _f1_macro(truth: np.ndarray, given: np.ndarray) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(truth, given, average="macro", zero_division=0.0))


def _r2(truth: np.ndarray, given: np.ndarray) -> float:
    from sklearn.metrics import r2_score

    return float(r2_score(truth, given))


def _rmse(truth: np.ndarray, given: np.ndarray) -> float:
    return float(((truth - given) ** 2).mean() ** 0.5)


def _mae(truth: np.ndarray, given: np.ndarray) -> float:
    return float(abs(truth - given).mean())


def _precision(truth: np.ndarray, given: np.ndarray) -> float:
    from sklearn.metrics import precision_score

    return float(precision_score(truth, given, zero_division=0.0))


def _recall(truth: np.ndarray, given: np.ndarray) -> float:
    from sklearn.metrics import recall_score

    return float(recall_score(truth, given, zero_division=0.0))


def _brier(truth: np.ndarray, given: np.ndarray) -> float:
    return float(((truth - given) ** 2).mean())


def _roc_auc_ovr(truth: np.ndarray, given: np.ndarray) -> float:
    """Return the mean over the classes of the ROC area of each against the rest."""
    import numpy as np
    from sklearn.metrics import roc_auc_score

    areas = [roc_auc_score(truth == code, given[:, code]) for code in range(given.shape[1])]
    return float(np.mean(areas))


def _median_absolute_error(truth: np.ndarray, given: np.ndarray) -> float:
    import numpy as np

    return float(np.median(abs(truth - given)))


def _mape(truth: np.ndarray, given: np.ndarray) -> float:
    """Return the mean absolute error as a share of the truth, which must not be 0."""
    return float(abs((truth - given) / truth).mean())


_FUNCTIONS: dict[str, tuple[Literal["scores", "labels"], Callable[..., float]]] = {
    "roc_auc": ("scores", _roc_auc),
    "average_precision": ("scores", _average_precision),
    "accuracy": ("labels", _accuracy),
    "balanced_accuracy": ("labels", _balanced_accuracy),
    "f1": ("labels", _f1),
    "f1_macro": ("labels", _f1_macro),
    "precision": ("labels", _precision),
    "recall": ("labels", _recall),
    "roc_auc_ovr": ("scores", _roc_auc_ovr),
    "log_loss": ("scores", _log_loss),
    "brier": ("scores", _brier),
    "r2": ("scores", _r2),
    "rmse": ("scores", _rmse),
    "mae": ("scores", _mae),
    "median_absolute_error": ("scores", _median_absolute_error),
    "mape": ("scores", _mape),
}

METRICS: dict[str, Metric] = {
    name: Metric(scale, *_FUNCTIONS[name]) for name, scale in SCALES.items()
}
"""Every metric by name, the commonest of a task first.

Each is scikit-learn's of that name (https://scikit-learn.org/stable/modules/model_evaluation.html);
`f1_macro` is its `f1_score` averaged over the classes, `roc_auc_ovr` its `roc_auc_score` of each
class against the rest, averaged over the classes, `brier` its `brier_score_loss`, and `mape` its
`mean_absolute_percentage_error` where no true value is 0. `penstock.metrics.weighted` computes the
same of a holdout, which may have rows of classes that the model does not know; a test holds the two
equal.
"""
