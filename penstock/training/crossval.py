"""Score a setting by cross-validation, and keep its predictions for the rows held out."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from penstock.errors import InputError
from penstock.metrics import Metric
from penstock.training.estimators import Parameters
from penstock.training.fitting import constrained, fit
from penstock.training.folds import Fold
from penstock.training.inputs import Problem
from penstock.training.stopping import stopping_rows

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Attempt:
    """One setting and how it did.

    Args:
        number: Position in the search, from 1; 0 for the baseline that is not searched.
        family: The family of the estimator.
        parameters: The setting.
        scores: The metric on each fold that was reached.
        complete: False if the search gave it up before the last fold.
        seconds: Wall time of fitting and scoring, the folds added up.
    """

    number: int
    family: str
    parameters: Parameters
    scores: tuple[float, ...]
    complete: bool
    seconds: float

    @property
    def mean(self) -> float:
        """The mean over the folds that were reached."""
        return sum(self.scores) / len(self.scores)

    @property
    def deviation(self) -> float:
        """The sample standard deviation over the folds; 0 for one fold."""
        if len(self.scores) < 2:
            return 0.0
        squares = sum((score - self.mean) ** 2 for score in self.scores)
        return float((squares / (len(self.scores) - 1)) ** 0.5)


@dataclass(frozen=True)
class Evaluated:
    """An attempt that was scored on every fold, with its predictions for the rows held out.

    Args:
        attempt: The setting and its scores.
        rows: Positions in the training part, fold after fold.
        predictions: Scores of these rows, as `penstock.model.LoadedModel.scores` gives them.
    """

    attempt: Attempt
    rows: np.ndarray
    predictions: np.ndarray


@dataclass(frozen=True)
class FoldScore:
    """How a setting did on one fold.

    Args:
        value: The metric.
        predictions: Of the rows held out.
        seconds: Wall time.
        rounds: Rounds of boosting that the fold found; None where they are no question.
    """

    value: float
    predictions: np.ndarray
    seconds: float
    rounds: int | None = None


class Running:
    """A setting that is being scored, fold after fold.

    Args:
        estimator: Unfitted.
        number: See `Attempt`, like the next two.
        family: The family.
        parameters: The setting.
    """

    def __init__(self, estimator: Any, *, number: int, family: str, parameters: Parameters) -> None:
        self.estimator = estimator
        self.number = number
        self.family = family
        self.parameters = parameters
        self.scores: list[FoldScore] = []

    def add(self, score: FoldScore) -> float:
        """Add the next fold's score, and return the mean so far."""
        self.scores.append(score)
        return sum(score.value for score in self.scores) / len(self.scores)

    def attempt(self, *, complete: bool) -> Attempt:
        """Return what is known of the setting, with the median of the rounds that folds found."""
        rounds = [score.rounds for score in self.scores if score.rounds is not None]
        found = {"n_estimators": int(statistics.median_high(rounds))} if rounds else {}
        return Attempt(
            number=self.number,
            family=self.family,
            parameters={**self.parameters, **found},
            scores=tuple(score.value for score in self.scores),
            complete=complete,
            seconds=sum(score.seconds for score in self.scores),
        )


@dataclass(frozen=True)
class CrossValidation:
    """What every setting is scored on.

    Args:
        problem: The training part.
        folds: Its folds.
        metric: The metric.
        threshold: For a metric of predicted classes: the score from which the positive class
            counts as predicted while settings are compared.
        seed: Of the rows that are set aside for early stopping.
    """

    problem: Problem
    folds: Sequence[Fold]
    metric: Metric
    threshold: float = 0.5
    seed: int = 0
    _prepared: dict[tuple[str, int], Any] = field(default_factory=dict, repr=False, compare=False)

    def evaluate(
        self, estimator: Any, *, number: int, family: str, parameters: Parameters
    ) -> Evaluated:
        """Score an unfitted estimator on every fold; the arguments are those of `Attempt`.

        Raises:
            InputError: If the metric is not a number on a fold.
        """
        running = Running(estimator, number=number, family=family, parameters=parameters)
        for fold in range(len(self.folds)):
            running.add(self.score(estimator, fold, family=family))
        return self.evaluated(running)

    def score(self, estimator: Any, fold: int, *, family: str) -> FoldScore:
        """Fit a clone of `estimator` on one fold and score it; safe to call from several threads.

        Raises:
            InputError: If the metric is not a number; `family` is named in the message.
        """
        from sklearn.base import clone

        started = time.perf_counter()
        rows = self.folds[fold]
        model, x, x_out = self._model(clone(estimator), fold, family=family)
        fitted, rounds = self._fitted(model, x, rows)
        predictions = self._predictions(fitted, x_out)
        given = predictions
        if self.metric.needs == "labels":
            codes = given >= self.threshold if given.ndim == 1 else given.argmax(axis=1)
            given = codes.astype(int)
        value = self.metric.of(rows.truth_out, given)
        if not math.isfinite(value):
            raise InputError(
                f"{self.metric.name} of {family} is {value} on a fold",
                where="training.metric",
                remedy="Choose another metric, or fewer folds.",
            )
        return FoldScore(value, predictions, time.perf_counter() - started, rounds)

    def evaluated(self, running: Running) -> Evaluated:
        """Return a setting that was scored on every fold, with its predictions."""
        import numpy as np

        return Evaluated(
            running.attempt(complete=True),
            rows=np.concatenate([fold.rows_out for fold in self.folds]),
            predictions=np.concatenate([score.predictions for score in running.scores]),
        )

    def _fitted(self, model: Any, x: np.ndarray, fold: Fold) -> tuple[Any, int | None]:
        """Return the model fitted on a fold, and the rounds of boosting that it found."""
        from penstock.training.boosting.learner import Learner

        problem = self.problem
        weights = None if problem.weights is None else problem.weights[fold.rows]
        model = constrained(model, problem.monotonic, width=x.shape[1])
        if not isinstance(model, Learner):
            return fit(model, x, fold.y, weights=weights), None
        rounds = None
        if model.rounds is None:
            aside = stopping_rows(problem, fold.rows, seed=self.seed)
            rounds = model.rounds_for(x, fold.y, stopping=aside, weights=weights)
            # Again on all of the fold's rows: fewer would be held against the family.
            model.set_params(rounds=rounds)
        return model.grow(x, fold.y, weights), rounds

    def _model(self, estimator: Any, fold: int, *, family: str) -> tuple[Any, Any, Any]:
        """Return the model proper, and its features of a fold: to learn from, and held out."""
        from sklearn.pipeline import Pipeline

        rows = self.folds[fold]
        if not isinstance(estimator, Pipeline):
            return estimator, rows.x, rows.x_out
        # No setting changes the steps before the model, and medians cost far more than the model.
        # Two threads that both find nothing here fit the same.
        if (family, fold) not in self._prepared:
            self._prepared[family, fold] = estimator[:-1].fit(rows.x)
        steps = self._prepared[family, fold]
        return estimator[-1], steps.transform(rows.x), steps.transform(rows.x_out)

    def _predictions(self, fitted: Any, x_out: Any) -> np.ndarray:
        import numpy as np

        if self.problem.task == "regression":
            return np.asarray(fitted.predict(x_out), dtype=np.float64)
        scores = np.asarray(fitted.predict_proba(x_out), dtype=np.float64)
        if self.problem.positive is None:
            return scores
        return scores[:, self.problem.classes.index(self.problem.positive)]
