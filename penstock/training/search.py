"""The search for the best setting: Optuna, in one process, on cross-validation folds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from penstock.metrics import Metric
from penstock.training import estimators, racing
from penstock.training.crossval import (
    Attempt,
    CrossValidation,
    Evaluated,
    FoldScore,
    Running,
)
from penstock.training.monotonic import FAMILIES
from penstock.training.spec import CandidateName, TrainingSpec

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import BaseSampler
    from optuna.trial import Trial

    from penstock.training.own_estimator import OwnEstimator

BATCH = 4
"""Settings proposed and scored side by side. Fixed, so that the number of cores, which decides how
many really run at once, does not decide what is tried."""

PROPOSALS = 5
"""Proposals of TPE for one setting; if all were tried before, it circles around what it knows."""

DRAWS = 100
"""Draws at random after those; if all were tried before, next to nothing else is left."""

Ending = Literal["trials", "settled", "exhausted"]


@dataclass(frozen=True)
class Search:
    """What a search found.

    Args:
        attempts: Every setting, in order; no two are alike.
        best: The best of those that were scored on every fold.
        untried: Families that the number of trials left no room for.
        ended: Why it ended: it had used its `trials`; the best was `settled`; or the spaces were
            `exhausted`, and nothing but settings already tried was proposed.
        idle: Settings in a row, up to the end, that did not improve on the best.
    """

    attempts: tuple[Attempt, ...]
    best: Evaluated
    untried: tuple[str, ...]
    ended: Ending
    idle: int


def run_search(
    validation: CrossValidation,
    *,
    spec: TrainingSpec,
    first: Evaluated,
    done: Callable[[Attempt], None],
    own: OwnEstimator | None = None,
) -> Search:
    """Search all families, each starting from its default setting, then where TPE expects gain.

    Settings are scored in batches, fold by fold, a family's default on every fold; of the others
    those far behind the best are given up after each fold
    (`penstock.training.racing.falls_behind`). No setting is tried twice. The search ends when so
    many settings in a row as `spec.patience` says did not improve on the best
    (`penstock.training.racing.improves`), after `spec.trials` settings at the latest.

    Args:
        validation: What settings are scored on.
        spec: Families, most trials, patience, seed.
        first: The linear family's default, already scored as a baseline; the first trial.
        done: Called with each attempt as it ends.
        own: The estimator of the family `own`, where it is tried.

    Returns:
        Every attempt, the best (of equally good ones the simpler, then the earlier), and why the
        search ended.

    Raises:
        InputError: If the metric is not a number for some setting.
    """
    families = spec.families
    with _quiet_optuna(), _workers() as workers:
        searching = _Searching(validation, spec=spec, workers=workers, done=done, own=own)
        searching.replay(first)
        # The defaults come first: no family is dismissed before it had its say.
        ended = searching.until(min(spec.trials, len(families)), patience=None)
        if ended == "trials":
            ended = searching.until(spec.trials, patience=spec.patience)
    return Search(
        attempts=tuple(sorted(searching.attempts, key=lambda attempt: attempt.number)),
        best=searching.best,
        untried=families[spec.trials :],
        ended=ended,
        idle=searching.idle,
    )


class _Searching:
    """The state of a search between batches."""

    best: Evaluated
    _improved: Evaluated
    """The best when it last improved by more than chance: what the others have to beat."""

    def __init__(
        self,
        validation: CrossValidation,
        *,
        spec: TrainingSpec,
        workers: ThreadPoolExecutor,
        done: Callable[[Attempt], None],
        own: OwnEstimator | None,
    ) -> None:
        self.attempts: list[Attempt] = []
        self.idle = 0
        self._tried: set[tuple[object, ...]] = set()
        self._validation = validation
        self._widths = [fold.features.width for fold in validation.folds]
        self._metric: Metric = validation.metric
        self._spec = spec
        self._own = own
        task = validation.problem.task
        self._families = {
            name: estimators.family(name, task=task, search=spec.search, own=own)
            for name in spec.families
        }
        self._workers = workers
        self._done = done
        self._samplers = _samplers(len(self._families), spec=spec)
        self._study = _study(self._families)

    def replay(self, first: Evaluated) -> None:
        """Tell Optuna of the linear default, which has been scored as a baseline."""
        proposed = self._propose()
        assert proposed is not None
        trial, _ = proposed
        scores = first.attempt.scores
        for fold in range(len(scores)):
            trial.report(self._metric.oriented(sum(scores[: fold + 1]) / (fold + 1)), fold)
        self.best = self._improved = first
        self._end(trial, first.attempt)

    def until(self, trials: int, *, patience: int | None) -> Ending:
        """Try settings until there are so many, or one of the other reasons to end holds."""
        while len(self.attempts) < trials:
            if patience is not None and self.idle >= patience:
                return "settled"
            if not self._batch(min(BATCH, trials - len(self.attempts))):
                return "exhausted"
        return "trials"

    def _batch(self, size: int) -> int:
        """Propose settings, score them fold by fold, give up the weak ones; return how many."""
        proposed = [self._propose() for _ in range(size)]
        alive = tried = [pair for pair in proposed if pair is not None]
        for fold in range(len(self._validation.folds)):
            scores = self._scored([running for _, running in alive], fold)
            for (trial, running), score in zip(alive, scores, strict=True):
                trial.report(self._metric.oriented(running.add(score)), fold)
            alive = [pair for pair in alive if self._goes_on(*pair, fold=fold)]
        # What cannot win is no measure of what can.
        best, before = self.best.attempt, self._improved.attempt
        if self._is_barred(before.family) > self._is_barred(best.family) or racing.improves(
            self._scores(best), best=self._scores(before)
        ):
            self._improved, self.idle = self.best, 0
        else:
            self.idle += len(tried)
        return len(tried)

    def _scored(self, settings: list[Running], fold: int) -> list[FoldScore]:
        """Return the score of each setting on a fold.

        Of many rows those that take one form of the features are scored side by side, and the next
        after them: two forms beside one another would be two matrices.
        """
        forms = [estimators.form(one.family) for one in settings]
        turns = dict.fromkeys(forms) if self._validation.is_large else [None]
        found: dict[int, FoldScore] = {}
        for turn in turns:
            chosen = [at for at, form in enumerate(forms) if turn in (None, form)]
            scores = self._workers.map(
                lambda at: self._validation.score(
                    settings[at].estimator, fold, family=settings[at].family
                ),
                chosen,
            )
            found |= dict(zip(chosen, scores, strict=True))
        return [found[at] for at in range(len(settings))]

    def _propose(self) -> tuple[Trial, Running] | None:
        """Return a setting that was not tried before; None if there seems to be none."""
        from optuna.trial import TrialState

        for sampler in self._samplers:
            self._study.sampler = sampler
            trial = self._study.ask()
            name = trial.suggest_categorical("family", tuple(self._families))
            parameters = estimators.suggest(trial, name, self._families[name].space)
            setting = (name, *estimators.distinct(parameters, widths=self._widths))
            # What cannot win is tried once, as a baseline.
            if setting not in self._tried and not (self._tried and self._is_barred(name)):
                self._tried.add(setting)
                return trial, self._running(name, parameters)
            # A failed trial is one that Optuna leaves out of account.
            self._study.tell(trial, state=TrialState.FAIL)
        return None

    def _running(self, name: CandidateName, parameters: estimators.Parameters) -> Running:
        estimator = estimators.build(
            name,
            parameters,
            task=self._validation.problem.task,
            seed=self._spec.seed,
            class_weight=self._spec.class_weight,
            most_leaves=self._validation.problem.most_leaves,
            early_stopping=self._spec.early_stopping,
            own=self._own,
        )
        number = len(self._tried)
        return Running(estimator, number=number, family=name, parameters=parameters)

    def _goes_on(self, trial: Trial, running: Running, *, fold: int) -> bool:
        if fold == len(self._validation.folds) - 1:
            evaluated = self._validation.evaluated(running)
            self.best = min(self.best, evaluated, key=self._rank)
            self._end(trial, evaluated.attempt)
            return False
        attempt = running.attempt(complete=False)
        family = [other for other in self.attempts if other.family == attempt.family]
        # A family's default is scored whole: nothing is known yet of how its scores vary.
        if family and racing.falls_behind(
            self._scores(attempt),
            best=self._scores(self.best.attempt),
            relatives=[self._scores(one) for one in family if one is not self.best.attempt],
        ):
            self._end(trial, attempt)
            return False
        return True

    def _rank(self, evaluated: Evaluated) -> tuple[bool, float, int, int]:
        """Return what the best has the least of. The linear one keeps no constraint."""
        attempt = evaluated.attempt
        return self._is_barred(attempt.family), *_order(attempt, self._metric)

    def _is_barred(self, family: str) -> bool:
        return bool(self._spec.monotonic) and family not in FAMILIES

    def _scores(self, attempt: Attempt) -> racing.Scores:
        return [self._metric.oriented(score) for score in attempt.scores]

    def _end(self, trial: Trial, attempt: Attempt) -> None:
        from optuna.trial import TrialState

        if self._is_barred(attempt.family):
            # Optuna would look where no setting can win.
            self._study.tell(trial, state=TrialState.FAIL)
        elif attempt.complete:
            self._study.tell(trial, self._metric.oriented(attempt.mean))
        else:
            self._study.tell(trial, state=TrialState.PRUNED)
        self.attempts.append(attempt)
        self._done(attempt)


def _samplers(families: int, *, spec: TrainingSpec) -> list[BaseSampler]:
    """Return who proposes, in turn, until a setting is new."""
    from optuna.samplers import RandomSampler, TPESampler

    # One batch at random after the defaults: more would try what TPE knows to be hopeless.
    tpe = TPESampler(seed=spec.seed, n_startup_trials=families + BATCH)
    return [tpe] * PROPOSALS + [RandomSampler(seed=spec.seed)] * DRAWS


def _study(families: Mapping[CandidateName, estimators.Family]) -> Study:
    import optuna

    study = optuna.create_study(direction="maximize")
    for name, known in families.items():
        first = estimators.default_trial(name, known)
        study.enqueue_trial({"family": name, **first})
    return study


def _order(attempt: Attempt, metric: Metric) -> tuple[float, int, int]:
    simplicity = [str(name) for name in estimators.SIMPLEST_FIRST].index(attempt.family)
    # Sums of the same numbers in another order differ in their last digits.
    return float(f"{-metric.oriented(attempt.mean):.12g}"), simplicity, attempt.number


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
