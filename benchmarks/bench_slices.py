"""Slices of a million held-out rows against the same by pandas, scikit-learn and a bootstrap.

Each run is a process of its own, so that its memory is its own, and reads the same Parquet dataset:

    python benchmarks/bench_slices.py --rows 1000000 --json slices.json

`penstock` measures two models' accuracy in 50 slices, with intervals, the difference, and tests of
a floor and of the champion under Holm. `pandas` splits the rows by `groupby`, takes scikit-learn's
accuracy of both models in each slice and an interval of either and of their difference from 100
bootstrap resamples; it tests nothing. `fairlearn` gives the accuracies of one model by MetricFrame,
without intervals. `penstock, searched` looks through all columns and pairs besides.
Target, at a million rows: at most 5 s and 1.5 GB for the 50 slices, and half the time of `pandas`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TARGET_SECONDS = 5.0
TARGET_MB = 1500
TARGET_RATIO = 0.5

GENERATE = """
import sys
from pathlib import Path
import numpy as np
import pyarrow as pa
from penstock.data.table import write_dataset

rows, folder = int(sys.argv[1]), Path(sys.argv[2])
chance = np.random.default_rng(1)
truth = chance.random(rows) < 0.3
columns = {
    "region": np.char.add("r", chance.integers(0, 20, rows).astype("U2")),
    "channel": np.char.add("c", chance.integers(0, 10, rows).astype("U2")),
    "product": np.char.add("p", chance.integers(0, 15, rows).astype("U2")),
    "age": chance.integers(18, 95, rows),
    "amount": chance.lognormal(3, 1, rows),
    "tenure": chance.gamma(2, 2, rows),
    "merchant": np.char.add("m", chance.integers(0, 10_000, rows).astype("U5")),
    "active": chance.random(rows) < 0.7,
    "y": truth.astype(int),
    "ours": np.clip(0.5 * truth + 0.6 * chance.random(rows), 0, 1),
    "theirs": np.clip(0.5 * truth + 0.6 * chance.random(rows), 0, 1),
}
write_dataset([pa.table(columns)], output=folder, source="benchmark", part="holdout")
"""

READ = """
import resource, sys, time
from pathlib import Path
import numpy as np
from penstock.data.table import read_dataset, read_table
folder = Path(sys.argv[1])
table = read_table(folder, ["y", "ours", "theirs"])
truth, ours, theirs = (np.asarray(table.column(n)) for n in ("y", "ours", "theirs"))
del table
"""

PENSTOCK = (
    READ
    + """
from types import SimpleNamespace
from penstock.evaluation.holdout import Holdout
from penstock.evaluation.slices import measure_slices
from penstock.policy.slices import SlicesRule
record = SimpleNamespace(task="binary", metric="accuracy", target="y", threshold=0.5)
models = {name: SimpleNamespace(record=record) for name in ("candidate", "champion")}
scores = {"candidate": ours, "champion": theirs}
holdout = Holdout(folder, read_dataset(folder), record, truth, scores, models, ())
rule = SlicesRule(columns=["region", "channel", "product", "age"], find=FIND, at_least=0.5)
start = time.perf_counter()
found = measure_slices(holdout, rule, confidence=0.95)
seconds = time.perf_counter() - start
count = found.looked_at
"""
)

PANDAS = (
    READ
    + """
import pandas as pd
from sklearn.metrics import accuracy_score
start = time.perf_counter()
frame = read_table(folder, ["region", "channel", "product", "age"]).to_pandas()
frame["age"] = pd.qcut(frame["age"], 5)
frame["truth"], frame["ours"], frame["theirs"] = truth, ours >= 0.5, theirs >= 0.5
chance = np.random.default_rng(0)
count = 0
for column in ("region", "channel", "product", "age"):
    for name, part in frame.groupby(column, observed=True):
        y, a, b = (part[n].to_numpy() for n in ("truth", "ours", "theirs"))
        figures = accuracy_score(y, a), accuracy_score(y, b)
        right, other = (y == a).astype(float), (y == b).astype(float)
        drawn = []
        for _ in range(100):
            at = chance.integers(0, len(y), len(y))
            one, two = right[at].mean(), other[at].mean()
            drawn.append((one, two, one - two))
        np.quantile(drawn, [0.025, 0.975], axis=0)
        count += 1
seconds = time.perf_counter() - start
"""
)

FAIRLEARN = (
    READ
    + """
import pandas as pd
from fairlearn.metrics import MetricFrame
from sklearn.metrics import accuracy_score
start = time.perf_counter()
frame = read_table(folder, ["region", "channel", "product", "age"]).to_pandas()
frame["age"] = pd.qcut(frame["age"], 5).astype(str)
count = 0
for column in ("region", "channel", "product", "age"):
    found = MetricFrame(
        metrics=accuracy_score, y_true=truth, y_pred=ours >= 0.5, sensitive_features=frame[column]
    )
    count += len(found.by_group)
seconds = time.perf_counter() - start
"""
)

SAY = """
print(count, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""

RUNS = {
    "penstock": PENSTOCK.replace("FIND", "0"),
    "pandas": PANDAS,
    "fairlearn": FAIRLEARN,
    "penstock, searched": PENSTOCK.replace("FIND", "5"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; exit with 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "holdout"
        subprocess.run([sys.executable, "-c", GENERATE, str(options.rows), str(folder)], check=True)
        found = {name: _run(code, folder) for name, code in RUNS.items()}
    print(f"{options.rows:,} rows")
    for name, run in found.items():
        print(f"  {name:20} {run['slices']:6,} slices {run['seconds']:7.2f} s {run['mb']:7,.0f} MB")
    ours, peer = found["penstock"], found["pandas"]
    ratio = ours["seconds"] / peer["seconds"]
    print(f"  {ratio:.3f} of the time of pandas (target: at most {TARGET_RATIO})")
    if options.json:
        options.json.write_text(json.dumps({"rows": options.rows, "runs": found}, indent=2) + "\n")
    missed = options.rows >= 1_000_000 and (
        ours["seconds"] > TARGET_SECONDS or ours["mb"] > TARGET_MB or ratio > TARGET_RATIO
    )
    if missed:
        print("  MISSED: a target")
    return int(missed)


def _run(code: str, folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", code + SAY, str(folder)],
        check=True,
        capture_output=True,
        text=True,
    )
    count, seconds, megabytes = done.stdout.split()[-3:]
    return {"slices": int(count), "seconds": float(seconds), "mb": float(megabytes)}


if __name__ == "__main__":
    raise SystemExit(main())
