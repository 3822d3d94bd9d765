"""What decisions about the rows of a training part are worth to the business."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from penstock.data.frames import read_arrays
from penstock.metrics.business_value import DecisionValue, values_of
from penstock.training.inputs import Problem
from penstock.training.threshold import Gains

if TYPE_CHECKING:
    import numpy as np


def gains_of(problem: Problem, value: DecisionValue, *, train: Path) -> Gains:
    """Return what each row is worth if it is predicted positive, and if it is not.

    Both have the shape (n,); NaN in a row that lacks a column which it needs.

    Raises:
        InputError: See `penstock.metrics.business_value.values_of`.
    """
    columns = read_arrays(train, value.names(), where=f"gate.cost ({value.text()})")
    other = next(label for label in problem.classes if label != problem.positive)

    def if_all(label: object) -> np.ndarray:
        return values_of(
            value,
            task=problem.task,
            columns=columns,
            truth=problem.y,
            predicted=_full(problem.y, label),
            positive=problem.positive,
            negative=other,
        )

    return if_all(problem.positive), if_all(other)


def _full(like: np.ndarray, label: object) -> np.ndarray:
    import numpy as np

    return np.full(len(like), label, dtype=like.dtype)
