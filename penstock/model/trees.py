"""The trees of fitted estimators as arrays. Imported only while exporting or explaining.

The one place that knows how scikit-learn keeps its trees (`boosted` keeps those of other
libraries): the export writes them as ONNX nodes, the explanation walks them for SHAP values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Tree:
    """Nodes that split rows by whether a feature is at most a threshold. Node 0 is the root.

    Args:
        left: The node where the feature is at most the threshold, -1 at a leaf; shape (nodes,),
            like all but `value`.
        right: The node where it is not, -1 at a leaf.
        feature: Index of the feature; without meaning at a leaf.
        threshold: What it is compared with, float64; without meaning at a leaf.
        missing_left: Whether a row without the feature goes left.
        cover: Weight of the training rows that reached the node.
        value: What a leaf adds to outputs, shape (nodes, outputs of this tree).
        first: Which of the ensemble's outputs the first of these is.
    """

    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    cover: np.ndarray
    value: np.ndarray
    first: int = 0

    @property
    def is_leaf(self) -> np.ndarray:
        """Whether each node is a leaf, shape (nodes,)."""
        return np.asarray(self.left < 0)

    def levels(self) -> list[np.ndarray]:
        """Return the nodes of each depth; those of one parent stand side by side, left first."""
        found = [np.zeros(1, dtype=np.intp)]
        while True:
            splits = found[-1][self.left[found[-1]] >= 0]
            if not len(splits):
                return found
            found.append(np.column_stack([self.left[splits], self.right[splits]]).ravel())

    def rows(self, outputs: np.ndarray) -> np.ndarray:
        """Return the places of the rows to whose output, shape (rows,), this tree adds."""
        return np.flatnonzero(
            (outputs >= self.first) & (outputs < self.first + self.value.shape[1])
        )


@dataclass(frozen=True)
class Ensemble:
    """Trees whose leaves, scaled and added to an offset, are an estimator's outputs.

    Args:
        trees: The trees.
        scale: What each leaf is multiplied by.
        offset: By output.
        reads: The type that the estimator casts a feature to before it compares it.
        adds: The type in which it adds the leaves of its trees, in their order, to the offset.
    """

    trees: Sequence[Tree]
    scale: float
    offset: np.ndarray
    reads: type[np.floating[Any]]
    adds: type[np.floating[Any]] = np.float64


def trees_of(estimator: Any) -> Ensemble | None:
    """Return the trees of a fitted estimator; None if it has none, or splits by categories.

    Of a forest the outputs are the classes' probabilities, or the target; of gradient boosting
    what comes before the link: of two classes the log-odds of the second.

    Example:
        >>> from sklearn.ensemble import RandomForestRegressor
        >>> forest = RandomForestRegressor(1, bootstrap=False, random_state=0)
        >>> tree = trees_of(forest.fit([[0.0], [1.0]], [0.0, 4.0])).trees[0]
        >>> tree.threshold[0].item(), tree.value[tree.is_leaf, 0].tolist()
        (0.5, [0.0, 4.0])
    """
    from sklearn.ensemble import (
        ExtraTreesClassifier,
        ExtraTreesRegressor,
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
        RandomForestClassifier,
        RandomForestRegressor,
    )

    from penstock.model.boosted import BoostedTrees

    if isinstance(estimator, BoostedTrees):
        return estimator.ensemble()
    if isinstance(estimator, HistGradientBoostingClassifier | HistGradientBoostingRegressor):
        return _boosted(estimator)
    forests = (
        ExtraTreesClassifier | ExtraTreesRegressor | RandomForestClassifier | RandomForestRegressor
    )
    return _averaged(estimator) if isinstance(estimator, forests) else None


def _boosted(estimator: Any) -> Ensemble | None:
    stages = [[predictor.nodes for predictor in stage] for stage in estimator._predictors]
    if any(nodes["is_categorical"].any() for stage in stages for nodes in stage):
        return None
    return Ensemble(
        trees=[_grown(nodes, first=at) for stage in stages for at, nodes in enumerate(stage)],
        scale=1.0,
        offset=np.asarray(estimator._baseline_prediction, dtype=np.float64).ravel(),
        reads=np.float64,
    )


def _grown(nodes: np.ndarray, *, first: int) -> Tree:
    leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        left=np.where(leaf, -1, nodes["left"].astype(np.intp)),
        right=np.where(leaf, -1, nodes["right"].astype(np.intp)),
        feature=nodes["feature_idx"].astype(np.intp),
        threshold=nodes["num_threshold"],
        missing_left=nodes["missing_go_to_left"].astype(bool),
        cover=nodes["count"].astype(np.float64),
        value=nodes["value"][:, None],
        first=first,
    )


def _averaged(estimator: Any) -> Ensemble:
    trees = [_fitted(member.tree_) for member in estimator.estimators_]
    return Ensemble(
        trees=trees,
        scale=1.0 / len(trees),
        offset=np.zeros(trees[0].value.shape[1]),
        reads=np.float32,
    )


def _fitted(tree: Any) -> Tree:
    return Tree(
        left=tree.children_left,
        right=tree.children_right,
        feature=tree.feature,
        threshold=tree.threshold,
        missing_left=tree.missing_go_to_left.astype(bool),
        cover=tree.weighted_n_node_samples,
        value=tree.value[:, 0, :],
    )
