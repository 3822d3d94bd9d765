"""Ingest of a large CSV against DuckDB's COPY and polars' sink_parquet.

Each run is a process of its own, in turn, so that what else the machine does falls on all alike:

    python benchmarks/bench_ingest.py --rows 1000000 10000000 --repeat 3 1 --json ingest.json

The alternatives write Parquet and nothing else; ours also profiles columns and digests rows.
Target: wall time at most 1.3 times the faster alternative, peak memory at most 500 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TARGET_RATIO = 1.3
TARGET_MB = 500
BYTES_PER_ROW = 175

GENERATE = """
import sys
import numpy as np
import pyarrow as pa
from pyarrow import csv

def missing(chance, values, share):
    return pa.array(values, mask=chance.random(len(values)) < share)

def batch(start, rows):
    chance = np.random.default_rng([7, start])
    number = np.arange(start, start + rows)
    pick = lambda *levels: np.array(levels)[chance.integers(0, len(levels), rows)]
    return pa.record_batch({
        "transaction": pa.array(np.char.add("tx-", number.astype("U10"))),
        "customer": pa.array(np.char.add("c", chance.integers(0, 200_000, rows).astype("U6"))),
        "age": missing(chance, chance.integers(18, 95, rows), 0.02),
        "visits": chance.poisson(3, rows),
        "balance_cents": chance.integers(-(10**6), 10**8, rows),
        "zip": chance.integers(10_000, 99_999, rows),
        "amount": np.round(chance.lognormal(3, 1, rows), 2),
        "score": chance.random(rows),
        "ratio": missing(chance, np.round(chance.normal(size=rows), 6), 0.05),
        "latitude": np.round(chance.uniform(-90, 90, rows), 5),
        "temperature": missing(chance, np.round(chance.normal(15, 8, rows), 1), 0.1),
        "country": np.char.add("country-", chance.geometric(0.1, rows).clip(1, 60).astype("U2")),
        "channel": pick("web", "app", "shop", "phone"),
        "segment": missing(chance, pick("gold", "silver", "bronze"), 0.08),
        "merchant": np.char.add("m", chance.integers(0, 5_000, rows).astype("U4")),
        "day": pa.array((18_000 + chance.integers(0, 1_500, rows)).astype("datetime64[D]")),
        "moment": pa.array((1_577_836_800 + number).astype("datetime64[s]")),
        "active": chance.random(rows) < 0.7,
        "fraud": chance.random(rows) < 0.01,
        "comment": missing(chance, pick("ok", "late, but paid", "returned", "gift"), 0.5),
    })

rows, path = int(sys.argv[1]), sys.argv[2]
with csv.CSVWriter(path, batch(0, 1).schema) as writer:
    for start in range(0, rows, 250_000):
        writer.write_batch(batch(start, min(250_000, rows - start)))
"""

RUNS = {
    "penstock": """
import sys
from pathlib import Path
from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec
ingest(SourceSpec(uri=sys.argv[1]), output=Path(sys.argv[2]))
""",
    "duckdb": """
import sys
import duckdb
duckdb.sql(f"COPY (SELECT * FROM read_csv('{sys.argv[1]}')) TO '{sys.argv[2]}' (FORMAT parquet)")
""",
    "polars": """
import sys
import polars as pl
pl.scan_csv(sys.argv[1], try_parse_dates=True).sink_parquet(sys.argv[2])
""",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 0 when every target is met, 1 when one is missed.

    Args:
        arguments: The command line; None for the process's own.
    """
    options = _options(arguments)
    repeats = options.repeat + options.repeat[-1:] * (len(options.rows) - len(options.repeat))
    _warn_of_small_machine()
    results = []
    with tempfile.TemporaryDirectory(prefix="penstock-bench-", dir=options.folder) as name:
        for rows, repeat in zip(options.rows, repeats, strict=False):
            results.append(_measure(Path(name), rows, repeat))
            _print(results[-1])
    report = {"machine": _machine(), "target_ratio": TARGET_RATIO, "target_mb": TARGET_MB}
    if options.json:
        Path(options.json).write_text(json.dumps({**report, "sizes": results}, indent=2) + "\n")
    return 0 if all(result["met"] for result in results) else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--repeat", type=int, nargs="+", default=[5, 3], help="runs, by size")
    parser.add_argument("--json", default="", help="where to write the figures")
    parser.add_argument("--folder", default=None, help="where the tables are made; removed after")
    return parser.parse_args(arguments)


def _measure(folder: Path, rows: int, repeat: int) -> dict[str, Any]:
    """Generate a table and ingest it by each program in turn."""
    # The table and the two largest outputs at once.
    needed = 2 * rows * BYTES_PER_ROW
    if shutil.disk_usage(folder).free < needed:
        raise SystemExit(
            f"{folder}: {needed >> 20:,} MB are needed for {rows:,} rows. Free space, name another "
            "--folder, or take fewer --rows."
        )
    table = folder / f"{rows}.csv"
    print(f"generating {rows:,} rows …", flush=True)
    subprocess.run([sys.executable, "-c", GENERATE, str(rows), str(table)], check=True)
    size = table.stat().st_size
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in RUNS}
    for _ in range(repeat):
        for name, code in RUNS.items():
            runs[name].append(_run(code, table, folder / "output"))
    table.unlink()
    return _summary(rows, size, runs)


def _run(code: str, table: Path, output: Path) -> dict[str, float]:
    """Run one program; return its seconds of wall time and CPU and its peak memory in MB."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(table), str(output)], stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"a run failed with exit code {process.returncode}")
    if output.is_dir():
        shutil.rmtree(output)
    else:
        output.unlink()
    # Linux counts in KB, macOS in bytes.
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return {"wall": wall, "cpu": used.ru_utime + used.ru_stime, "mb": used.ru_maxrss / unit}


def _summary(rows: int, size: int, runs: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    medians = {
        name: {key: statistics.median(run[key] for run in taken) for key in taken[0]}
        for name, taken in runs.items()
    }
    others = [name for name in RUNS if name != "penstock"]
    faster = min(others, key=lambda name: medians[name]["wall"])
    # Pairs of one turn met the same conditions, so their ratio is steadier than that of medians.
    turns = zip(runs["penstock"], *(runs[name] for name in others), strict=True)
    ratio = statistics.median(
        ours["wall"] / min(other["wall"] for other in rest) for ours, *rest in turns
    )
    peak = max(run["mb"] for run in runs["penstock"])
    return {
        "rows": rows,
        "bytes": size,
        "runs": runs,
        "medians": medians,
        "faster": faster,
        "ratio": ratio,
        "cpu_ratio": medians["penstock"]["cpu"] / min(medians[name]["cpu"] for name in others),
        "peak_mb": peak,
        "met": ratio <= TARGET_RATIO and peak <= TARGET_MB,
    }


def _print(result: dict[str, Any]) -> None:
    repeat = len(result["runs"]["penstock"])
    print(f"\n{result['rows']:,} rows, {result['bytes'] / 1e6:,.0f} MB, medians of {repeat}:")
    print(f"{'':12}{'wall s':>10}{'CPU s':>10}{'peak MB':>10}")
    for name, median in result["medians"].items():
        print(f"{name:12}{median['wall']:>10.2f}{median['cpu']:>10.2f}{median['mb']:>10.0f}")
    verdict = "met" if result["met"] else "MISSED"
    print(
        f"{result['ratio']:.2f} times the faster in the same turn (target {TARGET_RATIO}), CPU "
        f"{result['cpu_ratio']:.2f} times; peak {result['peak_mb']:.0f} MB (target {TARGET_MB}): "
        f"{verdict}\n",
        flush=True,
    )


def _machine() -> dict[str, Any]:
    load = os.getloadavg()[0]
    return {"cores": os.cpu_count(), "load": load, "python": sys.version.split()[0]}


def _warn_of_small_machine() -> None:
    cores, load = os.cpu_count() or 1, os.getloadavg()[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    if cores < 2:
        print("WARNING: ONE CORE ONLY. All three programs use two; times say little.")
    if memory < 3:
        print(
            f"WARNING: {memory:.1f} GB OF MEMORY. The tables do not stay cached; disks are timed."
        )
    if load > cores / 2:
        print(f"WARNING: THE MACHINE IS BUSY (load {load:.1f} on {cores} cores): look at CPU.")


if __name__ == "__main__":
    sys.exit(main())
