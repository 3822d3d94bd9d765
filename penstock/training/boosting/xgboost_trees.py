"""XGBoost: how it is asked for trees, and how its JSON is read. Imported only where it is used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost

from penstock.model.boosted import concatenated
from penstock.training.boosting.library import PIECE, Rows, Settings


@dataclass(frozen=True)
class XgboostTrees:
    """A booster of XGBoost.

    Args:
        booster: It.
        offset: What each output begins with, before the link.
    """

    booster: Any
    offset: np.ndarray

    @property
    def rounds(self) -> int:
        """See `library.Booster`."""
        best = self.booster.attributes().get("best_iteration")
        return int(self.booster.num_boosted_rounds()) if best is None else int(best) + 1

    def margins(self, x: np.ndarray) -> np.ndarray:
        """See `library.Booster`."""
        found = self.booster.inplace_predict(
            np.ascontiguousarray(x), predict_type="margin", validate_features=False
        )
        return np.asarray(found, dtype=np.float64).reshape(len(x), -1)

    def arrays(self) -> dict[str, Any]:
        """See `library.Booster`."""
        model = json.loads(self.booster.save_raw("json"))["learner"]["gradient_booster"]["model"]
        return {
            "library": "xgboost",
            **concatenated([_nodes(tree) for tree in model["trees"]]),
            "outputs": np.array(model["tree_info"], dtype=np.int64),
            "offset": self.offset.astype(np.float64),
            "single": True,
        }

    def file(self) -> tuple[str, bytes]:
        """See `library.Booster`."""
        return "model.json", bytes(self.booster.save_raw("json"))


def grow(
    rows: Rows, settings: Settings, *, rounds: int, until: Rows | None, patience: int
) -> XgboostTrees:
    """See `learner.Library`."""
    parameters, offset = _parameters(rows, settings)
    table = _table(rows, parameters)
    booster = xgboost.train(
        parameters,
        table,
        num_boost_round=rounds,
        evals=[] if until is None else [(_table(until, parameters, like=table), "until")],
        early_stopping_rounds=None if until is None else patience,
        verbose_eval=False,
    )
    return XgboostTrees(booster, offset)


def _table(rows: Rows, parameters: Mapping[str, Any], *, like: Any = None) -> Any:
    """Return rows as XGBoost keeps them, cut into the bins of others: the trees are the same."""
    bins = int(parameters.get("max_bin", 256))
    return xgboost.QuantileDMatrix(_Pieces(rows), max_bin=bins, nthread=1, ref=like)


class _Pieces(xgboost.DataIter):  # type: ignore[misc]
    """Hands rows over piece after piece, from the first whenever it is asked to begin again."""

    def __init__(self, rows: Rows) -> None:
        self._rows, self._at = rows, 0
        self._targets, self._weights = rows.targets, rows.counts
        super().__init__()

    def next(self, input_data: Any) -> bool:
        """Hand over the next piece; return whether there was one."""
        part = slice(self._at, self._at + PIECE)
        self._at += PIECE
        if part.start >= len(self._rows):
            return False
        weights = {} if self._weights is None else {"weight": self._weights[part]}
        input_data(data=self._rows.piece(part), label=self._targets[part], **weights)
        return True

    def reset(self) -> None:
        """Begin again."""
        self._at = 0


def _parameters(rows: Rows, settings: Settings) -> tuple[dict[str, Any], np.ndarray]:
    """Return the parameters, and the offset that `base_score` amounts to before the link."""
    objective: dict[str, Any]
    if settings.task == "regression":
        mean = np.float32(np.average(rows.targets, weights=rows.counts))
        objective = {"objective": "reg:squarederror", "base_score": float(mean)}
        offset = np.array([mean])
    elif settings.classes > 2:
        objective = {"objective": "multi:softprob", "num_class": settings.classes}
        objective |= {"eval_metric": "mlogloss", "base_score": 0.5}
        offset = np.full(settings.classes, 0.5, dtype=np.float32)
    else:
        objective = {"objective": "binary:logistic", "eval_metric": "logloss", "base_score": 0.5}
        offset = np.zeros(1, dtype=np.float32)
    if settings.monotonic:
        directions = settings.directions(rows.x.shape[1])
        objective["monotone_constraints"] = f"({','.join(map(str, directions))})"
    fixed = {"tree_method": "hist", "nthread": 1, "seed": settings.seed, "verbosity": 0}
    return {**settings.parameters, **objective, **fixed}, offset


def _nodes(tree: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return a tree of the JSON by `penstock.model.boosted.NODES`.

    Its children, features and thresholds: https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html
    """
    left = np.array(tree["left_children"], dtype=np.int64)
    leaf = left < 0
    conditions = np.array(tree["split_conditions"], dtype=np.float64).astype(np.float32)
    # Left is what is less than the condition: that is, at most the number before it.
    before = np.nextafter(conditions, np.float32(-np.inf))
    return {
        "left": left,
        "right": np.where(leaf, -1, np.array(tree["right_children"], dtype=np.int64)),
        "feature": np.where(leaf, 0, np.array(tree["split_indices"], dtype=np.int64)),
        "threshold": np.where(leaf, 0.0, before.astype(np.float64)),
        "missing_left": np.array(tree["default_left"], dtype=bool),
        "cover": np.array(tree["sum_hessian"], dtype=np.float64),
        "value": np.where(leaf, conditions.astype(np.float64), 0.0),
    }
