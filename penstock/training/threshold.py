"""The score from which on the positive class is predicted, and what decisions are worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from penstock.data.table.frames import read_arrays
from penstock.metrics.business_value import PER, DecisionValue, values_of
from penstock.training.inputs import Problem

if TYPE_CHECKING:
    import numpy as np

Objective = Literal["f1_macro", "accuracy", "f1", "balanced_accuracy", "cost"]

Gains = tuple["np.ndarray", "np.ndarray"]
"""What each row is worth if it is predicted positive, and if it is not; shape (n,) each."""


def objective_curve(
    truth: np.ndarray, scores: np.ndarray, *, objective: Objective, gains: Gains | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return every threshold that makes a difference, falling, and the value each one gives.

    Thresholds lie halfway between two neighbouring scores, above all of them (nothing is predicted
    positive) and at or below all of them (everything is); both arrays have shape (distinct + 1,).

    Args:
        truth: 1 for the positive class, 0 for the other; shape (n,), both present.
        scores: Probabilities of the positive class, shape (n,).
        objective: What is measured; of `cost` the worth of 1,000 decisions.
        gains: What `cost` adds up; rows of which it is NaN are left out.
    """
    import numpy as np

    from penstock.metrics.curves import threshold_curve

    curve = threshold_curve(truth == 1, scores)
    distinct = curve.threshold[1:]
    above, below = np.nextafter(max(distinct[0], 1.0), 2.0), min(distinct[-1], 0.0)
    halfway = (distinct[:-1] + distinct[1:]) / 2
    # Between neighbouring doubles there is nothing: halfway is one of them.
    between = np.where(halfway > distinct[1:], halfway, distinct[:-1])
    thresholds = np.concatenate([[above], between, [below]])
    if objective != "cost":
        return thresholds, getattr(curve, objective)
    assert gains is not None
    known = np.isfinite(gains[0])
    order = np.argsort(-scores, kind="stable")
    if_positive, if_negative = (np.where(known, values, 0.0)[order] for values in gains)
    last = (curve.true_positives + curve.false_positives)[1:].astype(np.int64) - 1
    change = np.append(0.0, np.cumsum(if_positive - if_negative)[last])
    return thresholds, PER * (if_negative.sum() + change) / max(1, known.sum())


def best_threshold(
    truth: np.ndarray, scores: np.ndarray, *, objective: Objective, gains: Gains | None = None
) -> tuple[float, float]:
    """Return the threshold that maximises `objective`, and the value it reaches.

    Of equally good thresholds the one nearest to 0.5 wins. See `objective_curve` for the arguments.
    """
    import numpy as np

    thresholds, values = objective_curve(truth, scores, objective=objective, gains=gains)
    ties = np.flatnonzero(values >= values.max() - 1e-12 * max(1.0, np.abs(values).max()))
    chosen = ties[np.abs(thresholds[ties] - 0.5).argmin()]
    return float(thresholds[chosen]), float(values[chosen])


def gains_of(problem: Problem, value: DecisionValue, *, train: Path) -> Gains:
    """Return what each row is worth if it is predicted positive, and if it is not.

    Both have the shape (n,); NaN in a row that lacks a column which it needs.

    Raises:
        InputError: See `penstock.metrics.business_value.values_of`.
    """
    columns = read_arrays(train, value.names(), where=f"gate.cost ({value.text()})")
    if problem.chosen is not None:
        columns = {name: values[problem.chosen] for name, values in columns.items()}
    other = next(label for label in problem.classes if label != problem.positive)

    def if_all(label: object) -> np.ndarray:
        import numpy as np

        return values_of(
            value,
            task=problem.task,
            columns=columns,
            truth=problem.y,
            predicted=np.full(len(problem.y), label, dtype=problem.y.dtype),
            positive=problem.positive,
            negative=other,
        )

    return if_all(problem.positive), if_all(other)
