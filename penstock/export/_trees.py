"""Fitted trees as a node of the graph. Imported only inside functions that convert.

The trees are written out here, and not by a converter, because thresholds and leaves must stay
doubles: a threshold that is rounded to float32 sends the values at it to the other side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from onnx import numpy_helper

from penstock.export._graph import ML, Graph
from penstock.export.errors import NotConvertibleError
from penstock.model.ensemble import Ensemble, Tree
from penstock.model.trees import trees_of

_SUM, _NO_TRANSFORM, _LESS_OR_EQUAL = 1, 0, 0


@dataclass(frozen=True)
class Addend:
    """A tree that adds to one output of the graph's node, as ONNX has it.

    Args:
        tree: The tree.
        value: What each leaf adds, float64, shape (nodes,).
        target: The output that it is added to.
    """

    tree: Tree
    value: np.ndarray
    target: int


def read(fitted: Any) -> Ensemble:
    """Return the trees of a fitted estimator.

    Raises:
        NotConvertibleError: If it takes some features for categories, which it codes anew and
            splits by sets.
    """
    found = trees_of(fitted)
    if found is None or getattr(fitted, "is_categorical_", None) is not None:
        raise NotConvertibleError("trees that split by categories have no ONNX form here")
    return found


def boosted(trees: Sequence[Tree]) -> list[Addend]:
    """Return the trees of gradient boosting, each of which adds to its own output."""
    return [Addend(tree, tree.value[:, 0], tree.first) for tree in trees]


def offsets(offset: np.ndarray) -> list[Addend]:
    """Return a tree of one leaf for each output: what it begins with, before any other is added."""
    return [Addend(_leaf(value), np.array([value]), at) for at, value in enumerate(offset)]


def averaged(trees: Sequence[Tree], *, output: int) -> list[Addend]:
    """Return the trees of a forest, which add their value of one output."""
    return [Addend(tree, tree.value[:, output], 0) for tree in trees]


def numbered(trees: Sequence[Tree]) -> tuple[list[Addend], np.ndarray]:
    """Return the trees of a forest of several outputs, and the values of their leaves.

    A leaf in ONNX adds to one output only. So each tree has an output of its own, to which a leaf
    adds its place among the values, float64 of shape (nodes of all trees, outputs).
    """
    addends, start = [], 0
    for index, tree in enumerate(trees):
        places = np.arange(start, start + len(tree.left), dtype=np.float64)
        addends.append(Addend(tree, places, index))
        start += len(tree.left)
    return addends, np.concatenate([tree.value for tree in trees])


def ensemble(
    graph: Graph,
    addends: Sequence[Addend],
    value: str,
    *,
    outputs: int,
    number: type[np.floating[Any]] = np.float64,
) -> str:
    """Add trees; return the sum of what their leaves add, of shape (n, outputs).

    Args:
        graph: The graph.
        addends: The trees, in the order in which they are added.
        value: The features.
        outputs: How many sums there are.
        number: The type of the features, the thresholds and the sums.
    """
    parts = list(_numbered_through(map(_split_root, addends)))
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
        nodes_splits=numpy_helper.from_array(inner["threshold"].astype(number)),
        nodes_modes=numpy_helper.from_array(
            np.full(len(inner["feature"]), _LESS_OR_EQUAL, dtype=np.uint8)
        ),
        nodes_missing_value_tracks_true=inner["missing_left"].tolist(),
        nodes_truenodeids=sides["true"][0].tolist(),
        nodes_trueleafs=sides["true"][1].astype(int).tolist(),
        nodes_falsenodeids=sides["false"][0].tolist(),
        nodes_falseleafs=sides["false"][1].astype(int).tolist(),
        leaf_targetids=leaves["target"].tolist(),
        leaf_weights=numpy_helper.from_array(leaves["value"].astype(number)),
    )


def _leaf(value: float) -> Tree:
    none = np.array([-1])
    return Tree(
        left=none,
        right=none,
        feature=np.array([0]),
        threshold=np.zeros(1),
        missing_left=np.array([False]),
        cover=np.ones(1),
        value=np.array([[value]]),
    )


def _split_root(addend: Addend) -> Addend:
    """Return a tree that is a single leaf as one whose root leads to two leaves that are alike."""
    tree = addend.tree
    if not tree.is_leaf[0]:
        return addend
    split = replace(
        tree,
        feature=np.zeros(3, dtype=np.int64),
        threshold=np.zeros(3),
        left=np.array([1, -1, -1]),
        right=np.array([2, -1, -1]),
        missing_left=np.zeros(3, dtype=bool),
    )
    return Addend(split, np.repeat(addend.value[:1], 3), addend.target)


def _numbered_through(addends: Iterable[Addend]) -> Iterable[dict[str, Any]]:
    """Yield each tree's inner nodes and leaves, counted through all the trees, each on its own.

    `left` and `right` lead to inner node i as i, and to leaf i as -1 - i. No root leads to inner
    node i and to leaf i, nor twice to a leaf: ONNX Runtime before 1.31 may take it for a leaf.
    https://github.com/microsoft/onnxruntime/issues/24679
    """
    inner_before = leaves_before = 0
    for addend in addends:
        tree, leaf = addend.tree, addend.tree.is_leaf
        leaves = int(leaf.sum())
        inner = inner_before + np.cumsum(~leaf) - 1
        order = np.cumsum(leaf) - 1
        numbers = np.where(leaf, leaves_before + order, inner)
        if numbers[tree.left[0]] == numbers[tree.right[0]]:
            order = (order + 1) % leaves
        place = np.where(leaf, -1 - (leaves_before + order), inner)
        value = np.empty(leaves)
        value[order[leaf]] = addend.value[leaf]
        yield {
            "root": inner_before,
            "feature": tree.feature[~leaf],
            "threshold": tree.threshold[~leaf],
            "missing_left": tree.missing_left[~leaf].astype(np.int64),
            "left": place[tree.left[~leaf]],
            "right": place[tree.right[~leaf]],
            "value": value,
            "target": np.full(leaves, addend.target),
        }
        inner_before += len(leaf) - leaves
        leaves_before += leaves
