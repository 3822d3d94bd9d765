"""What decisions are worth."""

from __future__ import annotations

from pydantic import Field

from penstock.records.base import Value
from penstock.records.estimate import Estimate


class Kpi(Value):
    """The worth of 1,000 decisions about rows like the holdout's."""

    unit: str
    per_thousand: Estimate
    others: dict[str, Estimate] = Field(
        default={}, description="The same of the champion and the baselines, by their names"
    )
    notes: tuple[str, ...] = ()
