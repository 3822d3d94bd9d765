"""Always-valid tests for the difference of two rates, stratified by interval.

The test statistic is wealth (an e-process): under the null its expectation is at most 1 at any
stopping time, so by Ville's inequality it exceeds 1/alpha with probability at most alpha, however
often one looks. Each interval multiplies it by the likelihood ratio of an alternative, chosen
from earlier intervals alone, to that alternative's projection on the null. That ratio is an
e-variable whatever the common rate of the interval is, and whatever the sizes of the arms
(Turner and Grünwald, 2023, "Exact anytime-valid confidence intervals for contingency tables and
beyond", Statistics & Probability Letters 198).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_RISES = np.array([0.02, 0.06, 0.2, 0.6])
"""Rises of a rate, beyond the bound, that the test for harm looks for, with equal weight."""
_SURPRISES = np.array([0.993, 0.005, 0.002])
_LEVELS = np.array([1.0, 8.0, 60.0])
"""Odds, relative to those seen so far, that the common rate of an interval may have, and how much
of the wealth is laid on each: without them one outage of both arms would eat what sound intervals
have earned."""
_RARE = 0.001
_SEED_SIZE = 50.0
"""Requests after which what was seen counts as much as the rate that was expected at first."""
_SHRINKAGE = 200.0
"""Requests after which an arm's own rate counts as much as the common one."""
_SMALLEST = 1e-6
_WIDEST = 0.9999
"""Larger differences of rates are taken for this one: at 1 the null would be a single point."""


@dataclass(frozen=True)
class Tables:
    """Events and requests of both arms, one stratum a row.

    The counts are of shape (strata,), or (strata, k) for k kinds of event at a time.

    Attributes:
        n_s: Requests of the stable version.
        x_s: How many of them had the event.
        n_c: Requests of the candidate.
        x_c: How many of them had the event.
        starts: Logarithm of the weight on "the harm begins in this stratum", shape (strata,).
        expected: Rate that both arms are taken to have before anything was seen, shape () or (k,).
    """

    n_s: Floats
    x_s: Floats
    n_c: Floats
    x_c: Floats
    starts: Floats
    expected: Floats | float = _RARE

    @property
    def difference(self) -> Floats:
        """The candidate's rate less the stable version's, shape () or (k,).

        Strata weigh as Mantel and Haenszel (1959) weigh them.
        """
        weights = self.n_s * self.n_c / np.maximum(self.n_s + self.n_c, 1)
        gaps = self.x_c / np.maximum(self.n_c, 1) - self.x_s / np.maximum(self.n_s, 1)
        return np.asarray((weights * gaps).sum(axis=0) / np.maximum(weights.sum(axis=0), 1e-9))


def log_wealth_below(tables: Tables, bounds: Floats) -> Floats:
    """Return the log-wealth against "the candidate's rate is at least `bound` higher".

    Large: it is not. The alternative is what was seen before, drawn towards equal rates.

    Args:
        tables: The evidence.
        bounds: Differences of rates, shape (k,).

    Returns:
        Shape (k,).
    """
    expected_s, expected_c = _expected(tables)
    stable = _at_odds(_wide(expected_s), _LEVELS[:, None])
    candidate = _at_odds(_wide(expected_c), _LEVELS[:, None])
    gains = _log_ratios(tables, stable, candidate, bounds, sign=-1.0)
    return np.asarray(_log_mean(gains, np.log(_SURPRISES)[None, :, None], axis=1).sum(axis=0))


def log_wealth_above(tables: Tables, bounds: Floats) -> Floats:
    """Return the log-wealth against "the candidate's rate is at most `bound` higher".

    Large: it is higher than that. Mixed over sizes of the harm, and over the stratum it begins in,
    so that sound hours do not outvote what goes wrong later.

    Args:
        tables: The evidence.
        bounds: Differences of rates, shape (k,).

    Returns:
        Shape (k,).
    """
    stable = _wide(_past_rate(tables.x_s, tables.n_s, tables.expected))
    candidate = np.clip(stable + bounds + _RISES[:, None], _SMALLEST, 0.98)
    gains = _log_ratios(tables, stable, candidate, bounds, sign=1.0)
    return log_wealth_since(gains, tables.starts)


def log_wealth_since(gains: Floats, starts: Floats) -> Floats:
    """Mix wealth over the stratum that betting begins in and over alternatives.

    Args:
        gains: Log-gain of each stratum, alternative and bound: (strata, alternatives, k).
        starts: Log-weight of beginning in each stratum; the weights sum to at most 1.

    Returns:
        Log-wealth, shape (k,).
    """
    since = np.cumsum(gains[::-1], axis=0)[::-1]
    mixed = since + starts[:, None, None] - np.log(gains.shape[1])
    peak = mixed.max(axis=(0, 1))
    idle = -np.expm1(_log_sum(starts))
    wealth = np.exp(mixed - peak).sum(axis=(0, 1)) * np.exp(np.minimum(peak, 600.0))
    # What is not laid on any stratum yet is kept in hand.
    return np.asarray(
        np.where(peak > 500, peak, np.log(np.maximum(wealth + max(idle, 0.0), 1e-300)))
    )


def ends(
    tables: Tables, *, threshold: float, fail: float, bound: float
) -> tuple[float, float, bool, bool]:
    """Return the confidence sequence of the difference, and what it says of the two lines.

    Args:
        tables: The evidence.
        threshold: Log-wealth at which a null is rejected: log(1 / alpha) of one side.
        fail: The line that the lower end must be above for a failure.
        bound: The line that the upper end must be below for a pass.

    Returns:
        Lower end, upper end, whether it fails, whether it passes.
    """
    centre = float(tables.difference)
    steps = np.linspace(0, 0.9999, 16)[1:] ** 3
    below, above = centre - (1 + centre) * steps, centre + (1 - centre) * steps
    low, fails = _end(log_wealth_above(tables, np.append(below, fail)), below, fail, threshold)
    high, passes = _end(log_wealth_below(tables, np.append(above, bound)), above, bound, threshold)
    return min(low, centre), max(high, centre), fails, passes


def _end(logs: Floats, grid: Floats, line: float, threshold: float) -> tuple[float, bool]:
    """Return the point of the grid, going outward, that is rejected first, and if the line is.

    The end is rounded outward to the grid, but not across the line.
    """
    crossed = bool(logs[-1] >= threshold)
    rejected = np.flatnonzero(logs[:-1] >= threshold)
    end = float(grid[rejected[0]] if len(rejected) else grid[-1])
    rising = grid[-1] > grid[0]
    if crossed:
        return (min(end, line) if rising else max(end, line)), True
    return (max(end, line) if rising else min(end, line)), False


def _expected(tables: Tables) -> tuple[Floats, Floats]:
    """Rates of both arms as the strata before each one show them, drawn towards the common one."""
    common = _past_rate(tables.x_s + tables.x_c, tables.n_s + tables.n_c, tables.expected)
    stable, candidate = (
        (_before(events) + _SHRINKAGE * common) / (_before(requests) + _SHRINKAGE)
        for events, requests in ((tables.x_s, tables.n_s), (tables.x_c, tables.n_c))
    )
    return stable, candidate


def _past_rate(events: Floats, requests: Floats, expected: Floats | float) -> Floats:
    rate = (_before(events) + _SEED_SIZE * expected) / (_before(requests) + _SEED_SIZE)
    return np.clip(rate, _SMALLEST, 1 - _SMALLEST)


def _before(counts: Floats) -> Floats:
    return np.concatenate([np.zeros_like(counts[:1]), np.cumsum(counts[:-1], axis=0)])


def _wide(values: Floats) -> Floats:
    """Give values an axis for alternatives, and one for bounds or kinds of event."""
    return values[:, None, None] if values.ndim == 1 else values[:, None, :]


def _at_odds(rates: Floats, ratios: Floats) -> Floats:
    odds = rates / (1 - rates) * ratios
    return np.clip(odds / (1 + odds), _SMALLEST, 1 - _SMALLEST)


def _log_ratios(
    tables: Tables, stable: Floats, candidate: Floats, bounds: Floats, *, sign: float
) -> Floats:
    """Log-likelihood ratio of each alternative to its projection on `candidate - stable = bound`.

    An alternative that lies within the null, or a stratum without one of the arms, gains nothing.
    """
    bounds = np.clip(bounds, -_WIDEST, _WIDEST)
    n_s, n_c = _wide(tables.n_s), _wide(tables.n_c)
    projected = _projection(stable, candidate, n_s, n_c, bounds)
    shifted = np.clip(projected + bounds, _SMALLEST, 1 - _SMALLEST)
    gains = _log_likelihood_ratio(tables, stable, candidate, projected, shifted)
    useful = (sign * (candidate - stable - bounds) > 0) & (n_s > 0) & (n_c > 0)
    return np.where(useful, gains, 0.0)


def _log_likelihood_ratio(
    tables: Tables, stable: Floats, candidate: Floats, null_stable: Floats, null_candidate: Floats
) -> Floats:
    n_s, x_s, n_c, x_c = map(_wide, (tables.n_s, tables.x_s, tables.n_c, tables.x_c))
    return (
        x_s * np.log(stable / null_stable)
        + (n_s - x_s) * np.log((1 - stable) / (1 - null_stable))
        + x_c * np.log(candidate / null_candidate)
        + (n_c - x_c) * np.log((1 - candidate) / (1 - null_candidate))
    )


def _projection(stable: Floats, candidate: Floats, n_s: Floats, n_c: Floats, gap: Floats) -> Floats:
    """The stable rate x for which (x, x + gap) is nearest to the alternative.

    Nearest in Kullback-Leibler divergence weighted by the sizes of the arms: the restricted
    maximum likelihood, a cubic (Miettinen and Nurminen, 1985, Statistics in Medicine 4, appendix).
    """
    total = np.maximum(n_s + n_c, 1)
    events_s, events_c = n_s * stable, n_c * candidate
    b = (n_c + 2 * n_s) * gap - total - events_s - events_c
    c = (n_s * gap - total - 2 * events_s) * gap + events_s + events_c
    d = events_s * gap * (1 - gap)
    third = b / (3 * total)
    q = third**3 - b * c / (6 * total**2) + d / (2 * total)
    p = np.sqrt(np.maximum(third**2 - c / (3 * total), 1e-40)) * np.where(q < 0, -1.0, 1.0)
    angle = (np.pi + np.arccos(np.clip(q / p**3, -1, 1))) / 3
    root = 2 * p * np.cos(angle) - third
    lowest, highest = np.maximum(0, -gap), np.minimum(1, 1 - gap)
    return np.asarray(np.clip(root, lowest + _SMALLEST, highest - _SMALLEST))


def _log_mean(gains: Floats, log_weights: Floats, *, axis: int) -> Floats:
    mixed = gains + log_weights
    peak = mixed.max(axis=axis, keepdims=True)
    return np.asarray(np.squeeze(peak, axis) + np.log(np.exp(mixed - peak).sum(axis=axis)))


def _log_sum(logs: Floats) -> float:
    peak = logs.max()
    return min(0.0, float(peak + np.log(np.exp(logs - peak).sum())))
