"""XGBoost and LightGBM: grown as they grow, kept as arrays, stopped inside the folds."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from penstock.data.table import read_table
from penstock.errors import InputError, MissingLibraryError
from penstock.model import load
from penstock.training.boosting.learner import Learner
from penstock.training.estimators import build, family
from penstock.training.fold_rule import FoldRule
from penstock.training.folds import make_folds
from penstock.training.inputs import read_problem
from penstock.training.spec import TrainingSpec
from penstock.training.stopping import growing_rows, stopping_rows

Tables = Callable[..., dict[str, Any]]
LIBRARIES = ("xgboost", "lightgbm")
ONE_LIBRARY = ("xgboost", pytest.param("lightgbm", marks=pytest.mark.long))
TASKS = ("binary", "multiclass", "regression")
FEW = {"early_stopping": {"most_trees": 40, "patience": 5}}
OTHERS = {"kind": "drop", "amount": "drop"}


def data(task: str, rows: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Features with holes, ties, zeros and a column of epoch seconds, and a target."""
    random = np.random.default_rng(3)
    x = (random.normal(size=(rows, 5)) * 3).round(1)
    x[random.random(x.shape) < 0.1] = np.nan
    x[:, 3] = 1.7e9 + np.arange(rows)
    x[:, 4] = random.integers(-2, 3, rows)
    signal = np.nan_to_num(x[:, 0]) + np.nan_to_num(x[:, 1]) ** 2 / 5 + random.normal(size=rows)
    if task == "binary":
        return x, np.where(signal > 1, "yes", "no")
    return x, np.digitize(signal, [0, 2]) if task == "multiclass" else signal * 1000 + 5e4


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("task", TASKS)
def test_the_arrays_answer_as_the_library_to_the_bit(name: str, task: Any) -> None:
    x, y = data(task)
    setting = {**family(name, task=task).defaults, "n_estimators": 30}  # type: ignore[arg-type]
    grown = build(name, setting, task=task, seed=1).grow(x, y)  # type: ignore[arg-type]
    model = grown.model(x)
    inner = model.nodes["left"] >= 0
    at, value = model.nodes["feature"][inner], model.nodes["threshold"][inner]
    assert len(value) > 100
    single = np.clip(value, -3e38, 3e38).astype(np.float32)
    for near in (
        value, np.nextafter(value, -np.inf), np.nextafter(value, np.inf), np.full(len(at), np.nan),
        np.nextafter(single, np.float32(np.inf)), np.nextafter(single, np.float32(-np.inf)),
        np.zeros(len(at)), -np.zeros(len(at)), np.full(len(at), 1e-36), np.full(len(at), -1e-35),
    ):  # fmt: skip
        rows = x[np.arange(len(at)) % len(x)].copy()
        # No float32, so XGBoost refuses it.
        rows[np.arange(len(at)), at] = np.clip(near, -3e38, 3e38)
        assert np.array_equal(model.margins(rows), grown.booster.margins(rows))


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_second_run_grows_the_same_trees(name: Any) -> None:
    x, y = data("multiclass")
    setting = family(name, task="multiclass").defaults
    one, other = (
        build(name, {**setting, "n_estimators": 10}, task="multiclass", seed=4).fit(x, y)
        for _ in range(2)
    )
    for of_node in one.nodes:
        assert np.array_equal(one.nodes[of_node], other.nodes[of_node])
    seeded = build(name, {**setting, "n_estimators": 10}, task="multiclass", seed=5).fit(x, y)
    assert not np.array_equal(one.nodes["threshold"], seeded.nodes["threshold"])


@pytest.mark.parametrize("name", LIBRARIES)
def test_trees_that_are_read_otherwise_are_refused(
    name: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from penstock.errors import IntegrityError

    x, y = data("binary")
    grown = build(name, {"n_estimators": 3}, task="binary", seed=0).grow(x, y)
    right = grown.booster.arrays()
    wrong = {**right, "offset": right["offset"] + 1.0}
    monkeypatch.setattr(type(grown.booster), "arrays", lambda _: wrong)
    with pytest.raises(IntegrityError, match=f"{name} says .* of row 1, its trees as they are rea"):
        grown.model(x)


@pytest.mark.parametrize("name", ONE_LIBRARY)
def test_a_training_finds_its_trees_in_the_folds(bench: Any, make_table: Tables, name: str) -> None:
    train = bench.prepare(make_table(), columns=OTHERS)
    record = bench.train(trials=3, candidates=(name,), **FEW)
    again = bench.train(trials=3, candidates=(name,), name="again", **FEW)
    assert record.model_copy(update={"mlflow_run": ""}) == again.model_copy(
        update={"mlflow_run": ""}
    )
    folder = bench.folder / "model"
    for file in ("penstock.json", "rows.npy", "background.json"):
        if file != "penstock.json":
            assert (folder / file).read_bytes() == (bench.folder / "again" / file).read_bytes()
    if record.name == name:
        rounds = record.parameters["n_estimators"]
        assert isinstance(rounds, int)
        assert 1 <= rounds <= 40
        assert any(key.startswith(name) for key in record.libraries)
        assert {path.name for path in (folder / "booster").iterdir()} <= {"model.json", "model.bst"}
    loaded = load(folder)
    frame = loaded.frame(read_table(train))
    assert len(np.unique(loaded.scores(frame))) > 20


@pytest.mark.parametrize("name", ONE_LIBRARY)
def test_a_saved_model_needs_no_library_and_says_what_the_library_says(
    bench: Any, make_table: Tables, name: str
) -> None:
    """Our loading, MLflow's, and the library itself on the file beside it: one answer."""
    import mlflow.pyfunc

    target = "amount"
    table = make_table()
    table["amount"] = [50 + 10 * np.sin(3 * value) for value in table["noise"]]
    train = bench.prepare(table, target=target, columns={"kind": "drop", "y": "drop"})
    record = bench.train(
        target=target, trials=3, candidates=(name,), search={name: {"n_estimators": 20}}
    )
    assert record.name == name, "the table is not linear enough for the linear model to win"
    assert record.parameters["n_estimators"] == 20
    folder = bench.folder / "model"
    loaded = load(folder)
    frame = loaded.frame(read_table(train))
    ours = loaded.scores(frame)
    assert np.array_equal(mlflow.pyfunc.load_model(str(folder)).predict(frame), ours)
    features = loaded.typed.steps[0][1].transform(frame)
    if name == "xgboost":
        import xgboost

        booster = xgboost.Booster(model_file=folder / "booster" / "model.json")
        theirs = booster.predict(xgboost.DMatrix(features))
    else:
        import lightgbm

        theirs = lightgbm.Booster(model_file=folder / "booster" / "model.bst").predict(features)
    assert np.array_equal(ours, theirs.astype(np.float64))
    script = (
        "import sys; sys.modules['xgboost'] = sys.modules['lightgbm'] = None\n"
        "import json\nfrom pathlib import Path\nfrom penstock.data.table import read_table\n"
        "from penstock.model import load\n"
        f"loaded = load(Path({str(folder)!r}))\n"
        f"rows = loaded.frame(read_table(Path({str(train)!r})))\n"
        "print(json.dumps(loaded.scores(rows).tolist()))"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert json.loads(said.stdout) == ours.tolist()


def test_rows_set_aside_to_stop_are_cut_as_the_folds_are(bench: Any, make_table: Tables) -> None:
    table = make_table()
    # Every row twice: copies stay together.
    doubled = {name: values + values for name, values in table.items()}
    train = bench.prepare(doubled, columns=OTHERS)
    problem = read_problem(
        train, features=bench.folder / "features", target="y", task="auto", positive="", split=None
    )
    rows = np.arange(40, 440)
    aside = stopping_rows(problem, rows, seed=1)
    assert 0.15 < aside.mean() < 0.25
    chosen = dict(zip(rows.tolist(), aside.tolist(), strict=True))
    twins = [(at, at + 240) for at in rows if at + 240 in chosen]
    assert len(twins) > 100
    assert all(chosen[one] == chosen[other] for one, other in twins)
    assert np.array_equal(aside, stopping_rows(problem, rows, seed=1))
    assert not np.array_equal(aside, stopping_rows(problem, rows, seed=2))


def test_the_latest_rows_are_set_aside_after_a_split_by_time(
    bench: Any, make_table: Tables
) -> None:
    from dataclasses import replace

    train = bench.prepare(make_table(), columns=OTHERS)
    problem = read_problem(
        train, features=bench.folder / "features", target="y", task="auto", positive="", split=None
    )
    times = np.random.default_rng(0).permutation(240)
    by_time = replace(problem, fold_rule=FoldRule("time", "x one", times))
    rows = np.arange(200)
    aside = stopping_rows(by_time, rows, seed=1)
    assert times[rows][aside].min() > times[rows][~aside].max()
    by_group = replace(problem, fold_rule=FoldRule("group", "job", np.arange(240) % 12))
    aside = stopping_rows(by_group, rows, seed=1)
    assert not set((rows % 12)[aside]) & set((rows % 12)[~aside])
    rule = FoldRule("group", "job", np.zeros(240, dtype=int))
    assert 0 < stopping_rows(replace(problem, fold_rule=rule), rows, seed=1).sum() < 200
    with pytest.raises(InputError, match="fitted on rows of one job alone"):
        stopping_rows(replace(problem, fold_rule=replace(rule, named=True)), rows, seed=1)


def test_trees_grow_on_rows_that_the_gap_leaves_before_those_set_aside(
    bench: Any, make_table: Tables
) -> None:
    from dataclasses import replace

    train = bench.prepare(make_table(), columns=OTHERS)
    problem = read_problem(
        train, features=bench.folder / "features", target="y", task="auto", positive="", split=None
    )
    times = np.random.default_rng(0).permutation(240)
    rule = FoldRule("time", "at", times, gap=30, gap_text="30", named=True)
    given = replace(problem, fold_rule=rule)
    rows = np.flatnonzero(times < 200)
    aside = stopping_rows(given, rows, seed=1)
    growing = growing_rows(given, rows, aside)
    assert (aside.sum(), growing.sum()) == (40, 131)
    assert times[rows][aside].min() - times[rows][growing].max() == 30
    wide = replace(given, fold_rule=replace(rule, gap=161, gap_text="161"))
    with pytest.raises(InputError, match="the gap of 161 leaves a fold no row to grow trees on"):
        growing_rows(wide, rows, aside)


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_that_is_missing_is_said_before_anything_is_fitted(
    bench: Any, make_table: Tables, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.prepare(make_table(), columns=OTHERS)
    module = f"penstock.training.boosting.{name}_trees"
    import penstock.training.boosting as package

    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.delattr(package, f"{name}_trees", raising=False)
    monkeypatch.delitem(sys.modules, name, raising=False)

    class Hidden:
        def find_spec(self, wanted: str, path: Any = None, target: Any = None) -> None:
            if wanted == name:
                raise MissingLibraryError(name, extra="boosting")

    monkeypatch.setattr(sys, "meta_path", [Hidden(), *sys.meta_path])
    with pytest.raises(MissingLibraryError, match=r"pip install 'penstock\[boosting\]'"):
        bench.train(candidates=(name,))
    assert bench.left() == set()


def test_the_finder_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from penstock.common.missing import _extra

    assert [_extra(name) for name in ("xgboost", "lightgbm", "kfp", "optuna")] == [
        "boosting", "boosting", "pipelines", "laptop",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ({"xgboost": {"depth": 3}}, "xgboost has no parameter 'depth' that is searched; it has"),
        ({"xgboost": {"max_depth": 2.5}}, "xgboost.max_depth takes whole numbers, not 2.5"),
        ({"lightgbm": {"num_leaves": []}}, "lightgbm.num_leaves has no value"),
        ({"lightgbm": {"num_leaves": {"low": 9, "high": 3}}}, "low, 9, must lie below high, 3"),
        ({"linear": {"C": {"low": 0, "high": 3, "log": True}}}, "low is 0: orders of magnitude"),
    ],
)
def test_a_search_space_that_is_none_is_refused(search: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        TrainingSpec.parse({"search": search}, where="training")


def test_a_search_space_is_searched(bench: Any, make_table: Tables) -> None:
    # Kubeflow hands whole numbers over as floats.
    spec = TrainingSpec.parse(
        {"search": {"xgboost": {"max_depth": {"low": 2.0, "high": 3.0}, "n_estimators": [5.0, 9.0],
                                "learning_rate": 0.2}}},
        where="training",
    )  # fmt: skip
    known = family("xgboost", task="binary", search=spec.search)
    assert known.defaults["max_depth"] == 3
    assert known.defaults["n_estimators"] == 5
    assert known.defaults["subsample"] == 0.9
    bench.prepare(make_table(), columns=OTHERS)
    record = bench.train(trials=6, patience=None, candidates=("xgboost",), search=spec.search)
    if record.name == "xgboost":
        assert record.parameters["max_depth"] in (2, 3)
        assert record.parameters["n_estimators"] in (5, 9)
        assert record.parameters["learning_rate"] == 0.2


def test_a_parameter_of_another_task_is_refused(bench: Any, make_table: Tables) -> None:
    bench.prepare(make_table(), columns=OTHERS)
    with pytest.raises(InputError, match="a linear model of a binary task is searched over C alon"):
        bench.train(search={"linear": {"alpha": 1.0}})
    assert bench.left() == set()


def test_a_learner_is_cloned_as_scikit_learn_clones() -> None:
    from sklearn.base import clone

    learner = build("lightgbm", {"num_leaves": 9}, task="binary", seed=7)
    copy = clone(learner)
    assert isinstance(copy, Learner)
    assert copy is not learner
    assert copy.get_params() == learner.get_params()


@pytest.mark.parametrize(
    ("name", "positive"),
    [
        ("xgboost", "yes"),
        pytest.param("hist_gradient_boosting", "yes", marks=pytest.mark.long),
        pytest.param("lightgbm", "yes", marks=pytest.mark.long),
        # Which class is meant is settled before a family is asked.
        pytest.param("xgboost", "no", marks=pytest.mark.long),
        pytest.param("lightgbm", "no", marks=pytest.mark.long),
        pytest.param("hist_gradient_boosting", "no", marks=pytest.mark.long),
    ],
)
def test_a_prediction_goes_one_way_with_a_constrained_column(
    bench: Any, name: Any, positive: str
) -> None:
    random = np.random.default_rng(5)
    age, other = random.uniform(0, 10, (2, 300))
    # Up, then down: without the constraint the trees would follow it.
    signal = np.where(age < 6, age, 12 - age) + other + random.normal(size=300)
    bench.prepare(
        {"age": age.tolist(), "other": other.tolist(), "y": np.where(signal > 8, "yes", "no")}
    )
    record = bench.train(
        trials=2, candidates=(name,), positive=positive, monotonic={"age": "increasing"}, **FEW
    )
    assert record.name == name, "the linear baseline keeps no constraint and cannot win"
    loaded = load(bench.folder / "model")
    grid = np.linspace(0, 10, 60)
    for level in (1.0, 5.0, 9.0):
        frame = loaded.frame({"age": grid.tolist(), "other": [level] * 60})
        assert (np.diff(loaded.scores(frame)) >= 0).all()


@pytest.mark.parametrize(
    ("spec", "target", "words"),
    [
        ({"candidates": ("random_forest",)}, "y", "random_forest cannot keep monotonic constrai"),
        ({"candidates": ("linear",)}, "y", "no candidate can keep monotonic constraints"),
        ({"candidates": ("xgboost",), "trials": 1}, "y", "the first trial is the linear model"),
        ({"candidates": ("xgboost",)}, "kind", "of more than two classes none can rise with a"),
        ({"monotonic": {"job": "increasing"}}, "y", "'job' is taken for: category; a constraint"),
        ({"monotonic": {"jobs": "increasing"}}, "y", "'jobs' is no column of the table"),
    ],
)
def test_constraints_that_cannot_be_kept_are_refused(
    bench: Any, make_table: Tables, spec: dict[str, Any], target: str, words: str
) -> None:
    bench.prepare(
        make_table(),
        target=target,
        columns={n: "drop" for n in ("y", "kind", "amount") if n != target},
    )
    given = {"monotonic": {"x one": "increasing"}} | spec
    with pytest.raises(InputError, match=words):
        bench.train(target=target, **given)
    assert bench.left() == set()


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_target_that_is_no_32_bit_float_is_refused(
    bench: Any, make_table: Tables, name: str
) -> None:
    table = make_table()
    table["amount"][7] = 1e39
    bench.prepare(table, target="amount", columns={"kind": "drop", "y": "drop"})
    with pytest.raises(InputError, match=f"a value is as large as 1e\\+39: {name} takes 32-bit fl"):
        bench.train(target="amount", candidates=(name,))
    assert bench.left() == set()


@pytest.mark.parametrize(
    "name",
    [
        *ONE_LIBRARY,
        "hist_gradient_boosting",
        *(pytest.param(name, marks=pytest.mark.long) for name in ("linear", "random_forest")),
    ],
)
def test_rows_of_weight_0_teach_nothing(bench: Any, name: Any) -> None:
    """Half of the rows have turned labels and no weight."""
    random = np.random.default_rng(6)
    x = random.normal(size=400)
    turned = np.arange(400) % 2 == 1
    label = np.where((x > 0) ^ turned, "up", "down")
    table = {"x": x.tolist(), "y": label.tolist(), "w": np.where(turned, 0.0, 3.0).tolist()}
    train = bench.prepare(table, columns={"w": "drop"})
    few = name in (*LIBRARIES, "random_forest")
    search: Any = {"search": {name: {"n_estimators": 20}}} if few else {}
    record = bench.train(trials=2, candidates=(name,), weights="w", positive="up", **search)
    assert "w" not in [column.name for column in record.columns]
    loaded = load(bench.folder / "model")
    scores = loaded.scores(loaded.frame(read_table(train)))
    assert np.corrcoef(scores, x > 0)[0, 1] > 0.8


def by_time(bench: Any, table: dict[str, Any]) -> Any:
    """The problem of a table with weights, as if it had been split by the order of its rows."""
    from dataclasses import replace

    train = bench.prepare(table, columns={**OTHERS, "w": "drop"})
    problem = read_problem(
        train, features=bench.folder / "features", target="y", task="auto", positive="",
        split=None, weights="w",
    )  # fmt: skip
    return replace(problem, fold_rule=FoldRule("time", "x one", np.arange(len(problem.y))))


@pytest.mark.parametrize("label", ["bad", "good <b>"])
def test_a_fold_in_which_a_class_has_no_weight_is_left_out(
    bench: Any, make_table: Tables, label: str
) -> None:
    table = make_table()
    table["w"] = [float(at >= 60 or y != label) for at, y in enumerate(table["y"])]
    folds, notes = make_folds(by_time(bench, table), folds=3, seed=0)
    assert [len(fold.rows) for fold in folds] == [120, 180]
    assert "1 fold(s) without every class with a weight above 0 were left out." in notes
    table["w"] = [float(at >= 200 or y != label) for at, y in enumerate(table["y"])]
    shutil.rmtree(bench.folder / "train")
    shutil.rmtree(bench.folder / "features")
    with pytest.raises(InputError, match=r"only 0 of 3 .* every class with a weight above 0"):
        make_folds(by_time(bench, table), folds=3, seed=0)


def test_rows_set_aside_to_stop_have_weights_and_leave_some(bench: Any, make_table: Tables) -> None:
    table = make_table()
    table["w"] = [float(20 <= at < 70) for at in range(240)]
    problem = by_time(bench, table)
    for rows in (np.arange(200), np.arange(69, -1, -1), np.array([1, 20, 30, 150])):
        aside = stopping_rows(problem, rows, seed=1)
        known = problem.weights[rows] > 0
        assert 0 < aside[known].sum() <= max(1, 0.2 * known.sum())


@pytest.mark.parametrize(
    ("weights", "drop", "words"),
    [
        ([1.0, -2.0, None], True, "2 rows have no weight of 0 or more; row 2 of the training part"),
        ([0.0, 0.0, 0.0], True, "every weight is 0"),
        (["a", "b", "c"], True, "'w' holds no numbers"),
        ([1.0, 2.0, 3.0], False, "'w' is a feature as well"),
    ],
)
def test_weights_that_are_none_are_refused(
    bench: Any, make_table: Tables, weights: list[Any], drop: bool, words: str
) -> None:
    table = make_table()
    table["w"] = [weights[min(at, 2)] for at in range(240)]
    if drop:
        table["w"][3:] = [weights[0]] * 237
    else:
        table["w"] = np.random.default_rng(0).normal(size=240).tolist()
    bench.prepare(table, columns={**OTHERS, **({"w": "drop"} if drop else {})})
    with pytest.raises(InputError, match=words):
        bench.train(weights="w")
    assert bench.left() == set()


def test_weights_that_leave_a_class_out_or_are_not_there_are_refused(
    bench: Any, make_table: Tables
) -> None:
    table = make_table()
    table["w"] = [1.0 if label == "bad" else 0.0 for label in table["y"]]
    bench.prepare(table, columns={**OTHERS, "w": "drop"})
    with pytest.raises(InputError, match="every row of the class 'good <b>' has the weight 0"):
        bench.train(weights="w")
    for name, words in (("v", "the table has no column 'v'"), ("y", "'y' is the target")):
        with pytest.raises(InputError, match=words):
            bench.train(weights=name)


def test_a_project_takes_the_weights_out_of_the_features() -> None:
    from penstock.project import Project

    base = {"name": "loans", "target": "paid", "source": {"uri": "x.csv"}}
    project = Project.parse({**base, "training": {"weights": "w"}}, where="project.yaml")
    assert project.features.columns == {"w": "drop"}
    with pytest.raises(InputError, match=r"training\.weights names 'w', which features.columns ta"):
        Project.parse(
            {**base, "training": {"weights": "w"}, "features": {"columns": {"w": "number"}}},
            where="project.yaml",
        )
