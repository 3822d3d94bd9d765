"""What answers rest on: contributions that add up to the answer, of every family we train."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penstock import model as models
from penstock.data.table import read_table, write_dataset
from penstock.data.table.frames import to_frame
from penstock.errors import InputError
from penstock.explanation.explain import explain
from penstock.features.fit import fit_features
from penstock.features.spec import FeaturesSpec
from penstock.metrics import METRICS
from penstock.model import load_trusted
from penstock.records.explanation import Explanation
from penstock.records.features import TRANSFORMER_NAME
from penstock.records.model import Model

FAMILIES = (
    "linear", "hist_gradient_boosting", "random_forest", "extra_trees", "xgboost", "lightgbm",
)  # fmt: skip
TASKS = ("binary", "multiclass", "regression")
FIRST = {
    "linear": ("binary",),
    "hist_gradient_boosting": TASKS,
    "random_forest": ("binary",),
    # The same trees as those of a forest: one task shows that it is known.
    "extra_trees": ("multiclass",),
    "xgboost": ("binary",),
    "lightgbm": ("multiclass",),
}
"""Each family and each task; the other pairs are left to `make test-long`."""
FEW = {
    "hist_gradient_boosting": {"max_iter": 40},
    "random_forest": {"n_estimators": 12},
    "extra_trees": {"n_estimators": 12},
    "xgboost": {"n_estimators": 8},
    "lightgbm": {"n_estimators": 8},
}
"""Of each output. The default's hundreds more are no other case, and cost minutes."""
METRIC = {"binary": "roc_auc", "multiclass": "accuracy", "regression": "r2"}


def rows(task: str, n: int, *, seed: int) -> dict[str, list[Any]]:
    """Rows of every kind of column: `strong` and `kind` matter, `noise` does not."""
    random = np.random.default_rng(seed)
    strong, weak, noise = random.normal(size=(3, n))
    kind = random.choice(["a", "b", "c", "rare", "scarce"], n, p=[0.4, 0.3, 0.288, 0.006, 0.006])
    member = random.random(n) < 0.5
    signal = 2 * strong + 0.4 * weak + 1.5 * (kind == "c") + 0.5 * random.normal(size=n)
    target: Any = (signal * 3 + 10).round(3)
    if task == "binary":
        # The positive class is the first in order: contributions must be turned.
        target = np.where(signal > 1.2, "bought", "left")
    elif task == "multiclass":
        target = np.digitize(signal, [-0.8, 1.2])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    times = [start + timedelta(hours=int(h)) for h in random.integers(0, 5000, n)]
    holes = random.random(n) < 0.1
    return {
        "strong": strong.tolist(),
        "kind": [None if hole else k for k, hole in zip(kind.tolist(), holes, strict=True)],
        "weak": np.where(holes, None, weak.astype(object)).tolist(),
        "noise": noise.tolist(),
        "member": member.tolist(),
        "when": times,
        "note": [f"word{w} of {v}" for w, v in random.integers(0, 400, (n, 2)).tolist()],
        "y": target.tolist(),
    }


@dataclass(frozen=True)
class World:
    """A holdout and the folder of a model of each family."""

    task: str
    train: Path
    holdout: Path
    home: Path

    def model(self, name: str, estimator: Any = None) -> Path:
        """Return the folder of a fitted model, made once."""
        from penstock.training.environment import libraries
        from penstock.training.estimators import build, family
        from penstock.training.saving import save_model

        folder = self.home / name
        if folder.exists():
            return folder
        record = json.loads((self.home / "features" / "features.json").read_text())
        raw = read_table(self.train)
        task: Any = self.task
        columns = [
            {"name": c["name"], "type": c["type"]} for c in record["columns"] if c["kind"] != "drop"
        ]
        from penstock.records.dataset import Column

        used = tuple(Column(**column) for column in columns)
        transformer = load_trusted(self.home / "features" / TRANSFORMER_NAME)
        order = list(transformer.feature_names_in_)
        used = tuple(sorted(used, key=lambda column: order.index(column.name)))
        frame = to_frame(raw, used)
        target = np.array(raw.column("y").to_pylist())
        if estimator is None:
            chosen: Any = name
            settings = {**family(chosen, task=task).defaults, **FEW.get(name, {})}
            estimator = build(chosen, settings, task=task, seed=3)
        estimator = estimator.fit(transformer.transform(frame), target)
        binary = task == "binary"
        save_model(
            folder,
            transformer=transformer,
            estimator=estimator,
            frame=frame,
            record=Model(
                name=name,
                task=task,
                target="y",
                classes=tuple(c.item() for c in getattr(estimator, "classes_", ())),
                positive="bought" if binary else None,
                threshold=0.4 if binary else None,
                columns=used,
                metric=METRIC[task],
                score=0.5,
                parameters={},
                dataset="rows1:00000000000000000000000000000000",
                seed=3,
                libraries=libraries(),
                trusted_types=(),
            ),
        )
        return folder

    def explained(self, name: str) -> tuple[Explanation, str]:
        """Return what is found of a model, and its page, both made once."""
        folder, out = self.model(name), self.home / f"{name}-explained"
        if not out.exists():
            explained(self, folder, out)
        return Explanation.read(out / "e.json"), (out / "e.html").read_text()


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], World]:
    import pyarrow as pa

    made: dict[str, World] = {}

    def get(task: str) -> World:
        if task not in made:
            home = tmp_path_factory.mktemp(task)
            train, holdout = home / "train", home / "holdout"
            write_dataset([pa.table(rows(task, 700, seed=1))], output=train, source="test")
            write_dataset([pa.table(rows(task, 500, seed=2))], output=holdout, source="test")
            fit_features(
                train,
                target="y",
                spec=FeaturesSpec(text_buckets=16, rare_share=0.02, columns={"note": "text"}),
                output=home / "features",
                report=home / "features.html",
            )
            made[task] = World(task=task, train=train, holdout=holdout, home=home)
        return made[task]

    return get


def explained(world: World, folder: Path, out: Path, **options: Any) -> Explanation:
    found = explain(
        world.holdout, model=folder, output=out / "e.json", report=out / "e.html", **options
    )
    assert Explanation.read(out / "e.json") == found
    return found


def _logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


CASES = [
    pytest.param(family, task, marks=[] if task in FIRST[family] else [pytest.mark.long])
    for family in FAMILIES
    for task in TASKS
]


@pytest.mark.parametrize(("family", "task"), CASES)
def test_contributions_add_up_to_the_models_own_answer(
    worlds: Callable[[str], World], task: str, family: str
) -> None:
    world = worlds(task)
    folder = world.model(family)
    found, _ = world.explained(family)
    assert found.exact
    assert found.rows == 500
    # XGBoost itself adds its trees as float32.
    near = 1e-5 if family == "xgboost" else 1e-9
    assert found.largest_gap < near * max(1, max(abs(e.output) for e in found.examples))
    names = [c.name for c in Model.read(folder / "penstock.json").columns]
    assert {"strong", "kind", "weak", "noise", "member", "when", "note"} <= set(names)
    for example in found.examples:
        assert set(example.contributions) == set(example.values) == set(names)
        total = example.base + sum(example.contributions.values())
        assert total == pytest.approx(example.output, rel=near, abs=near)
        if task == "binary" and not family.endswith(("forest", "trees")):
            assert found.unit == "log-odds of bought"
            assert example.output == pytest.approx(_logit(example.score), abs=1e-6)
        elif task != "multiclass" or family.endswith(("forest", "trees")):
            assert example.output == pytest.approx(example.score, abs=1e-9)
        if task == "multiclass":
            assert example.of in ("0", "1", "2")


@pytest.mark.parametrize("family", ["xgboost", "lightgbm"])
@pytest.mark.parametrize("task", TASKS)
def test_the_values_are_those_of_the_library_that_grew_the_trees(family: str, task: str) -> None:
    """TreeSHAP as XGBoost and LightGBM have it, which the library shap calls for them."""
    from penstock.explanation._tree_shap import tree_shap
    from penstock.training.estimators import build

    random = np.random.default_rng(4)
    x = random.normal(size=(400, 5))
    x[random.random(x.shape) < 0.1] = np.nan
    signal = np.nan_to_num(x[:, 0]) + np.nan_to_num(x[:, 1] * x[:, 2])
    targets = {
        "binary": signal > 0,
        "multiclass": np.digitize(signal, [-1, 1]),
        "regression": signal,
    }
    learner = build(family, {"n_estimators": 20}, task=task, seed=1)  # type: ignore[arg-type]
    grown = learner.grow(x, targets[task])
    ensemble = grown.model(x).ensemble()
    booster = grown.booster.booster
    if family == "xgboost":
        import xgboost

        said = booster.predict(xgboost.DMatrix(x), pred_contribs=True)
    else:
        said = booster.predict(x, pred_contrib=True)
    outputs = len(ensemble.offset)
    said = np.asarray(said, dtype=np.float64).reshape(len(x), outputs, 6)
    near = 1e-4 if family == "xgboost" else 1e-10
    for output in range(outputs):
        values, base = tree_shap(ensemble, x, np.full(len(x), output))
        np.testing.assert_allclose(values, said[:, output, :5], rtol=0, atol=near)
        np.testing.assert_allclose(base, said[:, output, 5], rtol=0, atol=near)


def by_shap(sample: Any) -> tuple[np.ndarray, np.ndarray]:
    """The SHAP values of a sample by the library shap, by column, and what they are added to."""
    from penstock.explanation._attribution import _inner
    from penstock.explanation._columns import origins, summed

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shap

        features, estimator = (step for _, step in sample.model.typed.steps)
        x, of = features.transform(sample.frame), origins(features)
        if hasattr(estimator, "steps"):
            z = estimator[:-1].transform(x)
            of = of[_inner(estimator[:-1], width=x.shape[1])]
            everything = shap.maskers.Independent(z, max_samples=len(z))
            explainer = shap.LinearExplainer(estimator[-1], everything)
            values = np.asarray(explainer.shap_values(z))
        else:
            explainer = shap.TreeExplainer(estimator, feature_perturbation="tree_path_dependent")
            values = np.asarray(explainer.shap_values(x))
    values = summed(values, of, columns=len(sample.columns))
    base = np.broadcast_to(explainer.expected_value, (len(x), *values.shape[2:]))
    record = sample.model.record
    if values.ndim == 3:
        positive = record.task == "binary" and record.classes.index(record.positive)
        said = sample.scores.argmax(axis=1) if record.task == "multiclass" else int(positive)
        rows = np.arange(len(x))
        return values[rows, :, said], base[rows, said]
    turned = record.task == "binary" and record.classes.index(record.positive) == 0
    return (-values, -base) if turned else (values, base)


@pytest.mark.parametrize(
    ("family", "task"), [case for case in CASES if case.values[0] not in ("xgboost", "lightgbm")]
)
@pytest.mark.xdist_group("shap")
def test_the_values_are_those_of_the_library_shap(
    worlds: Callable[[str], World], task: str, family: str
) -> None:
    from penstock.explanation._attribution import attribute
    from penstock.explanation._sample import draw

    world = worlds(task)
    sample = draw(world.holdout, model=world.model(family), rows=500, seed=20)
    found = attribute(sample, keep=np.array([3], dtype=np.int64), seed=20)
    values, base = by_shap(sample)
    assert np.abs(values).max() > 0.05
    np.testing.assert_allclose(found.values, values[found.places], rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.base, base[found.places], rtol=0, atol=1e-10)


@pytest.mark.parametrize("task", TASKS)
def test_what_matters_comes_before_what_does_not(worlds: Callable[[str], World], task: str) -> None:
    found, page = worlds(task).explained("hist_gradient_boosting")
    assert found.importances[0].column == "strong"
    by_name = {i.column: i for i in found.importances}
    strong, noise = by_name["strong"].permutation, by_name["noise"].permutation
    assert strong is not None
    assert noise is not None
    assert strong.low > 0.1
    assert noise.low <= 0 < strong.value
    assert by_name["kind"].attribution > by_name["noise"].attribution
    for importance in found.importances:
        assert len(importance.deciles) == 11
        assert list(importance.deciles) == sorted(importance.deciles)
    curves = [d for d in found.dependences if d.column == "strong"]
    assert len(curves) == (3 if task == "multiclass" else 1)
    if task != "multiclass":
        assert curves[0].answers[-1] > curves[0].answers[0] + 0.3
        kinds = next(d for d in found.dependences if d.column == "kind")
        assert kinds.values[-1] == "(missing)"
        level = dict(zip(kinds.values, kinds.answers, strict=True))
        assert level["c"] > level["a"]
    target = "probability of bought" if task == "binary" else "y"
    if task != "multiclass":
        # As it is written: a capital letter would make another name of it.
        assert f">{target}</text>" in page
        assert f">{target.capitalize()}</text>" not in page


def test_the_permutation_is_measured_in_the_primary_metric(
    worlds: Callable[[str], World],
) -> None:
    world = worlds("binary")
    folder = world.model("hist_gradient_boosting")
    found, _ = world.explained("hist_gradient_boosting")
    table = read_table(world.holdout)
    loaded = models.load(folder)
    frame = loaded.frame(table)
    truth = np.array([value == "bought" for value in table.column("y").to_pylist()]).astype(int)
    whole = METRICS["roc_auc"].of(truth, loaded.scores(frame))
    random, losses = np.random.default_rng(99), []
    for _ in range(20):
        shuffled = frame.assign(strong=random.permutation(frame["strong"].to_numpy()))
        losses.append(whole - METRICS["roc_auc"].of(truth, loaded.scores(shuffled)))
    strong = next(i for i in found.importances if i.column == "strong")
    assert strong.permutation is not None
    assert strong.permutation.value == pytest.approx(np.mean(losses), abs=0.02)


def test_of_many_columns_the_strongest_are_shuffled_and_it_is_said(
    worlds: Callable[[str], World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from penstock.explanation import _importance

    monkeypatch.setattr(_importance, "MOST_COLUMNS", 2)
    world = worlds("binary")
    found = explained(world, world.model("hist_gradient_boosting"), tmp_path)
    measured = [i.column for i in found.importances if i.permutation is not None]
    assert measured == [i.column for i in found.importances[:2]]
    assert "is measured for 2 of" in found.notes[0]


def test_the_same_inputs_give_the_same_record(
    worlds: Callable[[str], World], tmp_path: Path
) -> None:
    world = worlds("binary")
    folder = world.model("random_forest")
    first = explained(world, folder, tmp_path / "a", rows=120)
    again = explained(world, folder, tmp_path / "b", rows=120)
    other = explained(world, folder, tmp_path / "c", rows=120, seed=21)
    assert first == again
    assert first.rows == 120
    assert (tmp_path / "a/e.html").read_text() == (tmp_path / "b/e.html").read_text()
    assert first.importances != other.importances


def test_the_three_rows_are_rows_of_the_holdout(worlds: Callable[[str], World]) -> None:
    world = worlds("binary")
    folder = world.model("random_forest")
    found, _ = world.explained("random_forest")
    loaded = models.load(folder)
    scores = loaded.scores(loaded.frame(read_table(world.holdout)))
    high, near, low = found.examples
    assert high.score == scores.max()
    assert low.score == scores.min()
    assert abs(near.score - 0.4) == pytest.approx(np.abs(scores - 0.4).min())
    held = read_table(world.holdout).to_pylist()
    wanted = held[int(scores.argmax())]
    assert high.values["strong"] == wanted["strong"]
    assert high.values["when"] == wanted["when"].isoformat()


def test_what_shap_does_not_know_is_estimated_and_said_so(
    worlds: Callable[[str], World], tmp_path: Path
) -> None:
    from sklearn.dummy import DummyClassifier

    world = worlds("binary")
    found = explained(
        world, world.model("majority", DummyClassifier(strategy="prior")), tmp_path, rows=60
    )
    assert not found.exact
    assert "drawn orders" in found.method
    assert all(i.attribution == 0 for i in found.importances)
    assert "says the same of every row" in (tmp_path / "e.html").read_text()


def test_trees_too_large_for_the_budget_are_approximated_and_said_so(
    worlds: Callable[[str], World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from penstock.explanation import _attribution
    from penstock.explanation._tree_shap import cost
    from penstock.model.trees import trees_of

    world = worlds("regression")
    folder = world.model("random_forest")
    monkeypatch.setattr(_attribution, "BUDGET", 1e6)
    found = explained(world, folder, tmp_path)
    assert not found.exact
    assert "Saabas" in found.method
    assert found.importances[0].column == "strong"
    ensemble = trees_of(models.load(folder).typed[-1])
    assert ensemble is not None
    monkeypatch.setattr(_attribution, "BUDGET", 100.5 * cost(ensemble))
    fewer = explained(world, folder, tmp_path / "fewer")
    assert fewer.exact
    assert fewer.rows == 100
    assert [e.score for e in fewer.examples] == [e.score for e in found.examples]


def test_a_holdout_without_a_column_is_named(
    worlds: Callable[[str], World], tmp_path: Path
) -> None:
    import pyarrow as pa

    world = worlds("binary")
    table = pa.table(rows("binary", 60, seed=5)).drop_columns(["weak"])
    write_dataset([table], output=tmp_path / "less", source="test")
    with pytest.raises(InputError, match="does not have the columns 'weak'"):
        explain(
            tmp_path / "less",
            model=world.model("linear"),
            output=tmp_path / "e.json",
            report=tmp_path / "e.html",
        )
    assert not (tmp_path / "e.json").exists()
    assert not (tmp_path / "e.html").exists()


@pytest.mark.long
def test_it_writes_nothing_outside_of_its_outputs(
    worlds: Callable[[str], World], tmp_path: Path
) -> None:
    """A container may have no home that can be written; no library may need one for its cache."""
    world = worlds("binary")
    folder = world.model("hist_gradient_boosting")
    home = tmp_path / "home"
    home.mkdir()
    code = (
        "import sys; from pathlib import Path; from penstock.explanation.explain import explain; "
        "a = [Path(p) for p in sys.argv[1:]]; "
        "explain(a[0], model=a[1], output=a[2], report=a[3], rows=60); "
        "print(*sorted({'shap', 'numba', 'llvmlite'} & set(sys.modules)))"
    )
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, world.holdout, folder, out / "e", out / "r"],
        cwd=home,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", "MPLCONFIGDIR": str(tmp_path / "mpl")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "", "a compiler of 200 MB is not in the image"
    assert sorted(path.name for path in out.iterdir()) == ["e", "r"]
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_the_page_says_which_columns_and_how(worlds: Callable[[str], World]) -> None:
    _, page = worlds("binary").explained("linear")
    for text in ("strong", "log-odds of bought", "The highest score", "partial dependence"):
        assert text in page
    assert "<script" not in page
    assert 'href="http' not in page
    assert "src=" not in page
