"""The search: nothing twice, an end when the best is settled, and the same on every machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from penstock.metrics import METRICS
from penstock.training import racing
from penstock.training.crossval import Attempt, CrossValidation, FoldScore
from penstock.training.estimators import SIMPLEST_FIRST, build, default_trial, family, suggest
from penstock.training.folds import make_folds
from penstock.training.inputs import read_problem
from penstock.training.search import Search, run_search
from penstock.training.spec import TrainingSpec

Tables = Callable[..., dict[str, Any]]
Formula = Callable[[str, Mapping[str, Any], int], float]


class Landscape(CrossValidation):
    """Scores by a formula of family, parameters and fold, so that a test knows what is best."""

    def __init__(
        self, formula: Formula, *, folds: int = 4, metric: str = "roc_auc", width: int = 100
    ) -> None:
        features = SimpleNamespace(width=width)
        fold = SimpleNamespace(rows_out=np.arange(2), features=features)
        columns = SimpleNamespace(fitted=features)
        problem: Any = SimpleNamespace(
            task="binary", most_leaves=None, y=np.zeros(2), columns=columns
        )
        super().__init__(problem, [fold] * folds, METRICS[metric])
        object.__setattr__(self, "formula", formula)

    def score(self, estimator: Any, fold: int, *, family: str) -> FoldScore:
        model = estimator[-1] if family == "linear" else estimator
        value = self.formula(family, model.get_params(), fold)
        return FoldScore(value, np.zeros(2), 0.0)


def search(validation: CrossValidation, **spec: Any) -> Search:
    settings = TrainingSpec(**spec)
    defaults = family("linear", task="binary").defaults
    first = validation.evaluate(
        build("linear", defaults, task="binary", seed=settings.seed),
        number=1,
        family="linear",
        parameters=defaults,
    )
    return run_search(validation, spec=settings, first=first, done=lambda _: None)


def settings_of(found: Search) -> list[tuple[Any, ...]]:
    return [(a.family, *sorted(a.parameters.items())) for a in found.attempts]


def leaves(name: str, parameters: Mapping[str, Any], fold: int) -> float:
    """Small leaves are best, and linear models hopeless: a search crowds into a corner."""
    if name == "linear":
        return 0.1 + 0.01 * fold
    return 0.9 - 0.001 * parameters["min_samples_leaf"] + 0.01 * fold


@pytest.mark.parametrize(
    "error", [1e-9, *(pytest.param(error, marks=pytest.mark.long) for error in (1e-5, 1.0, 1e12))]
)
def test_the_smaller_error_wins_however_small_both_are(error: float) -> None:
    def tiny(name: str, parameters: Mapping[str, Any], fold: int) -> float:
        # A tenth of a thousandth better for each leaf, and worse by far for the simpler family.
        return error * (3 if name == "linear" else 1 + 1e-7 * parameters["min_samples_leaf"])

    found = search(Landscape(tiny, metric="log_loss"), trials=60, patience=None)
    assert found.best.attempt.mean == min(a.mean for a in found.attempts if a.complete)
    assert found.best.attempt.family != "linear"


@pytest.mark.parametrize(
    "family",
    [
        "hist_gradient_boosting",
        *(pytest.param(name, marks=pytest.mark.long) for name in ("random_forest", "extra_trees")),
    ],
)
def test_no_setting_is_tried_twice(family: str) -> None:
    found = search(Landscape(leaves), trials=40, candidates=(family,), patience=None)
    assert len(found.attempts) == 40
    assert len(set(settings_of(found))) == 40
    assert [attempt.number for attempt in found.attempts] == list(range(1, 41))


@pytest.mark.parametrize(
    ("width", "shares"),
    [
        (4, {"sqrt": 2, "log2": 2, "0.2": 1}),
        pytest.param(1, {}, marks=pytest.mark.long),
    ],
)
def test_shares_that_are_one_number_of_features_are_tried_once(
    width: int, shares: dict[str, int]
) -> None:
    landscape = Landscape(leaves, width=width)
    found = search(landscape, trials=1000, candidates=("random_forest",), patience=None)
    forests = [a.parameters for a in found.attempts if a.family == "random_forest"]
    features = [shares.get(str(p["max_features"]), 1) for p in forests]
    tried = [(f, p["min_samples_leaf"]) for f, p in zip(features, forests, strict=True)]
    assert len(set(tried)) == len(tried) > 10


def test_spaces_that_are_used_up_end_the_search() -> None:
    # 60 settings of a forest and 21 of a linear model.
    found = search(Landscape(leaves), trials=1000, candidates=("random_forest",), patience=None)
    assert found.ended == "exhausted"
    assert len(set(settings_of(found))) == len(found.attempts) <= 81
    assert found.best.attempt.parameters["min_samples_leaf"] == 1


def test_the_search_ends_when_nothing_improves_on_the_best() -> None:
    def level(name: str, parameters: Mapping[str, Any], fold: int) -> float:
        return 0.6 if name == "linear" else 0.6 + (0.001, -0.001)[fold % 2]

    found = search(Landscape(level), trials=50)
    assert found.ended == "settled"
    # The three defaults, then two batches.
    assert len(found.attempts) == 11
    assert found.idle >= 8
    longer = search(Landscape(level), trials=50, patience=16)
    assert len(longer.attempts) > 11


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss"])
def test_the_search_goes_on_while_settings_improve(metric: str) -> None:
    order: dict[str, int] = {}
    lock = threading.Lock()
    better = 1 if METRICS[metric].higher_is_better else -1

    def rising(name: str, parameters: Mapping[str, Any], fold: int) -> float:
        with lock:
            place = order.setdefault(f"{name} {sorted(parameters.items(), key=str)}", len(order))
        # Far less than what one fold differs from another.
        return 0.5 + 0.1 * fold + better * (0.001 * place + 0.0001 * (place * fold % 3))

    found = search(Landscape(rising, metric=metric), trials=40, patience=4)
    assert (found.ended, len(found.attempts)) == ("trials", 40)
    assert found.best.attempt.number > 36


def test_a_model_that_cannot_win_does_not_end_the_search() -> None:
    """The linear model is better than all others, and keeps no monotonic constraint."""
    order: dict[str, int] = {}
    lock = threading.Lock()

    def rising(name: str, parameters: Mapping[str, Any], fold: int) -> float:
        if name == "linear":
            return 0.9
        with lock:
            place = order.setdefault(f"{sorted(parameters.items(), key=str)}", len(order))
        return 0.5 + 0.001 * place + 0.0001 * (place * fold % 3)

    settings: Any = {"candidates": ("hist_gradient_boosting",), "monotonic": {"x": "increasing"}}
    found = search(Landscape(rising), trials=30, patience=4, **settings)
    assert (found.ended, len(found.attempts)) == ("trials", 30)
    assert found.best.attempt.family == "hist_gradient_boosting"


@pytest.mark.parametrize("trials", [1, 2, 3, 6])
def test_there_are_never_more_settings_than_trials(trials: int) -> None:
    found = search(Landscape(leaves), trials=trials, patience=50)
    assert len(found.attempts) == trials
    assert found.ended == "trials"


def test_the_winner_is_the_best_of_those_scored_on_every_fold() -> None:
    def fading(name: str, parameters: Mapping[str, Any], fold: int) -> float:
        if name == "linear":
            return 0.7 + 0.01 * np.log10(parameters["C"])
        return 0.9 if fold == 0 else 0.1 + 0.01 * fold

    found = search(Landscape(fading), trials=30, patience=None)
    complete = [attempt for attempt in found.attempts if attempt.complete]
    assert max(a.scores[0] for a in found.attempts) > found.best.attempt.scores[0]
    assert found.best.attempt.mean == max(attempt.mean for attempt in complete)
    assert found.best.attempt.family == "linear"


def trained(bench: Any, **spec: Any) -> tuple[list[Attempt], str]:
    given = read_problem(
        bench.folder / "train",
        features=bench.folder / "features",
        target="y",
        task="auto",
        positive="",
        split=None,
    )
    folds, _ = make_folds(given, folds=3, seed=20)
    found = search(CrossValidation(given, folds, METRICS["roc_auc"]), **spec)
    timeless = [(a.number, a.family, dict(a.parameters), a.scores) for a in found.attempts]
    return timeless, found.ended


def test_neither_the_run_nor_the_number_of_cores_decides_what_is_tried(
    bench: Any, make_table: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    import joblib

    bench.prepare(make_table(), columns={"kind": "drop", "amount": "drop"})
    spec = {"trials": 30, "candidates": ("hist_gradient_boosting",)}
    monkeypatch.setattr(joblib, "cpu_count", lambda: 1)
    first = trained(bench, **spec)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 4)
    assert trained(bench, **spec) == first


def test_the_report_says_why_the_search_ended(bench: Any, make_table: Tables) -> None:
    bench.prepare(make_table(60), columns={"kind": "drop", "amount": "drop"})
    bench.train(trials=200, patience=1)
    page = (bench.folder / "model.html").read_text()
    assert "of at most 200" in page
    assert "did not improve on the best by more than a standard error" in page


def test_steps_before_a_linear_model_change_no_score(bench: Any, make_table: Tables) -> None:
    bench.prepare(make_table(), columns={"kind": "drop", "amount": "drop"})
    given = read_problem(
        bench.folder / "train",
        features=bench.folder / "features",
        target="y",
        task="auto",
        positive="",
        split=None,
    )
    folds, _ = make_folds(given, folds=3, seed=20)
    validation = CrossValidation(given, folds, METRICS["roc_auc"])
    for c in (1.0, 0.01):
        pipeline = build("linear", {"C": c}, task="binary", seed=0)
        for place, fold in enumerate(folds):
            scored = validation.score(pipeline, place, family="linear")
            plain = clone(pipeline).fit(fold.x, fold.y).predict_proba(fold.x_out)[:, 1]
            assert np.array_equal(scored.predictions, plain)
            assert scored.value == roc_auc_score(fold.truth_out, plain)


BEST = (0.80, 0.70, 0.90, 0.60)


@pytest.mark.parametrize(
    ("scores", "relatives", "behind"),
    [
        # One fold has no deviation of its own.
        ((0.10,), (), False),
        ((0.10,), ((0.79, 0.68),), True),
        # Its family scatters by 0.14: 0.1 behind on one fold means little.
        ((0.70,), ((0.60, 0.70),), False),
        # 0.05 and 0.06 behind: 0.055 against a standard error of 0.0035.
        ((0.75, 0.64), (), True),
        # 0.1 behind and 0.09 ahead.
        ((0.70, 0.79), (), False),
        ((0.81, 0.71), (), False),
        (BEST[:2], (), False),
    ],
)
def test_a_setting_is_given_up_when_it_is_two_standard_errors_behind(
    scores: tuple[float, ...], relatives: tuple[tuple[float, ...], ...], behind: bool
) -> None:
    assert racing.falls_behind(scores, best=BEST, relatives=relatives) is behind


@pytest.mark.parametrize(
    ("differences", "better"),
    [
        ((0.01, 0.01, 0.01, 0.01), True),
        ((0.0, 0.0, 0.0, 0.0), False),
        # Mean 0.005; deviation 0.0238 over 4 folds, so a standard error of 0.0119.
        ((0.03, -0.02, 0.02, -0.01), False),
        # Mean 0.01; standard error 0.0041.
        ((0.02, 0.0, 0.01, 0.01), True),
        ((-0.01, -0.02, -0.01, -0.01), False),
    ],
)
def test_an_improvement_is_more_than_a_standard_error(
    differences: tuple[float, ...], better: bool
) -> None:
    scores = [score + change for score, change in zip(BEST, differences, strict=True)]
    assert racing.improves(scores, best=BEST) is better


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("name", [name for name in SIMPLEST_FIRST if name != "own"])
def test_a_default_can_be_proposed(name: Any, task: Any) -> None:
    import optuna

    known = family(name, task=task)
    default = default_trial(name, known)
    assert suggest(optuna.trial.FixedTrial(default), name, known.space) == dict(known.defaults)
