"""Racing: which setting can still win, and whether a search still improves; by paired differences.

Weak settings are dropped fold by fold, as in Hoeffding races (Maron and Moore 1994) and F-race
(Birattari and others 2002), not by halving their number.
Settings are scored on the same folds, so what makes a fold hard for all of them cancels out in the
differences fold by fold: they separate two settings where the scores' own deviation would not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Scores = Sequence[float]
"""Of one setting on each fold that it reached, turned so that more is better."""

BEHIND = 2.0
"""Standard errors behind the best from which a setting is given up."""

AHEAD = 1.0
"""Standard errors ahead of the best from which a setting counts as an improvement."""


def falls_behind(scores: Scores, *, best: Scores, relatives: Sequence[Scores]) -> bool:
    """Tell whether a setting lies too far behind the best to be worth its remaining folds.

    Of F folds f were seen. The mean paired difference over all of them is then known up to
    s sqrt(1/f - 1/F), the standard error of a mean with the correction for a finite population
    (Cochran, Sampling Techniques, 1977, chapter 2). s is pooled over the setting and those of its
    family: their differences from the best vary alike, and one fold alone has no deviation.

    Args:
        scores: Of the setting, on the first f folds, f at least 1.
        best: Of the best setting, on all F folds.
        relatives: Of the other settings of its family.

    Returns:
        Whether it is more than `BEHIND` standard errors behind. False while s is not known.
    """
    behind = -_mean(_differences(scores, best))
    deviation = _pooled_deviation([_differences(one, best) for one in (scores, *relatives)])
    if deviation is None:
        return False
    return behind > BEHIND * deviation * math.sqrt(1 / len(scores) - 1 / len(best))


def improves(scores: Scores, *, best: Scores) -> bool:
    """Tell whether a setting, scored on every fold, is better by more than `AHEAD` standard errors.

    The standard error is that of the mean paired difference.
    """
    differences = _differences(scores, best)
    deviation = _pooled_deviation([differences]) or 0.0
    return _mean(differences) > AHEAD * deviation / math.sqrt(len(differences))


def _differences(scores: Scores, best: Scores) -> list[float]:
    return [score - other for score, other in zip(scores, best, strict=False)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _pooled_deviation(groups: Sequence[Sequence[float]]) -> float | None:
    """Return the deviation within groups; None if every group has one value only."""
    freedom = sum(len(group) - 1 for group in groups)
    if not freedom:
        return None
    squares = sum((value - _mean(group)) ** 2 for group in groups for value in group)
    return math.sqrt(squares / freedom)
