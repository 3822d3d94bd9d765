"""A metric of a window: estimated before its labels come, not estimated, or measured by them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimated:
    """A metric without labels.

    Attributes:
        value: What it is expected to be.
        low: Lower end of the interval for the metric that labels of these rows would give, 95 %.
        high: Upper end.
        method: How it was made.
        note: What a reader must know of it; may be empty.
        error: Standard error by sampling and calibration, without the concept's part.
        rows: Rows that it is of.
    """

    value: float
    low: float
    high: float
    method: str
    note: str
    error: float
    rows: int


@dataclass(frozen=True)
class Realized:
    """A metric by labels.

    Attributes:
        value: What it is.
        low: Lower end of its interval for rows of this kind, 95 % (`penstock.metrics.intervals`).
        high: Upper end.
        rows: Rows with labels.
        losses: Of each row by the names of `Baseline.losses`, shape (n,) each, in the order given.
    """

    value: float
    low: float
    high: float
    rows: int
    losses: dict[str, Floats]


@dataclass(frozen=True)
class NotEstimated:
    """Why there is no figure, in a sentence."""

    reason: str


BEYOND = NotEstimated("Values are too large for it: it is beyond all numbers.")
"""For a figure that overflows, as where one request holds an absurd number."""


def is_number(found: Estimated | Realized) -> bool:
    """Return whether a figure and its interval are numbers."""
    return all(map(math.isfinite, (found.value, found.low, found.high)))
