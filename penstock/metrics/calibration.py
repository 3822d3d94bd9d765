"""Whether stated probabilities are what happens: Brier score and expected calibration error.

The error that is counted, the mean over bins of the distance between stated and observed, is too
high: where nothing is wrong, chance still puts each bin a little off (Kumar, Liang and Ma 2019;
Roelofs et al. 2022). So the true distances are taken for the observed ones times one factor, and
the factor is the one under which what was counted would be expected (the bias correction of
MacKinnon and Smith 1998); the interval inverts the test of it. What bins cannot see, over- and
understatement that cancel within one, stays unseen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penstock.metrics.bootstrap import expected_factor, inverted_interval
from penstock.metrics.curves import Reliability, reliability
from penstock.metrics.slice_tests import compare_slices
from penstock.records.estimate import Estimate

Floats = NDArray[np.float64]

_DRAWS = 4000


@dataclass(frozen=True)
class CalibrationError:
    """The expected calibration error as counted, and freed of what chance adds."""

    plain: float
    estimate: Estimate
    bins: int


def calibration_error(
    happened: NDArray[np.bool_], stated: Floats, *, bins: int, confidence: float, seed: int
) -> CalibrationError:
    """Return the expected calibration error over bins of about equally many rows.

    Args:
        happened: Whether it did, shape (n,).
        stated: The probability given to it, shape (n,).
        bins: How many at most.
        confidence: Of the interval.
        seed: Of the draws.
    """
    found = reliability(happened, stated, bins=bins)
    weights = found.rows / found.rows.sum()
    gaps, errors = np.abs(found.observed - found.stated), _errors(found)
    noise = np.random.default_rng(seed).normal(size=(_DRAWS, len(gaps))) * errors
    plain = float(weights @ gaps)

    def counted(factor: float) -> Floats:
        """Return what would be counted if the true distances were these times `factor`."""
        return np.asarray(np.abs(factor * gaps + noise) @ weights)

    value = plain * expected_factor(counted, plain)
    low, high = inverted_interval(counted, plain, confidence=confidence)
    estimate = Estimate(value=value, low=min(low, value), high=min(high, 1.0))
    return CalibrationError(plain=plain, estimate=estimate, bins=len(gaps))


def _errors(found: Reliability) -> Floats:
    """Return the standard error of what was observed in each bin.

    As if one more row had turned out as stated: a bin in which nothing happened is not certain.
    """
    share = (found.observed * found.rows + found.stated) / (found.rows + 1)
    return np.asarray(np.sqrt(share * (1 - share) / found.rows))


def brier_of_classes(truth: NDArray[np.int64], scores: Floats, *, confidence: float) -> Estimate:
    """Return the Brier score of several classes, summed over them, from 0 to 2, and its interval.

    Args:
        truth: The class of each row as its position in `scores`, shape (n,); beyond them a class
            that has no probability.
        scores: Probabilities, shape (n, classes).
        confidence: Of the interval.
    """
    known = truth < scores.shape[1]
    given = np.where(known, scores[np.arange(len(truth)), np.where(known, truth, 0)], 0.0)
    return mean_of((scores**2).sum(axis=1) - 2 * given + 1, confidence=confidence)


def mean_of(losses: Floats, *, confidence: float) -> Estimate:
    """Return the mean of losses, shape (n,), with the interval that slices have."""
    tests = compare_slices(
        np.zeros(len(losses), dtype=np.int64), losses, slices=1, confidence=confidence
    )
    value, low, high = (one.item() for one in tests.loss)
    return Estimate(value=value, low=low, high=high)
