"""A fitted classifier whose probabilities are put right by a map that was fitted on other rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from penstock.model.links import log, logistic, shares

Array = np.ndarray

CLIP = 1e-15
"""Distance from 0 and 1 that a probability keeps before its log-odds are taken."""


class CalibratedClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier and a map for each probability. It was fitted elsewhere: there is no `fit`.

    Of two classes one probability has a map, and the other is the rest. Of more each has one, and
    they are divided by their sum (Zadrozny and Elkan, Transforming classifier scores into accurate
    multiclass probability estimates, KDD 2002).

    Args:
        estimator: The fitted classifier.
        maps: One for each of more than two classes, in their order; of two classes one alone. By
            name its arrays: of a sigmoid `slope`, `offset` and `log_odds`, shape (1,); of a broken
            line the `x` and `y` of its knots, rising.
        positive: Of two classes: which of them has the map.
    """

    def __init__(
        self, estimator: Any, maps: Sequence[dict[str, Array]], positive: int | None = None
    ) -> None:
        self.estimator = estimator
        self.maps = maps
        self.positive = positive

    def __sklearn_is_fitted__(self) -> bool:
        return True

    @property
    def classes_(self) -> Array:
        """The classes, in the order of `predict_proba`."""
        return np.asarray(self.estimator.classes_)

    @property
    def n_features_in_(self) -> int:
        """How many features it takes."""
        return int(self.estimator.n_features_in_)

    def fit(self, x: Any, y: Any) -> CalibratedClassifier:  # noqa: ARG002
        """Refuse: a pipeline asks that its last step has this method.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a calibrated model is fitted by penstock's training alone")

    def predict_proba(self, x: Any) -> Array:
        """Return the calibrated probability of each class, shape (n, classes)."""
        given = np.asarray(self.estimator.predict_proba(x), dtype=np.float64)
        if self.positive is None:
            return calibrated(self.maps, given)
        one = calibrated(self.maps, given[:, self.positive])
        pair = [1.0 - one, one]
        return np.column_stack(pair if self.positive == 1 else pair[::-1])

    def predict(self, x: Any) -> Array:
        """Return the most probable class of each row."""
        return np.asarray(self.classes_[self.predict_proba(x).argmax(axis=1)])


def calibrated(maps: Sequence[dict[str, Array]], scores: Array) -> Array:
    """Return scores put right.

    Args:
        maps: See `CalibratedClassifier`.
        scores: Probabilities of the class that has the only map, shape (n,), or of each class,
            shape (n, classes).

    Example:
        >>> line = {"x": np.array([0.0, 0.5, 1.0]), "y": np.array([0.1, 0.2, 0.8])}
        >>> calibrated([line], np.array([0.25, 0.5, 1.0])).round(3).tolist()
        [0.15, 0.2, 0.8]
    """
    if scores.ndim == 1:
        return _mapped(maps[0], scores)
    each = np.column_stack([_mapped(one, scores[:, at]) for at, one in enumerate(maps)])
    return shares(each)


def uncalibrated(estimator: Any) -> Any:
    """Return the classifier inside a calibrated one; another estimator as it is."""
    return estimator.estimator if isinstance(estimator, CalibratedClassifier) else estimator


def slopes(line: dict[str, Array]) -> Array:
    """Return how steep a broken line is behind each of its knots; behind the last it is flat."""
    return np.append(np.diff(line["y"]) / np.diff(line["x"]), 0.0)


def _mapped(one: dict[str, Array], p: Array) -> Array:
    """Return one map's probabilities, by the operations that its ONNX form has."""
    if "x" not in one:
        score = p
        if one["log_odds"][0]:
            clipped = np.clip(p, CLIP, 1.0 - CLIP)
            score = log(clipped / (1.0 - clipped))
        return logistic(score * one["slope"] + one["offset"])
    x, y = one["x"], one["y"]
    p = np.clip(p, x[0], x[-1])
    at = np.searchsorted(x[1:], p, side="right")
    return np.asarray(y[at] + (p - x[at]) * slopes(one)[at])
