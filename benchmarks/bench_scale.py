"""CPU, time and memory of each step as a table grows, beside others on the same work.

Every program is a process of its own, one after another, on the same 20 mixed columns:

    python benchmarks/bench_scale.py --rows 1000000 10000000 --json scale.json

Each step gets all rows, so that its figure is that of a part of so many. pandas, scikit-learn and
Great Expectations hold the table, so they run up to a million rows; polars streams, and DuckDB has
2 GB and may spill. What they do of the features is less than ours: levels above 0.2 % and the
bounds of numbers, without times, words, kinds and a transformer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import bench_validate
import scale_programs as programs
from measuring import Cost, measured, versions
from targets import Target, report

QUESTION = (
    "CPU, time and peak memory of each step on 20 mixed columns as rows grow, beside Great "
    "Expectations, polars, DuckDB, and plain pandas and scikit-learn on the same work"
)
HELD = 1_000_000
"""Rows up to which those run that hold the whole table."""

MIXED_TABLE = Path(__file__).with_name("mixed_table.py")
GB = 1000.0

STEPS: dict[str, dict[str, str]] = {
    "split": {"ours": programs.SPLIT, "pandas": programs.SPLIT_PANDAS},
    "features": {
        "ours": programs.FEATURES,
        **{f"Dask, {workers}": programs.features_on_dask(workers) for workers in (1, 2, 4)},
        "scikit-learn": programs.FEATURES_SKLEARN,
        "polars": programs.FEATURES_POLARS,
        "DuckDB": programs.FEATURES_DUCKDB,
    },
    "train": {"ours": programs.TRAIN, "scikit-learn": programs.TRAIN_SKLEARN},
    "evaluate": {"ours": programs.EVALUATE},
    "explain": {"ours": programs.EXPLAIN},
}
HOLDING = ("plain GX", "pandas", "scikit-learn")


def main() -> int:
    """Run every step at each size; return 0 when every target is met, 1 when one is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--quick", action="store_true", help="100,000 rows alone, for a look")
    parser.add_argument("--steps", nargs="+", default=["validate", *STEPS], help="which steps")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", default=None, help="where tables are made; removed after")
    options = parser.parse_args()
    sizes = [100_000] if options.quick else sorted(options.rows)
    figures: dict[str, Any] = {"quick": True} if options.quick else {}
    targets: list[Target] = []
    for rows in sizes:
        with tempfile.TemporaryDirectory(prefix="penstock-bench-", dir=options.folder) as name:
            taken = _size(Path(name), rows, options.steps)
            size = Path(name) / "features" / "features.skops"
            stored = size.stat().st_size / 1e6 if size.exists() else None
        figures[f"{rows:,} rows"] = {
            f"{step}, {who}": {"cpu_seconds": c.cpu, "wall_seconds": c.wall, "peak_mb": c.mb}
            for (step, who), c in taken.items()
        }
        targets += _targets(rows, taken, stored)
    figures["versions"] = versions("scikit-learn", "pandas", "pyarrow", "polars", "duckdb")
    return report("scale", question=QUESTION, figures=figures, targets=targets, path=options.json)


def _size(home: Path, rows: int, steps: list[str]) -> dict[tuple[str, str], Cost]:
    """Make a table of so many rows, and run the steps one after another."""
    print(f"{rows:,} rows", flush=True)
    make = [sys.executable, MIXED_TABLE, "dataset"]
    subprocess.run([*make, str(rows), home / "whole"], check=True)
    # Rows from another part of the sequence: none of them was learned from.
    subprocess.run([*make, str(max(rows // 5, 20_000)), home / "fresh", str(rows)], check=True)
    taken: dict[tuple[str, str], Cost] = {}
    for step in steps:
        for who, code in _programs(step).items():
            if who in HOLDING and rows > HELD:
                continue
            cost, _ = measured([sys.executable, "-c", code, *_arguments(home, step, rows)])
            taken[step, who] = cost
            print(
                f"  {step:<10}{who:<14}{cost.cpu:9.1f} CPU s{cost.wall:9.1f} s{cost.mb:9.0f} MB",
                flush=True,
            )
    return taken


def _programs(step: str) -> dict[str, str]:
    return bench_validate.RUNS if step == "validate" else STEPS[step]


def _arguments(home: Path, step: str, rows: int) -> list[str]:
    if step != "validate":
        return [str(home)]
    given = home / "suite.json"
    given.write_text(
        json.dumps({"name": "bench", "expectations": bench_validate.suite(rows), "meta": {}})
    )
    return [str(home / "whole"), str(given), str(home / "found")]


def _targets(rows: int, taken: dict[tuple[str, str], Cost], stored: float | None) -> list[Target]:
    ours = {step: cost for (step, who), cost in taken.items() if who == "ours"}
    at = f"at {rows:,} rows"
    found = []
    if "features" in ours:
        found.append(Target(f"peak memory of features {at}", ours["features"].mb, 0.5 * GB, "MB"))
    if stored is not None:
        found.append(Target(f"features.skops {at}", stored, 1.0, "MB"))
    if "validate" in ours:
        found.append(Target(f"peak memory of validation {at}", ours["validate"].mb, 0.5 * GB, "MB"))
        if rows == 10_000_000:
            found.append(Target(f"CPU of validation {at}", ours["validate"].cpu, 25.0, "s"))
    if "train" in ours:
        what = "peak memory of training with 2 settings and 2 folds"
        found.append(Target(f"{what} {at}", ours["train"].mb, 1.5 * GB, "MB"))
    beside = taken.get(("features", "scikit-learn"))
    # Of few rows it is a matter of imports.
    if beside is not None and "features" in ours and rows >= HELD:
        cpu = ours["features"].cpu / beside.cpu
        found.append(Target(f"CPU of features beside scikit-learn's fit {at}", cpu, 1.0))
    return found


if __name__ == "__main__":
    sys.exit(main())
