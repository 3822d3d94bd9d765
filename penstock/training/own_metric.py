"""Whether a metric of the project's own points where the project file says.

Declared the wrong way round it would make the search take the worst model, and the gate let it
through. It is asked of the training part's own truth: for predictions that are all right, and for
such that are all wrong.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from penstock.errors import InputError
from penstock.metrics import Metric
from penstock.training.inputs import Problem

if TYPE_CHECKING:
    import numpy as np

_SURE, _DRIFT = 0.95, 0.04
"""Score of the class that is predicted, and by how much scores of one class may differ: a metric
may rank rows, or cut them where scores differ."""

_SAME = 1e-9


def check_direction(metric: Metric, problem: Problem, *, reference: str) -> None:
    """Refuse a metric by which predictions that are all wrong are better than those all right.

    One that raises for such predictions, or is no number of them, says nothing here.

    Args:
        metric: The project's own.
        problem: The training part.
        reference: What the project file names.

    Raises:
        InputError: If it points the other way.
    """
    try:
        right, wrong = (metric.of(problem.truth, given) for given in _extremes(metric, problem))
    except InputError:
        return
    ahead = metric.oriented(right) - metric.oriented(wrong)
    if not math.isfinite(ahead) or ahead >= -_SAME * (abs(right) + abs(wrong)):
        return
    higher = metric.scale.higher_is_better
    raise InputError(
        f"it gives {right:.6g} to predictions that are all right and {wrong:.6g} to such that are "
        f"all wrong, and the {'greater' if higher else 'lesser'} is taken for the better: the "
        "worst model would win",
        where=reference,
        remedy=f"Set training.own_metric.greater_is_better: {'false' if higher else 'true'}.",
    )


def _extremes(metric: Metric, problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions that are all right, and such that are all wrong, in the metric's form."""
    import numpy as np

    truth = problem.truth
    if problem.task == "regression":
        return truth.copy(), truth.max() + truth.min() - truth
    classes = len(problem.classes)
    other = (truth.astype(np.int64) + 1) % classes
    if metric.needs == "labels":
        return truth.copy(), other
    return _scores(truth, classes), _scores(other, classes)


def _scores(codes: np.ndarray, classes: int) -> np.ndarray:
    """Return scores that are sure of a class, of two classes those of the second."""
    import numpy as np

    each = _SURE + _DRIFT * np.linspace(0.0, 1.0, len(codes))
    scores = np.repeat(((1 - each) / (classes - 1))[:, None], classes, axis=1)
    scores[np.arange(len(codes)), codes.astype(np.int64)] = each
    return scores[:, 1] if classes == 2 else scores
