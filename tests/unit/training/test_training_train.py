"""Training from end to end: what is written, what is tracked, that it is repeatable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from running_process import silent_port

from penstock.data.table import read_dataset, read_table
from penstock.errors import InputError, IntegrityError, PenstockError, ServiceError
from penstock.metrics import codes
from penstock.model import load
from penstock.records.model import Model

Tables = Callable[..., dict[str, Any]]


def scores_of(folder: Path, train: Path) -> np.ndarray:
    loaded = load(folder)
    return loaded.scores(loaded.frame(read_table(train)))


def test_the_model_starts_at_the_raw_columns_and_answers_as_recorded(
    binary: tuple[Any, Model],
) -> None:
    bench, record = binary
    loaded = load(bench.folder / "model")
    assert loaded.record == record
    assert [column.name for column in record.columns] == ["x one", "job", "noise"]
    assert record.classes == ("bad", "good <b>")
    assert record.positive == "good <b>"
    assert record.metric == "roc_auc"
    assert record.dataset == read_dataset(bench.folder / "train").content
    table = read_table(bench.folder / "train")
    truth = np.array(table.column("y").to_pylist())
    assert (loaded.labels(loaded.frame(table)) == truth).mean() > 0.8
    assert 0.8 < record.score < 1.0
    assert record.threshold is not None
    assert 0 < record.threshold < 1


def test_the_baselines_are_models_of_the_same_form(binary: tuple[Any, Model]) -> None:
    bench, record = binary
    folder = bench.folder / "model-baselines"
    assert {path.name for path in folder.iterdir()} == {"majority", "linear"}
    majority, linear = load(folder / "majority"), load(folder / "linear")
    frame = majority.frame(read_table(bench.folder / "train"))
    assert set(majority.labels(frame)) == {"bad"}
    assert len(set(majority.scores(frame))) == 1
    assert majority.record.score == pytest.approx(0.5)
    assert linear.record.name == "linear"
    assert linear.record.columns == record.columns
    assert 0.7 < linear.record.score <= record.score


def test_mlflow_holds_a_parent_and_a_run_for_each_complete_setting(
    binary: tuple[Any, Model],
) -> None:
    bench, record = binary
    client = MlflowClient(bench.store)
    parent = client.get_run(record.mlflow_run)
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["cv_roc_auc"] == pytest.approx(record.score)
    assert parent.data.params["family"] == record.name
    assert parent.data.tags["penstock.dataset"] == record.dataset
    assert parent.data.tags.get("penstock.commit", "") == record.commit
    assert "scikit-learn" in parent.data.tags["penstock.libraries"]
    nested = client.search_runs(
        [parent.info.experiment_id], f"tags.mlflow.parentRunId = '{record.mlflow_run}'"
    )
    names = {run.info.run_name for run in nested}
    assert {"baseline: majority", "baseline: linear", "2: hist_gradient_boosting"} <= names
    assert {run.info.status for run in nested} == {"FINISHED"}
    for run in nested:
        folds = client.get_metric_history(run.info.run_id, "fold_roc_auc")
        assert len(folds) == 3
        values = [fold.value for fold in folds]
        assert run.data.metrics["cv_roc_auc"] == pytest.approx(np.mean(values))
        assert run.data.metrics["cv_roc_auc_std"] == pytest.approx(np.std(values, ddof=1))
        assert run.data.tags["penstock.dataset"] == record.dataset
    best = max(run.data.metrics["cv_roc_auc"] for run in nested)
    assert record.score == pytest.approx(best)


def test_the_report_stands_alone_and_escapes_the_data(binary: tuple[Any, Model]) -> None:
    bench, _ = binary
    page = (bench.folder / "model.html").read_text()
    assert "good &lt;b&gt;" in page
    assert "good <b>" not in page
    assert "<script" not in page
    for words in ("Leaderboard", "Majority class", "winner", "Threshold", "best so far"):
        assert words in page


def test_the_saved_model_is_one_that_mlflow_loads(binary: tuple[Any, Model]) -> None:
    import mlflow.pyfunc

    bench, record = binary
    model = mlflow.pyfunc.load_model(str(bench.folder / "model"))
    loaded = load(bench.folder / "model")
    frame = loaded.frame(read_table(bench.folder / "train"))
    assert frame["job"].isna().any()
    expected = loaded.pipeline.predict(frame)
    assert np.array_equal(model.predict(frame), expected)
    assert model.metadata.get_input_schema().input_names() == [c.name for c in record.columns]
    assert "scikit-learn==" in (bench.folder / "model" / "requirements.txt").read_text()


@pytest.mark.long
def test_the_same_input_gives_the_same_model_on_any_number_of_threads(
    bench: Any, make_table: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    import joblib

    train = bench.prepare(make_table(), columns={"kind": "drop", "amount": "drop"})
    families = ("random_forest", "hist_gradient_boosting")
    first = bench.train(trials=9, candidates=families)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 1)
    second = bench.train(trials=9, candidates=families, name="again")
    same = {"mlflow_run": ""}
    assert first.model_copy(update=same) == second.model_copy(update=same)
    one, other = scores_of(bench.folder / "model", train), scores_of(bench.folder / "again", train)
    assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("target", "task", "classes", "metric"),
    [("kind", "multiclass", (0, 1, 2), "log_loss"), ("amount", "regression", (), "r2")],
)
def test_the_other_tasks(
    bench: Any, make_table: Tables, target: str, task: str, classes: Any, metric: str
) -> None:
    others = {name: "drop" for name in ("y", "kind", "amount") if name != target}
    train = bench.prepare(make_table(), target=target, columns=others)
    record = bench.train(target=target)
    assert (record.task, record.classes, record.metric) == (task, classes, metric)
    assert record.threshold is None
    assert record.positive is None
    scores = scores_of(bench.folder / "model", train)
    truth = np.array(read_table(train).column(target).to_pylist())
    if task == "multiclass":
        assert scores.shape == (240, 3)
        assert (scores.argmax(axis=1) == truth).mean() > 0.6
    else:
        assert np.corrcoef(scores, truth)[0, 1] > 0.8
        assert {p.name for p in (bench.folder / "model-baselines").iterdir()} == {"mean", "linear"}


def test_a_boolean_target_and_a_given_threshold(bench: Any, make_table: Tables) -> None:
    table = make_table()
    table["y"] = [value == "bad" for value in table["y"]]
    bench.prepare(table, columns={"kind": "drop", "amount": "drop"})
    record = bench.train(trials=1, threshold=0.25, class_weight="balanced")
    assert record.classes == (False, True)
    assert record.positive is True
    assert record.threshold == 0.25
    assert load(bench.folder / "model").labels_of(np.array([0.3])).tolist() == [True]
    assert "was given in training.threshold" in (bench.folder / "model.html").read_text()


def test_a_rare_class_changes_what_is_optimised(bench: Any) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=400)
    table = {"x": x.tolist(), "y": (x + random.normal(size=400) > 2.4).astype(int).tolist()}
    train = bench.prepare(table)
    record = bench.train(trials=1)
    assert record.metric == "average_precision"
    assert "maximises f1" in (bench.folder / "model.html").read_text()
    truth = codes(read_table(train).column("y").to_pylist(), classes=(0, 1), positive=1)
    assert truth.mean() < 0.1
    assert record.threshold is not None
    assert record.threshold < 0.5


def test_an_injected_run_is_used(
    bench: Any, make_table: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient(bench.store)
    experiment = client.create_experiment("injected", artifact_location=bench.folder.as_uri())
    run_id = client.create_run(experiment).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    monkeypatch.setenv("PENSTOCK_IMAGE", "registry/train@sha256:abc")
    monkeypatch.setenv("PENSTOCK_PIPELINE_RUN", "run-7")
    bench.prepare(make_table(60), columns={"kind": "drop", "amount": "drop"})
    record = bench.train(trials=1)
    assert record.mlflow_run == run_id
    tags = client.get_run(run_id).data.tags
    assert tags["penstock.image"] == "registry/train@sha256:abc"
    assert tags["penstock.pipeline_run"] == "run-7"
    nested = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{run_id}'")
    assert len(nested) == 2


def test_mlflow_down_is_found_out_before_anything_is_fitted(bench: Any, make_table: Tables) -> None:
    bench.prepare(make_table(60))
    with silent_port() as port, pytest.raises(ServiceError, match="MLflow does not answer"):
        bench.train(store=f"http://127.0.0.1:{port}", trials=1_000_000)
    assert bench.left() == set()


@pytest.mark.parametrize("last", [False, True], ids=["at the first baseline", "at the very end"])
def test_a_store_that_fails_midway_leaves_nothing(
    bench: Any, make_table: Tables, monkeypatch: pytest.MonkeyPatch, last: bool
) -> None:
    bench.prepare(make_table(60))
    from mlflow.exceptions import MlflowException

    log_batch = MlflowClient.log_batch

    def refuse(*args: Any, **kwargs: Any) -> Any:
        # Only the last call, about the parent run, carries tags.
        if last and not kwargs.get("tags"):
            return log_batch(*args, **kwargs)
        raise MlflowException("the database is locked")

    # A real store cannot be made to fail at this very call.
    monkeypatch.setattr(MlflowClient, "log_batch", refuse)
    with pytest.raises(ServiceError, match="the database is locked"):
        bench.train(trials=1)
    assert bench.left() == set()
    store = MlflowClient(bench.store)
    experiment = store.get_experiment_by_name("tests").experiment_id
    newest = store.search_runs([experiment], "attributes.run_name = 'train y'", max_results=1)
    assert newest[0].info.status == "FAILED"


@pytest.mark.parametrize(
    ("change", "settings", "error", "message"),
    [
        ({}, {"target": "income"}, InputError, "the target 'income' is not in the table"),
        ({}, {"target": "kind"}, IntegrityError, "fitted for the target 'y', not 'kind'"),
        ({}, {"task": "regression"}, InputError, "a regression needs numbers"),
        ({}, {"positive": "great"}, InputError, "'great' is not in the target"),
        ({}, {"metric": "rmse"}, InputError, "'rmse' is not a metric for a binary task"),
        ({}, {"threshold": 1.5}, InputError, "threshold is 1.5, but scores are probabilities"),
        ({"y": [1e80, *map(float, range(59))]}, {}, InputError, r"target is as large as 1e\+80"),
        ({"y": [*"abcdefghijk", "l" * 300] * 5}, {}, InputError, "label has 300 characters"),
        ({"y": ["bad"] * 59 + ["good"]}, {}, InputError, "the class 'good' has only 1 row"),
        ({"y": ["bad", "good"] * 29 + ["bad", None]}, {}, InputError, "target is missing in 1 of"),
    ],
)
def test_bad_input_is_named_and_nothing_is_left(
    bench: Any,
    make_table: Tables,
    change: dict[str, Any],
    settings: dict[str, Any],
    error: type[PenstockError],
    message: str,
) -> None:
    bench.prepare(make_table(60) | change)
    with pytest.raises(error, match=message) as caught:
        bench.train(**settings)
    assert caught.value.where
    assert caught.value.remedy
    assert bench.left() == set()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": "f1"}, "only two classes have one"),
        ({"class_weight": "balanced"}, "a regression has no classes"),
    ],
)
def test_settings_of_classes_do_not_fit_a_regression(
    bench: Any, make_table: Tables, settings: dict[str, Any], message: str
) -> None:
    bench.prepare(make_table(60), target="amount")
    with pytest.raises(InputError, match=message):
        bench.train(target="amount", **settings)


def test_features_of_another_dataset_are_refused(bench: Any, make_table: Tables) -> None:
    train = bench.prepare(make_table(60))
    train.rename(bench.folder / "old")
    (bench.folder / "features").rename(bench.folder / "kept")
    bench.prepare(make_table(60, seed=1))
    (bench.folder / "features").rename(bench.folder / "new")
    (bench.folder / "kept").rename(bench.folder / "features")
    with pytest.raises(IntegrityError, match="the features were fitted on dataset"):
        bench.train()


def test_an_altered_transformer_is_refused(bench: Any, make_table: Tables) -> None:
    bench.prepare(make_table(60))
    path = bench.folder / "features" / "features.skops"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(IntegrityError, match="the transformer's digest is"):
        bench.train()
