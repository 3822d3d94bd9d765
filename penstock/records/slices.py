"""What was measured on parts of the holdout."""

from __future__ import annotations

from pydantic import Field

from penstock.records.base import Value
from penstock.records.estimate import Estimate


class Slice(Value):
    """One part of the holdout. `advantage` is oriented: above 0 the candidate is better."""

    name: str = Field(description="In words, for example `region = north and age from 20 to 30`")
    columns: tuple[str, ...]
    found: bool = Field(description="Found by looking, not named by the policy")
    rows: int
    estimate: Estimate | None = Field(default=None, description="None: too few rows to judge")
    advantage: Estimate | None = Field(default=None, description="Over the champion, on its rows")
    p_floor: float | None = Field(
        default=None, description="p-value of `it meets the policy's floor`, one-sided"
    )
    p_worse: float | None = Field(
        default=None,
        description="p-value of `it is not worse than the champion by more than the margin`",
    )


class Slices(Value):
    """Every slice that was looked at that is named here, the weakest first."""

    metric: str
    higher_is_better: bool
    looked_at: int = Field(
        description="How many were large enough to be judged, shown or not: the size of the family"
    )
    slices: tuple[Slice, ...]
    notes: tuple[str, ...] = ()
