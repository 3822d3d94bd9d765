"""Calibrated probabilities: learned on rows held out, and the same in every form of a model."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from penstock.bundle import scorer as bundled
from penstock.bundle.make import rules_for
from penstock.data.table import read_table
from penstock.errors import InputError
from penstock.explanation.explain import explain
from penstock.export.export import export
from penstock.model import labels_of, load
from penstock.model.calibrated import calibrated, uncalibrated
from penstock.model.onnx import runner
from penstock.records.export import MODEL_NAME
from penstock.training.calibrating import isotonic_map, sigmoid_map

Tables = Callable[..., dict[str, Any]]


def curved(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities that are too sure of themselves, the true ones, and what happened."""
    random = np.random.default_rng(3)
    margin = random.normal(size=rows)
    true = 1 / (1 + np.exp(0.5 - margin))
    return 1 / (1 + np.exp(-3 * margin)), true, random.random(rows) < true


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_a_map_comes_near_the_truth_and_keeps_the_order(method: str) -> None:
    stated, true, happened = curved(20_000)
    if method == "sigmoid":
        found = sigmoid_map(happened, stated, log_odds=True)
        assert found["slope"][0] == pytest.approx(1 / 3, abs=0.02)
        assert found["offset"][0] == pytest.approx(-0.5, abs=0.05)
    else:
        found = isotonic_map(happened, stated)
        assert 10 < len(found["x"]) <= 202
        assert np.diff(found["x"]).min() >= 1e-5
        assert np.diff(found["y"]).min() > 0
    put_right = calibrated((found,), stated)
    assert np.abs(put_right - true).mean() < 0.012 < 0.1 < np.abs(stated - true).mean()
    assert (np.diff(put_right[np.argsort(stated)]) >= 0).all()
    ends = calibrated((found,), np.array([0.0, 1.0]))
    assert 0 < ends[0] < 0.1
    assert 0.9 < ends[1] < 1


def test_what_no_map_can_put_right_is_refused() -> None:
    stated, _, happened = curved(2_000)
    for fit in (isotonic_map, lambda y, p: sigmoid_map(y, p, log_odds=False)):
        with pytest.raises(InputError, match="tells the classes apart no better than chance"):
            fit(~happened, stated)
    # A mean of equal numbers need not be the number: a slope over the last digits is no slope.
    for log_odds in (True, False):
        with pytest.raises(InputError, match="tells the classes apart no better than chance"):
            sigmoid_map(happened, np.full(len(stated), 0.1), log_odds=log_odds)


@pytest.mark.parametrize(
    ("target", "settings"),
    [
        pytest.param(
            "y",
            {"calibration": "isotonic", "candidates": ("hist_gradient_boosting",)},
            marks=pytest.mark.long,
        ),
        ("y", {"calibration": "sigmoid", "positive": "bad", "candidates": ("random_forest",)}),
        pytest.param(
            "kind", {"calibration": "sigmoid", "candidates": ("linear",)}, marks=pytest.mark.long
        ),
        ("kind", {"calibration": "isotonic", "candidates": ("linear",)}),
    ],
)
def test_every_form_of_a_model_has_the_calibrated_scores(
    bench: Any, make_table: Tables, target: str, settings: dict[str, Any]
) -> None:
    others = {"y", "kind", "amount"} - {target}
    train = bench.prepare(make_table(1_500), target=target, columns=dict.fromkeys(others, "drop"))
    folder = bench.folder / "model"
    bench.train(target=target, trials=2, folds=2, class_weight="balanced", **settings)
    loaded = load(folder)
    record = loaded.record
    found = record.calibration
    assert found is not None
    assert (found.method, found.rows, found.judged) == (settings["calibration"], 1500, 1500)
    assert found.after.brier.value < found.before.brier.high
    assert found.text in (bench.folder / "model.html").read_text()

    frame = loaded.frame(read_table(train))
    scores = loaded.scores(frame)
    features, estimator = (step for _, step in loaded.typed.steps)
    own = uncalibrated(estimator).predict_proba(features.transform(frame))
    assert np.abs(estimator.predict_proba(features.transform(frame)) - own).max() > 1e-3
    if target == "y":
        own = own[:, record.classes.index(record.positive)]
        assert (np.diff(scores[np.argsort(own)]) >= 0).all()
        happened = np.asarray(read_table(train).column("y")) == record.positive
        assert brier_score_loss(happened, scores) < 0.25
    else:
        assert scores.sum(axis=1) == pytest.approx(1)
    assert np.array_equal(loaded.pipeline.predict(frame), loaded.labels(frame))

    made = export(folder, holdout=train, output=bench.folder / "onnx")
    assert made.reason == ""
    assert made.max_difference < 1e-10
    content = (bench.folder / "onnx" / MODEL_NAME).read_bytes()
    columns = {str(n): v.tolist() if v.dtype == object else v.to_numpy() for n, v in frame.items()}
    served = runner(content, made.inputs, where="")(columns)
    assert np.abs(served - scores).max() < 1e-10
    assert np.array_equal(labels_of(record, served), loaded.labels(frame))
    (bench.folder / "onnx" / "rules.json").write_text(json.dumps(rules_for(record, made)))
    rows = [{n: None if v is None or v != v else v for n, v in r.items()}
            for r in frame.head(20).to_dict("records")]  # fmt: skip
    edge = bundled.Model(bench.folder / "onnx").predict(rows)
    assert edge["predictions"] == labels_of(record, served[:20]).tolist()
    given = np.array(edge["probabilities"])
    of = given if target == "kind" else given[:, record.classes.index(record.positive)]
    assert of == pytest.approx(served[:20], abs=1e-15)

    explained = explain(
        train, model=folder, output=bench.folder / "e.json", report=bench.folder / "e.html",
        rows=80,
    )  # fmt: skip
    assert explained.unit.endswith(" before calibration")


def test_figures_of_folds_by_time_are_of_maps_from_earlier_ones(
    bench: Any, make_table: Tables
) -> None:
    bench.prepare(
        make_table(1_200) | {"at": range(1_200)},
        columns={"kind": "drop", "amount": "drop", "at": "drop"},
    )
    folds = {"number": 3, "kind": "time", "column": "at"}
    record = bench.train(folds=folds, trials=1, calibration="sigmoid")
    assert record.calibration is not None
    assert (record.calibration.rows, record.calibration.judged) == (900, 600)
    constant = load(bench.folder / "model-baselines" / "majority").record
    assert constant.calibration is None


@pytest.mark.parametrize("until", [900, 600])
def test_a_class_that_early_folds_do_not_hold_out_is_in_no_figure_or_refused(
    bench: Any, make_table: Tables, until: int
) -> None:
    table = make_table(1_200)
    # The third class is learned from the first rows, and held out from a fold on.
    kinds = [min(kind, 1) if 300 <= at < until else kind for at, kind in enumerate(table["kind"])]
    bench.prepare(
        {**table, "kind": kinds, "at": range(1_200)},
        target="kind",
        columns={"y": "drop", "amount": "drop", "at": "drop"},
    )
    settings = {
        "target": "kind", "task": "multiclass", "candidates": ("linear",), "trials": 1,
        "calibration": "sigmoid", "folds": {"number": 3, "kind": "time", "column": "at"},
    }  # fmt: skip
    if until == 900:
        with pytest.raises(InputError, match="too few folds hold out a row of the class 2,"):
            bench.train(**settings)
        return
    record = bench.train(**settings)
    assert (record.calibration.rows, record.calibration.judged) == (900, 300)


def test_a_regression_has_nothing_to_calibrate(bench: Any, make_table: Tables) -> None:
    bench.prepare(make_table(), target="amount", columns={"y": "drop", "kind": "drop"})
    with pytest.raises(InputError, match="a regression states no probabilities"):
        bench.train(target="amount", calibration="sigmoid")
    assert bench.left() == set()


def test_isotonic_regression_of_few_rows_is_refused(bench: Any, make_table: Tables) -> None:
    bench.prepare(make_table(), columns={"kind": "drop", "amount": "drop"})
    with pytest.raises(InputError, match="needs 1,000 rows, and folds hold out 240"):
        bench.train(trials=1, calibration="isotonic")
    assert bench.left() == set()
