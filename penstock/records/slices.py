"""What was measured on parts of the holdout."""

from __future__ import annotations

from pydantic import Field

from penstock.records.base import Value
from penstock.records.estimate import Estimate


class Slice(Value):
    """One part of the holdout. `advantage` is oriented: above 0 the candidate is better.

    The p-values are adjusted by Holm's method for everything that was looked at: at most the
    policy's alpha accuses.
    """

    name: str = Field(description="In words, for example `region = north and age below 30`")
    columns: tuple[str, ...]
    found: bool = Field(description="Found by looking, not named by the policy")
    rows: int = Field(description="That the figure rests on")
    estimate: Estimate | None = Field(default=None, description="None: too few rows to judge")
    advantage: Estimate | None = Field(default=None, description="Over the champion, on its rows")
    p_floor: float | None = Field(
        default=None, description="Adjusted p-value of `it meets the policy's floor`, one-sided"
    )
    p_worse: float | None = Field(
        default=None,
        description="Adjusted p-value of `it is not worse than the champion by more than the "
        "margin`, one-sided",
    )

    def accused(self, *, alpha: float) -> bool:
        """Return whether a p-value says that the slice is bad."""
        return any(p is not None and p <= alpha for p in (self.p_floor, self.p_worse))


class Slices(Value):
    """The slices that are named here, the weakest first, of those that were looked at."""

    metric: str
    higher_is_better: bool
    looked_at: int = Field(description="How many were large enough to be judged, shown or not")
    named: int = Field(description="How many of them the policy names")
    too_small: int = Field(description="How many were too small to be judged")
    unjudged: tuple[str, ...] = Field(
        default=(), description="What the policy names and has no slice large enough to be judged"
    )
    omitted: int = Field(
        default=0,
        description="How many more are accused and not listed here, most of them "
        "because their rows lie within one that is",
    )
    compared: bool = Field(description="Whether each was compared with the champion")
    floor: float | None = Field(default=None, description="That each was held to")
    margin: float | None = Field(default=None, description="That each was held to")
    alpha: float = Field(description="At most which adjusted p-value accuses")
    slices: tuple[Slice, ...]
    notes: tuple[str, ...] = ()
