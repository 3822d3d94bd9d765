"""CPU, time and memory of each step as a table grows, beside others on the same work.

Every program is a process of its own, one after another, on the same 20 mixed columns:

    python benchmarks/bench_scale.py --rows 1000000 10000000 --json scale.json

Each step gets all rows, so that its figure is that of a part of so many. pandas, scikit-learn and
Great Expectations hold the table, so they run up to a million rows; polars streams, and DuckDB has
2 GB and may spill. What they do of the features is less than ours: levels above 0.2 % and the
bounds of numbers, without times, words, kinds and a transformer. A training learns from a million
rows at most (`training.max_rows`), so it runs up to a million too; a larger table is evaluated and
scored by the models of a million.

Every cost is written down as it comes. With `--folder` tables and costs stay there, and the same
command goes on where it was ended.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import bench_validate
import scale_programs as programs
from measuring import Cost, measured, versions
from targets import Target, others, report

QUESTION = (
    "CPU, time and peak memory of each step on 20 mixed columns as rows grow, beside Great "
    "Expectations, polars, DuckDB, and plain pandas and scikit-learn on the same work, each once"
)
HELD = 1_000_000
"""Rows up to which those run that hold the whole table."""

MIXED_TABLE = Path(__file__).with_name("mixed_table.py")
GB = 1000.0

WORKERS = (1, 2, 4)
STEPS: dict[str, dict[str, str]] = {
    "ingest": {"ours": programs.INGEST},
    "validate": bench_validate.RUNS,
    "split": {"ours": programs.SPLIT, "pandas": programs.SPLIT_PANDAS},
    "features": {
        "ours": programs.FEATURES,
        **{f"Dask, {workers}": programs.features_on_dask(workers) for workers in WORKERS},
        "Dask, 2, one killed": programs.FEATURES_KILLED,
        "scikit-learn": programs.FEATURES_SKLEARN,
        "polars": programs.FEATURES_POLARS,
        "DuckDB": programs.FEATURES_DUCKDB,
    },
    "train": {"ours": programs.TRAIN, "scikit-learn": programs.TRAIN_SKLEARN},
    "evaluate": {"ours": programs.EVALUATE},
    "explain": {"ours": programs.EXPLAIN},
    "score": {"ours": programs.SCORE},
}
HOLDING = ("plain GX", "pandas", "scikit-learn")
SAMPLED = ("train", "explain")
"""Steps whose work does not grow beyond a million rows."""

MODELS = ("model", "baselines", "mlflow.db")
"""What evaluation, explanation and scoring take from a training."""

ENGINES = (*(f"features-{workers}" for workers in WORKERS), "features-killed")

Costs = dict[tuple[str, str], Cost]


def main() -> int:
    """Run every step at each size; return 0 when every target is met, 1 when one is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--quick", action="store_true", help="100,000 rows alone, for a look")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, help="tables and costs stay there, to go on from")
    options = parser.parse_args()
    sizes = [100_000] if options.quick else sorted(options.rows)
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as scratch:
        folder = options.folder or Path(scratch)
        taken = {rows: _size(folder, rows, models=folder / str(sizes[0])) for rows in sizes}
        found = {rows: _found(folder / str(rows)) for rows in sizes}
        busy = _busy(folder / str(rows) for rows in sizes)
    figures: dict[str, Any] = {"quick": True} if options.quick else {}
    for rows, costs in taken.items():
        figures[f"{rows:,} rows"] = _figures(rows, costs)
    figures["share of the machine that others used while this ran"] = busy
    figures["versions"] = versions("scikit-learn", "pandas", "pyarrow", "polars", "duckdb", "dask")
    targets = [one for rows in sizes for one in _targets(rows, taken[rows], found[rows])]
    return report("scale", question=QUESTION, figures=figures, targets=targets, path=options.json)


def _size(folder: Path, rows: int, *, models: Path) -> Costs:
    """Make a table of so many rows, and run the steps one after another."""
    print(f"{rows:,} rows", flush=True)
    home = folder / str(rows)
    taken = _known(home)
    _make_tables(home, rows)
    for step, each in STEPS.items():
        if rows > HELD and step in SAMPLED:
            continue
        if step in ("evaluate", "score"):
            _make_ready(home, step, models=models)
        for who, code in each.items():
            if (who in HOLDING and rows > HELD) or (step, who) in taken:
                continue
            _remove_outputs(home, step, who)
            cost, _ = measured([sys.executable, "-c", code, *_arguments(home, step, rows)])
            taken[step, who] = cost
            _note(home, step, who, cost)
    return taken


def _known(home: Path) -> Costs:
    """Return what was measured before this command was ended."""
    path = home / "costs.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return {(step, who): Cost(*cost) for step, who, cost, _ in map(json.loads, lines)}


def _busy(homes: Iterable[Path]) -> str:
    """Return how much of the machine others used up to each cost, in its sitting."""
    lines = [line for home in homes for line in (home / "costs.jsonl").read_text().splitlines()]
    shares = [share for *_, share in map(json.loads, lines) if share is not None]
    return f"{min(shares):.0%} to {max(shares):.0%}" if shares else "not known"


def _note(home: Path, step: str, who: str, cost: Cost) -> None:
    with (home / "costs.jsonl").open("a") as costs:
        costs.write(json.dumps([step, who, cost, others()]) + "\n")
    print(
        f"  {step:<10}{who:<20}{cost.cpu:9.1f} CPU s{cost.wall:9.1f} s{cost.mb:9.0f} MB",
        flush=True,
    )


def _make_tables(home: Path, rows: int) -> None:
    """Make the source, and rows of which none is learned from, unless they are whole already."""
    source, fresh = home / "source" / "rows.parquet", home / "fresh"
    source.parent.mkdir(parents=True, exist_ok=True)
    make = [sys.executable, str(MIXED_TABLE)]
    if not source.exists():
        part = source.with_suffix(".part")
        subprocess.run([*make, "parquet", str(rows), part], check=True)
        part.replace(source)
    if not (fresh / "_dataset.json").exists():
        few = max(rows // 5, 20_000)
        subprocess.run([*make, "dataset", str(few), fresh, str(rows)], check=True)


def _make_ready(home: Path, step: str, *, models: Path) -> None:
    """Bring the models of a smaller table, and register the linear one before rows are scored."""
    if not (models / "model").exists():
        raise SystemExit("Evaluation and scoring need models: the smallest size is trained on.")
    for name in MODELS if home != models else ():
        if not (home / name).exists():
            (home / name).symlink_to((models / name).resolve())
    if step == "score" and not (models / "registered").exists():
        measured([sys.executable, "-c", programs.REGISTER, str(models)])
        (models / "registered").touch()


def _remove_outputs(home: Path, step: str, who: str) -> None:
    """Remove what a run left that was ended in the middle."""
    made = {"ingest": ["whole"], "split": ["train", "holdout"], "score": ["scores"]}.get(step, [])
    if (step, who) == ("features", "ours"):
        made = ["features"]
    for name in made:
        shutil.rmtree(home / name, ignore_errors=True)


def _arguments(home: Path, step: str, rows: int) -> list[str]:
    if step != "validate":
        return [str(home)]
    given = home / "suite.json"
    given.write_text(
        json.dumps({"name": "bench", "expectations": bench_validate.suite(rows), "meta": {}})
    )
    return [str(home / "whole"), str(given), str(home / "found")]


def _figures(rows: int, taken: Costs) -> dict[str, Any]:
    figures: dict[str, Any] = {
        f"{step}, {who}": {"cpu_seconds": c.cpu, "wall_seconds": c.wall, "peak_mb": c.mb}
        for (step, who), c in taken.items()
    }
    alone = taken["features", "ours"].wall
    for who, code in STEPS["features"].items():
        if who.startswith("Dask") and code != programs.FEATURES_KILLED:
            wall = taken["features", who].wall
            figures[f"features, {who}"]["wall, times as fast as one process"] = alone / wall
    figures["score, ours"]["rows a CPU second, imports counted"] = rows / taken["score", "ours"].cpu
    return figures


def _found(home: Path) -> dict[str, float]:
    """Return the size of the features, and how many engines made other ones."""
    ours = (home / "features" / "features.skops").read_bytes()
    others = [(home / name / "features.skops").read_bytes() != ours for name in ENGINES]
    return {"MB": len(ours) / 1e6, "others": float(sum(others))}


def _targets(rows: int, taken: Costs, found: Mapping[str, float]) -> list[Target]:
    ours = {step: cost for (step, who), cost in taken.items() if who == "ours"}
    at = f"at {rows:,} rows"
    targets = [
        Target(f"peak memory of {what} {at}", ours[step].mb, 0.5 * GB, "MB")
        for step, what in (
            ("ingest", "an ingest"),
            ("validate", "validation"),
            ("split", "a split"),
            ("features", "features"),
        )
    ]
    targets += [
        Target(f"features.skops {at}", found["MB"], 1.0, "MB"),
        Target(f"engines whose features are other than one process's {at}", found["others"], 0, ""),
    ]
    if rows == 10_000_000:
        targets.append(Target(f"CPU of validation {at}", ours["validate"].cpu, 25.0, "s"))
    if "train" in ours:
        what = "peak memory of training with 2 settings and 2 folds"
        targets.append(Target(f"{what} {at}", ours["train"].mb, 1.5 * GB, "MB"))
    beside = taken.get(("features", "scikit-learn"))
    # Of few rows it is a matter of imports.
    if beside is not None and rows >= HELD:
        cpu = ours["features"].cpu / beside.cpu
        targets.append(Target(f"CPU of features beside scikit-learn's fit {at}", cpu, 1.0))
    return targets


if __name__ == "__main__":
    sys.exit(main())
