"""A store that is made once, and small tables to train on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from fresh_store import fresh_store

from penstock.data.engine import Each, here
from penstock.data.table import write_dataset
from penstock.features.fit import fit_features
from penstock.features.spec import FeaturesSpec
from penstock.records.dataset import Split
from penstock.records.model import Model
from penstock.training.spec import TrainingSpec
from penstock.training.train import train


@dataclass(frozen=True)
class Bench:
    """A folder to train in, with a store.

    `prepare` writes a dataset and fits its features; `train` trains on them.
    """

    folder: Path
    store: str

    def prepare(self, table: dict[str, Any], *, target: str = "y", **features: Any) -> Path:
        write_dataset([pa.table(table)], output=self.folder / "train", source="a test")
        self.fit(target=target, **features)
        return self.folder / "train"

    def fit(self, *, target: str = "y", name: str = "features", **features: Any) -> None:
        split = features.pop("split", None)
        fit_features(
            self.folder / "train",
            target=target,
            spec=FeaturesSpec(**features),
            output=self.folder / name,
            report=self.folder / f"{name}.html",
            split=split,
        )

    def train(
        self,
        *,
        target: str = "y",
        task: str = "auto",
        positive: str = "",
        name: str = "model",
        split: Split | None = None,
        store: str = "",
        each: Each = here,
        **spec: Any,
    ) -> Model:
        settings = {"trials": 3, "folds": 3, "candidates": ("hist_gradient_boosting",)} | spec
        return train(
            self.folder / "train",
            features=self.folder / "features",
            target=target,
            task=task,
            positive=positive,
            spec=TrainingSpec(**settings),
            model=self.folder / name,
            baselines=self.folder / f"{name}-baselines",
            report=self.folder / f"{name}.html",
            experiment="tests",
            tracking_uri=store or self.store,
            split=split,
            each=each,
        )

    def left(self) -> set[str]:
        """What lies in the folder besides the inputs; hidden names would be half-written."""
        inputs = {"train", "features", "features.html"}
        return {path.name for path in self.folder.iterdir()} - inputs


def table(rows: int = 240, *, seed: int = 0) -> dict[str, Any]:
    """A mixed table: `y` has two classes, `kind` three, `amount` is a number."""
    random = np.random.default_rng(seed)
    x = random.normal(size=rows)
    job = random.choice(["clerk", "nurse", "pilot"], rows)
    signal = x + (job == "pilot") + random.normal(scale=0.5, size=rows)
    return {
        "x one": [None if i % 20 == 0 else float(v) for i, v in enumerate(x)],
        "job": [None if i % 30 == 0 else str(v) for i, v in enumerate(job)],
        "noise": random.normal(size=rows).tolist(),
        "y": np.where(signal > 0.5, "good <b>", "bad").tolist(),
        "kind": np.digitize(signal, [0.0, 1.0]).tolist(),
        "amount": (10 + 3 * signal).tolist(),
    }


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return fresh_store(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture
def bench(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Bench(tmp_path, store)


@pytest.fixture(scope="session")
def make_bench(store: str) -> Callable[[Path], Bench]:
    return lambda folder: Bench(folder, store)


@pytest.fixture(scope="session")
def make_table() -> Callable[..., dict[str, Any]]:
    return table


@pytest.fixture(scope="session")
def binary(tmp_path_factory: pytest.TempPathFactory, store: str) -> tuple[Bench, Model]:
    """One training that several tests look at. Never write into it."""
    bench = Bench(tmp_path_factory.mktemp("binary"), store)
    bench.prepare(table(), columns={"kind": "drop", "amount": "drop"})
    families = ("hist_gradient_boosting", "random_forest", "extra_trees")
    return bench, bench.train(trials=6, candidates=families)
