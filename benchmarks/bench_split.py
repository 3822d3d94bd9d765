"""Whether the holdout tells how a model does on fresh rows, where rows repeat; simulated.

Tables of known sources (split_sources.py) are split by Penstock, by rows at random (what
scikit-learn's train_test_split does), and by the hash of the whole row, so that all equal rows are
on one side. One model is fitted on each training part and measured twice: on the holdout, with the
interval that `evaluate` gives, and on many fresh rows of the source.

For each source and way of splitting the table shows the mean difference (holdout less fresh) and
how often the interval holds the figure on fresh rows. The targets are of Penstock's split:

- Of each source, the interval of each metric holds the figure as often as it says, within 3 points
  and what chance in the simulation explains: the upper limit of its rate (Clopper and Pearson, at
  5 % over all claims, Bonferroni) is at least 92 %. With 40 tables of a source a rate of 85 % can
  pass; it is the second target that has power.
- Over all sources together, within 2 points: the mean rate, as it came out, is at least 93 %.

Copies with the other class are no rows of the source: there the fresh rows are a table as it was
drawn, copied and inverted.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import tempfile
import time
import zlib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from gate_report import rate
from split_sources import SOURCES, Source
from targets import Target, report

from penstock.data.spec import SplitSpec
from penstock.data.split import split
from penstock.data.table import read_table, write_dataset
from penstock.metrics.intervals import estimate_metrics
from penstock.metrics.predictions import Predictions
from penstock.metrics.weighted import compute
from penstock.records.model import Task

QUESTION = (
    "How often the intervals of the holdout hold the figure on fresh rows, on simulated tables "
    "with 0 to 99 % repeats, beside a split of rows at random (scikit-learn's) and one by the hash "
    "of the whole row."
)
CONFIDENCE = 0.95
TOLERANCE = 0.03
TOGETHER = 0.02
FRESH = 10_000
METRICS = {"binary": ("roc_auc", "accuracy", "brier"), "regression": ("r2", "mae")}
WAYS = ("penstock", "rows at random", "whole row's hash")


Measured = dict[str, dict[str, list[float]]]
"""Of one table, by way of splitting and metric."""


def batch(task: tuple[int, int, int]) -> list[Measured]:
    """Measure some tables: by way and metric the figure, its interval, the figure on fresh rows."""
    place, begin, end = task
    source = SOURCES[place]
    label = zlib.crc32(source.name.encode())
    return [_one(source, np.random.default_rng((label, seed))) for seed in range(begin, end)]


def _one(source: Source, rng: np.random.Generator) -> Measured:
    columns, target = source.table(rng)
    frame = pd.DataFrame({**columns, "y": target})
    if source.inverted:
        again, truth = source.table(np.random.default_rng(rng.integers(2**32)))
    else:
        again, truth = source.draw(FRESH, rng)
    fresh = pd.DataFrame({**again, "y": truth})
    task: Task = "regression" if source.regression else "binary"
    return {way: _measured(*_parts(way, frame, task, rng), fresh, task) for way in WAYS}


def _parts(
    way: str, frame: pd.DataFrame, task: Task, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    seed = int(rng.integers(2**31))
    if way == "penstock":
        return _penstock(frame, task, seed)
    if way == "rows at random":
        unit = rng.random(len(frame))
    else:
        hashes = pd.util.hash_pandas_object(frame, index=False).to_numpy()
        distinct, place = np.unique(hashes, return_inverse=True)
        unit = rng.random(len(distinct))[place]
    held = unit <= np.quantile(unit, 0.2)
    return frame[~held], frame[held]


def _penstock(frame: pd.DataFrame, task: Task, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        table = pa.Table.from_pandas(frame, preserve_index=False)
        write_dataset([table], output=folder / "table", source="simulated")
        with contextlib.redirect_stdout(io.StringIO()):  # the step's own line for a run's log
            split(
                folder / "table",
                SplitSpec(seed=seed),
                target="y",
                task=task,
                train=folder / "train",
                holdout=folder / "holdout",
            )
        train, holdout = (read_table(folder / part).to_pandas() for part in ("train", "holdout"))
    return train, holdout


def _measured(
    train: pd.DataFrame, holdout: pd.DataFrame, fresh: pd.DataFrame, task: Task
) -> dict[str, list[float]]:
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    if train["y"].nunique() < 2 or holdout["y"].nunique() < 2:
        return {}
    kind: Any = ExtraTreesRegressor if task == "regression" else ExtraTreesClassifier
    model = kind(20, min_samples_leaf=2, random_state=0)
    model.fit(_coded(train), train["y"])
    judged, true = (_answers(model, rows, task) for rows in (holdout, fresh))
    values, known = compute(judged), compute(true)
    wanted = {m: values[m] for m in METRICS[task] if np.isfinite(values[m])}
    found = estimate_metrics(judged, wanted, confidence=CONFIDENCE)
    return {
        metric: [f.estimate.value, f.estimate.low, f.estimate.high, known[metric]]
        for metric, f in found.items()
    }


def _coded(rows: pd.DataFrame) -> np.ndarray:
    features = rows.drop(columns="y")
    return np.column_stack(
        [
            values.to_numpy() if values.dtype.kind == "f" else values.str[1:].astype(float)
            for _, values in features.items()
        ]
    )


def _answers(model: Any, rows: pd.DataFrame, task: Task) -> Predictions:
    truth = rows["y"].to_numpy()
    if task == "regression":
        scores = model.predict(_coded(rows))
        return Predictions(task, truth, scores, scores, 0)
    scores = model.predict_proba(_coded(rows))[:, 1]
    predicted = (scores >= 0.5).astype(np.int64)
    return Predictions(task, truth, scores, predicted, 2)


def summary(found: list[Measured], way: str, metric: str) -> dict[str, Any]:
    """Return the mean difference and the coverage of one way of splitting."""
    rows = np.array([one[way][metric] for one in found if metric in one[way]]).reshape(-1, 4)
    value, low, high, true = rows.T
    return {
        "holdout": float(value.mean()) if len(rows) else None,
        "fresh": float(true.mean()) if len(rows) else None,
        "difference": float((value - true).mean()) if len(rows) else None,
        # Where a way leaves nothing to measure, its interval holds nothing.
        "coverage": rate((low <= true) & (true <= high), of=len(found)),
    }


def main() -> int:
    """Print the table and the targets; with --json, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tables", type=int, default=40, help="of each source")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="", help="sources whose name contains this")
    options = parser.parse_args()
    began = time.perf_counter()
    results: dict[str, Any] = {}
    print(f"{'holdout less fresh, and intervals that hold':46}" + "".join(f"{w:>22}" for w in WAYS))
    with ProcessPoolExecutor(options.workers) as pool:
        for place, source in enumerate(SOURCES):
            if options.only not in source.name:
                continue
            size = max(1, options.tables // 20)
            tasks = [
                (place, start, min(start + size, options.tables))
                for start in range(0, options.tables, size)
            ]
            found = [one for some in pool.map(batch, tasks) for one in some]
            task = "regression" if source.regression else "binary"
            results[source.name] = {
                metric: {way: summary(found, way, metric) for way in WAYS}
                for metric in METRICS[task]
            }
            for metric, of in results[source.name].items():
                cells = "".join(_cell(of[way]) for way in WAYS)
                print(f"{source.name:34} {metric:11}{cells}", flush=True)
    print(f"\n{time.perf_counter() - began:.0f} s")
    coverages = {
        f"{name}: {metric}": of["penstock"]["coverage"]
        for name, by_metric in results.items()
        for metric, of in by_metric.items()
    }
    return report(
        "split",
        question=QUESTION,
        figures={
            "tables_of_each_source": options.tables,
            "by_source": _by_source(results),
            "raw": results,
        },
        targets=_targets(coverages, tables=options.tables * len(results)),
        path=options.json,
    )


def _by_source(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what the page shows: by source, of its first metric, each way of splitting."""
    shown: dict[str, dict[str, Any]] = {}
    for name, by_metric in results.items():
        metric, of = next(iter(by_metric.items()))
        shown[name] = {"metric": metric}
        for way in WAYS:
            shown[name][f"{way}: holdout less fresh"] = of[way]["difference"]
            shown[name][f"{way}: interval holds, %"] = 100 * of[way]["coverage"]["share"]
    return shown


def _targets(coverages: dict[str, Any], *, tables: int) -> list[Target]:
    from scipy.stats import beta

    least, level = CONFIDENCE - TOLERANCE, 0.05 / len(coverages)
    limits = {}
    for claim, of in coverages.items():
        held, seen = round(of["share"] * of["pairs"]), of["pairs"]
        limits[claim] = 1.0 if held == seen else float(beta.ppf(1 - level, held + 1, seen - held))
    for claim, limit in limits.items():
        if not limit >= least:
            print(f"too seldom: {claim}: {coverages[claim]['share']:.2f} of {CONFIDENCE}")
    worst = min(limits, key=lambda claim: limits[claim])
    mean = float(np.mean([of["share"] for of in coverages.values()]))
    # Metrics of one table go together: as if each table were one observation.
    half = 1.96 * float(np.sqrt(mean * (1 - mean) / tables))
    return [
        Target(
            f"of {len(limits)} sources and metrics, the one whose interval holds most seldom "
            f"({worst}, in {100 * coverages[worst]['share']:.1f} % of tables): upper limit of its "
            "rate",
            100 * limits[worst],
            100 * least,
            "%",
            "at least",
        ),
        Target(
            f"intervals that hold, mean over all (±{100 * half:.1f} by chance in the simulation)",
            100 * mean,
            100 * (CONFIDENCE - TOGETHER),
            "%",
            "at least",
        ),
    ]


def _cell(of: dict[str, Any]) -> str:
    if of["difference"] is None:
        return f"{'nothing to measure':>22}"
    return f"{of['difference']:>+14.4f} {100 * of['coverage']['share']:>5.0f} %"


if __name__ == "__main__":
    sys.exit(main())
