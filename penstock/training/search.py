"""The search for the best setting: Optuna, in one process, on cross-validation folds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock.metrics import Metric
from penstock.training import estimators
from penstock.training.crossval import Attempt, CrossValidation, Evaluated, Running
from penstock.training.spec import CandidateName, TrainingSpec

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import Trial

BATCH = 4
"""Settings proposed and scored side by side. Fixed, so that the number of cores, which decides how
many really run at once, does not decide what is tried."""

KEPT_PERCENT = 100 / 3
"""After each fold a setting goes on when its mean so far is in this upper share of what the
settings that were scored on every fold had there."""


@dataclass(frozen=True)
class Search:
    """What a search found.

    Args:
        attempts: Every setting, in order.
        best: The best of those that were scored on every fold.
        untried: Families that the number of trials left no room for.
    """

    attempts: tuple[Attempt, ...]
    best: Evaluated
    untried: tuple[str, ...]


def run_search(
    validation: CrossValidation,
    *,
    spec: TrainingSpec,
    first: Evaluated,
    done: Callable[[Attempt], None],
) -> Search:
    """Search all families, each starting from its default setting, then where TPE expects gain.

    Settings are scored in batches, fold by fold; after each fold weak ones are given up (see
    `KEPT_PERCENT`), but not before as many settings as there are families are complete.

    Args:
        validation: What settings are scored on.
        spec: Families, number of trials, seed.
        first: The linear family's default, already scored as a baseline; the first trial.
        done: Called with each attempt as it ends.

    Returns:
        Every attempt, and the best; of equally good ones the simpler, then the earlier.

    Raises:
        InputError: If the metric is not a number for some setting.
    """
    # The linear family is always tried, and each family once.
    families: tuple[CandidateName, ...] = tuple(dict.fromkeys(("linear", *spec.candidates)))
    with _quiet_optuna(), _workers() as workers:
        searching = _Searching(validation, families=families, spec=spec, workers=workers, done=done)
        searching.replay(first)
        left = spec.trials - 1
        # The defaults come first and whole: they are what the others have to beat.
        for size in _sizes(min(left, len(families) - 1)) + _sizes(left - (len(families) - 1)):
            searching.batch(size)
    return Search(
        attempts=tuple(sorted(searching.attempts, key=lambda attempt: attempt.number)),
        best=searching.best,
        untried=families[spec.trials :],
    )


def _sizes(count: int) -> list[int]:
    return [min(BATCH, count - start) for start in range(0, count, BATCH)]


class _Searching:
    """The state of a search between batches."""

    best: Evaluated

    def __init__(
        self,
        validation: CrossValidation,
        *,
        families: tuple[CandidateName, ...],
        spec: TrainingSpec,
        workers: ThreadPoolExecutor,
        done: Callable[[Attempt], None],
    ) -> None:
        self.attempts: list[Attempt] = []
        self._families = families
        self._validation = validation
        self._metric: Metric = validation.metric
        self._spec = spec
        self._workers = workers
        self._done = done
        self._study = _study(families, validation=validation, spec=spec)

    def replay(self, first: Evaluated) -> None:
        """Tell Optuna of the linear default, which has been scored as a baseline."""
        trial, _ = self._ask()
        scores = first.attempt.scores
        for fold in range(len(scores)):
            trial.report(self._metric.oriented(sum(scores[: fold + 1]) / (fold + 1)), fold)
        self.best = first
        self._end(trial, first.attempt)

    def batch(self, size: int) -> None:
        """Propose settings, score them fold by fold, and give up on the weak ones."""
        alive = [self._ask() for _ in range(size)]
        for fold in range(len(self._validation.folds)):
            scores = self._workers.map(
                lambda pair, fold=fold: self._validation.score(
                    pair[1].estimator, fold, family=pair[1].family
                ),
                alive,
            )
            for (trial, running), score in zip(alive, list(scores), strict=True):
                trial.report(self._metric.oriented(running.add(score)), fold)
            alive = [pair for pair in alive if self._goes_on(*pair, fold=fold)]

    def _ask(self) -> tuple[Trial, Running]:
        task = self._validation.problem.task
        trial = self._study.ask()
        name = trial.suggest_categorical("family", self._families)
        parameters = estimators.suggest(trial, name, task=task)
        estimator = estimators.build(
            name,
            parameters,
            task=task,
            seed=self._spec.seed,
            class_weight=self._spec.class_weight,
        )
        number = trial.number + 1
        return trial, Running(estimator, number=number, family=name, parameters=parameters)

    def _goes_on(self, trial: Trial, running: Running, *, fold: int) -> bool:
        if fold == len(self._validation.folds) - 1:
            evaluated = self._validation.evaluated(running)
            self.best = min(self.best, evaluated, key=lambda e: _order(e.attempt, self._metric))
            self._end(trial, evaluated.attempt)
            return False
        if trial.should_prune():
            self._end(trial, running.attempt(complete=False))
            return False
        return True

    def _end(self, trial: Trial, attempt: Attempt) -> None:
        from optuna.trial import TrialState

        if attempt.complete:
            self._study.tell(trial, self._metric.oriented(attempt.mean))
        else:
            self._study.tell(trial, state=TrialState.PRUNED)
        self.attempts.append(attempt)
        self._done(attempt)


def _study(
    families: tuple[CandidateName, ...], *, validation: CrossValidation, spec: TrainingSpec
) -> Study:
    import optuna

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(
            seed=spec.seed, n_startup_trials=len(families) + spec.trials // 4
        ),
        pruner=optuna.pruners.PercentilePruner(KEPT_PERCENT, n_startup_trials=len(families)),
    )
    for name in families:
        defaults = estimators.family(name, task=validation.problem.task).defaults
        study.enqueue_trial(
            {"family": name, **{f"{name}.{key}": value for key, value in defaults.items()}}
        )
    return study


def _order(attempt: Attempt, metric: Metric) -> tuple[float, int, int]:
    simplicity = [str(name) for name in estimators.SIMPLEST_FIRST].index(attempt.family)
    # Sums of the same numbers in another order differ in their last digits.
    return -round(metric.oriented(attempt.mean), 9), simplicity, attempt.number


@contextlib.contextmanager
def _workers() -> Iterator[ThreadPoolExecutor]:
    """Yield threads that fit one setting each, on one core each.

    Gradient boosting's own threads meet at a barrier for every node of every tree: on a machine
    that others use too, that made a fit 10 times slower than one thread alone. Fits beside one
    another never wait for each other, and scikit-learn releases Python's lock while it computes.
    """
    from joblib import cpu_count
    from threadpoolctl import threadpool_limits

    with ThreadPoolExecutor(
        min(BATCH, cpu_count()), initializer=threadpool_limits, initargs=(1, "openmp")
    ) as workers:
        yield workers


@contextlib.contextmanager
def _quiet_optuna() -> Iterator[None]:
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
