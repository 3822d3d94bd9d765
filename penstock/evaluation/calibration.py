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

from penstock.errors import InputError
from penstock.evaluation.holdout import CANDIDATE, Holdout
from penstock.evaluation.slice_tests import compare_slices
from penstock.metrics.bootstrap import expected_factor, inverted_interval
from penstock.metrics.curves import Reliability, reliability
from penstock.metrics.losses import class_losses
from penstock.policy.trust import CalibrationRule
from penstock.records.estimate import Estimate
from penstock.records.health import Calibration

Floats = NDArray[np.float64]

_DRAWS = 4000


@dataclass(frozen=True)
class CalibrationError:
    """The expected calibration error as counted, and freed of what chance adds."""

    plain: float
    estimate: Estimate
    bins: int


def measure_calibration(
    holdout: Holdout,
    rule: CalibrationRule,
    *,
    brier: Estimate | None,
    confidence: float,
    seed: int,
) -> Calibration:
    """Measure how far a classifier's probabilities are from what happens.

    Args:
        holdout: The rows and what the candidate says of them.
        rule: How many bins.
        brier: The Brier score if it has been measured, so that a page shows one figure.
        confidence: Of the intervals.
        seed: Of the draws.

    Raises:
        InputError: If the model is a regression, which states no probabilities.
    """
    if holdout.record.task == "regression":
        raise InputError(
            "a regression states no probabilities",
            where="gate.calibration",
            remedy="Leave the rule out of its policy.",
        )
    scores = holdout.scores[CANDIDATE]
    if holdout.record.task == "binary":
        of, stated, happened = "positive class", scores, holdout.truth == 1
    else:
        of, stated = "top label", scores.max(axis=1)
        happened = scores.argmax(axis=1) == holdout.truth
    error = calibration_error(happened, stated, bins=rule.bins, confidence=confidence, seed=seed)
    return Calibration(
        of=of,
        brier=brier or _mean(_squares(holdout, scores), confidence),
        ece=error.estimate,
        plain_ece=error.plain,
        bins=error.bins,
    )


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


def _squares(holdout: Holdout, scores: Floats) -> Floats:
    if holdout.record.task == "binary":
        return class_losses("binary", holdout.truth, scores)["brier"]
    return _several(holdout.truth, scores)


def _several(truth: NDArray[np.int64], scores: Floats) -> Floats:
    """Return each row's squared distances summed over the classes; an unknown class has none."""
    known = truth < scores.shape[1]
    given = np.where(known, scores[np.arange(len(truth)), np.where(known, truth, 0)], 0.0)
    return np.asarray((scores**2).sum(axis=1) - 2 * given + 1)


def _mean(losses: Floats, confidence: float) -> Estimate:
    tests = compare_slices(
        np.zeros(len(losses), dtype=np.int64), losses, slices=1, confidence=confidence
    )
    value, low, high = (one.item() for one in tests.loss)
    return Estimate(value=value, low=low, high=high)
