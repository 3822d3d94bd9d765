"""What a linear model learns before the model: medians, means and deviations, in bounded memory.

Up to `WHOLE` rows scikit-learn fits these steps on the matrix as it is. Of more it would hold
several copies: then the imputer is fitted on two rows that have the same medians and the same
gaps, which is all that it learns, and the scaler piece after piece. Its sums then differ from
those of one pass in their last digits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from penstock.training.feature_columns import FittedFeatures, Matrix, Rows
from penstock.training.fitting import fit

WHOLE = 1 << 17
"""Rows up to which these steps get one matrix."""


def prepare(steps: Any, features: FittedFeatures, rows: Rows) -> Any:
    """Fit the steps before a model.

    Args:
        steps: A pipeline of the imputer and the scaler of `penstock.training.estimators`.
        features: Features.
        rows: Places of the rows to fit on.

    Returns:
        The steps, fitted.
    """
    if len(rows) <= WHOLE:
        return steps.fit(features.matrix(rows))
    impute, scale = steps[0], steps[1]
    impute.fit(_same_medians(features, rows))
    for piece in features.pieces(rows):
        scale.partial_fit(impute.transform(piece))
    return steps


def prepared(steps: Any, features: FittedFeatures, rows: Rows) -> Matrix:
    """Return some rows as fitted steps hand them to the model, shape (rows, columns)."""
    if len(rows) <= WHOLE:
        return np.asarray(steps.transform(features.matrix(rows)))
    out: Matrix | None = None
    start = 0
    for piece in features.pieces(rows):
        values = steps.transform(piece)
        if out is None:
            out = np.empty((len(rows), values.shape[1]))
        out[start : start + len(values)] = values
        start += len(values)
    assert out is not None
    return out


def fit_whole(
    estimator: Any,
    features: FittedFeatures,
    y: np.ndarray,
    *,
    form: str,
    weights: np.ndarray | None = None,
) -> tuple[Any, tuple[str, bytes] | None]:
    """Fit an estimator on all rows.

    Args:
        estimator: Unfitted.
        features: As the fitted transformer makes them.
        y: The target of all rows.
        form: What `penstock.training.estimators.form` says.
        weights: How much each row counts; None: all alike.

    Returns:
        The fitted estimator, and the own form of the library that grew it, with that file's name;
        None: none of them did.
    """
    from penstock.training.boosting.learner import Learner

    rows = np.arange(len(y))
    if isinstance(estimator, Learner):
        x = features.matrix(rows)
        grown = estimator.grow(x, y, weights)
        return grown.model(x), grown.booster.file()
    if form == "float32":
        return fit(estimator, features.matrix(rows, dtype=np.float32), y, weights=weights), None
    if form == "float64" or len(rows) <= WHOLE:
        return fit(estimator, features.matrix(rows), y, weights=weights), None
    steps = prepare(estimator[:-1], features, rows)
    fitted = fit(estimator[-1], prepared(steps, features, rows), y, weights=weights)
    estimator.steps = [*steps.steps, (estimator.steps[-1][0], fitted)]
    return estimator, None


def _same_medians(features: FittedFeatures, rows: Rows) -> Matrix:
    """Return two rows that have the medians of all, and a gap in the second where there are any."""
    medians, gaps = [], []
    for values in features.columns(rows):
        missing = np.isnan(values)
        gaps.append(bool(missing.any()))
        known = values[~missing] if gaps[-1] else values
        medians.append(float(np.median(known)) if len(known) else np.nan)
    first = np.array(medians)
    return np.stack([first, np.where(gaps, np.nan, first)])
