"""What training holds of the rows: lists of rows and small columns, and a sample of too many."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.base import clone

from penstock.data.table import write_dataset
from penstock.data.table.frames import read_frame
from penstock.features.fit import fit_features
from penstock.features.spec import FeaturesSpec
from penstock.metrics import METRICS
from penstock.model import load, load_trusted
from penstock.records.dataset import Dataset
from penstock.records.model import Model
from penstock.registry.card import model_card
from penstock.training import crossval, estimators, feature_columns, preparing
from penstock.training.baselines import rebuild_constant
from penstock.training.crossval import CrossValidation
from penstock.training.estimators import build, family
from penstock.training.feature_columns import read_columns
from penstock.training.folds import make_folds
from penstock.training.inputs import read_problem
from penstock.training.preparing import fit_whole
from penstock.training.sampling import sampled

Tables = Callable[..., dict[str, Any]]
ROWS = 300


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A table with every kind of feature: its folder, its transformer, its record, its frame."""
    chance = np.random.default_rng(4)
    words = np.array(["gate", "water", "wheel", "river", "pipe", "dam", "flow", "mill"])

    def holed(values: Any) -> list[Any]:
        return [None if chance.random() < 0.1 else v for v in np.asarray(values).tolist()]

    table = {
        "whole": holed(chance.integers(0, 50, ROWS)),
        "x": holed(chance.normal(size=ROWS)),
        "rarely": [1.5] * 4 + [None] * (ROWS - 4),
        "flag": holed(chance.random(ROWS) < 0.5),
        "code": holed(chance.choice([0.0, -0.0, 1.0, 7.5, 9.0], ROWS)),
        "kind": holed([f"level {min(int(v), 20)}" for v in chance.exponential(4, ROWS)]),
        "remark": [" ".join(chance.choice(words, 6)) for _ in range(ROWS)],
        "at": [datetime(2025, 1, 1, tzinfo=UTC) + timedelta(hours=5 * i) for i in range(ROWS)],
        "y": [i % 2 for i in range(ROWS)],
    }
    folder = tmp_path_factory.mktemp("part")
    write_dataset([pa.table(table)], output=folder / "train", source="a test")
    spec = FeaturesSpec(
        columns={"code": "category"}, rare_share=0.03, max_levels=8, text_buckets=16
    )
    record = fit_features(
        folder / "train", target="y", spec=spec, output=folder / "features", report=folder / "page"
    )
    frame = read_frame(folder / "train", [column.name for column in record.inputs()])
    return folder / "train", load_trusted(folder / "features" / "features.skops"), record, frame


def anew(transformer: Any) -> Any:
    """A transformer that counts the levels of the rows it is fitted on."""
    plain = clone(transformer)
    for _, step, _ in plain.transformers:
        encoder = step["levels"] if hasattr(step, "steps") else step
        if hasattr(encoder, "max_levels"):
            encoder.set_params(levels=None, others=None)
    return plain


@pytest.mark.parametrize("piece", [37, 1 << 15])
def test_features_of_any_fold_are_those_of_a_transformer_fitted_on_it(
    fitted: Any, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, transformer, record, frame = fitted
    monkeypatch.setattr(feature_columns, "PIECE", piece)
    columns = read_columns(folder, transformer, record.inputs())
    whole = columns.fitted.matrix(np.arange(ROWS))
    assert np.array_equal(whole, transformer.transform(frame), equal_nan=True)
    chance = np.random.default_rng(1)
    for count in (20, 150, 150, 280):
        rows = np.sort(chance.choice(ROWS, count, replace=False))
        out = np.setdiff1d(np.arange(ROWS), rows)
        plain = anew(transformer)
        x = plain.fit_transform(frame.iloc[rows])
        x_out = plain.transform(frame.iloc[out])
        empty = np.isnan(x).all(axis=0)
        x[:, empty] = x_out[:, empty] = 0.0
        features = columns.learn(rows)
        assert np.array_equal(features.matrix(rows), x, equal_nan=True)
        assert np.array_equal(features.matrix(out), x_out, equal_nan=True)
        each = np.stack(list(features.columns(out)), axis=1)
        assert np.array_equal(each, x_out, equal_nan=True)


def test_features_of_a_sample_are_those_rows_of_all(fitted: Any) -> None:
    folder, transformer, record, frame = fitted
    # Row 0 knows what few rows know.
    drawn = 4 + np.random.default_rng(2).choice(ROWS - 4, 89, replace=False)
    chosen = np.sort([0, *drawn])
    columns = read_columns(folder, transformer, record.inputs(), chosen)
    found = columns.fitted.matrix(np.arange(90))
    assert np.array_equal(found, transformer.transform(frame)[chosen], equal_nan=True)
    # Whether all values of a category are known is about all rows.
    assert columns.texts["kind"] == set(frame["kind"].dropna())


def test_a_column_that_no_row_of_a_sample_knows_is_constant(fitted: Any) -> None:
    """Histograms of gradient boosting stumble over a column without a number."""
    folder, transformer, record, _ = fitted
    chosen = np.arange(4, ROWS)
    columns = read_columns(folder, transformer, record.inputs(), chosen)
    rows = np.arange(len(chosen))
    x = columns.fitted.matrix(rows)
    assert not np.isnan(x).all(axis=0).any()
    assert set(x[:, record.outputs.index("rarely")]) == {0.0}
    model = build("hist_gradient_boosting", {"max_iter": 2}, task="binary", seed=0)
    fit_whole(model, columns.fitted, rows % 2, form="float64")


def test_forests_are_the_same_of_the_32_bits_that_they_take(fitted: Any) -> None:
    folder, transformer, record, _ = fitted
    features = read_columns(folder, transformer, record.inputs()).fitted
    rows, y = np.arange(ROWS), np.arange(ROWS) % 2
    x = features.matrix(rows)
    for name in ("random_forest", "extra_trees"):
        assert estimators.form(name) == "float32"
        model = build(name, family(name, task="binary").defaults, task="binary", seed=3)
        doubles = clone(model).fit(x, y).predict_proba(x)
        ours = preparing.fit_whole(clone(model), features, y, form="float32")[0]
        assert np.array_equal(ours.predict_proba(x), doubles)


def test_steps_before_a_linear_model_are_the_same_from_pieces(
    fitted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, transformer, record, _ = fitted
    features = read_columns(folder, transformer, record.inputs()).fitted
    rows, y = np.arange(ROWS), np.arange(ROWS) % 2
    model = build("linear", {"C": 1.0}, task="binary", seed=3)
    x = features.matrix(rows)
    plain = clone(model).fit(x, y)
    monkeypatch.setattr(feature_columns, "PIECE", 64)
    monkeypatch.setattr(preparing, "WHOLE", 64)
    ours = preparing.fit_whole(clone(model), features, y, form="scaled")[0]
    assert np.array_equal(ours["impute"].statistics_, plain["impute"].statistics_)
    assert np.array_equal(ours["impute"].indicator_.features_, plain["impute"].indicator_.features_)
    for name in ("mean_", "scale_"):
        found, expected = getattr(ours["scale"], name), getattr(plain["scale"], name)
        assert np.allclose(found, expected, rtol=1e-12, atol=0)
    assert np.allclose(ours.predict_proba(x), plain.predict_proba(x), rtol=1e-6)


def test_a_sample_keeps_the_share_of_each_class_and_some_of_the_rarest() -> None:
    target = np.random.default_rng(0).permutation(np.repeat(["a", "b", "c"], [8000, 1950, 50]))
    chosen = sampled(target, rows=1000, by_class=True, seed=5)
    assert np.array_equal(chosen, np.unique(chosen))
    names, counts = np.unique(target[chosen], return_counts=True)
    assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == {"a": 800, "b": 195, "c": 50}
    assert np.array_equal(chosen, sampled(target, rows=1000, by_class=True, seed=5))
    assert not np.array_equal(chosen, sampled(target, rows=1000, by_class=True, seed=6))
    numbers = sampled(np.arange(5000.0), rows=700, by_class=False, seed=5)
    assert len(np.unique(numbers)) == 700


def test_a_training_on_a_sample_says_so_everywhere(bench: Any, make_table: Tables) -> None:
    bench.prepare(make_table(1500), columns={"kind": "drop", "amount": "drop"})
    record = bench.train(trials=1, max_rows=1000)
    assert record.sample is not None
    assert record.sample.of == 1500
    assert sum(record.class_rows) == record.sample.rows
    assert 998 <= record.sample.rows <= 1000
    said = f"Learned from a sample of {record.sample.rows:,} of the 1,500 rows"
    assert said in (bench.folder / "model.html").read_text()
    written = Model.read(bench.folder / "model" / "penstock.json")
    assert written.sample == record.sample
    training = Dataset.read(bench.folder / "model" / "dataset.json")
    card = model_card(written, digest="d", name="shop", training=training)
    assert said in card.markdown
    assert "Columns that are no feature of the model: kind, amount." in card.markdown


def test_a_class_that_is_more_frequent_in_the_sample_is_named(
    bench: Any, make_table: Tables
) -> None:
    table = make_table(2000)
    table["y"] = ["rare" if at % 20 == 0 else "common" for at in range(2000)]
    bench.prepare(table, columns={"kind": "drop", "amount": "drop"})
    record = bench.train(trials=1, candidates=("linear",), positive="rare", max_rows=1000)
    assert record.sample is not None
    # 50 of 1,000 rows would be rare: fewer than 100, so all 100 are taken.
    assert record.class_rows == (950, 100)
    assert record.sample.more_often == {"rare": 1.9}
    said = "Of rare classes more rows were drawn than their share: rare (1.9 times)."
    assert said in (bench.folder / "model.html").read_text()
    training = Dataset.read(bench.folder / "model" / "dataset.json")
    assert said in model_card(record, digest="d", name="shop", training=training).markdown


def test_a_sample_changes_neither_the_metric_nor_what_the_mean_is_of(
    bench: Any, make_table: Tables
) -> None:
    table = make_table(1500)
    # Of 160 rows the holdout has some 40; of the 106 in the sample it would have 26, too few.
    table["kind"] = ["rare" if at < 160 else f"class {at % 2}" for at in range(1500)]
    bench.prepare(table, target="kind")
    settings = {"trials": 1, "max_rows": 1000, "folds": 2}
    assert bench.train(target="kind", **settings).metric == "roc_auc_ovr"

    bench.fit(target="amount", name="of-amount")
    (bench.folder / "features").rename(bench.folder / "of-kind")
    (bench.folder / "of-amount").rename(bench.folder / "features")
    bench.train(target="amount", name="number", **settings)
    again = rebuild_constant(bench.folder / "number", output=bench.folder / "again")
    assert again is not None
    told = {column.name: [None] for column in load(bench.folder / "number").record.columns}
    first, second = (
        one.scores(one.frame(told))
        for one in map(load, (bench.folder / "number-baselines" / "mean", again / "mean"))
    )
    assert first.tolist() == second.tolist()
    assert first[0] == pytest.approx(np.mean(table["amount"]))


def test_a_training_on_all_rows_says_nothing_of_a_sample(bench: Any, make_table: Tables) -> None:
    bench.prepare(make_table(200))
    assert bench.train(trials=1).sample is None
    assert "sample of" not in (bench.folder / "model.html").read_text()


@pytest.mark.parametrize(
    "name",
    [
        "hist_gradient_boosting",
        *(pytest.param(name, marks=pytest.mark.long) for name in ("linear", "random_forest")),
    ],
)
def test_many_rows_are_scored_as_few_are(
    bench: Any, make_table: Tables, monkeypatch: pytest.MonkeyPatch, name: Any
) -> None:
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
    model = build(name, family(name, task="binary").defaults, task="binary", seed=3)
    small = CrossValidation(given, folds, METRICS["roc_auc"])
    expected = [small.score(model, fold, family=name) for fold in range(3)]
    monkeypatch.setattr(crossval, "LARGE", 0)
    monkeypatch.setattr(crossval, "PIECE", 50)
    large = CrossValidation(given, folds, METRICS["roc_auc"])
    assert large.is_large
    for fold in (1, 0, 2, 1):
        found = large.score(model, fold, family=name)
        assert np.allclose(found.predictions, expected[fold].predictions, rtol=1e-12, atol=0)
        assert found.value == expected[fold].value
