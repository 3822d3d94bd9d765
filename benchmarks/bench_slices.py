"""Slices of a million held-out rows against pandas, scikit-learn and a bootstrap of our writing.

Nobody's library does the same work, so the alternative is what a data scientist would write: rows
split by pandas' `groupby`, scikit-learn's accuracy of both models in each slice, and intervals of
either and of their difference from 100 bootstrap resamples by NumPy. fairlearn's MetricFrame stands
beside it. Each run is a process of its own, reads the same Parquet dataset, and is timed once the
truth and both models' scores are in memory; who is first changes from turn to turn:

    python benchmarks/bench_slices.py --rows 1000000 --json slices.json

They do not do the same. All give rows and accuracy of the same 50 slices, which is checked: the
figures must be equal. Besides:

- `penstock`: both models, intervals in closed form, the difference with its interval, tests of a
  floor and of the champion under Holm.
- `pandas, scikit-learn, own bootstrap`: both models, intervals of both and of the difference. No
  test, nothing that minds how many slices are looked at. 100 resamples are few for an interval.
- `fairlearn`: one model's accuracy, without intervals (its `n_boot` is not used), differences or
  tests.
- `penstock, searched`: as the first, and looks through all columns and their pairs; no peer does.

Target, at a million rows: at most 5 s and 1.5 GB for the 50 slices, and half the time of the
bootstrap. Times are CPU seconds, which on a quiet machine are not below the time that passes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measuring import measured, turns, versions
from targets import Target, report

QUESTION = (
    "CPU and memory to measure two models in 50 slices of a million rows, with intervals and "
    "tests, beside pandas' groupby with scikit-learn's accuracy and a bootstrap of our own writing "
    "(no tests), and fairlearn's MetricFrame (one model, no intervals, no tests)."
)
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
import json, resource, sys, time
from pathlib import Path
import numpy as np
from penstock.data.table import read_dataset, read_table
folder = Path(sys.argv[1])
table = read_table(folder, ["y", "ours", "theirs"])
truth, ours, theirs = (np.asarray(table.column(n)) for n in ("y", "ours", "theirs"))
del table
"""

FIFTHS = """
def fifths(values):
    edges = np.quantile(values, [0.2, 0.4, 0.6, 0.8], method="higher")
    return np.searchsorted(edges, values, side="right")
"""

PENSTOCK = (
    READ
    + """
from types import SimpleNamespace
from penstock.gate.holdout import Holdout
from penstock.gate.rules.slices.measure import measure_slices
from penstock.gate.rules.slices.spec import SlicesSpec
record = SimpleNamespace(task="binary", metric="accuracy", target="y", threshold=0.5)
models = {name: SimpleNamespace(record=record) for name in ("candidate", "champion")}
scores = {"candidate": ours, "champion": theirs}
holdout = Holdout(folder, read_dataset(folder), record, truth, scores, models, ())
rule = SlicesSpec(columns=["region", "channel", "product", "age"], find=FIND, at_least=0.5)
start = time.process_time()
found = measure_slices(holdout, rule, confidence=0.95)
seconds = time.process_time() - start
count = found.looked_at
slices = [(one.rows, one.estimate.value) for one in found.slices if not one.found]
"""
)

BOOTSTRAP = (
    READ
    + FIFTHS
    + """
import pandas as pd
from sklearn.metrics import accuracy_score
start = time.process_time()
frame = read_table(folder, ["region", "channel", "product", "age"]).to_pandas()
frame["age"] = fifths(frame["age"])
frame["truth"], frame["ours"], frame["theirs"] = truth, ours >= 0.5, theirs >= 0.5
chance = np.random.default_rng(0)
slices = []
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
        slices.append((len(y), figures[0]))
seconds = time.process_time() - start
count = len(slices)
"""
)

FAIRLEARN = (
    READ
    + FIFTHS
    + """
import pandas as pd
from fairlearn.metrics import MetricFrame, count as rows_of
from sklearn.metrics import accuracy_score
start = time.process_time()
frame = read_table(folder, ["region", "channel", "product", "age"]).to_pandas()
frame["age"] = fifths(frame["age"])
slices = []
for column in ("region", "channel", "product", "age"):
    found = MetricFrame(
        metrics={"rows": rows_of, "accuracy": accuracy_score},
        y_true=truth, y_pred=ours >= 0.5, sensitive_features=frame[column],
    ).by_group
    slices += [(int(r), float(a)) for r, a in zip(found["rows"], found["accuracy"])]
seconds = time.process_time() - start
count = len(slices)
"""
)

SAY = """
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"count": count, "seconds": seconds, "mb": peak, "slices": sorted(slices)}))
"""

OURS, PEER, SEARCHED = "penstock", "pandas, scikit-learn, own bootstrap", "penstock, searched"
RUNS = {OURS: PENSTOCK.replace("FIND", "0"), PEER: BOOTSTRAP}
ONCE = {"fairlearn": FAIRLEARN, SEARCHED: PENSTOCK.replace("FIND", "5")}
"""What no target is about: run once."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; exit with 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3, help="turns")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in (*RUNS, *ONCE)}
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "holdout"
        subprocess.run([sys.executable, "-c", GENERATE, str(options.rows), str(folder)], check=True)
        for order in turns(list(RUNS), options.repeat):
            for name in order:
                found[name].append(_run(RUNS[name], folder))
        for name, code in ONCE.items():
            found[name].append(_run(code, folder))
    print(f"{options.rows:,} rows")
    programs = {name: _row(runs) for name, runs in found.items()}
    for name, row in programs.items():
        print(
            f"  {name:36}{row['slices']:7,} slices {row['cpu_seconds']:7.2f} CPU s "
            f"{row['peak_mb']:7,.0f} MB"
        )
    return report(
        "slices",
        question=QUESTION,
        figures={
            "rows": options.rows,
            "programs": programs,
            "versions": versions("pandas", "scikit-learn", "numpy", "fairlearn"),
        },
        targets=_targets(found, rows=options.rows),
        path=options.json,
    )


def _row(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "slices": runs[0]["count"],
        "cpu_seconds": statistics.median(run["seconds"] for run in runs),
        "peak_mb": max(run["mb"] for run in runs),
        "runs": len(runs),
    }


def _targets(found: dict[str, list[dict[str, Any]]], *, rows: int) -> list[Target]:
    ours, peer = found[OURS], found[PEER]
    ratio = statistics.median(
        one["seconds"] / other["seconds"] for one, other in zip(ours, peer, strict=True)
    )
    mine = _row(ours)
    others = {name: runs[0]["slices"] for name, runs in found.items() if name != OURS}
    apart = [name for name, slices in others.items() if not _same(ours[0]["slices"], slices)]
    if apart:
        print(f"  other rows or accuracies than penstock's: {'; '.join(apart)}")
    text = f"50 slices of {rows:,} rows"
    return [
        Target(f"{text}: CPU", mine["cpu_seconds"], TARGET_SECONDS, "s"),
        Target(f"{text}: peak memory of the process", mine["peak_mb"], TARGET_MB, "MB"),
        Target(f"{text}: CPU, beside {PEER}", ratio, TARGET_RATIO),
        Target("peers with other rows or accuracies of the 50 slices", len(apart), 0, "peers"),
    ]


def _same(ours: list[list[float]], theirs: list[list[float]]) -> bool:
    """Return whether rows are equal and accuracies are, but for the last digits of a division."""
    return len(ours) == len(theirs) and all(
        one[0] == other[0] and abs(one[1] - other[1]) < 1e-12
        for one, other in zip(ours, theirs, strict=True)
    )


def _run(code: str, folder: Path) -> dict[str, Any]:
    _, said = measured([sys.executable, "-c", code + SAY, folder])
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


if __name__ == "__main__":
    raise SystemExit(main())
