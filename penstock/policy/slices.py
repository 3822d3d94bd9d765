"""The rule on slices: parts of the holdout on which a model must not be bad, or worse."""

from __future__ import annotations

from pydantic import Field

from penstock.policy.rules import Rule


class SlicesRule(Rule):
    """Parts of the holdout, given or found, each held to a floor and to the champion.

    A slice is the rows that share a value of a column, or of several crossed. Numbers are cut at
    quantiles; of a column with many values the commonest are slices, the others one together.
    """

    columns: tuple[str | tuple[str, ...], ...] = Field(
        default=(),
        description="Slices to look at: a column, or a list of columns that are crossed. A column "
        "need not be one that the model takes",
    )
    find: int = Field(
        default=5,
        ge=0,
        description="How many of the weakest slices to look for in all columns and pairs of them",
    )
    metric: str = Field(
        default="", description="What is measured in each slice; empty takes the primary metric"
    )
    min_rows: int = Field(default=100, ge=10, description="Smaller slices are listed, not judged")
    levels: int = Field(
        default=20, ge=2, le=1000, description="Values of a column that become slices of their own"
    )
    at_least: float | None = Field(default=None, description="Floor of the metric in each slice")
    at_most: float | None = Field(default=None, description="The same where less is better")
    margin: float | None = Field(
        default=0.05,
        ge=0,
        description="No slice may be shown to be worse than the champion by more than this; null "
        "compares with no champion",
    )
    alpha: float = Field(
        default=0.05,
        gt=0,
        lt=0.5,
        description="Probability that any slice is called bad though none is (Holm's method)",
    )
