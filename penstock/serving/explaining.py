"""Why a row got its score: the contributions of its columns, for a request and a batch alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.serving import shapley
from penstock.serving.columns import Intake
from penstock.serving.prediction import Scorer


class Explainer:
    """Explains rows of one model against the rows that it carries.

    Args:
        scorer: The model.
        background: Rows of the training part, by column, as JSON values.
    """

    def __init__(self, scorer: Scorer, background: Mapping[str, list[Any]]) -> None:
        rows = {name: values[: shapley.BACKGROUND_ROWS] for name, values in background.items()}
        accepting = Intake(scorer.record.columns, levels={})
        self._scorer = scorer
        self._background = accepting.convert(rows, row="background row {}").arrays

    def explain(self, row: Mapping[str, Any], label: Any) -> shapley.Explanation:
        """Return the contributions of one row's columns to its score.

        Args:
            row: By column, arrays or lists of length 1, as the scorer takes them.
            label: What the model predicts of it: of several classes, that one's score is explained.
        """
        return shapley.explain(self._score_of(label), row, self._background)

    def unit(self, label: Any) -> str:
        """Return what the score of a row with this label is."""
        record = self._scorer.record
        if record.task == "regression":
            return record.target
        named = record.positive if record.task == "binary" else label
        return f"probability that {record.target} is {named}"

    def _score_of(self, label: Any) -> shapley.Score:
        record = self._scorer.record
        if record.task != "multiclass":
            return self._scorer.scores_of
        index = record.classes.index(label)
        return lambda columns: self._scorer.scores_of(columns)[:, index]


def lacks_background(scorer: Scorer, background: Mapping[str, list[Any]]) -> str:
    """Return why a model's answers cannot be explained; empty: they can."""
    if background:
        return ""
    why = (
        "train it again with this release of Penstock"
        if scorer.record.carries_rows
        else "it was trained with training.carry_rows: false, so that it carries no rows"
    )
    return f"this model holds no background rows to explain against; {why}"
