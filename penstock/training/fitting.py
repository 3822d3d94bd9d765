"""Fit an estimator with what the training part says besides features and target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def fit(estimator: Any, x: np.ndarray, y: np.ndarray, *, weights: np.ndarray | None) -> Any:
    """Return an estimator fitted on rows, each of which counts by its weight.

    The constant baseline counts every row once: `penstock.training.baselines.rebuild_constant`
    makes it again from the rows of each class.

    Args:
        estimator: Unfitted; of a `Pipeline` the last step alone is weighted.
        x: Features, shape (n, width).
        y: The target as estimators take it, shape (n,).
        weights: One a row; None: all alike.
    """
    from sklearn.dummy import DummyClassifier, DummyRegressor
    from sklearn.pipeline import Pipeline

    if weights is None or isinstance(estimator, DummyClassifier | DummyRegressor):
        return estimator.fit(x, y)
    if isinstance(estimator, Pipeline):
        return estimator.fit(x, y, **{f"{estimator.steps[-1][0]}__sample_weight": weights})
    return estimator.fit(x, y, sample_weight=weights)


def constrained(estimator: Any, directions: Mapping[int, int], *, width: int) -> Any:
    """Return an estimator that keeps monotonic constraints, where its family can.

    Args:
        estimator: Unfitted; it is changed.
        directions: 1 or -1 by feature; see `penstock.training.monotonic`.
        width: How many features there are: in a fold another number than in the whole.
    """
    names = estimator.get_params(deep=False) if directions else {}
    if "monotonic" in names:
        estimator.set_params(monotonic=dict(directions))
    elif "monotonic_cst" in names:
        estimator.set_params(monotonic_cst=[directions.get(at, 0) for at in range(width)])
    return estimator
