"""The interval of a metric of the project's own: the percentile bootstrap.

Nothing is known of such a metric but that it can be computed on rows. Rows are drawn as often for
one model as for another, so that the difference of two models is theirs on the same draws.
"""

from __future__ import annotations

import numpy as np

from penstock.errors import InputError
from penstock.metrics.arrays import Floats
from penstock.metrics.bootstrap import percentile_interval, replicate
from penstock.metrics.descriptions import DESCRIPTIONS
from penstock.metrics.methods import Range
from penstock.metrics.own import OwnStatistic
from penstock.metrics.predictions import Predictions

RESAMPLES = 400
"""Draws of the rows for an interval; each costs a call of the metric for each model."""

SEED = 20

DEFINED = 0.99
"""Share of the draws on which it must be a number: what is left out would be an end of it."""


def interval(name: str, value: float, predictions: Predictions, *, confidence: float) -> Range:
    """Return the percentile interval of one of the project's metrics.

    Args:
        name: The metric.
        value: What it is on all rows.
        predictions: What it was computed from.
        confidence: Between 0 and 1.

    Raises:
        InputError: If more than 1% of the draws of the rows do not define it.
    """
    return _percentile(value, _draws(predictions, name), name, confidence=confidence)


def difference_interval(
    name: str, difference: float, one: Predictions, other: Predictions, *, confidence: float
) -> Range:
    """Return the percentile interval of a difference of two models on the same draws.

    Args:
        name: The metric.
        difference: What it is on all rows: that of `one` less that of `other`.
        one: What the first model says.
        other: What the second one says of the same rows.
        confidence: Between 0 and 1.

    Raises:
        InputError: If more than 1% of the draws of the rows do not define it.
    """
    found = _draws(one, name) - _draws(other, name)
    return _percentile(difference, found, name, confidence=confidence)


def _draws(predictions: Predictions, name: str) -> Floats:
    rows = len(predictions.truth)
    models = {"": [OwnStatistic(predictions)]}
    return replicate(models, rows=rows, resamples=RESAMPLES, seed=SEED)[""][name]


def _percentile(value: float, draws: Floats, name: str, *, confidence: float) -> Range:
    undefined = int((~np.isfinite(draws)).sum())
    if undefined > (1 - DEFINED) * len(draws):
        raise InputError(
            f"{name} is no finite number on {undefined} of {len(draws)} draws of the holdout's "
            "rows, so its interval is not known",
            where=DESCRIPTIONS.get(name, name),
            remedy="Let it return a number where some rows are there twice and others not.",
        )
    found = percentile_interval(value, draws, confidence=confidence)
    return found.low, found.high
