"""How many times the stable version's latency the candidate's is, at a quantile.

"At least r times" is refuted by stretching the stable version's latencies by r and looking at who
is slow: of the slowest share of both arms' answers together, no fewer should be the candidate's
than its share of the answers. Each stratum is looked at by itself, so an hour, or a second, in
which both are slow says nothing against either; no shape of latencies is assumed. Given how many
of a stratum's answers are slow, how many of them are the candidate's is hypergeometric under
equality (a rank test, stratified as by van Elteren, 1960); what is bet against it is priced by the
binomial, which is the dearer (Hoeffding, 1963, theorem 4), so wealth is an e-process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from penstock.rollout.analysis._evidence import Evidence, standardised
from penstock.rollout.analysis._rates import log_wealth_since

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_ENOUGH = 200
"""Answers of both arms that a stratum holds at least: a high quantile of few is no quantile."""
_FEWER = np.array([0.15, 0.4, 0.7])
_MORE = np.array([1.5, 3.0, 8.0])
"""Odds, relative to equality, of a slow answer being the candidate's, with equal weight."""
_SEARCH = np.exp(np.log(20.0) * np.linspace(0, 1, 14)[1:] ** 1.7)
"""Multiples and fractions of the ratio at which the ends of its interval are looked for."""


@dataclass(frozen=True)
class Latencies:
    """Histograms of both arms.

    Attributes:
        edges: Lower edge of each bin and upper edge of the last, shape (bins + 1,).
        stable: Counts, shape (strata, bins).
        candidate: Likewise.
        starts: Log-weight of "something goes wrong from this stratum on", shape (strata,).
        totals: Both arms over all strata, also those that are not full, each of shape (bins,);
            the stable version's as it would be with the candidate's share of the stages.
    """

    edges: Floats
    stable: Floats
    candidate: Floats
    starts: Floats
    totals: tuple[Floats, Floats]

    def quantiles(self, level: float) -> tuple[float, float]:
        """Return the quantile of stable version and candidate, seconds."""
        stable, candidate = self.totals
        return _quantile(stable, self.edges, level), _quantile(candidate, self.edges, level)


@dataclass(frozen=True)
class Ratio:
    """A ratio of quantiles, its confidence sequence, and what it says of the two lines.

    `high` is None while nothing bounds the ratio from above.
    """

    stable: float
    candidate: float
    value: float
    low: float
    high: float | None
    fails: bool
    passes: bool


def latencies_of(evidence: Evidence, edges: tuple[float, ...]) -> Latencies:
    """Read the histograms of latency; neighbouring strata of a stage are put together."""
    first, stable, candidate = evidence.histograms(lambda arm: arm.latency)
    # The open bins at both ends get the width of their neighbours.
    grid = np.array([edges[0] ** 2 / edges[1], *edges, edges[-1] ** 2 / edges[-2]])
    groups, starts = _groups(stable.sum(axis=1) + candidate.sum(axis=1), evidence.stages)
    return Latencies(
        edges=grid[first : first + stable.shape[1] + 1],
        stable=_summed(stable, groups),
        candidate=_summed(candidate, groups),
        starts=starts,
        totals=(standardised(stable, candidate, evidence.stages), candidate.sum(axis=0)),
    )


def ratio_of(
    latencies: Latencies, level: float, *, threshold: float, fail: float, bound: float
) -> Ratio:
    """Compare one quantile.

    Args:
        latencies: The evidence.
        level: Which quantile, 0 to 1.
        threshold: Log-wealth at which a null is rejected.
        fail: The ratio that the lower end must be above for a failure.
        bound: The ratio that the upper end must be below for a pass.
    """
    stable, candidate = latencies.quantiles(level)
    if not len(latencies.starts):
        return Ratio(stable, candidate, 1.0, 0.0, None, fails=False, passes=False)
    value = candidate / stable if stable > 0 else 1.0
    fails = _surely_above(latencies, level, fail, threshold)
    passes = _surely_below(latencies, level, bound, threshold)
    lower = [r for r in value / _SEARCH if _surely_above(latencies, level, r, threshold)]
    higher = [r for r in value * _SEARCH if _surely_below(latencies, level, r, threshold)]
    low = max([*lower, fail]) if fails else min(max(lower, default=0.0), fail)
    high = min(higher, default=None)
    if passes:
        high = min([*higher, bound])
    elif high is not None:
        high = max(high, bound)
    return Ratio(
        stable,
        candidate,
        value,
        min(low, value),
        None if high is None else max(high, value),
        fails,
        passes,
    )


def _surely_above(latencies: Latencies, level: float, ratio: float, threshold: float) -> bool:
    gains = _gains(latencies, level, ratio, _MORE, up=True)
    return bool(log_wealth_since(gains[:, :, None], latencies.starts)[0] >= threshold)


def _surely_below(latencies: Latencies, level: float, ratio: float, threshold: float) -> bool:
    logs = _gains(latencies, level, ratio, _FEWER, up=False).sum(axis=0)
    return bool(np.logaddexp.reduce(logs) - np.log(len(logs)) >= threshold)


def _gains(latencies: Latencies, level: float, ratio: float, odds: Floats, *, up: bool) -> Floats:
    """Log-gain of each stratum against "the ratio is `ratio`", shape (strata, odds).

    A stretched latency is put into the bin of its lower edge, or of its upper edge (`up`): that
    makes the null harder to refute, never easier.
    """
    edges, bins = latencies.edges, latencies.stable.shape[1]
    lower = np.searchsorted(edges, edges[:-1] * ratio * (1 + 1e-9), side="right") - 1
    upper = np.searchsorted(edges, edges[1:] * ratio * (1 - 1e-9), side="left") - 1
    # Beyond the bins that are occupied there is one more on each side.
    targets = np.clip(upper if up else lower, -1, bins) + 1
    places = np.arange(bins + 2)
    stretched = _exceedances(latencies.stable)[:, np.searchsorted(targets, places)]
    candidate = _exceedances(latencies.candidate)[:, np.maximum(places - 1, 0)]
    slow, of_candidate = _slowest(stretched, candidate, 1 - level)
    share = candidate[:, :1] / np.maximum(stretched[:, :1] + candidate[:, :1], 1)
    return of_candidate * np.log(odds) - slow * np.log1p(share * (odds - 1))


def _slowest(stretched: Floats, candidate: Floats, tail: float) -> tuple[Floats, Floats]:
    """Answers in the bins that hold about the slowest `tail` of both, and the candidate's of them.

    Where the line between slow and not is drawn depends on both arms together alone.
    """
    over = stretched + candidate
    target = np.maximum(tail * over[:, :1], 1.0)
    # Beyond the slowest answer there is no line to draw: it would ask about nobody.
    distance = np.where(over > 0, np.abs(np.log(np.maximum(over, 0.5) / target)), np.inf)
    line = np.argmin(distance, axis=1)[:, None]
    return np.take_along_axis(over, line, axis=1), np.take_along_axis(candidate, line, axis=1)


def _exceedances(counts: Floats) -> Floats:
    """Answers at or above each edge, shape (strata, bins + 1)."""
    over = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]
    return np.concatenate([over, np.zeros((len(counts), 1))], axis=1)


def _groups(answers: Floats, stages: NDArray[np.int64]) -> tuple[NDArray[np.int64], Floats]:
    """Number the groups of neighbouring strata of one stage that hold enough answers.

    Returns the group of each stratum, -1 where its group is not full yet (which leaves the tests
    valid: it is decided by counts, not by latencies), and the log-weight of each group's start.
    """
    groups = np.full(len(answers), -1)
    starts: list[float] = []
    for place, stage in enumerate(np.unique(stages)):
        held, begin, number = 0.0, 0, 0
        for index in np.flatnonzero(stages == stage):
            begin = int(index) if held == 0 else begin
            held += answers[index]
            if held >= _ENOUGH:
                groups[begin : index + 1] = len(starts)
                number += 1
                starts.append(-np.log(2.0) * (place + 1) - np.log(number * (number + 1)))
                held = 0.0
    return groups, np.array(starts)


def _summed(counts: Floats, groups: NDArray[np.int64]) -> Floats:
    result = np.zeros((int(groups.max(initial=-1)) + 1, counts.shape[1]))
    full = groups >= 0
    np.add.at(result, groups[full], counts[full])
    return result


def _quantile(counts: Floats, edges: Floats, level: float) -> float:
    """Interpolate on the logarithm of latency within the bin."""
    shares = np.concatenate([[0.0], np.cumsum(counts)])
    if not shares[-1]:
        return 0.0
    return float(np.exp(np.interp(level * shares[-1], shares, np.log(edges))))
