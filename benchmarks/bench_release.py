"""CPU of a whole release on Adult against one bare script that does the same work.

Both are run in turn, as processes, on the same table with the same expectations, families and
folds. Penstock's search ends when its winner is settled; the bare script tries as many settings as
that took. The ratio is of CPU seconds (user and system, of the process and its children), median
of the pairs. Penstock's figure includes the server processes that it leaves running, from their
start until they are stopped; the bare script starts none.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT.parent / "shared" / "data" / "adult-train.csv"
PENSTOCK = Path(sys.executable).parent / "penstock"
TARGET = 1.5


class Cost(NamedTuple):
    """What one run took."""

    cpu: float
    wall: float


def main() -> int:
    """Print a table and, with --json, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--table", type=Path, default=TABLE, help="adult-train.csv")
    options = parser.parse_args()
    if not options.table.exists():
        print(f"{options.table} is not here: give Adult's training table with --table")
        return 1
    ours, bare = [], []
    for _ in range(options.repeat):
        with tempfile.TemporaryDirectory() as folder:
            project = _project(Path(folder), options.table)
            ours.append(_penstock(project))
            bare.append(
                _measured(
                    [
                        sys.executable,
                        str(ROOT / "benchmarks" / "bare_release.py"),
                        str(options.table),
                        str(project),
                        str(Path(folder) / "bare"),
                        _settings_tried(project),
                    ]
                )
            )
    _print(ours, bare, output=options.json)
    return 0


def _project(folder: Path, table: Path) -> Path:
    project = folder / "project.yaml"
    subprocess.run(
        [str(PENSTOCK), "init", str(table), "--target", "income", "-o", str(project)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    text = project.read_text().replace("\n  #port: 8080", "\n  port: 0")
    project.write_text(text)
    return project


def _penstock(project: Path) -> Cost:
    run = _measured([str(PENSTOCK), "run", str(project)])
    serving = 0.0
    for path in project.parent.glob(".penstock/serving/*/state.json"):
        state = json.loads(path.read_text())
        for part in (state["front"], state["stable"]):
            times = psutil.Process(part["process"]["pid"]).cpu_times()
            serving += times.user + times.system
    subprocess.run([str(PENSTOCK), "stop", str(project)], check=True, stdout=subprocess.DEVNULL)
    return Cost(run.cpu + serving, run.wall)


def _settings_tried(project: Path) -> str:
    (log,) = (project.parent / ".penstock" / "runs").glob("*/kfp.log")
    found = re.search(r"best of (\d+) setting", log.read_text())
    assert found
    return found[1]


def _measured(command: list[str]) -> Cost:
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    began = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment, text=True
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{command[:2]} ended with {status}:\n{errors[-2000:]}")
    return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - began)


def _print(ours: list[Cost], bare: list[Cost], *, output: Path | None) -> None:
    cpu_ratio = statistics.median(a.cpu / b.cpu for a, b in zip(ours, bare, strict=True))
    wall_ratio = statistics.median(a.wall / b.wall for a, b in zip(ours, bare, strict=True))
    figures = {
        "pairs": len(ours),
        "penstock": {
            "cpu_seconds": statistics.median(cost.cpu for cost in ours),
            "wall_seconds": statistics.median(cost.wall for cost in ours),
        },
        "bare_script": {
            "cpu_seconds": statistics.median(cost.cpu for cost in bare),
            "wall_seconds": statistics.median(cost.wall for cost in bare),
        },
        "cpu_ratio": cpu_ratio,
        "wall_ratio": wall_ratio,
        "target_cpu_ratio": TARGET,
    }
    print(f"{'':<14}{'CPU s':>9}{'wall s':>9}   (median of {len(ours)})")
    for name in ("penstock", "bare_script"):
        row = figures[name]
        assert isinstance(row, dict)
        print(f"{name:<14}{row['cpu_seconds']:>9.1f}{row['wall_seconds']:>9.1f}")
    met = "met" if cpu_ratio <= TARGET else "NOT met"
    print(f"{'ratio':<14}{cpu_ratio:>9.2f}{wall_ratio:>9.2f}   target {TARGET} on CPU: {met}")
    if output:
        output.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
