"""How former champions compare with the champion on a window's rows, and which is chosen."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from penstock.records.base import Value
from penstock.records.estimate import Estimate


class Comparison(Value):
    """One former champion beside the champion."""

    version: int
    fits: bool = Field(
        default=False, description="Whether the window's rows are of the kind that it learned from"
    )
    distance: float | None = Field(
        default=None,
        description="Mean over its inputs of the population stability index from its reference to "
        "the window; None: not measured",
    )
    outside: float | None = Field(
        default=None,
        description="Share of its inputs that are beyond tolerance of its own reference, 0 to 1; "
        "None: not measured",
    )
    figure: float | None = Field(
        default=None, description="Its metric on the rows that were compared; None: not compared"
    )
    advantage: Estimate | None = Field(
        default=None,
        description="How much better its metric is than the champion's on the same rows: above 0 "
        "it is better, whichever way the metric goes; the interval allows for all comparisons",
    )
    better: bool = Field(default=False, description="Whether the whole interval lies above 0")
    sentence: str = Field(description="All of this in words, and why it was not compared")


class Choice(Value):
    """Which former champion is to serve instead of the champion, if any, and why."""

    version: int | None = Field(default=None, description="The one that is chosen; None: none")
    champion: int = Field(description="The champion that they were compared with")
    method: Literal["", "labels", "estimates"] = Field(
        default="", description="Empty: nothing was compared"
    )
    metric: str = Field(default="", description="By which they were compared")
    rows: int = Field(description="Rows of the window")
    labels: int = Field(default=0, description="Those whose label has come")
    compared_rows: int = Field(
        default=0, description="Rows on which both versions' metrics were computed"
    )
    confidence: float | None = Field(
        default=None,
        description="Of each interval, so that all of them together have `monitoring.recall."
        "confidence`; None: nothing was compared",
    )
    figure: float | None = Field(default=None, description="The champion's metric on these rows")
    comparisons: tuple[Comparison, ...] = ()
    reason: str = Field(description="Why this one, or none, in a sentence")
