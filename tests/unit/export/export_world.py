"""Tables with everything a column can hold, and a model beside its ONNX form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from penstock.export.convert import convert
from penstock.model import LoadedModel
from penstock.model.onnx import runner
from penstock.records.dataset import Column
from penstock.records.model import Model, Task

COLUMNS = (
    Column(name="hours-per week", type="number"),
    Column(name="größe/π", type="number"),
    Column(name="c0", type="number"),
    Column(name="often null", type="number"),
    Column(name="count", type="integer"),
    Column(name="code", type="integer"),
    Column(name="member?", type="boolean"),
    Column(name="job title", type="string"),
    Column(name="日本", type="string"),
    Column(name="few", type="string"),
    Column(name="since", type="datetime"),
    Column(name="texts", type="datetime"),
)


def table(rows: int, *, seed: int) -> dict[str, Any]:
    """Columns as `scores_of` takes them: nulls in most, times from 1600 to 2300."""
    random = np.random.default_rng(seed)

    def holed(values: np.ndarray, share: float = 0.1) -> np.ndarray:
        missing = np.datetime64("NaT") if values.dtype.kind == "M" else np.nan
        return np.where(random.random(rows) < share, missing, values)

    def drawn(levels: list[str | None]) -> list[str | None]:
        picks = np.minimum(random.exponential(2.0, rows).astype(int), len(levels) - 1)
        return [levels[pick] for pick in picks]

    def times() -> np.ndarray:
        first, last = np.array(["1600-01-01", "2300-01-01"], "datetime64[us]").astype(np.int64)
        return holed(random.integers(first, last, rows).view("datetime64[us]"))

    return {
        "hours-per week": holed(random.normal(40, 12, rows).round(1)),
        "größe/π": holed(random.normal(0, 1e-3, rows)),
        "c0": random.normal(1e6, 1e5, rows),
        "often null": holed(random.normal(0, 1, rows), share=0.6),
        "count": random.integers(0, 50, rows).astype(float),
        "code": holed(random.choice([3.0, 7, 8, 21, 99], rows, p=[0.4, 0.3, 0.2, 0.09, 0.01])),
        "member?": holed(random.integers(0, 2, rows).astype(float)),
        "job title": drawn(["nurse", "pilot", "", None, "clerk", "rare 1", "rare 2", "rare 3"]),
        "日本": drawn(["東京", "大阪", "né\N{COMBINING ACUTE ACCENT}", "a\0b", "😀"]),
        "few": drawn(["x", "y"]),
        "since": times(),
        "texts": times(),
    }


def strange(columns: dict[str, Any]) -> dict[str, Any]:
    """The same rows, the first of which hold what no training row does."""
    levels = ["never seen", "(missing)", "nurse ", "a", "a\0c", "", None, "\ud800"]
    changed = dict(columns)
    for name in ("job title", "日本", "few"):
        changed[name] = levels + columns[name][len(levels) :]
    far = [1e100, -1e100, 5e-324, -0.0, 2.0**53, 3.4e38, 3.5e38, np.nan]
    numbers = ("hours-per week", "größe/π", "c0", "count", "code", "often null")
    for start, name in enumerate(numbers):
        # One in a row: the sum of several depends on their order.
        changed[name] = columns[name].copy()
        changed[name][start * len(far) : (start + 1) * len(far)] = far
    days = ["0001-01-01", "1582-10-15", "1900-02-28", "1969-12-31", "1970-01-01", "2000-02-29"]
    times = np.array([*days, "9999-12-31", "NaT"], "datetime64[us]")
    for name in ("since", "texts"):
        changed[name] = np.concatenate([times, columns[name][len(times) :]])
    return changed


@dataclass(frozen=True)
class Pair:
    """A fitted model, and its ONNX form as a function."""

    model: LoadedModel
    run: Callable[[Any], np.ndarray]
    content: bytes

    def difference(self, columns: dict[str, Any]) -> float:
        ours, theirs = self.run(columns), self.model.scores_of(columns)
        assert ours.dtype == theirs.dtype == np.float64
        assert ours.shape == theirs.shape
        with np.errstate(invalid="ignore"):
            apart = np.where(ours == theirs, 0.0, np.abs(ours - theirs))
        if self.model.record.task == "regression":
            apart = apart / np.maximum(np.abs(theirs), 1.0)
        return float(apart.max())


def record(
    task: Task, *, columns: tuple[Column, ...], classes: Any = (), positive: Any = None
) -> Model:
    import sklearn

    return Model(
        name="a model",
        task=task,
        target="y",
        classes=classes,
        positive=positive,
        threshold=0.4 if task == "binary" else None,
        columns=columns,
        metric="accuracy",
        score=0.5,
        parameters={},
        dataset="rows1:0",
        seed=0,
        libraries={"scikit-learn": sklearn.__version__},
        trusted_types=(),
    )


def paired(features: Any, estimator: Any, described: Model) -> Pair:
    from penstock.training.saving import pipeline_of

    pipeline = pipeline_of(described, features, estimator)
    content, inputs = convert(pipeline, described)
    return Pair(
        LoadedModel(record=described, digest="", pipeline=pipeline),
        runner(content, inputs, where="a test"),
        content,
    )
