"""Ensembles of fitted trees. Imported only inside functions that convert.

The trees are written out here, and not by a converter, because thresholds and leaves must stay
doubles: a threshold that is rounded to float32 sends the values at it to the other side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import numpy_helper

from penstock.export._graph import ML, Graph
from penstock.export.errors import NotConvertibleError

_SUM, _NO_TRANSFORM, _LESS_OR_EQUAL = 1, 0, 0


@dataclass(frozen=True)
class Tree:
    """One fitted tree; every array but `targets` has a place for each of its nodes.

    A row goes left where its feature is at or below the threshold, or missing and `missing_left`.

    Args:
        feature: Index of the feature looked at.
        threshold: What it is compared with.
        left: Where to go on.
        right: Where to go on otherwise.
        missing_left: Where a missing value goes.
        is_leaf: Whether the row ends there.
        value: What a leaf adds, float64.
        target: The output that it is added to, one for each node.
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    is_leaf: np.ndarray
    value: np.ndarray
    target: np.ndarray


def boosted(fitted: Any) -> list[Tree]:
    """Return the trees of a fitted HistGradientBoosting model.

    Raises:
        NotConvertibleError: If it takes some features for categories, which it codes anew and
            splits by sets.
    """
    if fitted.is_categorical_ is not None:
        raise NotConvertibleError("trees that split by categories have no ONNX form here")
    trees = []
    for of_round in fitted._predictors:
        for output, predictor in enumerate(of_round):
            nodes = predictor.nodes
            trees.append(
                Tree(
                    feature=nodes["feature_idx"].astype(np.int64),
                    threshold=nodes["num_threshold"],
                    left=nodes["left"].astype(np.int64),
                    right=nodes["right"].astype(np.int64),
                    missing_left=nodes["missing_go_to_left"].astype(np.int64),
                    is_leaf=nodes["is_leaf"].astype(bool),
                    value=nodes["value"],
                    target=np.full(len(nodes), output),
                )
            )
    return trees


def grown(fitted: Any, *, output: int) -> list[Tree]:
    """Return the trees of a fitted forest, which add their value of one output."""
    return [
        _grown(estimator.tree_, value=estimator.tree_.value[:, 0, output], target=0)
        for estimator in fitted.estimators_
    ]


def numbered(fitted: Any) -> tuple[list[Tree], np.ndarray]:
    """Return the trees of a fitted forest of several outputs, and the values of their leaves.

    A leaf in ONNX adds to one output only. So each tree has an output of its own, to which a leaf
    adds its place among the values, float64 of shape (nodes of all trees, outputs).
    """
    trees, values, start = [], [], 0
    for index, estimator in enumerate(fitted.estimators_):
        count = estimator.tree_.node_count
        places = np.arange(start, start + count, dtype=np.float64)
        trees.append(_grown(estimator.tree_, value=places, target=index))
        values.append(estimator.tree_.value[:, 0, :])
        start += count
    return trees, np.concatenate(values)


def _grown(tree: Any, *, value: np.ndarray, target: int) -> Tree:
    return Tree(
        feature=tree.feature,
        threshold=tree.threshold,
        left=tree.children_left,
        right=tree.children_right,
        missing_left=tree.missing_go_to_left.astype(np.int64),
        is_leaf=tree.children_left < 0,
        value=value,
        target=np.full(tree.node_count, target),
    )


def ensemble(graph: Graph, trees: Sequence[Tree], value: str, *, outputs: int) -> str:
    """Add trees; return the sum of what they add, float64 of shape (n, outputs)."""
    parts = list(_numbered_through(_split_root(tree) for tree in trees))
    inner = {
        name: np.concatenate([part[name] for part in parts])
        for name in ("feature", "threshold", "missing_left", "left", "right")
    }
    leaves = {name: np.concatenate([part[name] for part in parts]) for name in ("value", "target")}
    sides = {
        side: (np.where(ids < 0, -1 - ids, ids), ids < 0)
        for side, ids in (("true", inner["left"]), ("false", inner["right"]))
    }
    return graph.node(
        "TreeEnsemble",
        value,
        domain=ML,
        n_targets=outputs,
        aggregate_function=_SUM,
        post_transform=_NO_TRANSFORM,
        tree_roots=[int(part["root"]) for part in parts],
        nodes_featureids=inner["feature"].tolist(),
        nodes_splits=numpy_helper.from_array(inner["threshold"]),
        nodes_modes=numpy_helper.from_array(
            np.full(len(inner["feature"]), _LESS_OR_EQUAL, dtype=np.uint8)
        ),
        nodes_missing_value_tracks_true=inner["missing_left"].tolist(),
        nodes_truenodeids=sides["true"][0].tolist(),
        nodes_trueleafs=sides["true"][1].astype(int).tolist(),
        nodes_falsenodeids=sides["false"][0].tolist(),
        nodes_falseleafs=sides["false"][1].astype(int).tolist(),
        leaf_targetids=leaves["target"].tolist(),
        leaf_weights=numpy_helper.from_array(leaves["value"]),
    )


def _split_root(tree: Tree) -> Tree:
    """Return a tree that is a single leaf as one whose root leads to that leaf on both sides."""
    if not tree.is_leaf[0]:
        return tree
    return Tree(
        feature=np.array([0, 0]),
        threshold=np.zeros(2),
        left=np.array([1, 1]),
        right=np.array([1, 1]),
        missing_left=np.array([0, 0]),
        is_leaf=np.array([False, True]),
        value=np.repeat(tree.value[:1], 2),
        target=np.repeat(tree.target[:1], 2),
    )


def _numbered_through(trees: Iterable[Tree]) -> Iterable[dict[str, Any]]:
    """Yield each tree's inner nodes and leaves, counted through all the trees, each on its own.

    `left` and `right` lead to inner node i as i, and to leaf i as -1 - i.
    """
    inner_before = leaves_before = 0
    for tree in trees:
        leaf = tree.is_leaf
        place = np.where(
            leaf,
            -1 - (leaves_before + np.cumsum(leaf) - 1),
            inner_before + np.cumsum(~leaf) - 1,
        )
        yield {
            "root": inner_before,
            "feature": tree.feature[~leaf],
            "threshold": tree.threshold[~leaf],
            "missing_left": tree.missing_left[~leaf],
            "left": place[tree.left[~leaf]],
            "right": place[tree.right[~leaf]],
            "value": tree.value[leaf],
            "target": tree.target[leaf],
        }
        inner_before += int((~leaf).sum())
        leaves_before += int(leaf.sum())
