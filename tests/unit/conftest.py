"""Small real models in the model-folder format, for the parts that serve, register and release."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from penstock.records.dataset import Column
from penstock.records.model import FILE_NAME, Model

COLUMNS = (
    Column(name="age", type="integer"),
    Column(name="hours per-week", type="number"),
    Column(name="member", type="boolean"),
    Column(name="job", type="string"),
    Column(name="since", type="datetime"),
)


def pytest_configure(config: pytest.Config) -> None:
    # MLflow warns of a type hint of its own when its pyfunc module is imported.
    config.addinivalue_line("filterwarnings", "ignore:.*is inferred as AnyType:UserWarning")


def table(rows: int = 120, *, seed: int = 0) -> dict[str, list[Any]]:
    """Rows as lists of values by column, nulls included."""
    import numpy as np

    random = np.random.default_rng(seed)
    jobs = np.array(["clerk", "nurse", "pilot", None], dtype=object)
    since = np.datetime64("2020-01-01T00:00:00", "us") + random.integers(0, 10**9, rows)
    return {
        "age": [None if a % 17 == 0 else int(a) for a in random.integers(18, 90, rows)],
        "hours per-week": [float(h) for h in random.normal(40, 7, rows)],
        "member": [bool(m) for m in random.integers(0, 2, rows)],
        "job": jobs[random.integers(0, 4, rows)].tolist(),
        "since": [moment.isoformat() + "Z" for moment in since.tolist()],
    }


def _pipeline(task: str, *, depth: int) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder

    from penstock.features.transformers import RawColumns

    features = ColumnTransformer(
        [
            ("numbers", "passthrough", ["age", "hours per-week", "member"]),
            ("job", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["job"]),
        ]
    )
    kind = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    estimator = kind(max_iter=10, max_depth=depth, min_samples_leaf=5, random_state=0)
    return Pipeline(
        [
            ("columns", RawColumns([[column.name, column.type] for column in COLUMNS])),
            ("features", features),
            ("estimator", estimator),
        ]
    )


def build_model(folder: Path, *, task: str = "binary", depth: int = 2) -> Path:
    """Write a model folder; another `depth` gives another model."""
    import mlflow.sklearn
    import numpy as np
    from mlflow.models import infer_signature

    from penstock.data.table.frames import to_frame
    from penstock.model import TRUSTED_TYPES

    raw = table(300)
    frame = to_frame(raw, COLUMNS)
    hours = np.array(raw["hours per-week"])
    target: Any = hours * 2.0
    if task == "binary":
        target = np.where(hours + 10 * np.array(raw["member"]) > 45, "yes", "no")
    elif task == "multiclass":
        target = np.digitize(hours, [36, 44])
    pipeline = _pipeline(task, depth=depth).fit(frame, target)
    mlflow.sklearn.save_model(
        pipeline,
        folder,
        serialization_format="skops",
        skops_trusted_types=sorted(TRUSTED_TYPES),
        signature=infer_signature(frame, pipeline.predict(frame)),
        input_example=frame.head(2),
        pip_requirements=["scikit-learn"],
    )
    import sklearn

    Model(
        name="hist_gradient_boosting",
        task=task,
        target="target",
        classes=tuple(pipeline.classes_.tolist()) if task != "regression" else (),
        positive="yes" if task == "binary" else None,
        threshold=0.4 if task == "binary" else None,
        columns=COLUMNS,
        metric="roc_auc",
        score=0.9,
        parameters={"depth": depth},
        dataset="xxh3-128:00000000000000000000000000000001",
        table="xxh3-128:00000000000000000000000000000009",
        seed=0,
        commit="abc123",
        libraries={"scikit-learn": sklearn.__version__},
        trusted_types=("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",),
    ).write(folder / FILE_NAME)
    return folder


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`models(task, depth)` returns a model folder that is built once. Never write into it."""
    home = tmp_path_factory.mktemp("models")

    def get(task: str = "binary", depth: int = 2) -> Path:
        folder = home / f"{task}-{depth}"
        return folder if folder.exists() else build_model(folder, task=task, depth=depth)

    return get


@pytest.fixture(scope="session")
def instances() -> list[dict[str, Any]]:
    """Twenty rows as v1 requests carry them."""
    return _instances(20, seed=1)


@dataclass(frozen=True)
class Exported:
    """A model's folder with its ONNX form in it.

    Args:
        folder: The folder.
        digest: Digest of the ONNX form.
    """

    folder: Path
    digest: str

    @property
    def options(self) -> tuple[str, str]:
        """What makes a server answer with it."""
        return ("--export", self.digest)


@pytest.fixture(scope="session")
def exported(
    models: Callable[..., Path],
    instances: list[dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Exported]:
    """`exported(task)` returns a copy of a model with its ONNX form, made once.

    With `background` it has the rows of `instances` to explain answers against.
    """
    from penstock.common import files
    from penstock.data.ingest import ingest
    from penstock.data.spec import SourceSpec
    from penstock.export.export import export
    from penstock.model import BACKGROUND_NAME
    from penstock.records.export import FOLDER

    names = [column.name for column in COLUMNS]
    home = tmp_path_factory.mktemp("exported")
    table = home / "rows.jsonl"
    table.write_text(
        "".join(json.dumps({name: row[name] for name in names}) + "\n" for row in instances)
    )
    ingest(SourceSpec(uri=str(table)), output=home / "holdout")
    made: dict[tuple[str, bool], Exported] = {}

    def get(task: str = "binary", *, background: bool = False) -> Exported:
        if (task, background) not in made:
            folder = home / f"{task}-{background}"
            shutil.copytree(models(task), folder)
            if background:
                rows = {name: [row[name] for row in instances] for name in names}
                (folder / BACKGROUND_NAME).write_text(json.dumps(rows))
            output = folder / FOLDER
            record = export(folder, holdout=home / "holdout", output=output)
            assert record.file, record.reason
            made[task, background] = Exported(folder, files.digest_of_folder(output))
        return made[task, background]

    return get


@pytest.fixture
def many_instances() -> list[dict[str, Any]]:
    """Five hundred rows as v1 requests carry them."""
    return _instances(500, seed=3)


def _instances(rows: int, *, seed: int) -> list[dict[str, Any]]:
    columns = table(rows, seed=seed)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@pytest.fixture
def write_holdout(tmp_path: Path) -> Callable[..., Path]:
    """`write_holdout(**changes)` writes 200 rows for `models` as a dataset and returns its folder.

    `changes` replaces whole columns, by name; None leaves one out.
    """

    def write(**changes: Any) -> Path:
        import pyarrow as pa

        from penstock.data.table import write_dataset

        columns = table(200, seed=2)
        columns["since"] = [datetime.fromisoformat(text) for text in columns["since"]]
        kept = {name: values for name, values in (columns | changes).items() if values is not None}
        write_dataset([pa.table(kept)], output=tmp_path / "holdout", source="a test")
        return tmp_path / "holdout"

    return write
