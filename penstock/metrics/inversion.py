"""Intervals of figures that chance alone makes larger. Imported only while evaluating.

A sum of distances, or the spread of several groups, is above 0 even where nothing is wrong, and a
bootstrap of it is higher still: its interval would never hold 0. So the test is inverted instead:
the true distances are taken for the observed ones times one factor, and the interval holds every
factor under which what was observed is no surprise (Carpenter, Test inversion bootstrap confidence
intervals, Journal of the Royal Statistical Society B, 1999).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_HALVINGS = 40
_FURTHEST = 1e6


def expected_factor(drawn: Callable[[float], Floats], observed: float) -> float:
    """Return the factor under which what was observed would be expected; 0 if it is less than that.

    Args:
        drawn: Draws of the figure if the true distances were the observed ones times its argument:
            the same random numbers whatever it is.
        observed: The figure.
    """
    return _smallest(lambda factor: drawn(factor).mean() >= observed)


def interval(
    drawn: Callable[[float], Floats], observed: float, *, confidence: float
) -> tuple[float, float]:
    """Return the ends between which the true figure is believed to lie.

    Args:
        drawn: See `expected_factor`.
        observed: The figure.
        confidence: Of the interval.
    """
    tail = (1 - confidence) / 2
    low = _smallest(lambda factor: np.quantile(drawn(factor), 1 - tail) >= observed)
    high = _smallest(lambda factor: np.quantile(drawn(factor), tail) >= observed)
    # What is closer together than chance leaves equals is no proof of being equal.
    chance = float(np.quantile(drawn(0.0), 1 - tail))
    return min(low, 1.0) * observed, max(high * observed, observed, chance)


def _smallest(enough: Callable[[float], bool | np.bool_]) -> float:
    if enough(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while not enough(high) and high < _FURTHEST:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
