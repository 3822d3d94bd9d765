"""The programs of `bench_scale`: each step of ours, and the same work by others.

Each is a process of its own that imports what it needs. The first argument is the folder in which
earlier steps left what this one takes.
"""

from __future__ import annotations

_HEAD = """
import sys
from pathlib import Path
home = Path(sys.argv[1])
"""

INGEST = (
    _HEAD
    + """
from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec
ingest(SourceSpec(uri=str(home / "source")), output=home / "whole")
"""
)

SPLIT = (
    _HEAD
    + """
from penstock.data.spec import SplitSpec
from penstock.data.split import split
split(home / "whole", SplitSpec(), target="fraud", task="binary",
      train=home / "train", holdout=home / "holdout")
"""
)

SPLIT_PANDAS = (
    _HEAD
    + """
import pandas as pd
from sklearn.model_selection import train_test_split
frame = pd.read_parquet(home / "whole")
train, holdout = train_test_split(frame, test_size=0.2, stratify=frame["fraud"], random_state=0)
train.to_parquet(home / "plain-train.parquet")
holdout.to_parquet(home / "plain-holdout.parquet")
"""
)

FEATURES = (
    _HEAD
    + """
from penstock.features.fit import fit_features
from penstock.features.spec import FeaturesSpec
fit_features(home / "whole", target="fraud", spec=FeaturesSpec(), output=home / "features",
             report=home / "features.html")
"""
)


def features_on_dask(workers: int) -> str:
    """Return the same by a Dask cluster of so many workers, started and ended in it."""
    return (
        _HEAD
        + f"""
from penstock.data.engine import EngineSpec, opened
from penstock.features.fit import fit_features
from penstock.features.spec import FeaturesSpec
with opened(EngineSpec(name="dask", workers={workers})) as each:
    fit_features(home / "whole", target="fraud", spec=FeaturesSpec(), each=each,
                 output=home / "features-{workers}", report=home / "features.html")
"""
    )


FEATURES_KILLED = (
    _HEAD
    + """
import os, signal
from dataclasses import dataclass
from typing import Any
from penstock.data.engine import EngineSpec, opened
from penstock.features.fit import fit_features
from penstock.features.spec import FeaturesSpec

@dataclass(frozen=True)
class Killed:
    work: Any
    marker: Path

    def __call__(self, parts):
        try:
            self.marker.touch(exist_ok=False)
        except FileExistsError:
            return self.work(parts)
        os.kill(os.getpid(), signal.SIGKILL)

with opened(EngineSpec(name="dask", workers=2)) as each:
    fit_features(home / "whole", target="fraud", spec=FeaturesSpec(),
                 each=lambda work, parts: each(Killed(work, home / "killed"), parts),
                 output=home / "features-killed", report=home / "features.html")
assert (home / "killed").exists()
"""
)

_USED = """
NUMBERS = ["age", "visits", "balance_cents", "zip", "amount", "score", "ratio", "latitude",
           "temperature", "active"]
LEVELS = ["country", "channel", "segment", "comment", "customer", "merchant"]
"""

FEATURES_SKLEARN = (
    _HEAD
    + _USED
    + """
import pandas as pd
from joblib import dump
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import OneHotEncoder
frame = pd.read_parquet(home / "whole", columns=NUMBERS + LEVELS)
encoder = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=0.002,
                        max_categories=101)
made = ColumnTransformer([("n", "passthrough", NUMBERS), ("c", encoder, LEVELS)]).fit(frame)
dump(made, home / "plain-features.joblib")
"""
)

FEATURES_POLARS = (
    _HEAD
    + _USED
    + """
import polars as pl
rows = pl.scan_parquet(home / "whole" / "*.parquet")
n = rows.select(pl.len()).collect(engine="streaming").item()
for name in LEVELS:
    (rows.group_by(name).len().filter(pl.col("len") >= 0.002 * n)
     .collect(engine="streaming"))
rows.select([f(name).alias(f"{name} {f.__name__}") for name in NUMBERS[:-1]
             for f in (pl.min, pl.max, pl.n_unique)]).collect(engine="streaming")
"""
)

FEATURES_DUCKDB = (
    _HEAD
    + _USED
    + """
import duckdb
made = duckdb.connect()
made.execute("SET memory_limit = '2GB'")
made.execute(f"SET temp_directory = '{home}/duckdb'")
rows = f"read_parquet('{home}/whole/*.parquet')"
n = made.execute(f"SELECT count(*) FROM {rows}").fetchone()[0]
for name in LEVELS:
    made.execute(f"SELECT {name}, count(*) AS rows FROM {rows} GROUP BY 1 "
                 f"HAVING rows >= {0.002 * n}").fetchall()
each = ", ".join(f"min({c}), max({c}), approx_count_distinct({c})" for c in NUMBERS[:-1])
made.execute(f"SELECT {each} FROM {rows}").fetchall()
"""
)

TRAIN = (
    _HEAD
    + """
from penstock.training.spec import TrainingSpec
from penstock.training.train import train
train(home / "whole", features=home / "features", target="fraud", task="binary", positive="true",
      spec=TrainingSpec(trials=2, folds=2), model=home / "model", baselines=home / "baselines",
      report=home / "training.html", experiment="bench",
      tracking_uri=f"sqlite:///{home}/mlflow.db")
"""
)

TRAIN_SKLEARN = (
    _HEAD
    + _USED
    + """
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits
LEVELS = LEVELS[:4]
frame = pd.read_parquet(home / "whole", columns=NUMBERS + LEVELS + ["fraud"])
y = frame.pop("fraud").to_numpy()
encoder = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=0.002,
                        sparse_output=False)
x = ColumnTransformer([("n", "passthrough", NUMBERS), ("c", encoder, LEVELS)]).fit_transform(frame)
x = np.asarray(x, dtype=float)
folds = StratifiedKFold(2, shuffle=True, random_state=0)
with threadpool_limits(1):
    for model in (
        make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler(),
                      LogisticRegression(max_iter=1000)),
        HistGradientBoostingClassifier(early_stopping=False, random_state=0),
    ):
        cross_val_score(model, x, y, cv=folds, scoring="average_precision")
        model.fit(x, y)
"""
)

EVALUATE = (
    _HEAD
    + """
from penstock.evaluation.evaluate import evaluate
from penstock.evaluation.spec import EvaluationSpec
from penstock.gate.policy import Policy
evaluate(home / "fresh", model=home / "model", baselines=home / "baselines", policy=Policy(),
         spec=EvaluationSpec(), output=home / "evaluation.json", report=home / "evaluation.html")
"""
)

EXPLAIN = (
    _HEAD
    + """
from penstock.explanation.explain import explain
explain(home / "fresh", model=home / "model", output=home / "explanation.json",
        report=home / "explanation.html")
"""
)

REGISTER = (
    _HEAD
    + """
from mlflow import MlflowClient
from penstock.common import files
from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec
from penstock.export.export import export
from penstock.model import digest_of
from penstock.records.export import FOLDER
from penstock.registry import versions
model, store = home / "baselines" / "linear", f"sqlite:///{home}/mlflow.db"
assert export(model, holdout=home / "fresh", output=model / FOLDER).file
client = MlflowClient(tracking_uri=store, registry_uri=store)
client.create_registered_model("linear")
client.create_model_version("linear", str(model), tags={
    versions.MODEL_DIGEST: digest_of(model),
    versions.EXPORT_DIGEST: files.digest_of_folder(model / FOLDER)})
client.set_registered_model_alias("linear", "champion", "1")
"""
)
"""Registers the linear model that training made; it is no step, and not measured."""

SCORE = (
    _HEAD
    + """
from penstock.data.spec import SourceSpec
from penstock.scoring.score import Order, score
score(Order(model="models:/linear@champion", data=SourceSpec(uri=str(home / "source")),
            out=str(home / "scores"), keep=("transaction",),
            tracking_uri=f"sqlite:///{home}/mlflow.db"))
"""
)
