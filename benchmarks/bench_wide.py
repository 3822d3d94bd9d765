"""CPU and memory of each step on a table of many columns, against scikit-learn's own fit.

A step that parses a record or searches pairs once for each column costs four times as much for
twice the columns, one that does so much per column costs twice as much. What is read here is how
the cost grows: what the second doubling of the columns adds, by what the first adds. That leaves
out what a step costs whatever the table. Target: at most 3, halfway between proportional (2) and
the square (4), for each step that takes a second. The named alternative is scikit-learn's gradient
boosting, fitted once on the same numbers in the same process.

    python benchmarks/bench_wide.py --columns 500 --json build/bench-wide.json
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measuring import versions
from targets import Target, report

QUESTION = (
    "CPU and peak memory of each step as the columns of a table of 2,000 rows double twice, beside "
    "one fit of scikit-learn's gradient boosting on the same numbers."
)
GROWTH = 3.0
BARE = "scikit-learn, one fit"
ROWS = 2_000
SETTINGS = {"trials": 2, "folds": 2, "candidates": ("hist_gradient_boosting",)}


def table(folder: Path, *, columns: int, rows: int, seed: int) -> Path:
    """Write a dataset: nine tenths numbers, one tenth categories of five levels, two classes."""
    import numpy as np
    import pyarrow as pa

    from penstock.data.table import write_dataset

    chance = np.random.default_rng(seed)
    made: dict[str, Any] = {}
    for at in range(columns):
        if at % 10:
            made[f"n{at}"] = chance.normal(size=rows)
        else:
            made[f"c{at}"] = chance.choice(list("abcde"), rows)
    signal = made["n1"] + made["n2"] + (made["c0"] == "a") + chance.normal(size=rows)
    made["y"] = np.where(signal > 0.5, "yes", "no")
    write_dataset([pa.table(made)], output=folder, source="benchmark")
    return folder


class Clock:
    """Wall seconds and CPU seconds of each step."""

    def __init__(self) -> None:
        self.steps: dict[str, dict[str, float]] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure the block as a step of this name."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.steps[name] = {
            "cpu_seconds": time.process_time() - cpu,
            "wall_seconds": time.perf_counter() - wall,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
        said = "  ".join(f"{key} {value:8,.2f}" for key, value in self.steps[name].items())
        print(f"  {name:<22} {said}", flush=True)


def _measure(columns: int) -> dict[str, dict[str, float]]:
    from penstock.data.spec import SplitSpec
    from penstock.data.split import split
    from penstock.evaluation.evaluate import evaluate
    from penstock.evaluation.spec import EvaluationSpec
    from penstock.explanation.explain import explain
    from penstock.features.fit import fit_features
    from penstock.features.spec import FeaturesSpec
    from penstock.gate.policy import Policy
    from penstock.training.spec import TrainingSpec
    from penstock.training.train import train

    clock = Clock()
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        with clock.step("write the dataset"):
            whole = table(home / "whole", columns=columns, rows=ROWS, seed=columns)
        with clock.step("split"):
            proof = split(
                whole,
                SplitSpec(holdout=0.5),
                target="y",
                task="binary",
                train=home / "train",
                holdout=home / "holdout",
            )
        with clock.step(BARE):
            _bare_fit(home / "train")
        with clock.step("engineer features"):
            fit_features(
                home / "train",
                target="y",
                spec=FeaturesSpec(),
                output=home / "features",
                report=home / "features.html",
                split=proof,
            )
        with clock.step("train"):
            train(
                home / "train",
                features=home / "features",
                target="y",
                task="auto",
                positive="yes",
                spec=TrainingSpec.parse(SETTINGS, where="training"),
                model=home / "model",
                baselines=home / "baselines",
                report=home / "training.html",
                experiment="bench",
                tracking_uri=f"sqlite:///{home}/mlflow.db",
                split=proof,
            )
        with clock.step("evaluate"):
            evaluate(
                home / "holdout",
                model=home / "model",
                baselines=home / "baselines",
                policy=Policy(),
                spec=EvaluationSpec(),
                output=home / "evaluation.json",
                report=home / "evaluation.html",
            )
        with clock.step("explain"):
            explain(
                home / "holdout",
                model=home / "model",
                output=home / "explanation.json",
                report=home / "explanation.html",
            )
    return clock.steps


def _bare_fit(folder: Path) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    from penstock.data.table import read_table

    frame = read_table(folder).to_pandas()
    numbers = frame[[name for name in frame if name.startswith("n")]]
    HistGradientBoostingClassifier(random_state=0).fit(numbers, frame["y"])


def main() -> int:
    """Measure each width in a process of its own, and how the cost grows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--columns", type=int, default=500, help="of the narrowest of the three")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    widths = [options.columns * times for times in (1, 2, 4)]
    found: dict[int, dict[str, dict[str, float]]] = {}
    for columns in widths:
        print(f"{columns:,} columns, {ROWS:,} rows", flush=True)
        # An executor says so when its process dies; a queue would be waited on for ever.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
            found[columns] = alone.submit(_measure, columns).result()
    narrow, middle, wide = (found[columns] for columns in widths)
    growth = {
        step: (wide[step]["cpu_seconds"] - middle[step]["cpu_seconds"])
        / max(middle[step]["cpu_seconds"] - narrow[step]["cpu_seconds"], 0.01)
        for step in wide
        if step != BARE and wide[step]["cpu_seconds"] >= 1
    }
    return report(
        "wide",
        question=QUESTION,
        figures={
            "rows": ROWS,
            **{f"{columns:,} columns": steps for columns, steps in found.items()},
            "versions": versions("scikit-learn", "pandas", "pyarrow"),
        },
        targets=[
            Target(
                f"{step}: CPU that {widths[1]:,} to {widths[2]:,} columns add, beside what "
                f"{widths[0]:,} to {widths[1]:,} add",
                value,
                GROWTH,
            )
            for step, value in growth.items()
        ],
        path=options.json,
    )


if __name__ == "__main__":
    sys.exit(main())
