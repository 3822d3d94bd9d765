"""Models of each family on tables with everything a column can hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from export_world import COLUMNS, Pair, paired, record, table

from penstock.data.table import write_dataset
from penstock.data.table.frames import to_frame
from penstock.data.types.storage import arrow_type
from penstock.model import load_trusted
from penstock.records.features import TRANSFORMER_NAME
from penstock.records.model import Task


@pytest.fixture(scope="session")
def fitted_features(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The features of `COLUMNS` as `engineer_features` fits them: rare levels, codes and times."""
    from penstock.features.fit import fit_features
    from penstock.features.spec import FeaturesSpec

    folder = tmp_path_factory.mktemp("features")
    values = table(1500, seed=1)
    arrays = {
        column.name: pa.array(values[column.name], from_pandas=True).cast(arrow_type(column.type))
        for column in COLUMNS
    }
    rows = pa.table(arrays | {"y": [0, 1] * 750})
    write_dataset([rows], output=folder / "train", source="a test")
    spec = FeaturesSpec(columns={"code": "category"}, rare_share=0.05)
    record = fit_features(
        folder / "train", target="y", spec=spec, output=folder / "features", report=folder / "page"
    )
    assert all(column.kind != "drop" for column in record.columns)
    return load_trusted(folder / "features" / TRANSFORMER_NAME)


@pytest.fixture(scope="session")
def fit(fitted_features: Any) -> Callable[..., Pair]:
    """`fit(family, task, positive, **parameters)` returns a model of `COLUMNS` and its form."""
    from threadpoolctl import threadpool_limits

    from penstock.training.estimators import build

    columns = table(1500, seed=1)
    inputs = fitted_features.transform(to_frame(columns, COLUMNS))
    value = (
        np.nan_to_num(inputs[:, 0] / 12)
        + 2 * np.isnan(columns["often null"])
        + np.nan_to_num(columns["code"] % 5)
        + 2 * np.array([job in ("nurse", None) for job in columns["job title"]])
        + np.random.default_rng(2).normal(0, 0.5, len(inputs))
    )
    targets: dict[str, np.ndarray] = {
        "binary": (value > np.median(value)).astype(int),
        "multiclass": np.digitize(value, np.quantile(value, [0.2, 0.5, 0.7])),
        "regression": value * 1000,
    }

    def make(family: Any, task: Task, positive: Any = None, **parameters: Any) -> Pair:
        # Beside other work, OpenMP's threads spend seconds waiting for one another.
        with threadpool_limits(1):
            estimator = build(family, parameters, task=task, seed=0).fit(inputs, targets[task])
        classes = () if task == "regression" else tuple(estimator.classes_.tolist())
        described = record(task, columns=COLUMNS, classes=classes, positive=positive)
        return paired(fitted_features, estimator, described)

    return make
