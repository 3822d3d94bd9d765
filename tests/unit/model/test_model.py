"""Loading a model checks before it trusts, and rows become the frame the pipeline was fitted on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml

from penstock.common import files
from penstock.common.times import times_of
from penstock.data.table.frames import to_frame
from penstock.errors import InputError, IntegrityError
from penstock.model import (
    background,
    copy_without_export,
    digest_of,
    export_digest_of,
    load,
    load_trusted,
)
from penstock.records.dataset import Column
from penstock.records.model import FILE_NAME

Models = Callable[..., Path]

COLUMNS = (
    Column(name="n", type="integer"),
    Column(name="a b", type="number"),
    Column(name="ok", type="boolean"),
    Column(name="job", type="string"),
    Column(name="at", type="datetime"),
)
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def copy(models: Models, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(models("binary"), folder)
    return folder


def edit_record(folder: Path, **change: Any) -> None:
    path = folder / FILE_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


def rows(count: int = 2) -> dict[str, list[Any]]:
    return {
        "n": [3, None][:count],
        "a b": [1.5, None][:count],
        "ok": [True, None][:count],
        "job": ["nurse", None][:count],
        "at": [NOON, None][:count],
    }


ARROW = pa.schema(
    [
        ("n", pa.int64()),
        ("a b", pa.float64()),
        ("ok", pa.bool_()),
        ("job", pa.string()),
        ("at", pa.timestamp("us", tz="UTC")),
    ]
)


def as_arrow() -> pa.Table:
    return pa.table(rows(), schema=ARROW)


@pytest.mark.parametrize(
    "given",
    [
        rows(),
        as_arrow(),
        as_arrow().to_batches()[0],
        as_arrow().to_pandas(),
        as_arrow().to_pandas().assign(at=lambda f: f["at"].dt.tz_convert("Asia/Tokyo")),
        as_arrow().to_pandas(types_mapper=pd.ArrowDtype),
        as_arrow().to_pandas().convert_dtypes(),
        {name: list(reversed(values))[::-1] for name, values in rows().items()} | {"extra": [1, 2]},
        rows() | {"at": ["2026-11-21T13:00:00+01:00", None]},
        rows() | {"at": ["2026-11-21 12:00", float("nan")]},
        rows() | {"n": np.array([3.0, np.nan]), "ok": [1, float("nan")]},
    ],
    ids=lambda given: type(given).__name__,
)
def test_the_same_rows_give_the_same_frame_however_they_come(given: Any) -> None:
    frame = to_frame(given, COLUMNS)
    assert list(frame.columns) == [column.name for column in COLUMNS]
    assert [str(kind) for kind in frame.dtypes] == [
        "float64",
        "float64",
        "float64",
        "object",
        "datetime64[us]",
    ]
    first, second = frame.iloc[0].tolist(), frame.iloc[1].tolist()
    assert first == [3.0, 1.5, 1.0, "nurse", pd.Timestamp("2026-11-21 12:00")]
    assert frame["job"].tolist()[1] is None
    assert all(pd.isna(value) for value in second)


@pytest.mark.parametrize(
    ("change", "place", "message"),
    [
        ({"n": ["12", 3]}, "'n'", "'12' in row 1 is not a whole number"),
        ({"n": [3, True]}, "'n'", "'True' in row 2 is not a whole number"),
        ({"a b": [1.0, float("inf")]}, "'a b'", "'inf' in row 2 is infinite"),
        ({"a b": np.array([-np.inf, np.inf])}, "'a b'", "'-inf' in row 1 is infinite"),
        ({"ok": ["yes", None]}, "'ok'", "'yes' in row 1 is not true or false"),
        ({"ok": np.array([2, 1])}, "'ok'", "'2' in row 1 is not true or false"),
        ({"job": ["x", 7]}, "'job'", "'7' in row 2 is not text"),
        ({"at": ["soon", None]}, "'at'", "'soon' in row 1 is not a time"),
        ({"at": [1.5, None]}, "'at'", "'1.5' in row 1 is not a time"),
    ],
)
def test_a_value_that_does_not_fit_is_named(
    change: dict[str, Any], place: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        to_frame(rows() | change, COLUMNS)
    assert place in caught.value.where
    assert caught.value.remedy


def test_missing_columns_are_all_named() -> None:
    with pytest.raises(InputError, match="missing columns: 'a b', 'job'"):
        to_frame({k: v for k, v in rows().items() if k not in ("a b", "job")}, COLUMNS)


def test_rows_must_be_there_and_of_one_length() -> None:
    with pytest.raises(InputError, match="there is no row"):
        to_frame({name: [] for name in rows()}, COLUMNS)
    with pytest.raises(InputError, match="different lengths"):
        to_frame(rows() | {"n": [1]}, COLUMNS)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_scores_and_labels_of_each_task(
    models: Models, instances: list[dict[str, Any]], task: str
) -> None:
    loaded = load(models(task))
    given = {name: [row[name] for row in instances] for name in instances[0]}
    frame = loaded.frame(given)
    scores, labels = loaded.scores(frame), loaded.labels(frame)
    if task == "binary":
        positive = list(loaded.pipeline.classes_).index(loaded.record.positive)
        assert np.array_equal(scores, loaded.pipeline.predict_proba(frame)[:, positive])
        assert loaded.record.threshold == 0.4
        assert labels.tolist() == ["yes" if score >= 0.4 else "no" for score in scores]
        assert set(labels) == {"yes", "no"}
    elif task == "multiclass":
        assert np.array_equal(scores, loaded.pipeline.predict_proba(frame))
        assert np.array_equal(labels, loaded.pipeline.predict(frame))
    else:
        assert np.array_equal(scores, loaded.pipeline.predict(frame))
        assert np.array_equal(labels, scores)


def test_a_score_at_the_threshold_is_positive(models: Models) -> None:
    labels = load(models("binary")).labels_of(np.array([0.4, np.nextafter(0.4, 0)]))
    assert labels.tolist() == ["yes", "no"]


def test_the_digest_is_compared_before_anything_is_loaded(copy: Path) -> None:
    good = files.digest_of_folder(copy)
    assert load(copy, expected_digest=good).digest == good
    (copy / "model.skops").write_bytes(b"not even a zip file")
    with pytest.raises(IntegrityError, match=f"expected {good}"):
        load(copy, expected_digest=good)
    with pytest.raises(IntegrityError, match="not a readable skops file"):
        load(copy)


class Foreign:
    """A type that no model of ours holds."""


def test_a_type_that_is_not_listed_is_refused_by_name(copy: Path) -> None:
    from skops.io import dump

    dump(Foreign(), copy / "model.skops")
    with pytest.raises(IntegrityError, match=r"not trusted: .*Foreign"):
        load(copy)
    with pytest.raises(IntegrityError, match=r"not trusted: .*Foreign"):
        load_trusted(copy / "model.skops")


def test_a_record_cannot_widen_the_list(copy: Path) -> None:
    edit_record(copy, trusted_types=["os.system"])
    with pytest.raises(IntegrityError, match=r"not trusted: os\.system"):
        load(copy)


def test_a_pickle_is_refused(copy: Path) -> None:
    path = copy / "MLmodel"
    text = path.read_text().replace("serialization_format: skops", "serialization_format: pickle")
    path.write_text(text)
    with pytest.raises(IntegrityError, match="stored as pickle"):
        load(copy)


def test_a_model_file_outside_the_folder_is_refused(copy: Path) -> None:
    path = copy / "MLmodel"
    path.write_text(path.read_text().replace("pickled_model: model.skops", "pickled_model: ../x"))
    with pytest.raises(IntegrityError, match="only skops beside MLmodel"):
        load(copy)


@pytest.mark.parametrize("name", ["MLmodel", FILE_NAME])
def test_a_folder_that_lacks_a_part_says_which(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(InputError, match=f"no {name} in the model folder"):
        load(copy)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no MLmodel in the model folder") as caught:
        load(tmp_path / "nowhere")
    assert "nowhere" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": [{"name": "age", "type": "integer"}]}, r"names the columns \['age'\]"),
        ({"classes": ["no", "maybe"]}, "names the classes"),
        ({"threshold": None}, "needs a threshold"),
        ({"positive": "maybe"}, "needs a threshold and a positive class"),
    ],
)
def test_a_record_that_does_not_fit_the_pipeline(
    copy: Path, change: dict[str, Any], message: str
) -> None:
    edit_record(copy, **change)
    with pytest.raises(IntegrityError, match=message):
        load(copy)


def test_another_minor_release_is_refused_and_a_patch_is_not(copy: Path) -> None:
    import sklearn

    major, minor = sklearn.__version__.split(".")[:2]
    edit_record(copy, libraries={"scikit-learn": f"{major}.{minor}.99"})
    assert load(copy).record.task == "binary"
    edit_record(copy, libraries={"scikit-learn": f"{major}.{int(minor) - 1}.0"})
    with pytest.raises(IntegrityError, match=r"trained with scikit-learn .* is installed"):
        load(copy)
    edit_record(copy, libraries={})
    with pytest.raises(IntegrityError, match="trained with scikit-learn unknown"):
        load(copy)


def test_what_is_exported_from_a_model_does_not_change_its_digest(copy: Path) -> None:
    before = digest_of(copy)
    assert before == files.digest_of_folder(copy)
    assert export_digest_of(copy) == ""
    (copy / "serving").mkdir()
    assert (digest_of(copy), export_digest_of(copy)) == (before, "")
    for name in ("model.onnx", "export.json"):
        (copy / "serving" / name).write_bytes(b"x")
    assert digest_of(copy) == before
    assert load(copy, expected_digest=before).digest == before
    assert files.digest_of_folder(copy) != before
    assert export_digest_of(copy) == files.digest_of_folder(copy / "serving")
    (copy / "sub" / "serving").mkdir(parents=True)
    (copy / "sub" / "serving" / "model.onnx").write_bytes(b"x")
    assert digest_of(copy) != before


def test_the_digest_of_a_folder_is_what_it_was_in_older_releases(tmp_path: Path) -> None:
    for name in ("MLmodel", "penstock.json", ".hidden", "sub/serving/x", "serving/model.onnx"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(name)
    assert digest_of(tmp_path) == (
        "sha256:35fb0ff52809a6379a7dd47d97583d0ab44e7905b6600057cfc5cd75dc7ffae1"
    )


@pytest.mark.parametrize(
    "name",
    [
        "serving", "serving/model.skops", "serving/model.onnx/x", "serving/.hidden", "Serving/a",
        "serving/EXPORT.json", "serving/sub/export.json",
    ],
)  # fmt: skip
def test_only_what_an_export_writes_is_no_part_of_the_digest(copy: Path, name: str) -> None:
    before = digest_of(copy)
    (copy / name).parent.mkdir(exist_ok=True, parents=True)
    (copy / name).write_bytes(b"one")
    one = digest_of(copy)
    (copy / name).write_bytes(b"other")
    assert len({before, one, digest_of(copy)}) == 3


def test_a_model_file_called_serving_cannot_be_exchanged_under_one_digest(copy: Path) -> None:
    (copy / "model.skops").rename(copy / "serving")
    path = copy / "MLmodel"
    path.write_text(path.read_text().replace(": model.skops", ": serving"))
    good = digest_of(copy)
    assert load(copy, expected_digest=good).digest == good
    (copy / "serving").write_bytes((copy / "serving").read_bytes() + b" ")
    with pytest.raises(IntegrityError, match=f"expected {good}"):
        load(copy, expected_digest=good)


def test_what_is_no_file_has_no_digest(copy: Path) -> None:
    (copy / "elsewhere").mkdir()
    (copy / "serving").symlink_to(copy / "elsewhere")
    with pytest.raises(InputError, match="a symbolic link"):
        digest_of(copy)
    (copy / "serving").unlink()
    os.mkfifo(copy / "pipe")
    with pytest.raises(InputError, match="neither a file nor a folder"):
        digest_of(copy)
    (copy / "pipe").unlink()
    Path(os.fsdecode(os.fsencode(copy) + b"/\xff")).write_bytes(b"x")
    with pytest.raises(InputError, match="is not UTF-8"):
        digest_of(copy)


def test_a_copy_holds_what_the_digest_covers(copy: Path, tmp_path: Path) -> None:
    (copy / "serving").mkdir()
    for name in ("model.onnx", "export.json", "model.skops"):
        (copy / "serving" / name).write_bytes(b"x")
    copy_without_export(copy, tmp_path / "other")
    assert [path.name for path in (tmp_path / "other" / "serving").iterdir()] == ["model.skops"]
    assert digest_of(tmp_path / "other") == digest_of(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"python_function": {"model_path": "other.pkl"}}, r"model_path, 'other\.pkl', MLflow"),
        ({"python_function": {"data": "../other"}}, r"data, '\.\./other', MLflow loads another"),
        ({"python_function": {"code": "code"}}, "python_function.code, 'code', MLflow"),
        ({"python_function": {"loader_module": "evil"}}, "loader_module, 'evil', MLflow"),
        ({"sklearn": {"code": "serving"}}, "sklearn.code, 'serving', MLflow"),
        ({"sklearn": {"pickled_model": ["model.skops"]}}, "only skops beside MLmodel"),
        ({"pytorch": {"model_data": "data"}}, "a flavour 'pytorch' besides"),
    ],
)
def test_a_description_by_which_another_model_would_be_loaded_is_refused(
    copy: Path, change: dict[str, dict[str, Any]], message: str
) -> None:
    path = copy / "MLmodel"
    described = yaml.safe_load(path.read_text())
    for flavor, said in change.items():
        described["flavors"].setdefault(flavor, {}).update(said)
    path.write_text(yaml.safe_dump(described))
    with pytest.raises(IntegrityError, match=message):
        load(copy)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_columns_that_are_checked_already_score_alike(
    models: Models, instances: list[dict[str, Any]], task: str
) -> None:
    loaded = load(models(task))
    given = {name: [row[name] for row in instances] for name in instances[0]}
    frame = loaded.frame(given)
    columns: dict[str, Any] = {
        name: values.tolist() if values.dtype == object else values.to_numpy()
        for name, values in frame.items()
    }
    scores = loaded.scores_of(columns)
    assert np.array_equal(scores, loaded.scores(frame))
    columns["since"] = [datetime.fromisoformat(text) for text in given["since"]]
    assert np.array_equal(loaded.scores_of(columns), scores)
    assert loaded.runtime == "sklearn"


def test_times_are_brought_to_utc() -> None:
    east = timezone(timedelta(hours=9))
    given = [
        datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        None,
        datetime(1, 1, 2, tzinfo=east),
    ]
    times = times_of(given)
    assert times.dtype == "datetime64[us]"
    assert times.astype(str).tolist() == [
        "1969-12-31T23:59:59.999999",
        "NaT",
        "0001-01-01T15:00:00.000000",
    ]
    assert np.array_equal(times_of(times), times, equal_nan=True)


def test_background_is_read_and_absent_is_empty(copy: Path) -> None:
    assert background(copy) == {}
    path = copy / "background.json"
    path.write_text('{"n": [1, null], "job": ["a", "b"]}')
    assert background(copy) == {"n": [1, None], "job": ["a", "b"]}
    for text in ("[1]", "{", '{"n": [1], "job": []}', '{"n": 3}'):
        path.write_text(text)
        with pytest.raises(IntegrityError, match="not lists of"):
            background(copy)


def test_a_saved_model_has_its_background_as_requests_carry_rows(tmp_path: Path) -> None:
    import sklearn
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import Ridge

    from penstock.records.model import Model
    from penstock.training.saving import save_model

    count = 120
    given = {
        "n": [None, *range(1, count)],
        "a b": [index / 7 for index in range(count - 1)] + [None],
        "ok": [True, False, None] * 40,
        "job": ["nurse", None] * 60,
        "at": [NOON + timedelta(days=index) for index in range(count - 1)] + [None],
    }
    frame = to_frame(given, COLUMNS)
    features = ColumnTransformer([("numbers", "passthrough", ["n"])]).fit(frame)
    record = Model(
        name="linear",
        task="regression",
        target="y",
        columns=COLUMNS,
        metric="r2",
        score=0,
        parameters={},
        dataset="rows1:0",
        seed=0,
        libraries={"scikit-learn": sklearn.__version__},
        trusted_types=(),
    )
    model = Ridge().fit(np.arange(4.0)[:, None], np.arange(4.0))
    save_model(tmp_path / "m", transformer=features, estimator=model, record=record, frame=frame)
    rows = background(tmp_path / "m")
    assert {len(values) for values in rows.values()} == {50}
    assert rows["n"][0] is None
    assert [value for value in rows["n"] if isinstance(value, int)] == rows["n"][1:]
    assert rows["n"][-1] == 119
    assert {type(value) for value in rows["ok"]} == {bool, type(None)}
    assert rows["at"][0] == "2026-11-21T12:00:00+00:00"
    assert rows["at"][-1] is None
    again = to_frame(rows, COLUMNS)
    spread = [0 if index is None else index for index in rows["n"]]
    assert again.equals(frame.iloc[spread].reset_index(drop=True))
