"""SHAP values of trees, exactly, for many rows at once. Imported only while explaining.

The game (Lundberg et al., 2020, "From local explanations to global understanding with explainable
AI for trees"): a set S of features is worth what the tree answers where a split on a feature of S
sends the row on as it does, and a split on another sends it both ways, by the shares of the
training rows. So a leaf of value v adds to the worth of S, over the features j on its path,

    v * product of o_j for j in S * product of z_j for j not in S,

o_j being 1 if the row meets all of the path's splits on j, else 0, and z_j the share of the
training rows that meet them. A Shapley value is an integral over the share t of the features that
are in S (Owen, 1972, "Multilinear extensions of games"). Of a leaf it is

    v * integral from 0 to 1 of (o_k - z_k) / f_k * product of f_j, f_j = t * o_j + (1 - t) * z_j.

The integrand is a polynomial of lower degree than the path has features, so half as many points of
Gauss and Legendre give the integral itself. The products are built down the tree and summed up it,
once for each node (the way of Yu, Xu, Bifet & Yang, 2022, "Linear TreeShap"). All factors are
positive, so deep trees lose no digits to differences.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from penstock.model.ensemble import Ensemble, Tree

_CELLS = 2**19
"""Nodes times rows times points that are held at once: four megabytes, a few times over."""


def cost(ensemble: Ensemble) -> float:
    """Return how many cells, nodes times points, `tree_shap` works on for one row."""
    total = 0.0
    for tree in ensemble.trees:
        features = np.unique(tree.feature[tree.left >= 0])
        total += len(tree.left) * _points(min(len(features), len(tree.levels()) - 1))
    return float(total * ensemble.trees[0].value.shape[1] / len(ensemble.offset))


def tree_shap(
    ensemble: Ensemble, x: np.ndarray, outputs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the SHAP values of the features of rows, and what they are added to.

    Args:
        ensemble: The trees.
        x: The rows, shape (rows, features), NaN for missing.
        outputs: Which of the ensemble's outputs is explained, shape (rows,).

    Returns:
        Shape (rows, features) and (rows,), in the unit of the output: together they add up to it.

    Example:
        >>> from sklearn.ensemble import RandomForestRegressor
        >>> from penstock.model.trees import trees_of
        >>> forest = RandomForestRegressor(1, bootstrap=False, random_state=0)
        >>> forest = forest.fit([[0.0], [1.0], [1.0], [1.0]], [0.0, 4.0, 4.0, 4.0])
        >>> values, base = tree_shap(trees_of(forest), np.array([[0.0]]), np.array([0]))
        >>> values.tolist(), base.tolist()
        ([[-3.0]], [3.0])
    """
    x = x.astype(ensemble.reads)
    values, base = np.zeros(x.shape), ensemble.offset[outputs]
    for tree in ensemble.trees:
        rows = tree.rows(outputs)
        columns = outputs[rows] - tree.first
        base[rows] += ensemble.scale * _means(tree)[0, columns]
        if len(tree.left) > 1:
            for part, features, added in _of_tree(_edges(tree), x, rows, columns):
                values[part[:, None], features] += ensemble.scale * added
    return values, base


def saabas(ensemble: Ensemble, x: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return by how much each split on a row's path moves the mean, summed by feature.

    Not Shapley values: they favour the last split, and cost next to nothing (Saabas,
    2014, "Interpreting random forests", https://blog.datadive.net/interpreting-random-forests).

    Args:
        ensemble: The trees.
        x: See `tree_shap`.
        outputs: See `tree_shap`.

    Returns:
        See `tree_shap`.
    """
    x = x.astype(ensemble.reads)
    values, base = np.zeros(x.shape), ensemble.offset[outputs]
    for tree in ensemble.trees:
        rows = tree.rows(outputs)
        columns = outputs[rows] - tree.first
        means = ensemble.scale * _means(tree)
        base[rows] += means[0, columns]
        node = np.zeros(len(rows), dtype=np.intp)
        while len(moving := np.flatnonzero(tree.left[node] >= 0)):
            at, row, column = node[moving], rows[moving], columns[moving]
            feature = tree.feature[at]
            left = _goes_left(x[row, feature], tree.threshold[at], tree.missing_left[at])
            node[moving] = np.where(left, tree.left[at], tree.right[at])
            values[row, feature] += means[node[moving], column] - means[at, column]
    return values, base


def _goes_left(x: np.ndarray, threshold: np.ndarray, missing_left: np.ndarray) -> np.ndarray:
    return np.asarray((x <= threshold) | (np.isnan(x) & missing_left))


def _means(tree: Tree) -> np.ndarray:
    """Return the mean output of the training rows in each node: shape (nodes, outputs)."""
    found = tree.value.astype(np.float64)
    for level in tree.levels()[-2::-1]:
        splits = level[tree.left[level] >= 0]
        left, right = tree.left[splits], tree.right[splits]
        weights = tree.cover[[left, right]][:, :, None]
        found[splits] = (weights * found[[left, right]]).sum(axis=0) / weights.sum(axis=0)
    return found


@dataclass(frozen=True)
class _Edges:
    """A tree by the edges that lead to its nodes, level by level; of siblings the left one first.

    Edge 0 leads to the root: it is no split, all rows meet it, and it stands for "none".

    Args:
        levels: The edges of each depth from 1.
        parent: The edge above; shape (edges,).
        feature: What the split is on; -1 of edge 0; shape (edges,).
        earlier: The nearest edge above on the same feature, else 0; shape (edges,).
        share: Share of the training rows that meet the path's splits on the feature, down to this
            one; shape (edges,).
        features: The most features that are on a path.
        threshold: Of each split, in the order of its edges; shape (splits,).
        missing_left: Likewise.
        leaves: Edges that lead to leaves; shape (leaves,).
        value: Of these; shape (leaves, outputs).
    """

    levels: list[slice]
    parent: np.ndarray
    feature: np.ndarray
    earlier: np.ndarray
    share: np.ndarray
    features: int
    threshold: np.ndarray
    missing_left: np.ndarray
    leaves: np.ndarray
    value: np.ndarray


def _edges(tree: Tree) -> _Edges:
    depths = tree.levels()
    order = np.concatenate(depths)
    ends = np.cumsum([len(depth) for depth in depths]).tolist()
    levels = [slice(*pair) for pair in itertools.pairwise(ends)]
    is_split = tree.left[order] >= 0
    splits, leaves = order[is_split], np.flatnonzero(~is_split)
    parent = np.append(0, np.repeat(np.flatnonzero(is_split), 2))
    feature = np.append(-1, np.repeat(tree.feature[splits], 2))
    earlier = _earlier(parent, feature, levels)
    share = tree.cover[order] / tree.cover[order[parent]]
    features = np.zeros_like(parent)
    for level in levels:
        share[level] *= share[earlier[level]]
        features[level] = features[parent[level]] + (earlier[level] == 0)
    return _Edges(
        levels=levels,
        parent=parent,
        feature=feature,
        earlier=earlier,
        share=share,
        features=int(features.max()),
        threshold=tree.threshold[splits],
        missing_left=tree.missing_left[splits],
        leaves=leaves,
        value=tree.value[order[leaves]],
    )


def _earlier(parent: np.ndarray, feature: np.ndarray, levels: list[slice]) -> np.ndarray:
    """Return the nearest edge above each edge that is on the same feature; 0 if there is none."""
    found = np.zeros_like(parent)
    paths, first = np.zeros((1, 0), dtype=parent.dtype), 0
    for level in levels:
        above = parent[level]
        paths = np.column_stack([paths[above - first], above])
        same = feature[paths] == feature[level, None]
        nearest = same.shape[1] - 1 - same[:, ::-1].argmax(axis=1)
        found[level] = np.where(same.any(axis=1), paths[np.arange(len(paths)), nearest], 0)
        first = level.start
    return found


def _of_tree(
    edges: _Edges, x: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield, for some rows after others: which, the tree's features, (rows, features) values."""
    factor, gain = _tables(edges)
    count, points = len(edges.parent), factor.shape[1]
    by_feature = np.argsort(edges.feature, kind="stable")[1:]
    features, starts = np.unique(edges.feature[by_feature], return_index=True)
    step = max(1, _CELLS // (count * points))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        state = _states(edges, x[part])
        shape = (count, len(part), points)
        worth = factor.take(state, axis=0).reshape(shape)
        for level in edges.levels:
            worth[level] *= worth[edges.parent[level]]
        worth[edges.leaves] *= edges.value[:, columns[start : start + step], None]
        for level in reversed(edges.levels):
            above = edges.parent[level][::2]
            worth[above] = worth[level][::2] + worth[level][1::2]
        added = np.einsum("erp,erp->er", worth, gain.take(state, axis=0).reshape(shape))
        yield part, features, np.add.reduceat(added[by_feature], starts, axis=0).T


def _states(edges: _Edges, x: np.ndarray) -> np.ndarray:
    """Return which line of `_tables` each edge takes for each row, one edge after another.

    0: the row meets neither the path's earlier splits on the feature nor all down to this edge;
    1: it meets the earlier ones alone; 2: it meets all.
    """
    meets = np.ones((len(edges.parent), len(x)), dtype=bool)
    values = x.T[edges.feature[1::2]]
    meets[1::2] = _goes_left(values, edges.threshold[:, None], edges.missing_left[:, None])
    meets[2::2] = ~meets[1::2]
    for level in edges.levels:
        meets[level] &= meets[edges.earlier[level]]
    first = np.arange(0, 3 * len(meets), 3)[:, None]
    return np.asarray(first + meets + meets[edges.earlier]).ravel()


def _tables(edges: _Edges) -> tuple[np.ndarray, np.ndarray]:
    """Return what an edge multiplies the product by, and what it then adds of it, by state.

    Both of shape (3 * edges, points). An edge takes the place of the earlier one on its feature:
    what that one gave is taken back.
    """
    t, weight = np.polynomial.legendre.leggauss(_points(edges.features))
    t, weight = (t + 1) / 2, weight / 2
    share, earlier = edges.share[:, None], edges.earlier
    unmet, met = (1 - t) * share, t + (1 - t) * share
    # (o - z) / f: of an unmet edge z cancels.
    unmet_gain, met_gain = -1 / (1 - t), (1 - share) / met
    factor = [unmet / unmet[earlier], unmet / met[earlier], met / met[earlier]]
    gain = [np.zeros_like(met), unmet_gain - met_gain[earlier], met_gain - met_gain[earlier]]
    return (
        np.stack(factor, axis=1).reshape(-1, len(t)),
        np.stack(gain, axis=1).reshape(-1, len(t)) * weight,
    )


def _points(features: int) -> int:
    """Return how many points integrate a polynomial of degree below `features` exactly."""
    return max(1, -(-features // 2))
