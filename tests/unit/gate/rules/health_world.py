"""A table split, learned from and judged by the steps themselves, so that all records are real."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from fresh_store import fresh_store

from penstock.data.spec import SplitSpec
from penstock.data.split import split
from penstock.data.table import write_dataset
from penstock.evaluation.evaluate import evaluate
from penstock.evaluation.spec import EvaluationSpec
from penstock.features.fit import fit_features
from penstock.features.spec import FeaturesSpec
from penstock.gate.compared import Champion
from penstock.gate.decision import decide
from penstock.gate.evaluation import Evaluation
from penstock.gate.policy import Policy
from penstock.gate.rules import business_value
from penstock.records.decision import RuleResult
from penstock.training.spec import TrainingSpec
from penstock.training.train import train


def customers(rows: int = 1500, *, seed: int = 0, noise: float = 0.0) -> pd.DataFrame:
    """Two overlapping classes `left`; `region` and `when` say nothing of it."""
    draw = np.random.default_rng(seed)
    age, spend = draw.normal(45, 12, rows), draw.lognormal(3, 1, rows)
    signal = (age - 45) / 6 + np.log(spend) - 3
    left = signal + draw.normal(0, 0.7, rows) > 0.5
    left ^= draw.random(rows) < noise
    return pd.DataFrame(
        {
            "age": age.round(2),
            "spend": spend.round(2),
            "region": draw.choice(["north", "south", "east", "west"], rows),
            "when": pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(rows), unit="h"),
            "left": np.where(left, "yes", "no"),
        }
    )


def dataset(folder: Path, frame: pd.DataFrame, **facts: Any) -> Path:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    write_dataset([table], output=folder, source="a test", **facts)
    return folder


@dataclass(frozen=True)
class Made:
    """What the steps wrote of one table."""

    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def holdout(self) -> Path:
        return self.folder / "holdout"

    def evaluation(self, policy: Policy, *, page: bool = False, **changes: Any) -> Evaluation:
        """Measure the holdout; `page` leaves what `page()` returns, whose drawings take long."""
        given = {"model": self.model, "baselines": self.folder / "baselines"} | changes
        if "champion" in given:
            champion = given.pop("champion")
            given["champion"] = Champion(uri=given.pop("champion_uri", ""), folder=champion)
        return evaluate(
            given.pop("holdout", self.holdout),
            **given,
            policy=policy,
            spec=EvaluationSpec(resamples=100),
            output=self.folder / "evaluation.json",
            report=self.folder / "evaluation.html" if page else None,
        ).evaluation

    def rules(self, policy: dict[str, Any], **changes: Any) -> dict[str, RuleResult]:
        """Return what each rule of a policy found, by its name; `changes` as of `evaluation`."""
        asked = Policy.parse(policy, where="gate")
        decision = decide(self.evaluation(asked, **changes), policy=asked)
        return {rule.rule: rule for rule in decision.rules}

    def page(self) -> str:
        return (self.folder / "evaluation.html").read_text()


@cache
def _store() -> str:
    """Return a store for the runs of all trainings: opening one takes longer than a training."""
    return fresh_store(Path(_home().name))


@cache
def _home() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="penstock-trainings-")


def make(
    folder: Path,
    frame: pd.DataFrame,
    *,
    target: str = "left",
    policy: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    features: dict[str, Any] | None = None,
    **spec: Any,
) -> Made:
    """Split a table, fit its features and train on it."""
    whole = dataset(folder / "whole", frame)
    task = "regression" if frame[target].dtype.kind == "f" else "binary"
    task = "multiclass" if task == "binary" and frame[target].nunique() > 2 else task
    proof = split(
        whole,
        SplitSpec(**({"holdout": 0.3} | spec)),
        target=target,
        task=task,
        train=folder / "train",
        holdout=folder / "holdout",
    )
    fit_features(
        folder / "train",
        target=target,
        spec=FeaturesSpec(**(features or {})),
        output=folder / "features",
        report=folder / "features.html",
        split=proof,
    )
    settings = {"trials": 2, "folds": 3, "candidates": ("hist_gradient_boosting",)}
    asked = Policy.parse(policy or {}, where="gate")
    train(
        folder / "train",
        features=folder / "features",
        target=target,
        task="auto",
        positive="yes" if task == "binary" else "",
        spec=TrainingSpec.parse(settings | (training or {}), where="training"),
        model=folder / "model",
        baselines=folder / "baselines",
        report=folder / "training.html",
        experiment="tests",
        tracking_uri=_store(),
        split=proof,
        value=business_value.RULE.of(asked),
        check=asked.check,
    )
    return Made(folder)
