"""What was measured of groups of people."""

from __future__ import annotations

from pydantic import Field

from penstock.records.base import Value
from penstock.records.estimate import Estimate


class Group(Value):
    """One group and its figures."""

    name: str
    rows: int
    small: bool = Field(description="Fewer rows than the policy asks for: left out of the spread")
    figures: dict[str, float | None] = Field(
        description="By metric; None where the group does not define it"
    )


class Fairness(Value):
    """The spread of one figure over the groups of some columns."""

    columns: tuple[str, ...]
    metric: str
    groups: tuple[Group, ...]
    difference: Estimate | None = Field(
        default=None, description="Largest minus smallest; None: fewer than two groups judged"
    )
    ratio: Estimate | None = Field(default=None, description="Smallest over largest")
    notes: tuple[str, ...] = ()
