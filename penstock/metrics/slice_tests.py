"""Tests of every slice at once: codes and per-row losses in, p-values and intervals out. Pure.

Less loss is better. The null hypotheses are that nothing is wrong: a small p-value flags a slice.

- `p_floor`: the slice's mean loss is at most the bound;
- `p_worse`: the candidate's loss is above the champion's, on the same rows, by at most the margin.

A loss that is 0 or 1 (`share`) is tested by counts: the floor by the exact binomial tail, the
difference by the tail of the difference of discordant pairs at the restricted estimate of Tango
(Statistics in Medicine, 1998), computed by the saddlepoint formula for lattices (Lugannani and
Rice 1980, Daniels 1987), which stays true far out in the tail, where a family of thousands is
judged; its interval is Tango's. Any other loss is tested by a t statistic freed of its skewness
(Hall, On the removal of skewness by transformation, 1992), and its interval is the inverse of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.integer]

Form = Literal["share", "mean", "root"]
"""share: the loss is 0 or 1. mean: any loss. root: as `mean`, and the root of the mean is compared
between the models (a root mean squared error)."""

_HALVINGS = 60


@dataclass(frozen=True)
class SliceTests:
    """What was found in each slice; arrays of shape (slices,), NaN where there is no row.

    Args:
        rows: Rows in it.
        loss: Mean loss of the candidate (not its root), with its interval.
        difference: Loss of the candidate minus the champion's (for `root`: of the roots), with its
            interval; None without a champion.
        p_floor: None without a bound.
        p_worse: None without a champion or a margin.
    """

    rows: NDArray[np.int64]
    loss: tuple[Floats, Floats, Floats]
    difference: tuple[Floats, Floats, Floats] | None
    p_floor: Floats | None
    p_worse: Floats | None


def compare_slices(
    codes: Codes,
    candidate: Floats,
    *,
    slices: int,
    champion: Floats | None = None,
    form: Form = "mean",
    bound: float | None = None,
    margin: float | None = None,
    confidence: float = 0.95,
) -> SliceTests:
    """Test every slice against a bound and against the champion.

    Args:
        codes: Slice of each row, from 0 to `slices` - 1, shape (n,).
        candidate: Loss of the candidate in each row, shape (n,).
        slices: How many slices.
        champion: Loss of the champion in each row, shape (n,).
        form: What kind of loss it is.
        bound: Mean loss that a slice may have.
        margin: By how much the candidate may be worse, in units of the loss, or of its root.
        confidence: Of every interval, each on its own.
    """
    if form == "share":
        return _test_shares(
            codes, candidate, champion, slices, bound=bound, margin=margin, confidence=confidence
        )
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        own = _moments(codes, candidate, slices)
        p_floor = None if bound is None else _p_above(own, own.mean - bound)
        difference = p_worse = None
        if champion is not None:
            apart, influence = _apart(codes, candidate, champion, slices, form=form)
            difference = _interval(influence, apart, confidence)
            p_worse = None if margin is None else _p_above(influence, apart - margin)
        return SliceTests(
            own.rows, _interval(own, own.mean, confidence), difference, p_floor, p_worse
        )


def holm(*families: Floats) -> tuple[Floats, ...]:
    """Return Holm's adjusted p-values (Holm 1979) of one or more families, each of shape (k,).

    Whatever depends on what: the probability that any true null hypothesis of any family has an
    adjusted p-value of at most alpha is at most alpha. Families that hold a hypothesis share alpha
    evenly, so that a few hypotheses that matter are not drowned by many that were only searched.
    """
    shares = sum(len(p) > 0 for p in families)
    return tuple(_holm(p, shares) for p in families)


def _holm(p: Floats, shares: int) -> Floats:
    order = np.argsort(p, kind="stable")
    steps = p[order] * np.arange(len(p), 0, -1) * shares
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


@dataclass(frozen=True)
class _Moments:
    rows: NDArray[np.int64]
    mean: Floats
    deviation: Floats
    skewness: Floats


def _moments(codes: Codes, values: Floats, slices: int) -> _Moments:
    rows = np.bincount(codes, minlength=slices)
    mean = np.bincount(codes, weights=values, minlength=slices) / rows
    centred = values - mean[codes]
    power = centred * centred
    second = np.bincount(codes, weights=power, minlength=slices) / rows
    power *= centred
    third = np.bincount(codes, weights=power, minlength=slices) / rows
    # What is left of equal values is rounding.
    second = np.where(second <= 1e-24 * mean**2, 0.0, second)
    skewness = np.where(second > 0, third / second**1.5, 0.0)
    deviation = np.sqrt(second * rows / np.maximum(rows - 1, 1))
    return _Moments(rows=rows, mean=mean, deviation=deviation, skewness=skewness)


def _apart(
    codes: Codes, candidate: Floats, champion: Floats, slices: int, *, form: Form
) -> tuple[Floats, _Moments]:
    """Return by how much the losses differ, and the moments of what each row adds to that."""
    if form == "mean":
        moments = _moments(codes, candidate - champion, slices)
        return moments.mean, moments
    rows = np.bincount(codes, minlength=slices)
    roots = [
        np.sqrt(np.bincount(codes, weights=of, minlength=slices) / rows)
        for of in (candidate, champion)
    ]
    ours, theirs = (np.where(root > 0, 0.5 / root, 0.0) for root in roots)
    influence = ours[codes] * candidate - theirs[codes] * champion
    return roots[0] - roots[1], _moments(codes, influence, slices)


def _p_above(moments: _Moments, distance: Floats) -> Floats:
    """Return the p-value of `the true distance is at most 0`."""
    from scipy.special import stdtr

    rows, skewness = moments.rows, moments.skewness
    unit = distance / moments.deviation
    y = np.where(
        np.abs(skewness) > 1e-9, ((1 + skewness * unit / 3) ** 3 - 1) / skewness, unit
    ) + skewness / (6 * rows)
    # Of heavy tails the sample's skewness is mostly chance: it may only make the test more careful.
    p = stdtr(np.maximum(rows - 1, 1), -np.sqrt(rows) * np.minimum(y, unit))
    # Without any variation every row is on one side: the sign test.
    flat = np.where(distance > 0, 0.5**rows, 1.0)
    return np.asarray(np.where(moments.deviation > 0, p, flat))


def _interval(moments: _Moments, value: Floats, confidence: float) -> tuple[Floats, Floats, Floats]:
    from scipy.special import stdtrit

    rows, skewness = moments.rows, moments.skewness
    reach = stdtrit(np.maximum(rows - 1, 1), (1 + confidence) / 2) / np.sqrt(rows)

    def end(side: float) -> Floats:
        y = side * reach - skewness / (6 * rows)
        bent = 3 * (np.cbrt(1 + skewness * y) - 1) / skewness
        return np.asarray(value - moments.deviation * np.where(np.abs(skewness) > 1e-9, bent, y))

    return value, end(1.0), end(-1.0)


def _test_shares(
    codes: Codes,
    candidate: Floats,
    champion: Floats | None,
    slices: int,
    *,
    bound: float | None,
    margin: float | None,
    confidence: float,
) -> SliceTests:
    from scipy.special import bdtrc, ndtri

    ours = candidate > 0.5
    theirs = ours if champion is None else champion > 0.5
    cells = codes.astype(np.int64) * 4 + ours * 2 + theirs
    counts = np.bincount(cells, minlength=4 * slices).reshape(slices, 2, 2)
    rows, wrong = counts.sum(axis=(1, 2)), counts[:, 1].sum(axis=1)
    z = float(ndtri((1 + confidence) / 2))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # bdtrc(k, n, p) is the chance of more than k.
        p_floor = None if bound is None else bdtrc(wrong - 1.0, rows, min(max(bound, 0.0), 1.0))
        lost, won = counts[:, 1, 0].astype(float), counts[:, 0, 1].astype(float)
        difference = p_worse = None
        if champion is not None:
            difference = _tango(lost, won, rows, z)
            p_worse = None if margin is None else p_lost_more(lost, won, rows, margin=margin)
        return SliceTests(rows, wilson(wrong, rows, z), difference, p_floor, p_worse)


def wilson(
    count: NDArray[np.int64], rows: NDArray[np.int64], z: float
) -> tuple[Floats, Floats, Floats]:
    """Return shares with Wilson's interval (1927) of `z` standard errors."""
    share = count / rows
    centre = (share + z**2 / (2 * rows)) / (1 + z**2 / rows)
    half = z * np.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2)) / (1 + z**2 / rows)
    return share, np.clip(centre - half, 0, share), np.clip(centre + half, share, 1)


def p_lost_more(lost: Floats, won: Floats, rows: NDArray[np.int64], *, margin: float) -> Floats:
    """Return the p-value of `lost - won` is at most `margin` times the rows, one-sided.

    Args:
        lost: Rows in which the candidate alone is wrong, shape (k,).
        won: Rows in which the champion alone is wrong, shape (k,).
        rows: All rows, shape (k,).
        margin: From 0 to below 1.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return _p_lost_more(lost, won, rows, margin)


def _p_lost_more(lost: Floats, won: Floats, rows: NDArray[np.int64], margin: float) -> Floats:
    from scipy.special import bdtrc, ndtr

    apart = lost - won
    if margin == 0:
        # The pairs that do not differ say nothing: the exact sign test of those that do.
        return np.asarray(np.where(lost > 0, bdtrc(lost - 1, lost + won, 0.5), 1.0))
    won_share = _restricted(lost, won, rows, margin)
    lost_share = won_share + margin
    spread = np.sqrt(rows * (lost_share + won_share - margin**2))
    plain = ndtr(-(apart - 0.5 - rows * margin) / spread)
    # Where the cumulant generating function has slope `apart`: a quadratic in e^s.
    equal = 1 - lost_share - won_share
    a, b, c = (rows - apart) * lost_share, apart * equal, (rows + apart) * won_share
    grown = (b + np.sqrt(b**2 + 4 * a * c)) / (2 * a)
    s = np.log(grown)
    total = equal + lost_share * grown + won_share / grown
    bent = rows * ((lost_share * grown + won_share / grown) / total - (apart / rows) ** 2)
    w = np.sqrt(2 * np.maximum(s * apart - rows * np.log(total), 0.0))
    u = (1 - np.exp(-s)) * np.sqrt(bent)
    tail = ndtr(-w) + np.exp(-(w**2) / 2) / np.sqrt(2 * np.pi) * (1 / u - 1 / w)
    tail = np.where(apart == rows, lost_share**rows, tail)
    far = (apart - rows * margin > 0.1 * spread) & np.isfinite(tail)
    return np.asarray(np.where(far, np.clip(tail, 0, 1), plain))


def _restricted(
    lost: Floats, won: Floats, rows: NDArray[np.int64], margin: float | Floats
) -> Floats:
    """Return the likeliest share of `won` if the true difference is `margin` (Tango 1998)."""
    b = margin * (2 * rows - lost + won) - lost - won
    c = -won * margin * (1 - margin)
    root = (np.sqrt(np.maximum(b**2 - 8 * rows * c, 0.0)) - b) / (4 * rows)
    low, high = np.maximum(0.0, -np.asarray(margin)), (1 - np.asarray(margin)) / 2
    return np.asarray(np.clip(root, low, high))


def _tango(
    lost: Floats, won: Floats, rows: NDArray[np.int64], z: float
) -> tuple[Floats, Floats, Floats]:
    value = (lost - won) / rows

    def end(side: float) -> Floats:
        inner, outer = value.copy(), np.full(len(value), side)
        for _ in range(_HALVINGS):
            middle = (inner + outer) / 2
            share = _restricted(lost, won, rows, middle)
            spread = np.sqrt(np.maximum(rows * (2 * share + middle - middle**2), 0.0))
            inside = np.abs(lost - won - rows * middle) <= z * spread
            inner, outer = np.where(inside, middle, inner), np.where(inside, outer, middle)
        return inner

    return value, end(-1.0), end(1.0)
