"""What a model's answers rest on."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from penstock.records.base import Record, Value
from penstock.records.estimate import Estimate


class Importance(Value):
    """One raw column's part in the model's answers."""

    column: str
    permutation: Estimate | None = Field(
        default=None, description="Primary metric lost when its values are shuffled; oriented"
    )
    attribution: float = Field(description="Mean absolute SHAP value")


class Dependence(Value):
    """Mean answer with one column set to each of some values in all rows."""

    column: str
    values: tuple[float | str, ...]
    answers: tuple[float, ...]


class ExplainedRow(Value):
    """One holdout row's answer as a sum: `base` and what each column adds."""

    title: str = Field(description="Why this row is shown: the highest score, the lowest …")
    score: float
    base: float
    values: dict[str, float | int | bool | str | None]
    contributions: dict[str, float]


class Explanation(Record):
    """Stored with the version, so that attribution drift can be measured later."""

    KIND: ClassVar[str] = "explanation"

    model: str = Field(description="Digest of the model's folder")
    dataset: str = Field(description="Content digest of the rows that were explained")
    rows: int = Field(description="Rows used for the attributions")
    seed: int
    method: str = Field(description="How SHAP values were computed, and in which unit")
    exact: bool
    importances: tuple[Importance, ...]
    dependences: tuple[Dependence, ...]
    examples: tuple[ExplainedRow, ...]
    notes: tuple[str, ...] = ()
