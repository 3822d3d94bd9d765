"""How far apart the scores of both versions lie.

Two figures. The Kolmogorov-Smirnov distance, the largest gap between the shares of scores below a
value, is tested at three values (and each label's share) as a difference of two rates: always
valid. The population stability index is asymptotic: about chi-squared under equality (Yurdakul and
Naranjo, 2020, Journal of Risk Model Validation 14), with the level spent over doublings of the
sample, as nobody looks at it twice within one without much the same data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from penstock.rollout.analysis._evidence import Evidence, standardised
from penstock.rollout.analysis._rates import Tables, log_wealth_above, log_wealth_below

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_CUTS = np.array([0.2, 0.5, 0.8])
_LABEL = 0.1
"""Share of rows that a label is expected to have before any was seen."""
_GROUPS = 10
_WARM = 20


@dataclass(frozen=True)
class Distance:
    """A distance, its interval, and what it says of the two lines."""

    value: float
    low: float
    high: float
    fails: bool
    passes: bool


@dataclass(frozen=True)
class Scores:
    """Both arms' scores and labels, one stratum a row."""

    stable: Floats
    candidate: Floats
    stable_labels: Floats
    candidate_labels: Floats
    evidence: Evidence

    @property
    def rows(self) -> tuple[int, int]:
        """Rows that stable version and candidate scored."""
        return round(float(self.stable.sum())), round(float(self.candidate.sum()))


def scores_of(evidence: Evidence, *, with_labels: bool) -> Scores:
    """Read the histograms of scores, and those of labels where they are judged."""
    _, stable, candidate = evidence.histograms(lambda arm: arm.scores)
    names: list[str] = []
    if with_labels:
        arms = (*evidence.stable, *evidence.candidate)
        names = sorted({name for arm in arms for name in arm.labels})
    places = {name: place for place, name in enumerate(names)}
    _, stable_labels, candidate_labels = evidence.histograms(
        lambda arm: {places[name]: rows for name, rows in arm.labels.items() if name in places}
    )
    return Scores(
        stable=stable,
        candidate=candidate,
        stable_labels=stable_labels[:, : len(names)],
        candidate_labels=candidate_labels[:, : len(names)],
        evidence=evidence,
    )


def kolmogorov_smirnov(scores: Scores, *, threshold: float, fail: float, bound: float) -> Distance:
    """Compare the shares of scores beyond three values, and of each label.

    Args:
        scores: The evidence.
        threshold: Log-wealth at which a null is rejected.
        fail: The distance that the lower end must be above for a failure.
        bound: The distance that the upper end must be below for a pass.
    """
    tables = _shares(scores)
    value = _distance(scores)
    lower = value * np.linspace(1, 0, 6)[1:]
    higher = value + (1 - value) * np.linspace(0, 0.999, 8)[1:] ** 2
    further = _further_than(tables, np.append(lower, fail), threshold)
    nearer = _nearer_than(tables, np.append(higher, bound), threshold)
    fails, passes = bool(further[-1]), bool(nearer[-1])
    low = float(lower[further[:-1]][0]) if further[:-1].any() else 0.0
    high = float(higher[nearer[:-1]][0]) if nearer[:-1].any() else 1.0
    low = max(low, fail) if fails else min(low, fail)
    high = min(high, bound) if passes else max(high, bound)
    return Distance(value, min(low, value), max(high, value), fails, passes)


def stability_index(scores: Scores, *, alpha: float, fail: float, bound: float) -> Distance:
    """Return the population stability index over ten groups of pooled scores.

    The share that chance contributes is taken off. The interval is the normal approximation to
    the noncentral chi-squared distribution.
    """
    candidate = scores.candidate.sum(axis=0)
    stable = standardised(scores.stable, scores.candidate, scores.evidence.stages)
    n_c, n_s = float(candidate.sum()), float(scores.stable.sum())
    stable_groups, candidate_groups = _grouped(stable, candidate)
    if not n_c or not stable.sum():
        return Distance(0.0, 0.0, 1.0, fails=False, passes=False)
    if len(stable_groups) < 2:
        # All scores of both lie in one bin: the other distance says how sure that is.
        return Distance(0.0, 0.0, 0.0, fails=False, passes=True)
    p = (candidate_groups + 0.5) / (n_c + 0.5 * len(candidate_groups))
    scale = n_s / float(stable.sum())
    q = (stable_groups * scale + 0.5) / (n_s + 0.5 * len(stable_groups))
    noise = 1 / n_c + 1 / n_s
    freedom = len(p) - 1
    excess = float(((p - q) * np.log(p / q)).sum()) / noise - freedom
    doublings = max(1, math.ceil(math.log2(1 / noise)))
    z = NormalDist().inv_cdf(1 - alpha * 6 / (math.pi * doublings) ** 2)
    middle = excess + 2 * z * z
    half = math.sqrt(max(0.0, middle**2 - excess**2 + 2 * freedom * z * z))
    low = max(0.0, (middle - half) * noise) if excess > z * math.sqrt(2 * freedom) else 0.0
    high = max(0.0, (middle + half) * noise)
    value = max(0.0, excess * noise)
    return Distance(value, min(low, value), max(high, value), low > fail, high < bound)


def one_value_only(scores: Scores, *, alpha: float) -> bool:
    """Whether the candidate gives one score to all rows, which the stable version does not.

    Were both alike, all n scores would fall in one bin with probability at most share**n. Where the
    stable version gives one score too, a client may send one row only.
    """
    candidate, stable = scores.candidate.sum(axis=0), scores.stable.sum(axis=0)
    n_c, n_s = candidate.sum(), stable.sum()
    if n_c < _WARM or n_s < _WARM or (candidate > 0).sum() != 1 or (stable > 0).sum() == 1:
        return False
    share = (float(stable[np.argmax(candidate)]) + 1) / (float(n_s) + 2)
    return bool(n_c * math.log(share) < math.log(alpha))


def _shares(scores: Scores) -> Tables:
    """Rows beyond each value and with each label, and the same the other way round."""
    past = _before(scores.stable + scores.candidate)
    seen = past.sum(axis=1)
    beyond_s, beyond_c = _beyond(scores.stable), _beyond(scores.candidate)
    reached = np.cumsum(past, axis=1) / np.maximum(seen, 1)[:, None]
    places = np.argmax(reached[:, None, :] >= _CUTS[None, :, None] - 1e-12, axis=2)
    x_s = np.take_along_axis(beyond_s, places, axis=1)
    x_c = np.take_along_axis(beyond_c, places, axis=1)
    warm = (seen >= _WARM)[:, None]
    n_s = np.where(warm, scores.stable.sum(axis=1)[:, None], 0.0)
    n_c = np.where(warm, scores.candidate.sum(axis=1)[:, None], 0.0)
    x_s = np.concatenate([x_s, scores.stable_labels], axis=1) * warm
    x_c = np.concatenate([x_c, scores.candidate_labels], axis=1) * warm
    kinds = x_s.shape[1]
    expected = np.concatenate([1 - _CUTS, np.full(kinds - len(_CUTS), _LABEL)])
    return Tables(
        n_s=np.repeat(n_s, 2 * kinds, axis=1),
        x_s=np.concatenate([x_s, n_s - x_s], axis=1),
        n_c=np.repeat(n_c, 2 * kinds, axis=1),
        x_c=np.concatenate([x_c, n_c - x_c], axis=1),
        starts=scores.evidence.starts,
        expected=np.concatenate([expected, 1 - expected]),
    )


def _further_than(tables: Tables, lines: Floats, threshold: float) -> NDArray[np.bool_]:
    """Whether some share is surely more than each line apart; mixed over the shares."""
    logs = log_wealth_above(_repeated(tables, len(lines)), _each(lines, tables))
    by_line = logs.reshape(len(lines), -1)
    peak = by_line.max(axis=1)
    mixed = peak + np.log(np.exp(by_line - peak[:, None]).mean(axis=1))
    return np.asarray(mixed >= threshold)


def _nearer_than(tables: Tables, lines: Floats, threshold: float) -> NDArray[np.bool_]:
    """Whether every share is surely less than each line apart."""
    logs = log_wealth_below(_repeated(tables, len(lines)), _each(lines, tables))
    return np.asarray(logs.reshape(len(lines), -1).min(axis=1) >= threshold)


def _repeated(tables: Tables, times: int) -> Tables:
    n_s, x_s, n_c, x_c, expected = (
        np.tile(part, times)
        for part in (tables.n_s, tables.x_s, tables.n_c, tables.x_c, tables.expected)
    )
    return Tables(n_s, x_s, n_c, x_c, tables.starts, expected)


def _each(lines: Floats, tables: Tables) -> Floats:
    return np.repeat(lines, tables.x_s.shape[1])


def _distance(scores: Scores) -> float:
    stable = standardised(scores.stable, scores.candidate, scores.evidence.stages)
    candidate = scores.candidate.sum(axis=0)
    if not stable.sum() or not candidate.sum():
        return 0.0
    gaps = np.cumsum(candidate) / candidate.sum() - np.cumsum(stable) / stable.sum()
    return float(np.abs(gaps).max())


def _grouped(stable: Floats, candidate: Floats) -> tuple[Floats, Floats]:
    """Sum neighbouring bins until each group holds about a tenth of both arms."""
    pooled = stable / max(stable.sum(), 1e-9) + candidate / max(candidate.sum(), 1e-9)
    middles = (np.cumsum(pooled) - pooled / 2) / 2
    group = np.minimum((middles * _GROUPS).astype(int), _GROUPS - 1)
    _, group = np.unique(group, return_inverse=True)
    kinds = int(group.max()) + 1
    sums = [np.bincount(group, side, kinds).astype(float) for side in (stable, candidate)]
    return sums[0], sums[1]


def _beyond(counts: Floats) -> Floats:
    """Rows in bins after each bin, shape (strata, bins)."""
    return np.asarray(counts.sum(axis=1, keepdims=True) - np.cumsum(counts, axis=1))


def _before(counts: Floats) -> Floats:
    return np.concatenate([np.zeros_like(counts[:1]), np.cumsum(counts[:-1], axis=0)])
