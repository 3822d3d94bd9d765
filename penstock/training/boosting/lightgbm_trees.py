"""LightGBM: how it is asked for trees, and how its dump is read. Imported only where it is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np

from penstock.model.boosted import concatenated
from penstock.training.boosting.library import PIECE, Rows, Settings

_QUIET = {"verbosity": -1}

_ZERO = float(np.float32(1e-35))
"""`kZeroThreshold` in its include/LightGBM/meta.h."""


@dataclass(frozen=True)
class LightgbmTrees:
    """A booster of LightGBM.

    Args:
        booster: It.
    """

    booster: Any

    @property
    def rounds(self) -> int:
        """See `library.Booster`."""
        return int(self.booster.best_iteration) or int(self.booster.current_iteration())

    def margins(self, x: np.ndarray) -> np.ndarray:
        """See `library.Booster`."""
        found = self.booster.predict(np.ascontiguousarray(x), raw_score=True, num_threads=1)
        return np.asarray(found, dtype=np.float64).reshape(len(x), -1)

    def arrays(self) -> dict[str, Any]:
        """See `library.Booster`."""
        dump = self.booster.dump_model()
        count = dump["num_tree_per_iteration"]
        trees = [_nodes(tree["tree_structure"]) for tree in dump["tree_info"]]
        return {
            "library": "lightgbm",
            **concatenated(trees),
            "outputs": np.arange(len(trees)) % count,
            # What the outputs begin with is in the first trees' leaves.
            "offset": np.zeros(count),
            "single": False,
        }

    def file(self) -> tuple[str, bytes]:
        """See `library.Booster`."""
        return "model.bst", self.booster.model_to_string().encode()


def grow(
    rows: Rows, settings: Settings, *, rounds: int, until: Rows | None, patience: int
) -> LightgbmTrees:
    """See `learner.Library`."""
    parameters = _parameters(rows, settings)
    table = _table(rows, parameters)
    stop = lightgbm.early_stopping(patience, verbose=False)
    booster = lightgbm.train(
        parameters,
        table,
        num_boost_round=rounds,
        valid_sets=None if until is None else [_table(until, parameters, like=table)],
        callbacks=None if until is None else [stop],
    )
    return LightgbmTrees(booster)


def _table(rows: Rows, parameters: Mapping[str, Any], *, like: Any = None) -> Any:
    """Return rows as LightGBM keeps them, cut into the bins of others."""
    return lightgbm.Dataset(
        _Pieces(rows), rows.targets, weight=rows.counts, params=dict(parameters), reference=like
    )


class _Pieces(lightgbm.Sequence):  # type: ignore[misc]
    """Hands rows over piece after piece."""

    batch_size = PIECE

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: Any) -> np.ndarray:
        if isinstance(place, slice):
            return self._rows.piece(place)
        return np.asarray(self._rows.piece(slice(place, place + 1))[0])


def _parameters(rows: Rows, settings: Settings) -> dict[str, Any]:
    objective: dict[str, Any] = {"objective": "binary"}
    if settings.task == "regression":
        objective = {"objective": "regression"}
    elif settings.classes > 2:
        objective = {"objective": "multiclass", "num_class": settings.classes}
    if settings.monotonic:
        objective["monotone_constraints"] = settings.directions(rows.x.shape[1])
    # Rows are drawn for each tree only where it is said for which.
    drawing = {"subsample_freq": 1} if settings.parameters.get("subsample", 1.0) < 1 else {}
    fixed = {"num_threads": 1, "deterministic": True, "force_row_wise": True, **_QUIET}
    return {**settings.parameters, **drawing, **objective, **fixed, "seed": settings.seed}


def _nodes(root: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return a tree of the dump by `penstock.model.boosted.NODES`."""
    splits = list(_walked(root))
    thresholds = [_threshold(node) for node, _, _ in splits]
    leaf = np.array(["leaf_value" in node for node, _, _ in splits])
    return {
        "left": np.array([left for _, left, _ in splits], dtype=np.int64),
        "right": np.array([right for _, _, right in splits], dtype=np.int64),
        "feature": np.array([node.get("split_feature", 0) for node, _, _ in splits]),
        "threshold": np.array(thresholds),
        "missing_left": ~leaf & np.array([_missing_left(node) for node, _, _ in splits]),
        # A tree that is one leaf does not say how many rows it holds.
        "cover": np.array(
            [node.get("internal_count", node.get("leaf_count", 1)) for node, _, _ in splits],
            dtype=np.float64,
        ),
        "value": np.array([node.get("leaf_value", 0.0) for node, _, _ in splits], np.float64),
    }


def _walked(root: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], int, int]]:
    """Yield each node with the places of its children, -1 at a leaf, breadth first."""
    row, places = [root], 1
    while row:
        below = []
        for node in row:
            if "leaf_value" in node:
                yield node, -1, -1
                continue
            below += [node["left_child"], node["right_child"]]
            yield node, places, places + 1
            places += 2
        row = below


def _threshold(node: Mapping[str, Any]) -> float:
    """Return the value up to which a row goes left.

    LightGBM takes what is nearer to 0 than `_ZERO` for 0, so that a threshold in there stands for
    all of these values or for none.
    """
    value = float(node.get("threshold", 0.0))
    if abs(value) > _ZERO:
        return value
    return _ZERO if value >= 0 else float(np.nextafter(-_ZERO, -np.inf))


def _missing_left(node: Mapping[str, Any]) -> bool:
    """Return whether a row without the feature goes left.

    Where training saw no missing value in a feature, LightGBM takes a missing one for 0.
    """
    if node.get("missing_type") == "NaN":
        return bool(node["default_left"])
    return float(node.get("threshold", 0.0)) >= 0
