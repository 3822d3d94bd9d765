"""Models of each family on tables with everything a column can hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from export_world import COLUMNS, Pair, paired, record, table

from penstock.data.table.frames import to_frame
from penstock.records.model import Task


@pytest.fixture(scope="session")
def fitted_features() -> Any:
    """The features of `COLUMNS` as `engineer_features` fits them: rare levels, codes and times."""
    from penstock.features.fit import _with_parts, build
    from penstock.features.kinds import choose
    from penstock.features.spec import FeaturesSpec

    frame = to_frame(table(1500, seed=1), COLUMNS)
    spec = FeaturesSpec(columns={"code": "category"}, rare_share=0.05)
    choices, parts = _with_parts(choose(frame, COLUMNS, spec=spec, split=None), frame, None)
    assert all(choice.kind != "drop" for choice in choices)
    return build(choices, parts, spec).fit(frame)


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
