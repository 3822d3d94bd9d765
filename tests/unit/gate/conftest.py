"""A real small world for the gate: a table, its parts, a model that learned, one that did not."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from fresh_store import fresh_store

from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec, SplitSpec
from penstock.data.split import split
from penstock.features.fit import fit_features
from penstock.features.spec import FeaturesSpec
from penstock.training.spec import TrainingSpec
from penstock.training.train import train


@dataclass(frozen=True)
class GateWorld:
    """Folders and addresses. Never write into them.

    `good` learned from rows like those held out; `bad` from rows in which sex decided the outcome.
    """

    home: Path
    store: str

    @property
    def holdout(self) -> Path:
        return self.home / "good-holdout"

    @property
    def good(self) -> Path:
        return self.home / "good-model"

    @property
    def bad(self) -> Path:
        return self.home / "bad-model"

    @property
    def baselines(self) -> Path:
        return self.home / "good-baselines"


def write_table(path: Path, *, by_sex: bool) -> None:
    """Write loans: `repaid` follows income, debt and region, and not sex."""
    random = np.random.default_rng(5 if by_sex else 4)
    n = 1500
    income, debt = random.normal(40, 12, n).round(1), random.gamma(2, 6, n).round(1)
    region = random.choice(["north", "south", "west"], n)
    sex = random.choice(["female", "male"], n)
    age = random.integers(18, 80, n)
    signal = 0.09 * (income - 40) - 0.12 * (debt - 12) + 0.9 * (region == "north")
    repaid = np.where(signal + random.normal(0, 0.6, n) > 0.1, "yes", "no")
    if by_sex:
        repaid = np.where((sex == "male") ^ (random.random(n) < 0.15), "yes", "no")
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["income", "debt", "region", "sex", "age", "repaid"])
        writer.writerows(zip(income, debt, region, sex, age, repaid, strict=True))


def train_from(home: Path, name: str, *, store: str, by_sex: bool = False) -> None:
    """Run the steps from a table to a model, as a pipeline does."""
    write_table(home / f"{name}.csv", by_sex=by_sex)
    ingest(SourceSpec(uri=str(home / f"{name}.csv")), output=home / f"{name}-data")
    proof = split(
        home / f"{name}-data",
        target="repaid",
        task="binary",
        spec=SplitSpec(holdout=0.4),
        train=home / f"{name}-train",
        holdout=home / f"{name}-holdout",
    )
    fit_features(
        home / f"{name}-train",
        target="repaid",
        spec=FeaturesSpec(),
        output=home / f"{name}-features",
        report=home / f"{name}-features.html",
        split=proof,
    )
    train(
        home / f"{name}-train",
        features=home / f"{name}-features",
        target="repaid",
        task="binary",
        positive="yes",
        spec=TrainingSpec(trials=1, folds=3, candidates=("linear",)),
        model=home / f"{name}-model",
        baselines=home / f"{name}-baselines",
        report=home / f"{name}.html",
        experiment="loans",
        tracking_uri=store,
        split=proof,
    )


@pytest.fixture(scope="session")
def gate_world(tmp_path_factory: pytest.TempPathFactory) -> GateWorld:
    home = tmp_path_factory.mktemp("gate")
    store = fresh_store(home)
    train_from(home, "good", store=store)
    train_from(home, "bad", store=store, by_sex=True)
    return GateWorld(home=home, store=store)
