"""What one model predicts for rows whose truth is known. Imported only while evaluating."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock.metrics.arrays import Flags, Floats
from penstock.metrics.curves import confusion
from penstock.metrics.losses import class_losses
from penstock.records.model import Task


@dataclass(frozen=True)
class Predictions:
    """The predictions of one model, and what the metrics take of them.

    Args:
        task: Of the model.
        truth: Shape (n,). Regression: the target. Binary: 1 for the positive class, 0 for the
            other. Multiclass: the code of the class. `classes` itself stands for a class that the
            model does not know.
        scores: Of two classes the probability of the positive one, of a regression the value, shape
            (n,); of more classes the probability of each, shape (n, k).
        predicted: Predicted class codes, of a regression the values; shape (n,).
        classes: How many classes the model knows; 0 for a regression.
    """

    task: Task
    truth: NDArray[Any]
    scores: Floats
    predicted: NDArray[Any]
    classes: int

    @cached_property
    def losses(self) -> dict[str, Floats]:
        """Each row's loss by metric; see `penstock.metrics.losses.class_losses`."""
        return class_losses(self.task, self.truth, self.scores)

    @cached_property
    def correct(self) -> Flags:
        """Whether each row is predicted right, shape (n,)."""
        return np.asarray(self.truth == self.predicted)

    @cached_property
    def confusion(self) -> Floats:
        """Rows by true class (the last: none that is known) and predicted class, (k + 1, k)."""
        counts = confusion(self.truth, self.predicted, classes=self.classes)
        return counts.astype(np.float64)

    @cached_property
    def rarest(self) -> int:
        """Rows of the rarest class that the model knows; of a regression, all rows."""
        if self.task == "regression":
            return len(self.truth)
        return int(self.confusion[: self.classes].sum(axis=1).min())
