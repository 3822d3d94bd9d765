"""What the margins of boosted trees mean: probabilities, with the same bits wherever they are made.

`exp` of numpy, of SciPy and of ONNX Runtime differ in the last bit, and the last two between a
value that stands alone and one among others, since they calculate several at once another way. So
it is made here of operations that IEEE 754 rounds in one way only (+, -, *, /, floor) and a table;
`penstock.export._links` writes the same operations, in the same order, as nodes of a graph.
"""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np

STEPS = 16
"""Into how many equal parts of an exponent of 2 the table is cut."""

LEAST = -708.0
"""What lies below it is taken for it: e to this is about the smallest normal double."""

_LN2 = Decimal("0.693147180559945309417232121458176568075500134360255")
_STEP = _LN2 / STEPS

PER_UNIT = float(1 / _STEP)
HIGH = float(np.ldexp(round(_STEP * 2**36), -36))
"""The first digits of a step, so few that any number of steps below 2**16 is exact."""

LOW = float(_STEP - Decimal(HIGH))
COEFFICIENTS = tuple(1 / math.factorial(power) for power in range(7, -1, -1))
"""Taylor's series of e**x: for half a step its rest is below 2**-60."""


def _powers() -> np.ndarray:
    """Return 2**(n / STEPS) at place n, for n from 0 down: the places are counted from the end."""
    most = math.ceil(-LEAST * PER_UNIT) + 1
    parts = [float(Decimal(2) ** (Decimal(part) / STEPS)) for part in range(STEPS)]
    return np.array([1.0] + [math.ldexp(parts[n % STEPS], n // STEPS) for n in range(-most, 0)])


POWERS = _powers()


def exp(values: np.ndarray) -> np.ndarray:
    """Return e to values that are at most 0, float64, within 1e-15 of themselves.

    Example:
        >>> exp(np.array([0.0, -1.0])).tolist()
        [1.0, 0.36787944117144233]
    """
    values = np.maximum(values, LEAST)
    steps = np.floor(values * PER_UNIT + 0.5)
    rest = values - steps * HIGH - steps * LOW
    found = np.full_like(rest, COEFFICIENTS[0])
    for coefficient in COEFFICIENTS[1:]:
        found = found * rest + coefficient
    return np.asarray(found * POWERS[steps.astype(np.int64)])


def logistic(margins: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + e**-margin), float64 of the same shape.

    Example:
        >>> logistic(np.array([0.0, 2.0])).tolist()
        [0.5, 0.8807970779778823]
    """
    small = exp(-np.abs(margins))
    return np.asarray(np.where(margins < 0.0, small, 1.0) / (small + 1.0))


def softmax(margins: np.ndarray) -> np.ndarray:
    """Return e**margin over the sum of those of its row, shape (n, classes).

    Example:
        >>> softmax(np.array([[1.0, 1.0, -800.0]])).round(3).tolist()
        [[0.5, 0.5, 0.0]]
    """
    parts = exp(margins - margins.max(axis=1, keepdims=True))
    # One after another: `sum` adds pairs where there are many, with other last digits.
    return np.asarray(parts / np.cumsum(parts, axis=1)[:, -1:])
