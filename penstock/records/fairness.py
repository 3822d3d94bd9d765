"""What was measured of groups of people."""

from __future__ import annotations

from pydantic import Field

from penstock.records.base import Value
from penstock.records.estimate import Estimate


class Group(Value):
    """One group and its figures."""

    name: str = Field(description="In words, for example `sex = Female and race = Black`")
    rows: int
    small: bool = Field(
        description="Fewer rows that the figure rests on than the policy asks for: left out of "
        "the spread"
    )
    figures: dict[str, float | None] = Field(
        description="By metric; None where the group does not define it"
    )


class Fairness(Value):
    """The spread of one figure over the groups of some columns."""

    columns: tuple[str, ...]
    metric: str
    min_rows: int = Field(description="Below which a group counts as small")
    groups: tuple[Group, ...] = Field(description="The smallest figure first, small groups last")
    difference: Estimate | None = Field(
        default=None, description="Largest minus smallest; None: fewer than two groups judged"
    )
    ratio: Estimate | None = Field(
        default=None,
        description="Smallest over largest; None: fewer than two groups judged, or a metric that "
        "has none",
    )
    notes: tuple[str, ...] = ()
