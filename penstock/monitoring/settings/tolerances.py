"""How far a served model's rows may move from its reference before that is drift."""

from __future__ import annotations

from pydantic import Field

from penstock.records.spec import Spec


class Tolerances(Spec):
    """What is no drift, in the unit of each kind of signal.

    A change within a tolerance is never an alarm, however many rows show it.
    """

    shift: float = Field(
        default=0.05,
        gt=0,
        le=3,
        description="Of a number and of the scores: standard deviations by which the column, "
        "brought to a normal distribution, may shift",
    )
    levels: float = Field(
        default=0.02, gt=0, lt=1, description="Share of rows by which one level may change"
    )
    missing: float = Field(
        default=0.01, gt=0, lt=1, description="Share of rows by which missing values may change"
    )
    attribution: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Share of rows by which more may lie beyond a decile of the holdout's "
        "attributions of a column",
    )
    unseen: float = Field(
        default=0.002,
        gt=0,
        lt=1,
        description="Share of rows by which levels that the reference does not list, and numbers "
        "beyond its range, may change",
    )
