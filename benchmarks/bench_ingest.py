"""Ingest of a large CSV against DuckDB's COPY and polars' sink_parquet.

Each run is a process of its own. In each turn every program runs once, and another one is first:

    python benchmarks/bench_ingest.py --rows 1000000 10000000 --repeat 5 3 --json ingest.json

The alternatives write Parquet and nothing else; ours also profiles columns and digests rows. What
all three wrote is the same table: ingested once more (not timed), the Parquet files of the
alternatives have the content digest of ours. The ratio is to the faster alternative of the same
turn, median of the turns.
Target: wall time at most 1.3 times the faster alternative, peak memory at most 500 MB.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measuring import Cost, measured, medians, turns, versions
from targets import Target, report

QUESTION = (
    "Time and memory to read a CSV of 20 mixed columns into Parquet with profile and digest, "
    "beside DuckDB's COPY and polars' sink_parquet, which write the same table and nothing else."
)
TARGET_RATIO = 1.3
TARGET_MB = 500
BYTES_PER_ROW = 175
OURS = "penstock"
MIXED_TABLE = Path(__file__).with_name("mixed_table.py")

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
    figures: dict[str, Any] = {}
    targets: list[Target] = []
    with tempfile.TemporaryDirectory(prefix="penstock-bench-", dir=options.folder) as name:
        for rows, repeat in zip(options.rows, repeats, strict=False):
            found, of_size = _measure(Path(name), rows, repeat)
            figures[f"{rows:,} rows"] = found
            targets += of_size
    figures["versions"] = versions("duckdb", "polars", "pyarrow")
    return report("ingest", question=QUESTION, figures=figures, targets=targets, path=options.json)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--repeat", type=int, nargs="+", default=[5, 3], help="turns, by size")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--folder", default=None, help="where the tables are made; removed after")
    return parser.parse_args(arguments)


def _measure(folder: Path, rows: int, repeat: int) -> tuple[dict[str, Any], list[Target]]:
    """Generate a table and ingest it by each program in turn."""
    # The table, the three outputs of a turn, and what is ingested once more.
    needed = 3 * rows * BYTES_PER_ROW
    if shutil.disk_usage(folder).free < needed:
        raise SystemExit(
            f"{folder}: {needed >> 20:,} MB are needed for {rows:,} rows. Free space, name another "
            "--folder, or take fewer --rows."
        )
    table = folder / f"{rows}.csv"
    print(f"generating {rows:,} rows …", flush=True)
    subprocess.run([sys.executable, MIXED_TABLE, "csv", str(rows), str(table)], check=True)
    size = table.stat().st_size
    costs: dict[str, list[Cost]] = {name: [] for name in RUNS}
    digests: list[str] = []
    for turn, order in enumerate(turns(list(RUNS), repeat)):
        for name in order:
            output = folder / f"{name}.parquet"
            costs[name].append(measured([sys.executable, "-c", RUNS[name], table, output])[0])
            if name == OURS or turn == 0:
                digests.append(_digest(name, output, folder / "again"))
            _remove(output)
    table.unlink()
    return _conclude(rows, size, costs, digests)


def _digest(name: str, output: Path, again: Path) -> str:
    """Return the digest of the content that a program wrote."""
    from penstock.data.table import read_dataset

    if name != OURS:
        measured([sys.executable, "-c", RUNS[OURS], output, again])
        output = again
    digest: str = read_dataset(output).content
    _remove(again)
    return digest


def _remove(output: Path) -> None:
    if output.is_dir():
        shutil.rmtree(output)
    else:
        output.unlink(missing_ok=True)


def _conclude(
    rows: int, size: int, costs: dict[str, list[Cost]], digests: list[str]
) -> tuple[dict[str, Any], list[Target]]:
    others = [name for name in RUNS if name != OURS]

    def beside_the_better(what: str) -> float:
        pairs = zip(costs[OURS], *(costs[name] for name in others), strict=True)
        ratios = [
            getattr(ours, what) / min(getattr(other, what) for other in rest)
            for ours, *rest in pairs
        ]
        return float(statistics.median(ratios))

    programs = {name: medians(of) for name, of in costs.items()}
    wall, cpu = beside_the_better("wall"), beside_the_better("cpu")
    print(f"\n{rows:,} rows, {size / 1e6:,.0f} MB, medians of {len(costs[OURS])} turns:")
    print(f"{'':12}{'wall s':>10}{'CPU s':>10}{'peak MB':>10}")
    for name, of in programs.items():
        print(
            f"{name:12}{of['wall_seconds']:>10.2f}{of['cpu_seconds']:>10.2f}{of['peak_mb']:>10.0f}"
        )
    print(f"CPU {cpu:.2f} times that of the thriftier in the same turn\n", flush=True)
    figures = {
        "csv_megabytes": size / 1e6,
        "programs": programs,
        "wall_ratio": wall,
        "cpu_ratio": cpu,
        "digest": ", ".join(sorted(set(digests))),
    }
    text = f"{rows:,} rows"
    return figures, [
        Target(f"{text}: time, beside the faster of DuckDB and polars", wall, TARGET_RATIO),
        Target(f"{text}: peak memory", programs[OURS]["peak_mb"], TARGET_MB, "MB"),
        Target(f"{text}: digests of what the three wrote", len(set(digests)), 1, "different"),
    ]


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
