"""The models that `bench_serving.py` serves, in the form that each server takes, and requests.

One simulated table: 12 numbers (half of them with nulls), 6 categories (two with nulls), a boolean
and a time. The house's own features and estimators are fitted on it once for each family. Every
server gets that same fitted pipeline, saved in that server's usual way.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from penstock.records.model import Model

FAMILIES = ("linear", "hist_gradient_boosting", "random_forest")
TARGET, POSITIVE = "outcome", "yes"
THRESHOLD = 0.5
SEED = 20

Row = dict[str, Any]


@dataclass(frozen=True)
class Served:
    """One fitted pipeline, and where each server finds it.

    Args:
        family: The family of its estimator.
        penstock: Penstock's model folder, with the ONNX form in `serving/` where it converts.
        digest: Digest of the model that the folder must have.
        export: Digest of its ONNX form; empty where there is none.
        refusal: Why there is none.
        mlflow: MLflow model folder that answers probabilities.
        joblib: The pickled pipeline.
        pipeline: The pipeline itself, against which every answer is checked.
    """

    family: str
    penstock: Path
    digest: str
    export: str
    refusal: str
    mlflow: Path
    joblib: Path
    pipeline: Any


def simulate(rows: int) -> pd.DataFrame:
    """Return the simulated table with its target."""
    chance = np.random.default_rng(SEED)
    table: dict[str, Any] = {}
    for index in range(8):
        table[f"measure_{index}"] = np.round(chance.normal(10 * index, 1 + index, rows), 4)
    for index in range(4):
        table[f"count_{index}"] = chance.poisson(2 + 5 * index, rows).astype(np.float64)
    signal = (table["measure_1"] - 10) / 2 + 0.2 * (table["count_1"] - 7)
    for name in list(table)[::2]:
        table[name][chance.random(rows) < 0.05] = np.nan
    for index, levels in enumerate((3, 5, 8, 12, 20, 40)):
        code = np.minimum(chance.geometric(2 / levels, rows), levels)
        signal = signal + 0.3 * np.sin(code)
        text = np.char.add("level ", code.astype("U2")).astype(object)
        text[chance.random(rows) < (0.04 if index < 2 else 0)] = None
        table[f"category_{index}"] = text
    table["member"] = chance.random(rows) < 0.4
    hours = chance.integers(0, 24 * 365, rows)
    table["moment"] = np.datetime64("2025-01-01", "us") + hours.astype("timedelta64[h]")
    signal = signal + table["member"] + np.cos(hours % 24 / 24 * 2 * np.pi)
    chosen = chance.random(rows) < 1 / (1 + np.exp(-(signal - 1)))
    return pd.DataFrame({**table, TARGET: np.where(chosen, POSITIVE, "no")})


class Workshop:
    """Fits and saves the models below one folder, which it empties first."""

    def __init__(self, folder: Path, *, rows: int = 20_000) -> None:
        from penstock.data.ingest import ingest
        from penstock.data.spec import SourceSpec, SplitSpec
        from penstock.data.split import split
        from penstock.features.fit import fit_features
        from penstock.features.spec import FeaturesSpec
        from penstock.training.inputs import read_problem

        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._folder = folder
        self._holdout, train = folder / "holdout", folder / "train"
        simulate(rows).to_parquet(folder / "table.parquet")
        ingest(SourceSpec(uri=str(folder / "table.parquet")), output=folder / "dataset")
        cut = split(
            folder / "dataset",
            SplitSpec(),
            target=TARGET,
            task="binary",
            train=train,
            holdout=self._holdout,
        )
        features = folder / "features"
        fit_features(
            train,
            target=TARGET,
            spec=FeaturesSpec(),
            output=features,
            report=folder / "features.html",
            split=cut,
        )
        self._problem = read_problem(
            train, features=features, target=TARGET, task="binary", positive=POSITIVE, split=cut
        )

    def rows(self, count: int) -> list[Row]:
        """Return rows of the holdout as JSON carries them: None for null, times as text."""
        from penstock.data.table import read_table

        names = [column.name for column in self._problem.inputs]
        table = read_table(self._holdout, names).slice(0, count).to_pandas()
        text = table.to_json(orient="records", date_format="iso", double_precision=15)
        return [
            {**row, "moment": row["moment"].removesuffix("Z").removesuffix(".000")}
            for row in json.loads(text)
        ]

    def truth(self, served: Served, rows: list[Row]) -> np.ndarray:
        """Return P(positive) of `rows`, by scikit-learn in this process."""
        from penstock.data.table.frames import to_frame

        columns = self._problem.inputs
        frame = to_frame({c.name: [row[c.name] for row in rows] for c in columns}, columns)
        position = list(served.pipeline.classes_).index(POSITIVE)
        scores: np.ndarray = served.pipeline.predict_proba(frame)[:, position]
        return scores

    def make(self, family: Any) -> Served:
        """Fit one family and save it for every server."""
        import joblib
        from sklearn.pipeline import Pipeline

        from penstock.model import STEPS, digest_of
        from penstock.training import estimators
        from penstock.training.saving import save_model

        problem, folder = self._problem, self._folder / family
        defaults = estimators.family(family, task="binary").defaults
        estimator = estimators.build(family, defaults, task="binary", seed=SEED)
        estimator.fit(problem.transformer.transform(problem.frame), problem.y)
        # Without the first, which reads texts: every server is given values of the columns' types.
        pipeline = Pipeline(list(zip(STEPS[1:], (problem.transformer, estimator), strict=True)))
        own = folder / "penstock"
        save_model(
            own,
            transformer=problem.transformer,
            estimator=estimator,
            record=self._record(family, defaults),
            frame=problem.frame,
        )
        export, refusal = self._export(own)
        self._save_mlflow(pipeline, folder / "mlflow")
        joblib.dump(pipeline, folder / "model.joblib")
        return Served(
            family=family,
            penstock=own,
            digest=digest_of(own),
            export=export,
            refusal=refusal,
            mlflow=folder / "mlflow",
            joblib=folder / "model.joblib",
            pipeline=pipeline,
        )

    def _record(self, family: str, parameters: Any) -> Model:
        from penstock.training import environment

        problem = self._problem
        return Model(
            name=family,
            task="binary",
            target=TARGET,
            classes=problem.classes,
            positive=problem.positive,
            threshold=THRESHOLD,
            columns=problem.inputs,
            metric="roc_auc",
            score=0.0,
            parameters=dict(parameters),
            dataset=problem.dataset.content,
            seed=SEED,
            libraries=environment.libraries(),
            trusted_types=(),
        )

    def _export(self, model: Path) -> tuple[str, str]:
        """Put the ONNX form into the model's folder, as `register` does; return its digest."""
        from penstock.common import files
        from penstock.export.export import export
        from penstock.records.export import FOLDER

        record = export(model, holdout=self._holdout, output=model / FOLDER)
        return (
            ("", record.reason) if record.reason else (files.digest_of_folder(model / FOLDER), "")
        )

    def _save_mlflow(self, pipeline: Any, folder: Path) -> None:
        import logging

        import mlflow.sklearn
        from mlflow.models import infer_signature

        # It advises against pickles, which are what its own users mostly have.
        logging.getLogger("mlflow.sklearn").setLevel(logging.ERROR)
        frame = self._problem.frame.head(100)
        mlflow.sklearn.save_model(
            pipeline,
            str(folder),
            serialization_format="cloudpickle",
            # Without this it answers labels alone, which is less than the others do.
            pyfunc_predict_fn="predict_proba",
            signature=infer_signature(frame, pipeline.predict_proba(frame)),
            pip_requirements=["scikit-learn"],
        )
