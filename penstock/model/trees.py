"""The trees of fitted estimators as arrays. Imported only while exporting or explaining.

The one place that knows how scikit-learn keeps its trees (`boosted` keeps those of other
libraries): the export writes them as ONNX nodes, the explanation walks them for SHAP values.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from penstock.model.boosted import BoostedTrees
from penstock.model.ensemble import Ensemble, Tree


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
