"""What a model answers for some rows, as plain Python values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from penstock.model import LoadedModel


@dataclass(frozen=True)
class Answer:
    """Predictions for the rows of one request.

    Attributes:
        labels: One prediction a row: a class, or a number for a regression.
        probabilities: One list a row, in the order of the model's classes; None for a regression.
    """

    labels: list[Any]
    probabilities: list[list[float]] | None


def answer_of(loaded: LoadedModel, frame: pd.DataFrame) -> Answer:
    """Return a model's answer for the rows of its input frame, as `LoadedModel.frame` made it."""
    record = loaded.record
    scores = loaded.scores(frame)
    labels = loaded.labels_of(scores).tolist()
    if record.task == "regression":
        return Answer(labels=labels, probabilities=None)
    if record.task == "multiclass":
        return Answer(labels=labels, probabilities=scores.tolist())
    positive_last = record.classes[1] == record.positive
    pairs = [[1 - p, p] if positive_last else [p, 1 - p] for p in scores.tolist()]
    return Answer(labels=labels, probabilities=pairs)
