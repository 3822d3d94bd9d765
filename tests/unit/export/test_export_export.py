"""The ONNX form is written whole after it was proven, or not at all with the reason."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_world import record

from penstock import model
from penstock.common import files
from penstock.errors import InputError
from penstock.export.export import TOLERANCE, export
from penstock.model import onnx as onnx_model
from penstock.records.dataset import Column, Dataset
from penstock.records.export import Export

Models = Callable[..., Path]
Holdout = Callable[..., Path]


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_form_is_proven_on_every_row_and_on_probes(
    models: Models, write_holdout: Holdout, tmp_path: Path, task: str
) -> None:
    holdout, output = write_holdout(), tmp_path / "serving"
    got = export(models(task), holdout=holdout, output=output)
    assert got.reason == ""
    assert (got.rows, got.label_differences, got.tolerance) == (200, 0, TOLERANCE)
    assert got.probes == 4 * (6 + 6 + 3 + 3 + 6)
    assert 0 <= got.max_difference < 1e-13
    assert got.model == model.digest_of(models(task))
    assert got.dataset == Dataset.of(holdout).content
    assert {path.name for path in output.iterdir()} == {"model.onnx", "export.json"}
    assert Export.read(output / "export.json") == got
    assert got.file == files.digest_of_file(output / "model.onnx")
    assert [item.column for item in got.inputs] == [
        column.name for column in model.load(models(task)).record.columns
    ]
    assert {"onnxruntime", "scikit-learn"} <= got.libraries.keys()


def test_the_same_model_gives_the_same_form(
    models: Models, write_holdout: Holdout, tmp_path: Path
) -> None:
    holdout = write_holdout()
    for name in ("one", "two"):
        export(models(), holdout=holdout, output=tmp_path / name)
    assert files.digest_of_folder(tmp_path / "one") == files.digest_of_folder(tmp_path / "two")


NOTES = ["a good day", "a bad day", None, "good"]


def _of_notes(folder: Path, part: Any) -> Path:
    """Write a model that looks at one text column, in the way that `part` does."""
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression

    from penstock.data.table.frames import to_frame
    from penstock.training.saving import save_model

    columns = (Column(name="note", type="string"),)
    frame = to_frame({"note": NOTES * 10}, columns)
    features = ColumnTransformer([("texts", part, ["note"])], sparse_threshold=0.0).fit(frame)
    target = np.array([1, 0, 0, 1] * 10)
    estimator = LogisticRegression().fit(features.transform(frame), target)
    described = record("binary", columns=columns, classes=(0, 1), positive=1)
    save_model(folder, transformer=features, estimator=estimator, record=described, frame=frame)
    return folder


def test_a_row_that_differs_is_named_and_nothing_is_written(
    write_holdout: Holdout, tmp_path: Path
) -> None:
    from sklearn.preprocessing import OneHotEncoder

    # This model encodes a missing note itself, so that for it, and not for those that we train,
    # the text that stands for a missing one in the graph is a text like any other.
    folder = _of_notes(tmp_path / "model", OneHotEncoder(handle_unknown="ignore"))
    notes = NOTES * 49 + ["good", "(missing)", "new", "(missing)"]
    got = export(folder, holdout=write_holdout(note=notes), output=tmp_path / "serving")
    assert got.file == ""
    assert got.inputs == ()
    assert (got.rows, got.label_differences) == (200, 2)
    assert 1 > got.max_difference > TOLERANCE
    assert got.reason.startswith("row 198 of the holdout: ONNX says 0.")
    assert ", scikit-learn 0." in got.reason
    assert not (tmp_path / "serving").exists()
    plain = export(folder, holdout=_again(write_holdout, tmp_path), output=tmp_path / "serving")
    assert plain.reason == ""


def _again(write_holdout: Holdout, folder: Path) -> Path:
    shutil.rmtree(folder / "holdout")
    return write_holdout(note=NOTES * 50)


@pytest.fixture
def with_words(tmp_path: Path) -> Path:
    """A model that looks at the words of a text."""
    from penstock.features.transformers import HashedWords

    return _of_notes(tmp_path / "words", HashedWords(16))


def test_a_model_of_words_says_why_it_has_no_form(
    with_words: Path, write_holdout: Holdout, tmp_path: Path
) -> None:
    holdout = write_holdout(note=["a day"] * 200)
    got = export(with_words, holdout=holdout, output=tmp_path / "serving")
    assert got.file == ""
    assert "words of a text are counted by their hash" in got.reason
    assert got.rows == 0
    assert not (tmp_path / "serving").exists()


def test_a_holdout_must_have_the_columns_and_the_output_must_be_free(
    models: Models, write_holdout: Holdout, tmp_path: Path
) -> None:
    output = tmp_path / "serving"
    with pytest.raises(InputError, match="no column 'job'"):
        export(models(), holdout=write_holdout(job=None), output=output)
    assert not output.exists()
    with pytest.raises(InputError, match=r"no.*dataset|cannot be read"):
        export(models(), holdout=tmp_path / "nowhere", output=output)


def test_an_output_in_use_is_left_alone(
    models: Models, write_holdout: Holdout, tmp_path: Path
) -> None:
    (tmp_path / "serving").mkdir()
    (tmp_path / "serving" / "other").write_text("x")
    with pytest.raises(InputError, match="already holds files"):
        export(models(), holdout=write_holdout(), output=tmp_path / "serving")
    assert [path.name for path in (tmp_path / "serving").iterdir()] == ["other"]


def _fitted(
    folder: Path, *, train: Path, target: str, task: str, family: Any, parameters: dict[str, Any]
) -> Path:
    """Train one setting of a family on a dataset, through our own features."""
    import sklearn
    from threadpoolctl import threadpool_limits

    from penstock.features.fit import fit_features
    from penstock.features.spec import FeaturesSpec
    from penstock.training import estimators
    from penstock.training.inputs import read_problem
    from penstock.training.saving import save_model

    features = folder.with_name(f"{folder.name}-features")
    fit_features(
        train,
        target=target,
        spec=FeaturesSpec(),
        output=features,
        report=features.with_suffix(".html"),
    )
    problem = read_problem(
        train, features=features, target=target, task=task, positive="", split=None
    )
    inputs = problem.transformer.transform(problem.frame)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = estimators.build(family, parameters, task=problem.task, seed=0)
        estimator = estimator.fit(inputs, problem.y)
    described = record(
        problem.task, columns=problem.inputs, classes=problem.classes, positive=problem.positive
    ).model_copy(update={"libraries": {"scikit-learn": sklearn.__version__}})
    save_model(
        folder,
        transformer=problem.transformer,
        estimator=estimator,
        record=described,
        frame=problem.frame,
    )
    return folder


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "parameters"),
    [
        ("hist_gradient_boosting", {}),
        pytest.param("linear", {}, marks=pytest.mark.long),
        pytest.param("random_forest", {"min_samples_leaf": 5}, marks=pytest.mark.long),
        pytest.param("xgboost", {"n_estimators": 100}, marks=pytest.mark.long),
        pytest.param("lightgbm", {"n_estimators": 100}, marks=pytest.mark.long),
    ],
)
def test_adult_is_exact_on_its_whole_test_file(
    shared_data: Path, tmp_path: Path, family: str, parameters: dict[str, Any]
) -> None:
    from penstock.data.ingest import ingest
    from penstock.data.spec import SourceSpec

    for part in ("train", "test"):
        ingest(SourceSpec(uri=str(shared_data / f"adult-{part}.csv")), output=tmp_path / part)
    folder = _fitted(
        tmp_path / "model",
        train=tmp_path / "train",
        target="income",
        task="binary",
        family=family,
        parameters=parameters,
    )
    got = export(folder, holdout=tmp_path / "test", output=folder / "serving")
    assert got.reason == ""
    assert (got.rows, got.label_differences) == (16281, 0)
    assert got.max_difference < 1e-14
    form = onnx_model.load(
        folder,
        expected_digest=got.model,
        export_digest=files.digest_of_folder(folder / "serving"),
    )
    assert form.runtime == "onnx"


@pytest.mark.long
@pytest.mark.parametrize(
    ("family", "task", "parameters"),
    [
        ("hist_gradient_boosting", "regression", {}),
        ("random_forest", "multiclass", {}),
        ("xgboost", "regression", {"n_estimators": 100}),
        ("lightgbm", "multiclass", {"n_estimators": 40}),
    ],
)
def test_wine_is_exact_on_its_whole_holdout(
    shared_data: Path, tmp_path: Path, family: str, task: Any, parameters: dict[str, Any]
) -> None:
    from penstock.data.ingest import ingest
    from penstock.data.spec import SourceSpec, SplitSpec
    from penstock.data.split import split

    source = SourceSpec(uri=str(shared_data / "winequality-white.csv"))
    ingest(source, output=tmp_path / "wine")
    train, holdout = tmp_path / "train", tmp_path / "holdout"
    spec = SplitSpec(method="random")
    split(tmp_path / "wine", spec, target="quality", task=task, train=train, holdout=holdout)
    folder = _fitted(
        tmp_path / "model",
        train=train,
        target="quality",
        task=task,
        family=family,
        parameters=parameters,
    )
    got = export(folder, holdout=holdout, output=folder / "serving")
    assert got.reason == ""
    assert (got.rows, got.label_differences) == (792, 0)  # 198 copies are judged once
    assert got.max_difference < 1e-13
