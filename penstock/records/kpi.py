"""What decisions are worth."""

from __future__ import annotations

from pydantic import Field

from penstock.records.base import Value
from penstock.records.estimate import Estimate


class Kpi(Value):
    """The worth of 1,000 decisions about rows like the holdout's."""

    unit: str
    expression: str = Field(default="", description="How the worth of a row is computed")
    per_thousand: Estimate
    others: dict[str, Estimate] = Field(
        default={}, description="The same of the champion and the baselines, by their names"
    )
    rows: int = Field(default=0, description="Rows that have a worth")
    notes: tuple[str, ...] = ()
