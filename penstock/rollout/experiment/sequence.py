"""The confidence sequence of an experiment: an interval that holds at every look together. Pure.

Users are taken in the order of their first requests. User i gets the challenger (A_i = 1) with a
probability p_i that is known, whatever came before; Y_i in [0, 1] is the KPI, and c_i any guess of
it made from earlier users. Then Z_i = (A_i - p_i)(Y_i - c_i) has the mean p_i (1 - p_i) d, where d
is the challenger's mean less the champion's, and |Z_i| is at most `scale`. By Fan, Grama and Liu
(2015, "Exponential inequalities for martingales with applications", Electronic Journal of
Probability 20, lemma 4.1), as Howard, Ramdas, McAuliffe and Sekhon use it (2021, "Time-uniform,
nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49, theorem 4),

    exp(b (sum Z_i - d sum p_i (1 - p_i)) - psi(b) sum Z_i^2),
    psi(b) = (-log(1 - b scale) - b scale) / scale^2,

is a supermartingale from 1 for every bet b in (0, 1 / scale), and so is any mixture of them. By
Ville's inequality it ever reaches 2 / alpha with a probability of at most alpha / 2, however often
one looks and whenever one stops. The same with -Z gives the other end.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_BETS = 64
_STEPS = 60
_NORMAL = NormalDist()


def threshold(confidence: float) -> float:
    """Return the log-wealth that an end of a two-sided interval takes: log(2 / alpha)."""
    return math.log(2 / (1 - confidence))


def bets(*, scale: float, variance: float, confidence: float) -> Floats:
    """Return bets of equal weight that make the interval narrow around a variance, shape (64,).

    Half-normal with the scale at which a normal mixture is narrowest there (Waudby-Smith, Arbour,
    Sinha, Kennedy and Ramdas, 2024, "Time-uniform central limit theory and asymptotic confidence
    sequences", Annals of Statistics 52, appendix B), drawn below 1 / scale. They must be chosen
    before the first user; the interval holds whatever they are.

    Args:
        scale: The most that |Z| can be.
        variance: Sum of Z^2 at which the interval is to be narrow.
        confidence: Of the interval.
    """
    log = -2 * math.log(1 - confidence)
    spread = math.sqrt((log + math.log(log + 1)) / variance)
    places = (np.arange(_BETS) + 0.5) / _BETS
    drawn = spread * np.array([_NORMAL.inv_cdf(0.5 + place / 2) for place in places])
    return np.asarray(drawn / (1 + scale * drawn))


def log_wealth(total: Floats, variance: Floats, bets: Floats, *, scale: float) -> Floats:
    """Return the logarithm of the mixture.

    Args:
        total: Sum of Z less its mean under the null, shape (n,).
        variance: Sum of Z^2, shape (n,).
        bets: As `bets` returns them.
        scale: The most that |Z| can be.

    Returns:
        Shape (n,).
    """
    psi = (-np.log1p(-scale * bets) - scale * bets) / scale**2
    logs = total[:, None] * bets - variance[:, None] * psi
    peak = logs.max(axis=1)
    return np.asarray(peak + np.log(np.exp(logs - peak[:, None]).mean(axis=1)))


def boundary(variance: float, bets: Floats, *, scale: float, threshold: float) -> float:
    """Return the least sum of Z, beyond its mean, that is rejected: half of the interval's width.

    Args:
        variance: Sum of Z^2 so far.
        bets: As `bets` returns them.
        scale: The most that |Z| can be.
        threshold: As `threshold` returns it.

    Example:
        >>> found = bets(scale=0.5, variance=1000.0, confidence=0.95)
        >>> round(boundary(1000.0, found, scale=0.5, threshold=threshold(0.95)) / 1000**0.5, 2)
        3.08
    """
    # No bet, however chosen, does better than one that knows the sum: its log-wealth is s^2 / 2v.
    low, high = math.sqrt(2 * threshold * variance), math.sqrt(2 * threshold * variance) + scale
    spent = np.array([variance])
    while log_wealth(np.array([high]), spent, bets, scale=scale)[0] < threshold:
        low, high = high, 2 * high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if log_wealth(np.array([middle]), spent, bets, scale=scale)[0] < threshold:
            low = middle
        else:
            high = middle
    return high
