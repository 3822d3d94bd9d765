"""Small real worlds: a training part, a holdout, and fitted models in the model-folder format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penstock.records.dataset import Column
from penstock.records.model import Model

COLUMNS = (
    Column(name="x1", type="number"),
    Column(name="x2", type="number"),
    Column(name="kind", type="string"),
)
TRAINED_ON = "rows1:00000000000000000000000000000000"


def rows(task: str, n: int, *, seed: int) -> dict[str, list[Any]]:
    """Rows with the target `y` by columns; a tenth of x2 is null."""
    random = np.random.default_rng(seed)
    x1, x2 = random.normal(size=(2, n))
    kind = random.choice(["a", "b", "c"], n)
    signal = x1 + 0.6 * x2 + 0.8 * (kind == "c")
    y: Any = (signal + random.normal(size=n)).round(3) + 10
    if task == "binary":
        y = np.where(signal + random.normal(size=n) > 0.7, "yes", "no")
    elif task == "multiclass":
        y = np.digitize(signal + 0.7 * random.normal(size=n), [-0.5, 1.2])
    x2 = np.where(random.random(n) < 0.1, None, x2.astype(object))
    return {"x1": x1.tolist(), "x2": x2.tolist(), "kind": kind.tolist(), "y": y.tolist()}


def write(folder: Path, columns: dict[str, list[Any]], *, part: Any = "holdout") -> Path:
    """Write rows as a dataset."""
    import pyarrow as pa

    from penstock.data.table import write_dataset

    write_dataset([pa.table(columns)], output=folder, source="test", part=part)
    return folder


def save(folder: Path, task: str, estimator: Any, **facts: Any) -> Path:
    """Fit an estimator on rows of the task and write it; `facts` replace fields of its record."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder

    from penstock.data.table.frames import to_frame
    from penstock.training.saving import save_model

    columns = facts.get("columns", COLUMNS)
    raw = rows(task, 600, seed=1)
    raw |= {c.name: raw["x1"] for c in columns if c.name not in raw}
    frame = to_frame(raw, columns)
    steps: list[Any] = [("numbers", SimpleImputer(), ["x1", "x2"])]
    if any(c.name == "kind" and c.type == "string" for c in columns):
        steps.append(("kind", OneHotEncoder(sparse_output=False), ["kind"]))
    transformer = ColumnTransformer(steps)
    x = transformer.fit_transform(frame)
    target = facts.pop("y", raw["y"])
    fitted = estimator.fit(x, target)
    if break_with := facts.pop("break_with", None):
        break_with(fitted)
    classes = tuple(c.item() for c in getattr(fitted, "classes_", ()))
    record: dict[str, Any] = {
        "name": type(estimator).__name__,
        "task": task,
        "target": "y",
        "classes": classes,
        "positive": "yes" if task == "binary" else None,
        "threshold": 0.4 if task == "binary" else None,
        "columns": columns,
        "metric": {"binary": "roc_auc", "multiclass": "accuracy", "regression": "r2"}[task],
        "score": 0.8,
        "parameters": {"C": 0.1},
        "dataset": TRAINED_ON,
        "seed": 0,
        "libraries": {},
        "trusted_types": (),
    } | facts
    record["libraries"] = _libraries()
    save_model(
        folder, transformer=transformer, estimator=fitted, record=Model(**record), frame=frame
    )
    return folder


def _libraries() -> dict[str, str]:
    from penstock.training.environment import libraries

    return libraries()


def estimators(task: str) -> dict[str, Any]:
    """Unfitted estimators by their part in a comparison."""
    from sklearn.dummy import DummyClassifier, DummyRegressor
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.linear_model import LogisticRegression, Ridge

    if task == "regression":
        return {
            "candidate": Ridge(),
            "champion": RandomForestRegressor(n_estimators=3, max_depth=2, random_state=0),
            "mean": DummyRegressor(),
            "linear": Ridge(alpha=500),
        }
    return {
        "candidate": LogisticRegression(),
        "champion": RandomForestClassifier(n_estimators=3, max_depth=2, random_state=0),
        "majority": DummyClassifier(strategy="prior"),
        "linear": LogisticRegression(C=0.001),
    }


@dataclass(frozen=True)
class World:
    """Folders to evaluate with. Never write into them."""

    task: str
    holdout: Path
    model: Path
    baselines: Path
    champion: Path


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], World]:
    """`worlds(task)` returns the world of a task, built once."""
    home = tmp_path_factory.mktemp("worlds")
    built: dict[str, World] = {}

    def get(task: str) -> World:
        if task in built:
            return built[task]
        folder = home / task
        parts = estimators(task)
        baselines = folder / "baselines"
        for name in parts.keys() - {"candidate", "champion"}:
            save(baselines / name, task, parts[name])
        built[task] = World(
            task=task,
            holdout=write(folder / "holdout", rows(task, 400, seed=2)),
            model=save(folder / "model", task, parts["candidate"]),
            baselines=baselines,
            champion=save(folder / "champion", task, parts["champion"]),
        )
        return built[task]

    return get


@pytest.fixture(scope="session")
def make() -> Any:
    """The functions of this file, which tests cannot import."""

    class Make:
        rows = staticmethod(rows)
        write = staticmethod(write)
        save = staticmethod(save)
        estimators = staticmethod(estimators)
        columns = COLUMNS
        trained_on = TRAINED_ON

    return Make
