"""An unfitted model of XGBoost or LightGBM: how many trees it needs, and what it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator

from penstock.errors import IntegrityError
from penstock.records.model import Task
from penstock.training.boosting.library import Booster, Library, Rows, Settings

if TYPE_CHECKING:
    import numpy as np

    from penstock.model.boosted import BoostedTrees


def library(name: str) -> Library:
    """Return the module of a library, which imports it.

    Raises:
        MissingLibraryError: If it is not installed.
    """
    if name == "xgboost":
        from penstock.training.boosting import xgboost_trees

        return xgboost_trees
    from penstock.training.boosting import lightgbm_trees

    return lightgbm_trees


class Learner(BaseEstimator):  # type: ignore[misc]
    """A setting of a family, unfitted. `fit` returns another object, which knows no library.

    Args:
        name: `xgboost` or `lightgbm`.
        task: What is predicted.
        parameters: A setting, by the library's names.
        rounds: Rounds of boosting. None: `rounds_for` finds them in each fold.
        most_rounds: The most that it may find.
        patience: Rounds in a row without improvement after which it stops looking.
        balanced: Whether rows are weighed by the rarity of their class.
        monotonic: See `Settings`.
        seed: Of what is drawn.
    """

    def __init__(
        self,
        name: str,
        task: Task,
        parameters: Mapping[str, Any],
        *,
        rounds: int | None = None,
        most_rounds: int = 500,
        patience: int = 25,
        balanced: bool = False,
        monotonic: Mapping[int, int] | None = None,
        seed: int = 0,
    ) -> None:
        self.name = name
        self.task = task
        self.parameters = parameters
        self.rounds = rounds
        self.most_rounds = most_rounds
        self.patience = patience
        self.balanced = balanced
        self.monotonic = monotonic
        self.seed = seed

    def rounds_for(
        self,
        x: np.ndarray,
        y: np.ndarray,
        *,
        growing: np.ndarray,
        stopping: np.ndarray,
        weights: np.ndarray | None,
    ) -> int:
        """Return after how many rounds the loss on some of the rows was least.

        Args:
            x: Features, shape (n, width).
            y: The target as estimators take it, shape (n,).
            growing: Which rows to grow trees on.
            stopping: Which rows to look at.
            weights: One a row; None: all alike.
        """
        rows, classes = self._rows(x, y, weights)
        grown = library(self.name).grow(
            rows.where(growing),
            self._settings(classes),
            rounds=self.most_rounds,
            until=rows.where(stopping),
            patience=self.patience,
        )
        return grown.rounds

    def grow(self, x: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> Grown:
        """Grow `rounds` rounds of trees; `most_rounds` where that is None."""
        rows, classes = self._rows(x, y, sample_weight)
        rounds = self.most_rounds if self.rounds is None else self.rounds
        booster = library(self.name).grow(
            rows, self._settings(classes), rounds=rounds, until=None, patience=self.patience
        )
        return Grown(booster, classes)

    def fit(
        self, x: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None
    ) -> BoostedTrees:
        """Grow trees, and return them as the model that is saved."""
        return self.grow(x, y, sample_weight).model(x)

    def _rows(
        self, x: np.ndarray, y: np.ndarray, weights: np.ndarray | None
    ) -> tuple[Rows, np.ndarray | None]:
        import numpy as np
        from sklearn.utils.class_weight import compute_sample_weight

        if self.task == "regression":
            return Rows(x, y, weights), None
        classes, codes = np.unique(y, return_inverse=True)
        if self.balanced:
            rarity = compute_sample_weight("balanced", y)
            weights = rarity if weights is None else weights * rarity
        return Rows(x, codes.astype(np.float64), weights), classes

    def _settings(self, classes: np.ndarray | None) -> Settings:
        return Settings(
            task=self.task,
            classes=0 if classes is None else len(classes),
            parameters=self.parameters,
            monotonic=self.monotonic or {},
            seed=self.seed,
        )


@dataclass(frozen=True)
class Grown:
    """Trees as the library holds them, which is the fast way to score many rows.

    Args:
        booster: The library's object.
        classes: In the order of `predict_proba`; None for a regression.
    """

    booster: Booster
    classes: np.ndarray | None

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return a regression's values, shape (n,)."""
        return self.booster.margins(x)[:, 0]

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Return the probability of each class, shape (n, classes)."""
        from penstock.model.boosted import probabilities

        return probabilities(self.booster.margins(x))

    def model(self, x: np.ndarray) -> BoostedTrees:
        """Return the trees as arrays, once they answer every row as the library does.

        Args:
            x: Rows to compare on, shape (n, width).

        Raises:
            IntegrityError: If one bit of a margin differs: then the library keeps its trees in
                another way than the one that is read here.
        """
        import numpy as np

        from penstock.model.boosted import BoostedClassifier, BoostedRegressor

        kind = BoostedRegressor if self.classes is None else BoostedClassifier
        model: BoostedTrees = kind(**self.booster.arrays(), width=x.shape[1], classes=self.classes)
        ours, theirs = model.margins(x), self.booster.margins(x)
        wrong = (ours != theirs).any(axis=1)
        if wrong.any():
            at = int(np.argmax(wrong))
            raise IntegrityError(
                f"{model.library} says {theirs[at].tolist()} of row {at + 1}, its trees as they "
                f"are read here {ours[at].tolist()}",
                where="training",
                remedy="Install the release of the library that requirements.lock names.",
            )
        return model
