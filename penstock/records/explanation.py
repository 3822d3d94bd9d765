"""What a model's answers rest on."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from penstock.records.base import Record, Value
from penstock.records.estimate import Estimate

FILE_NAME = "explanation.json"


class Importance(Value):
    """One raw column's part in the model's answers."""

    column: str
    permutation: Estimate | None = Field(
        default=None, description="Primary metric lost when its values are shuffled; oriented"
    )
    attribution: float = Field(description="Mean absolute SHAP value, in `unit`")
    deciles: tuple[float, ...] = Field(
        description="Of its SHAP values: the smallest, nine cuts, the largest. Later rows are "
        "counted between them to see whether the attribution has drifted"
    )


class Dependence(Value):
    """Mean answer with one column set to each of some values in all rows."""

    column: str
    of: str = Field(
        default="", description="Class whose probability is meant; empty: the model's one score"
    )
    values: tuple[float | str, ...]
    answers: tuple[float, ...]


class ExplainedRow(Value):
    """One holdout row's answer as a sum: `base` and what each column adds make `output`."""

    title: str = Field(description="Why this row is shown: the highest score, the lowest …")
    score: float = Field(description="What the model answers; of many classes, its surest")
    of: str = Field(default="", description="Class that is explained, where there are many")
    base: float = Field(description="In `unit`")
    output: float = Field(description="In `unit`: base and contributions together")
    values: dict[str, float | int | bool | str | None]
    contributions: dict[str, float] = Field(description="By column, in `unit`")


class Explanation(Record):
    """Stored with the version, so that attribution drift can be measured later."""

    KIND: ClassVar[str] = "explanation"

    model: str = Field(description="Digest of the model's folder")
    dataset: str = Field(description="Content digest of the rows that were explained")
    metric: str = Field(description="What permutation importance is measured in")
    rows: int = Field(description="Rows used for the attributions, drawn from the dataset")
    seed: int
    method: str = Field(description="How SHAP values were computed, and against what")
    unit: str = Field(description="What attributions, base and output are in")
    exact: bool = Field(description="Computed exactly, not estimated from drawn orders or paths")
    largest_gap: float = Field(
        description="Largest difference, over the rows, of base and contributions from the output"
    )
    importances: tuple[Importance, ...] = Field(description="The largest attribution first")
    dependences: tuple[Dependence, ...]
    examples: tuple[ExplainedRow, ...]
    notes: tuple[str, ...] = ()
