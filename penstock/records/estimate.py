"""A figure with its interval."""

from __future__ import annotations

from penstock.records.base import Value


class Estimate(Value):
    """A figure and its interval, at the evaluation's confidence."""

    value: float
    low: float
    high: float
