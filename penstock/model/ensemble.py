"""Trees as arrays: the export writes them as ONNX nodes, the explanation walks them."""

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
