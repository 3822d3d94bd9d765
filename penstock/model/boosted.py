"""Trees that XGBoost or LightGBM grew, as a scikit-learn estimator that needs neither of them.

The trees are arrays, so that a model file holds no object of another library, and whoever serves,
explains or judges the model installs none. Before one is saved its outputs were compared with the
library's own, bit for bit (`penstock.training.boosting`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from penstock.model import links
from penstock.model.ensemble import Ensemble, Tree

NODES = ("left", "right", "feature", "threshold", "missing_left", "cover", "value")
"""What is known of each node, the trees one behind another; see `penstock.model.ensemble.Tree`."""

_CELLS = 2**16
"""Rows times trees that are followed at once: their numbers stay in the processor's cache."""


class BoostedTrees(BaseEstimator):  # type: ignore[misc]
    """Fitted trees whose leaves add to an offset. They were fitted elsewhere: there is no `fit`.

    Args:
        library: What grew them: `xgboost` or `lightgbm`.
        nodes: By each name of `NODES` one array over the nodes of all trees; children are counted
            within their tree.
        starts: Where each tree's nodes begin, shape (trees,).
        outputs: Which output each tree adds to, shape (trees,).
        offset: What each output begins with, shape (outputs,).
        single: Whether features are read, and leaves added, as float32: as XGBoost does, where
            LightGBM takes float64.
        width: How many features there are.
        classes: In the order of the outputs; of two classes the only output is the second's.
    """

    def __init__(
        self,
        library: str,
        nodes: Mapping[str, np.ndarray],
        starts: np.ndarray,
        outputs: np.ndarray,
        offset: np.ndarray,
        single: bool,
        width: int,
        classes: np.ndarray | None = None,
    ) -> None:
        self.library = library
        self.nodes = nodes
        self.starts = starts
        self.outputs = outputs
        self.offset = offset
        self.single = single
        self.width = width
        self.classes = classes

    def __sklearn_is_fitted__(self) -> bool:
        return True

    @property
    def n_features_in_(self) -> int:
        """How many features it takes."""
        return self.width

    def fit(self, x: Any, y: Any) -> BoostedTrees:  # noqa: ARG002
        """Refuse: a pipeline requires this method of its last step.

        Raises:
            TypeError: Always.
        """
        raise TypeError(f"these trees were grown by {self.library}: train the model again")

    def margins(self, x: Any) -> np.ndarray:
        """Return offset plus leaves of each output, as the library computes them, to the bit.

        Args:
            x: Features, shape (n, width), NaN for missing.

        Returns:
            float64, shape (n, outputs).

        Raises:
            ValueError: If the rows have another width.
        """
        x = np.asarray(x, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != self.width:
            raise ValueError(f"rows of {self.width} features are needed, not of shape {x.shape}")
        number = np.float32 if self.single else np.float64
        with np.errstate(over="ignore"):
            read = x.astype(number)
        step = max(1, _CELLS // len(self.starts))
        parts = [self._added(read[at : at + step]) for at in range(0, len(x), step)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.offset)))

    def ensemble(self) -> Ensemble:
        """Return the trees one by one, as the export and the explanation take them."""
        ends = [*self.starts[1:].tolist(), len(self.nodes["left"])]
        number = np.float32 if self.single else np.float64
        return Ensemble(
            trees=[
                _tree(self.nodes, slice(start, end), first=output)
                for start, end, output in zip(
                    self.starts.tolist(), ends, self.outputs.tolist(), strict=True
                )
            ],
            scale=1.0,
            offset=self.offset,
            reads=number,
            adds=number,
        )

    def _added(self, read: np.ndarray) -> np.ndarray:
        """Return the margins of rows that are of the type that the trees compare."""
        leaves = self.nodes["value"][self._leaves(read)].astype(read.dtype)
        found = np.empty((len(read), len(self.offset)))
        for output, offset in enumerate(self.offset):
            mine = leaves[:, self.outputs == output]
            begun = np.full((len(read), 1), offset, dtype=read.dtype)
            # One after another, as the library adds them: `sum` adds pairs, with other last digits.
            found[:, output] = np.cumsum(np.concatenate([begun, mine], axis=1), axis=1)[:, -1]
        return found

    def _leaves(self, read: np.ndarray) -> np.ndarray:
        """Return the node of each tree that each row ends in, shape (n, trees)."""
        lefts, rights, features = (self.nodes[name] for name in ("left", "right", "feature"))
        threshold = self.nodes["threshold"].astype(read.dtype, copy=False)
        flat, gaps = read.ravel(), bool(np.isnan(read).any())
        start = np.tile(self.starts, len(read))
        row = np.repeat(np.arange(len(read)) * self.width, len(self.starts))
        found, place, at = start.copy(), np.arange(len(start)), start
        while True:
            left = lefts.take(at)
            inner = np.flatnonzero(left >= 0)
            # Trees are uneven: only what is at no leaf yet is followed further.
            if len(inner) < len(at):
                found[place] = at
                if not len(inner):
                    return found.reshape(len(read), -1)
                at, place, row, start, left = (
                    one.take(inner) for one in (at, place, row, start, left)
                )
            value = flat.take(row + features.take(at))
            goes_left = value <= threshold.take(at)
            if gaps:
                goes_left |= np.isnan(value) & self.nodes["missing_left"].take(at)
            at = np.where(goes_left, left, rights.take(at)) + start


class BoostedClassifier(ClassifierMixin, BoostedTrees):  # type: ignore[misc]
    """Trees whose margins are log-odds of the second class, or logits of each of more classes."""

    @property
    def classes_(self) -> np.ndarray:
        """The classes, in the order of `predict_proba`."""
        assert self.classes is not None
        return self.classes

    def decision_function(self, x: Any) -> np.ndarray:
        """Return the margins: shape (n,) of two classes, (n, classes) of more."""
        margins = self.margins(x)
        return margins[:, 0] if margins.shape[1] == 1 else margins

    def predict_proba(self, x: Any) -> np.ndarray:
        """Return the probability of each class, shape (n, classes)."""
        return probabilities(self.margins(x))

    def predict(self, x: Any) -> np.ndarray:
        """Return the most probable class of each row."""
        return np.asarray(self.classes_[self.predict_proba(x).argmax(axis=1)])


class BoostedRegressor(RegressorMixin, BoostedTrees):  # type: ignore[misc]
    """Trees whose margin is the prediction."""

    def predict(self, x: Any) -> np.ndarray:
        """Return the value of each row, shape (n,)."""
        return np.asarray(self.margins(x)[:, 0])


def probabilities(margins: np.ndarray) -> np.ndarray:
    """Return what margins mean, in float64: the logistic function of one, softmax of several.

    XGBoost itself does this step in float32, LightGBM with another `exp`; the margins are the same.
    """
    if margins.shape[1] > 1:
        return links.softmax(margins)
    second = links.logistic(margins[:, 0])
    return np.column_stack([1.0 - second, second])


def concatenated(trees: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """Return `nodes` and `starts` of trees that are given one by one, each by `NODES`."""
    sizes = [len(tree["left"]) for tree in trees]
    return {
        "nodes": {name: np.concatenate([tree[name] for tree in trees]) for name in NODES},
        "starts": np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64),
    }


def _tree(nodes: Mapping[str, np.ndarray], part: slice, *, first: int) -> Tree:
    return Tree(
        left=nodes["left"][part],
        right=nodes["right"][part],
        feature=nodes["feature"][part],
        threshold=nodes["threshold"][part],
        missing_left=nodes["missing_left"][part],
        cover=nodes["cover"][part],
        value=nodes["value"][part][:, None],
        first=first,
    )
