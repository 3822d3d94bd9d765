"""What a model answers for some rows, as plain Python values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from penstock.metrics.abstention import abstained

if TYPE_CHECKING:
    import numpy as np

    from penstock.records.model import Model


class Scorer(Protocol):
    """A model that is loaded, in whatever form: scikit-learn's or ONNX."""

    @property
    def record(self) -> Model:
        """What is known of the model."""
        ...

    @property
    def digest(self) -> str:
        """Digest of the model's folder."""
        ...

    @property
    def runtime(self) -> str:
        """What computes the scores: `sklearn` or `onnx`."""
        ...

    def scores_of(self, columns: Mapping[str, Any]) -> np.ndarray:
        """Return the scores of rows.

        Args:
            columns: By column, as `penstock.serving.columns.Batch.arrays` holds them.

        Returns:
            Binary: probability of the positive class, (n,). Multiclass: (n, k) in the order of
            `record.classes`. Regression: the value, (n,).
        """
        ...

    def labels_of(self, scores: np.ndarray) -> np.ndarray:
        """Return the labels that scores amount to, (n,)."""
        ...


@dataclass(frozen=True)
class Prediction:
    """Predictions for the rows of one request.

    Attributes:
        labels: One prediction a row: a class, or a number for a regression.
        probabilities: One list a row, in the order of the model's classes; None for a regression.
        abstained: Whether each row is left to a person; None: the model decides every row.
    """

    labels: list[Any]
    probabilities: list[list[float]] | None
    abstained: list[bool] | None = None


def prediction_of(record: Model, *, labels: np.ndarray, scores: np.ndarray) -> Prediction:
    """Return a scorer's labels and scores as they are sent."""
    if record.task == "regression":
        return Prediction(labels=labels.tolist(), probabilities=None)
    if record.task == "multiclass":
        return Prediction(labels=labels.tolist(), probabilities=scores.tolist())
    positive_last = record.classes[1] == record.positive
    pairs = [[1 - p, p] if positive_last else [p, 1 - p] for p in scores.tolist()]
    band = record.abstention
    left = None if band is None else abstained(band, scores).tolist()
    return Prediction(labels=labels.tolist(), probabilities=pairs, abstained=left)


def without_score(scores: np.ndarray) -> int | None:
    """Return the first row whose scores are not all finite; None if there is none.

    Its label would be made up: NaN is below every threshold.
    """
    import numpy as np

    finite = np.isfinite(scores)
    if finite.all():
        return None
    return int(np.argmin(finite if finite.ndim == 1 else finite.all(axis=1)))


def row_scores(record: Model, scores: np.ndarray) -> np.ndarray:
    """Return one score a row, (n,): P(positive), P(predicted class), or the value."""
    best: np.ndarray = scores.max(axis=1) if record.task == "multiclass" else scores
    return best
