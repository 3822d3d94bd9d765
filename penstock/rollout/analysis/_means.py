"""Always-valid tests for one share, and for the difference of two means in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_BETS = np.geomspace(0.01, 0.9, 10)
_GRID = (np.arange(100) + 0.5) / 100


def log_wealth_of_share(successes: int, trials: int, nulls: Floats, *, above: bool) -> Floats:
    """Return the log-wealth against "the share is at most `null`" (`above`), or at least.

    The likelihood ratio mixed evenly over the shares on the other side (Robbins, 1970, "Statistical
    methods related to the law of the iterated logarithm", Annals of Mathematical Statistics 41).

    Args:
        successes: How many.
        trials: Of how many.
        nulls: Shares, within (0, 1), shape (k,).
        above: Which side is tested.

    Returns:
        Shape (k,).
    """
    nulls = np.clip(nulls, 1e-9, 1 - 1e-9)[:, None]
    shares = nulls + (1 - nulls) * _GRID if above else nulls * _GRID
    logs = successes * np.log(shares / nulls)
    logs += (trials - successes) * np.log((1 - shares) / (1 - nulls))
    peak = logs.max(axis=1)
    return np.asarray(peak + np.log(np.exp(logs - peak[:, None]).mean(axis=1)))


def share_ends(successes: int, trials: int, threshold: float) -> tuple[float, float]:
    """Return the confidence sequence of one share; `threshold` as in `_rates.ends`."""
    value = successes / trials
    steps = np.linspace(0, 0.9999, 40)[1:] ** 2
    below, above = value - value * steps, value + (1 - value) * steps
    low = below[log_wealth_of_share(successes, trials, below, above=True) >= threshold]
    high = above[log_wealth_of_share(successes, trials, above, above=False) >= threshold]
    return (float(low[0]) if len(low) else 0.0), (float(high[0]) if len(high) else 1.0)


def log_wealth_of_means(stable: Floats, candidate: Floats, bound: float, *, above: bool) -> float:
    """Return the log-wealth against "the candidate's mean is at most `bound` higher" (`above`).

    Without `above`: against "at least `bound` higher". Empirical Bernstein bets (Howard, Ramdas,
    McAuliffe and Sekhon, 2021, Annals of Statistics 49, theorem 4) on both arms of a stratum at a
    time, so weighted that the stratum's own level cancels; mixed over the size of the bet.

    Args:
        stable: Requests, sum and sum of squares of each stratum, shape (strata, 3).
        candidate: Likewise.
        bound: The difference of means under the null.
        above: Which side is tested.
    """
    sign = 1.0 if above else -1.0
    n_s, n_c = stable[:, :1], candidate[:, :1]
    both = (n_s > 0) & (n_c > 0)
    total = np.maximum(n_s + n_c, 1)
    # The smaller arm gets the larger bet, below 1: bets times rows are equal in both arms.
    largest = np.maximum(np.maximum(n_s, n_c) / total, 0.5)
    bet_s, bet_c = _BETS * (n_c / total) / largest, _BETS * (n_s / total) / largest
    past = _before(stable) + _before(candidate)
    level = (past[:, 1:2] + 0.5) / (past[:, :1] + 2)
    gap = candidate[:, 1:2] - n_c * bound
    gain = sign * (bet_c * gap - bet_s * stable[:, 1:2])
    spread_s = _spread(stable, level)
    spread_c = _spread(candidate, np.clip(level + bound, 0, 1))
    cost = _psi(bet_s) * spread_s + _psi(bet_c) * spread_c
    return _log_mean_exp(np.where(both, gain - cost, 0.0).sum(axis=0))


def means_ends(stable: Floats, candidate: Floats, threshold: float) -> tuple[float, float, float]:
    """Return the difference of the means (Mantel-Haenszel weights) and its confidence sequence."""
    n_s, n_c = stable[:, 0], candidate[:, 0]
    weights = n_s * n_c / np.maximum(n_s + n_c, 1)
    gaps = candidate[:, 1] / np.maximum(n_c, 1) - stable[:, 1] / np.maximum(n_s, 1)
    value = float((weights * gaps).sum() / max(weights.sum(), 1e-9))
    low = _bisect(
        lambda bound: log_wealth_of_means(stable, candidate, bound, above=True) >= threshold,
        inside=value,
        outside=-1.0,
    )
    high = _bisect(
        lambda bound: log_wealth_of_means(stable, candidate, bound, above=False) >= threshold,
        inside=value,
        outside=1.0,
    )
    return value, low, high


def _spread(moments: Floats, level: Floats) -> Floats:
    rows, loss, squared = moments[:, :1], moments[:, 1:2], moments[:, 2:]
    return np.maximum(squared - 2 * level * loss + rows * level**2, 0)


def _psi(bet: Floats) -> Floats:
    return -np.log1p(-bet) - bet


def _before(counts: Floats) -> Floats:
    return np.concatenate([np.zeros_like(counts[:1]), np.cumsum(counts[:-1], axis=0)])


def _log_mean_exp(logs: Floats) -> float:
    peak = float(logs.max())
    return peak + float(np.log(np.exp(logs - peak).mean()))


def _bisect(rejected: Callable[[float], bool], *, inside: float, outside: float) -> float:
    """Return the null nearest to `inside` that is known to be rejected, or `outside`."""
    if not rejected(outside):
        return outside
    for _ in range(12):
        middle = (inside + outside) / 2
        if rejected(middle):
            outside = middle
        else:
            inside = middle
    return outside
