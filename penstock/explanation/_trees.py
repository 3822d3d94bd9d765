"""The trees of a fitted estimator as arrays. Imported only while explaining."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Tree:
    """Nodes that ask whether one feature is at most a threshold. Node 0 is the root.

    Args:
        left: Which node follows a yes, -1 at a leaf; shape (nodes,), like all but `value`.
        right: Which node follows a no, -1 at a leaf.
        feature: Which feature is asked about; without meaning at a leaf.
        threshold: What it is compared with; without meaning at a leaf.
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
        reads: As what the estimator reads a feature before it compares it.
    """

    trees: Sequence[Tree]
    scale: float
    offset: np.ndarray
    reads: type[np.floating[Any]]


def trees_of(estimator: Any) -> Ensemble | None:
    """Return the trees of a fitted estimator of scikit-learn; None of a kind that is not known.

    Of a forest the outputs are the classes' probabilities, or the target; of gradient boosting
    what comes before the link: of two classes the log-odds of the second.
    """
    from sklearn.ensemble import (
        ExtraTreesClassifier,
        ExtraTreesRegressor,
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
        RandomForestClassifier,
        RandomForestRegressor,
    )

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
