"""What the margins of boosted trees mean: probabilities, with the same bits wherever they are made.

`exp` of numpy, of SciPy and of ONNX Runtime differ in the last bit, and the last two between a
value that stands alone and one among others, since they calculate several at once another way;
so do logarithms, which calibration takes. So both are made here of operations that IEEE 754 rounds
in one way only (+, -, *, /, floor) and a table; `penstock.export._links` writes the same
operations, in the same order, as nodes of a graph.
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
    """Return e to values that are at most 0, float64, within 1e-15 of themselves; NaN for NaN.

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
    return np.asarray(found * POWERS[places(steps, least=1 - len(POWERS))])


def logistic(margins: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + e**-margin), float64 of the same shape.

    Example:
        >>> logistic(np.array([0.0, 2.0])).tolist()
        [0.5, 0.8807970779778823]
    """
    small = exp(-np.abs(margins))
    return np.asarray(np.where(margins < 0.0, small, 1.0) / (small + 1.0))


LARGEST_POWER = 51
"""`log` takes values from 2**-51 up to 2**51: beyond the odds of 1e-15, where probabilities end."""

BOUNDS = np.ldexp(1.0, np.arange(-LARGEST_POWER, LARGEST_POWER))
CENTRES = 1.0 + (np.arange(STEPS) + 0.5) / STEPS
"""Of the equal parts of 1 to 2: a value there is at most 1 / 32 away from one."""

LOGS = np.array([float(Decimal(float(centre)).ln()) for centre in CENTRES])
LOGS_OF_BOUNDS = np.array([float(_LN2 * n) for n in range(-LARGEST_POWER, LARGEST_POWER)])
LOG_COEFFICIENTS = tuple(2 / odd for odd in range(9, -1, -2))
"""Of the odd powers of s in log((1 + s) / (1 - s)): for s of 1 / 64 the rest is below 2**-60."""


def log(values: np.ndarray) -> np.ndarray:
    """Return the natural logarithm of values from 2**-51 to 2**51, float64, within 3e-16 of it.

    NaN for NaN. Where it is beyond 1 that is a share of itself. A value is a power of 2, times the
    centre of a part of 1 to 2, times (1 + s) / (1 - s) with a small s.

    Example:
        >>> log(np.array([1.0, 2.0, 10.0])).round(12).tolist()
        [0.0, 0.69314718056, 2.302585092994]
    """
    power = np.searchsorted(BOUNDS[1:], values, side="right")
    one_to_two = values * (1.0 / BOUNDS)[power]
    part = places(np.floor((one_to_two - 1.0) * STEPS), least=0)
    centre = CENTRES[part]
    s = (one_to_two - centre) / (one_to_two + centre)
    square = s * s
    found = np.full_like(s, LOG_COEFFICIENTS[0])
    for coefficient in LOG_COEFFICIENTS[1:]:
        found = found * square + coefficient
    return np.asarray(found * s + LOGS[part] + LOGS_OF_BOUNDS[power])


def places(numbers: np.ndarray, *, least: int) -> np.ndarray:
    """Return whole numbers as places in a table; NaN, which is none, gets one that is there.

    Args:
        numbers: float64.
        least: The lowest place that a number can have.

    Example:
        >>> places(np.array([2.0, np.nan]), least=0).tolist()
        [2, 0]
    """
    return np.where(numbers >= least, numbers, least).astype(np.int64)


def softmax(margins: np.ndarray) -> np.ndarray:
    """Return e**margin over the sum of those of its row, shape (n, classes).

    Example:
        >>> softmax(np.array([[1.0, 1.0, -800.0]])).round(3).tolist()
        [[0.5, 0.5, 0.0]]
    """
    return shares(exp(margins - margins.max(axis=1, keepdims=True)))


def shares(parts: np.ndarray) -> np.ndarray:
    """Return numbers divided by the sum of their row, shape (n, classes).

    Example:
        >>> shares(np.array([[1.0, 3.0]])).tolist()
        [[0.25, 0.75]]
    """
    # One after another: `sum` adds pairs where there are many, with other last digits.
    return np.asarray(parts / np.cumsum(parts, axis=1)[:, -1:])
