"""Batch scoring beside bare ONNX Runtime, scikit-learn and MLflow's pyfunc, on the same rows.

A table of eight columns (numbers, texts, a time) in Parquet, a linear model and boosted trees. Each
way is a process of its own that reads the table by blocks, scores it and writes Parquet, but for
bare ONNX Runtime: it holds the arrays already and runs the graph, nothing else. CPU is that of
scoring: of a run on all rows less one on the first thousandth.

    python benchmarks/bench_score.py --rows 1000000 --json score.json

Targets: 200,000 rows a CPU second for the linear model; half of bare ONNX Runtime's rate for trees.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measuring import measured
from targets import Target, report

QUESTION = (
    "Rows that a batch scoring answers in a CPU second, beside bare ONNX Runtime on arrays that "
    "are there already, scikit-learn's pipeline and MLflow's pyfunc on the same blocks of rows."
)
LEAST, SHARE = 200_000, 0.5
WAYS = ("penstock", "onnxruntime", "sklearn", "pyfunc")

MAKE = """
import json, sys
from pathlib import Path
import numpy as np
import pyarrow as pa, pyarrow.parquet as pq
import mlflow.sklearn
from sklearn.pipeline import Pipeline
from penstock import project
from penstock.common import files
from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec
from penstock.data.table.frames import typed_frame
from penstock.export.export import export
from penstock.features.fit import build
from penstock.features.kinds import Choice
from penstock.features.spec import FeaturesSpec
from penstock.model import TRUSTED_TYPES, digest_of
from penstock.records.dataset import Column
from penstock.records.export import FOLDER
from penstock.records.model import FILE_NAME, Model
from penstock.registry import versions
from penstock.training import estimators
from penstock.training.saving import pipeline_of

home, rows = Path(sys.argv[1]), int(sys.argv[2])
KINDS = {"amount": ("number", "number"), "ratio": ("number", "number"),
         "age": ("integer", "number"),
         "visits": ("integer", "number"), "member": ("boolean", "boolean"),
         "country": ("string", "category"), "channel": ("string", "category"),
         "moment": ("datetime", "datetime")}
def table(rows, seed):
    chance = np.random.default_rng(seed)
    def missing(values, share):
        return pa.array(values, mask=chance.random(rows) < share)
    return pa.table({
        "amount": chance.lognormal(3, 1, rows), "ratio": missing(chance.normal(size=rows), 0.05),
        "age": missing(chance.integers(18, 95, rows), 0.02), "visits": chance.poisson(3, rows),
        "member": chance.random(rows) < 0.5,
        "country": missing(
            np.array(["de", "fr", "it"])[chance.integers(0, 3, rows)], 0.02),
        "channel": np.array(["app", "web", "shop"])[chance.integers(0, 3, rows)],
        "moment": pa.array(np.datetime64("2024-01-01", "us") + chance.integers(0, 10**13, rows),
                           pa.timestamp("us", "UTC"))})
pq.write_table(table(rows, 1), home / "rows.parquet")
pq.write_table(table(max(1000, rows // 1000), 1), home / "few.parquet")
training = table(20_000, 2)
pq.write_table(training.slice(0, 500), home / "holdout.parquet")
ingest(SourceSpec(uri=str(home / "holdout.parquet")), output=home / "holdout")
columns = tuple(Column(name=n, type=k) for n, (k, _) in KINDS.items())
choices = tuple(Choice(c, KINDS[c.name][1], "declared", "") for c in columns)
from penstock.data.table.frames import to_frame
frame = to_frame(training, columns)
transformer = build(choices, {"moment": ["month", "weekday", "hour"]}, FeaturesSpec())
noise = np.random.default_rng(3).normal(size=len(frame))
target = np.where(frame["amount"] * 0.1 + frame["visits"] + noise > 6, "yes", "no")
features = transformer.fit_transform(frame)
from mlflow import MlflowClient
store = f"sqlite:///{home}/mlflow.db"
client = MlflowClient(tracking_uri=store, registry_uri=store)
for family in ("linear", "hist_gradient_boosting"):
    settings = dict(estimators.family(family, task="binary").defaults)
    estimator = estimators.build(family, settings, task="binary", seed=0)
    estimator.fit(features, target)
    record = Model(name=family, task="binary", target="target", classes=("no", "yes"),
        positive="yes", threshold=0.5, columns=columns, metric="roc_auc", score=0.9, parameters={},
        seed=0, dataset="xxh3-128:00000000000000000000000000000001", libraries={}, trusted_types=())
    pipeline = pipeline_of(record, transformer, estimator)
    folder = home / family
    import sklearn
    mlflow.sklearn.save_model(pipeline, folder, serialization_format="skops",
        skops_trusted_types=sorted(TRUSTED_TYPES), pip_requirements=["scikit-learn"])
    record = record.model_copy(update={"libraries": {"scikit-learn": sklearn.__version__}})
    record.write(folder / FILE_NAME)
    assert export(folder, holdout=home / "holdout", output=folder / FOLDER).file
    name = family.replace("_", "-")
    client.create_registered_model(name)
    client.create_model_version(name, str(folder), tags={versions.MODEL_DIGEST: digest_of(folder),
        versions.EXPORT_DIGEST: files.digest_of_folder(folder / FOLDER)})
    client.set_registered_model_alias(name, "champion", "1")
"""

RUN = {
    "penstock": """
import sys
from penstock.data.spec import SourceSpec
from penstock.scoring.score import Order, score
home, family, table = sys.argv[1:]
import shutil; shutil.rmtree(f"{home}/out", ignore_errors=True)
name = family.replace("_", "-")
score(Order(model=f"models:/{name}@champion", data=SourceSpec(uri=f"{home}/{table}"),
    out=f"{home}/out", keep=("visits",), tracking_uri=f"sqlite:///{home}/mlflow.db"))
""",
    "onnxruntime": """
import sys, time
from pathlib import Path
import pyarrow.parquet as pq
from penstock.model import onnx
from penstock.records.export import Export
from penstock.scoring.columns import scorer_arrays
from penstock.records.model import Model
home, family, table = sys.argv[1:]
folder = Path(home) / family
record = Model.read(folder / "penstock.json")
described = Export.read(folder / "serving" / "export.json")
session = onnx._session((folder / "serving" / "model.onnx").read_bytes(), where="")
feeds = onnx._feeds(described.inputs)
batches = [b for b in pq.ParquetFile(f"{home}/{table}").iter_batches(8192)]
held = [{name: feed(scorer_arrays(b, record.columns)) for name, feed in feeds} for b in batches]
began = time.process_time()
for given in held:
    session.run(["scores"], given)
print(time.process_time() - began)
""",
    "sklearn": """
import sys
from pathlib import Path
import pandas as pd, pyarrow as pa, pyarrow.parquet as pq
from penstock.model import load
home, family, table = sys.argv[1:]
model = load(Path(home) / family)
writer = None
for batch in pq.ParquetFile(f"{home}/{table}").iter_batches(65_536):
    found = model.pipeline.predict_proba(model.frame(batch))
    out = pa.table({"visits": batch["visits"], "no": found[:, 0], "yes": found[:, 1]})
    writer = writer or pq.ParquetWriter(f"{home}/out.parquet", out.schema)
    writer.write_table(out)
writer.close()
""",
    "pyfunc": """
import sys
from pathlib import Path
import mlflow.pyfunc, pyarrow as pa, pyarrow.parquet as pq
home, family, table = sys.argv[1:]
model = mlflow.pyfunc.load_model(str(Path(home) / family))
writer = None
for batch in pq.ParquetFile(f"{home}/{table}").iter_batches(65_536):
    found = model.predict(batch.to_pandas())
    out = pa.table({"visits": batch["visits"], "prediction": pa.array(found)})
    writer = writer or pq.ParquetWriter(f"{home}/out.parquet", out.schema)
    writer.write_table(out)
writer.close()
""",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the rates beside their targets; 1 if one is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-score-") as folder:
        home = Path(folder)
        measured([sys.executable, "-W", "ignore", "-c", MAKE, folder, str(options.rows)])
        found = {family: _rates(home, family, options) for family in FAMILIES}
    linear, trees = (found[family] for family in FAMILIES)
    figures: dict[str, Any] = {
        f"{name}, {way}": {"rows_a_cpu_second": round(rate), "peak_mb": round(mb)}
        for name, ways in (("linear", linear), ("trees", trees))
        for way, (rate, mb) in ways.items()
    }
    figures |= {"rows": options.rows, "runs of each": options.runs}
    targets = [
        Target("Rows a CPU second, linear model", linear["penstock"][0], LEAST, "rows", "at least"),
        Target(
            "Rows a CPU second, trees, beside bare ONNX Runtime",
            trees["penstock"][0] / trees["onnxruntime"][0],
            SHARE,
            side="at least",
        ),
    ]
    return report("score", question=QUESTION, figures=figures, targets=targets, path=options.json)


FAMILIES = ("linear", "hist_gradient_boosting")


def _rates(home: Path, family: str, options: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Return rows a CPU second and peak memory of each way, the ways in turns."""
    costs: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for _ in range(options.runs):
        for way in WAYS:
            costs[way].append(_cost(home, family, way))
    return {
        way: (
            options.rows / statistics.median(cpu for cpu, _ in found),
            statistics.median(mb for _, mb in found),
        )
        for way, found in costs.items()
    }


def _cost(home: Path, family: str, way: str) -> tuple[float, float]:
    command = [sys.executable, "-W", "ignore", "-c", RUN[way], str(home), family]
    whole, said = measured([*command, "rows.parquet"], environment={"OMP_NUM_THREADS": "1"})
    if way == "onnxruntime":
        return float(said.split()[-1]), whole.mb
    few, _ = measured([*command, "few.parquet"], environment={"OMP_NUM_THREADS": "1"})
    return max(whole.cpu - few.cpu, 1e-9), whole.mb


if __name__ == "__main__":
    sys.exit(main())
