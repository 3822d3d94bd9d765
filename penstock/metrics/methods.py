"""The methods that intervals and tests are made by, each with its source.

Imported only while evaluating. Which metric has which is the table of `penstock.metrics.intervals`
and, for two models on the same rows, that of `penstock.metrics.comparisons`. All take rows for
independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from penstock.metrics.arrays import Floats
from penstock.records.estimate import Estimate

Range = tuple[float, float]


def wilson(hits: float, trials: float, *, confidence: float) -> Range:
    """Return the score interval of a share.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, 1927.

    Args:
        hits: Successes.
        trials: Rows they are of; of none nothing is known, so all of 0 to 1.
        confidence: Share of such intervals that hold the true share, here and below; between 0
            and 1.

    Example:
        >>> [round(end, 4) for end in wilson(81, 263, confidence=0.95)]
        [0.2553, 0.3662]
    """
    if not trials:
        return 0.0, 1.0
    found = stats.binomtest(round(hits), round(trials)).proportion_ci(confidence, method="wilson")
    return float(found.low), float(found.high)


def tango(more: int, fewer: int, rows: int, *, confidence: float) -> Range:
    """Return the score interval of a difference of two shares of the same rows.

    T. Tango, Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design, Statistics in Medicine, 1998.

    Args:
        more: Rows that only the first has.
        fewer: Rows that only the second has.
        rows: All rows. Where the two never differ, the interval is still as wide as z²/rows.
        confidence: See `wilson`.
    """
    z = stats.norm.ppf((1 + confidence) / 2)

    def score(difference: float) -> float:
        linear = (2 * rows - more + fewer) * difference - more - fewer
        constant = -fewer * difference * (1 - difference)
        share = (np.sqrt(max(linear**2 - 8 * rows * constant, 0.0)) - linear) / (4 * rows)
        variance = rows * (2 * share + difference * (1 - difference))
        return float((more - fewer - rows * difference) / np.sqrt(max(variance, 1e-300)))

    value = (more - fewer) / rows
    edge = 1 - 1e-12
    low, high = -1.0, 1.0
    if score(-edge) > z and value > -edge:
        low = optimize.brentq(lambda d: score(d) - z, -edge, value, xtol=1e-13)
    if score(edge) < -z and value < edge:
        high = optimize.brentq(lambda d: score(d) + z, value, edge, xtol=1e-13)
    return float(low), float(high)


def mcnemar(more: int, fewer: int) -> float:
    """Return the exact p-value of equal shares (McNemar 1947, by the binomial distribution)."""
    if not more + fewer:
        return 1.0
    return float(stats.binomtest(more, more + fewer).pvalue)


def mover(
    parts: Sequence[Estimate],
    *,
    weights: Floats | None = None,
    correlation: Floats | None = None,
) -> Range:
    """Return the interval of a weighted sum from those of its parts.

    The method of variance estimates recovery (MOVER): G. Y. Zou and A. Donner, Construction of
    confidence limits about effect measures, Statistics in Medicine, 2008. Newcombe's square-and-add
    interval (1998, method 10) is the case of two shares.

    Args:
        parts: Each part's value and interval, k of them.
        weights: Shape (k,); None for the mean of all.
        correlation: Of the values, shape (k, k); None for independent ones.
    """
    share = np.full(len(parts), 1 / len(parts)) if weights is None else weights
    related = np.eye(len(parts)) if correlation is None else correlation
    value = np.array([part.value for part in parts])
    below = value - [part.low for part in parts]
    above = np.array([part.high for part in parts]) - value
    down = share * np.where(share > 0, below, above)
    up = share * np.where(share > 0, above, below)
    middle = float(share @ value)
    return (
        middle - float(np.sqrt(max(float(down @ related @ down), 0.0))),
        middle + float(np.sqrt(max(float(up @ related @ up), 0.0))),
    )


def mover_difference(one: Estimate, other: Estimate, *, correlation: float) -> Range:
    """Return the interval of `one` minus `other` from theirs (see `mover`)."""
    related = np.array([[1.0, correlation], [correlation, 1.0]])
    return mover((one, other), weights=np.array([1.0, -1.0]), correlation=related)


def median(values: Floats, *, confidence: float) -> Range:
    """Return the interval of a median by its order statistics, which needs no distribution."""
    test = stats.quantile_test(values, q=float(np.median(values)), p=0.5)
    found = test.confidence_interval(confidence)
    low, high = float(found.low), float(found.high)
    return (
        low if np.isfinite(low) else float(values.min()),
        high if np.isfinite(high) else float(values.max()),
    )


@dataclass(frozen=True)
class Transform:
    """A transformation after which a value is nearer to normally distributed.

    Args:
        forward: The transformation.
        inverse: Its inverse.
        slope: Its derivative.
    """

    forward: Callable[[float], float]
    inverse: Callable[[float], float]
    slope: Callable[[float], float]


IDENTITY = Transform(forward=lambda v: v, inverse=lambda v: v, slope=lambda _: 1.0)
LOGIT = Transform(
    forward=lambda v: float(np.log(v / (1 - v))),
    inverse=lambda v: float(1 / (1 + np.exp(-v))),
    slope=lambda v: 1 / (v * (1 - v)),
)
LOG = Transform(
    forward=lambda v: float(np.log(v)), inverse=lambda v: float(np.exp(v)), slope=lambda v: 1 / v
)


def delta_method(
    value: float,
    influence: Floats,
    *,
    confidence: float,
    transform: Transform = IDENTITY,
    skewness: bool = False,
) -> Range:
    """Return the interval of a value from how much each row moves it.

    Of an area under the ROC curve the influences are DeLong's structural components (DeLong,
    DeLong and Clarke-Pearson 1988). The quantile is Student's, with the degrees of freedom that
    the spread of the squared influences leaves (Satterthwaite 1946): few where few rows carry all.

    Args:
        value: The value.
        influence: First-order effect of each row, of mean 0, shape (n,); see
            `penstock.metrics.influence`.
        confidence: See `wilson`.
        transform: The scale on which the interval is symmetric.
        skewness: Correct for the skewness of the influences (Hall, On the removal of skewness by
            transformation, Journal of the Royal Statistical Society B, 1992).
    """
    slope = transform.slope(value)
    error, freedom = standard_error(influence)
    quantile = float(stats.t.ppf((1 + confidence) / 2, freedom))
    steps = np.array([quantile, -quantile])
    if skewness and error:
        rows = len(influence)
        third = float((influence**3).mean() / (influence**2).mean() ** 1.5) / np.sqrt(rows)
        if abs(third) > 1e-8:
            steps = (np.cbrt(1 + third * (steps - third / 6)) - 1) * 3 / third
    low, high = transform.forward(value) - slope * error * steps
    return transform.inverse(float(low)), transform.inverse(float(high))


def standard_error(influence: Floats) -> tuple[float, float]:
    """Return the standard error that influences make, and its degrees of freedom."""
    rows = len(influence)
    squares = influence * influence
    total = float(squares.sum())
    if total <= 1e-30:
        return 0.0, 1.0
    fourth = float(squares @ squares)
    # Influences that are all of one size, as of a share of a half, leave nothing uncertain.
    freedom = 2 * total**2 / max(fourth - total**2 / rows, 1e-9 * total**2)
    return float(np.sqrt(total / (rows * max(rows - 1, 1)))), float(np.clip(freedom, 1, 1e9))


def p_equal(value: float, influence: Floats) -> float:
    """Return the two-sided p-value of a difference being 0, from the influences on it."""
    error, freedom = standard_error(influence)
    return float(2 * stats.t.sf(abs(value) / error, freedom)) if error else 1.0


def unobserved_share(rows: int, *, confidence: float) -> float:
    """Return the upper limit of a share of which `rows` rows show none (Clopper and Pearson 1934).

    Example:
        >>> round(unobserved_share(100, confidence=0.95), 4)
        0.0362
    """
    return float(1 - ((1 - confidence) / 2) ** (1 / max(rows, 1)))
