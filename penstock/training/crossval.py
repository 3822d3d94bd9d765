"""Score a setting by cross-validation, and keep its predictions for the rows held out."""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeAlias

from penstock.errors import InputError
from penstock.metrics import Metric
from penstock.metrics.own import OWN
from penstock.training import estimators, own_answers
from penstock.training.estimators import Parameters
from penstock.training.feature_columns import PIECE
from penstock.training.fitting import constrained, fit
from penstock.training.folds import Fold
from penstock.training.inputs import Problem
from penstock.training.own_estimator import FIELD, reported_of
from penstock.training.preparing import prepare, prepared
from penstock.training.stopping import growing_rows, stopping_rows

if TYPE_CHECKING:
    import numpy as np

LARGE = 20_000_000
"""Cells of a matrix from which on one is held at a time, 160 MB of doubles; of all folds together,
those of one fold."""

Given: TypeAlias = tuple[Any, Callable[[], Iterable[Any]]]
"""Features of the rows of a fold, and what makes those of the rows held out, by pieces."""


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
    _prepared: dict[int, Any] = field(default_factory=dict, repr=False, compare=False)
    _matrices: dict[tuple[int, str], Given] = field(default_factory=dict, repr=False, compare=False)
    _making: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process makes its own matrices, and a lock is of one process.
        public = [one.name for one in fields(self) if not one.name.startswith("_")]
        return type(self), tuple(getattr(self, name) for name in public)

    @property
    def is_large(self) -> bool:
        """Whether a matrix takes so much memory that one is held at a time."""
        return self._cells > LARGE

    @property
    def holds_one_fold(self) -> bool:
        """Whether the matrices of all folds together take too much memory to be held."""
        return self._cells * len(self.folds) > LARGE

    @property
    def _cells(self) -> int:
        return len(self.problem.y) * self.problem.columns.fitted.width

    def forget(self) -> None:
        """Drop the matrices that are held."""
        self._matrices.clear()

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

    def score(
        self, estimator: Any, fold: int, *, family: str, given: Given | None = None
    ) -> FoldScore:
        """Fit a clone of `estimator` on one fold and score it; safe to call from several threads.

        Args:
            estimator: Unfitted.
            fold: Which.
            family: Its family.
            given: The fold's features, as `made` makes them; None: they are made and held.

        Raises:
            InputError: If the metric is not a number; `family` is named in the message.
        """
        from sklearn.base import clone

        started = time.perf_counter()
        rows = self.folds[fold]
        x, held_out = given or self._given(estimator, fold, family=family)
        model = clone(estimator)
        # The steps before a linear model are fitted once for all settings.
        last = model[-1] if self.form(estimator, family) == "scaled" else model
        with reported_of(family, f"fitting it on fold {fold + 1}"):
            fitted, rounds = self._fitted(last, x, rows)
            predictions = self._predictions(fitted, held_out, family)
        judged = predictions
        if self.metric.needs == "labels":
            codes = judged >= self.threshold if judged.ndim == 1 else judged.argmax(axis=1)
            judged = codes.astype(int)
        value = self.metric.of(rows.truth_out, judged)
        if not math.isfinite(value):
            raise InputError(
                f"{self.metric.name} of {family} is {value} on a fold",
                where="training.own_metric" if self.metric.name in OWN else "training.metric",
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
            growing = growing_rows(problem, fold.rows, aside)
            rounds = model.rounds_for(x, fold.y, growing=growing, stopping=aside, weights=weights)
            # Again on all of the fold's rows: fewer would be held against the family.
            model.set_params(rounds=rounds)
        return model.grow(x, fold.y, weights), rounds

    def _given(self, estimator: Any, fold: int, *, family: str) -> Given:
        """Return the features of a fold in the form that a family takes."""
        form = self.form(estimator, family)
        with self._making:
            if (fold, form) not in self._matrices:
                self._make_room(fold)
                self._matrices[fold, form] = self.made(estimator, fold, form)
            return self._matrices[fold, form]

    def form(self, estimator: Any, family: str) -> estimators.Form:
        """Return the form of the features: a linear model in one piece takes them as they are."""
        form = estimators.form(family)
        return "float64" if form == "scaled" and not _has_steps(estimator) else form

    def _make_room(self, fold: int) -> None:
        """Drop matrices that are too many to be held beside one more of a fold."""
        if not self.holds_one_fold:
            return
        for key in list(self._matrices):
            if self.is_large or key[0] != fold:
                del self._matrices[key]

    def made(self, estimator: Any, fold: int, form: str) -> Given:
        """Return the features of a fold in a form, made anew."""
        from sklearn.base import clone

        rows = self.folds[fold]
        # No setting changes the steps before the model, and medians cost far more than the model.
        if form == "scaled" and fold not in self._prepared:
            self._prepared[fold] = prepare(clone(estimator)[:-1], rows.features, rows.rows)

        def made(places: np.ndarray) -> Any:
            if form == "scaled":
                return prepared(self._prepared[fold], rows.features, places)
            return rows.features.matrix(places, dtype=form)

        if self.is_large:
            # Of many rows those held out are not a matrix, too: each setting makes the pieces.
            out = rows.rows_out
            pieces = [out[at : at + PIECE] for at in range(0, len(out), PIECE)]
            return made(rows.rows), lambda: map(made, pieces)
        whole = made(rows.rows_out)
        return made(rows.rows), lambda: [whole]

    def _predictions(
        self, fitted: Any, held_out: Callable[[], Iterable[Any]], family: str
    ) -> np.ndarray:
        import numpy as np

        scores = np.concatenate([self._answers(fitted, x, family) for x in held_out()])
        if self.problem.positive is None:
            return scores
        return scores[:, self.problem.classes.index(self.problem.positive)]

    def _answers(self, fitted: Any, x: Any, family: str) -> np.ndarray:
        import numpy as np

        classes = self.problem.classes
        if family == "own":
            return own_answers.answers(fitted, x, classes=classes, where=FIELD)
        asked = fitted.predict_proba if classes else fitted.predict
        return np.asarray(asked(x), dtype=np.float64)


def _has_steps(estimator: Any) -> bool:
    from sklearn.pipeline import Pipeline

    return isinstance(estimator, Pipeline)
