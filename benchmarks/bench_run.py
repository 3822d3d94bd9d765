"""`make run` step by step: seconds, CPU and the share of imports, beside kfp.local's own processes.

The built-in example is released in a folder of its own: once by kfp.local as it is (a new
interpreter for every step), once by Penstock's warm processes, in pairs of changing order, and once
more by the latter under another gate, where steps are reused. Import times are taken from a further
run of each of the first two, with Python's `-X importtime`, which slows a run down and is therefore
not the one that is timed. Target: 40 s warm, by the clock; run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measuring import turns, versions
from targets import Target, report

QUESTION = (
    "Time of `make run` after setup, step by step, warm and under another gate, beside the same "
    "release by kfp.local alone, which starts an interpreter for each step."
)
PENSTOCK = Path(sys.executable).parent / "penstock"
TARGET = 40.0
"""Seconds that a release of the example may take, warm, on two quiet cores."""

RUN = """
import sys
from pathlib import Path
from rich.console import Console
from penstock import project
from penstock.pipelines.run import run_release
from penstock.pipelines.summary import write_summary
path = Path(sys.argv[1])
result = run_release(
    project.load(path), folder=path.parent, console=Console(), plain=sys.argv[2] == "plain"
)
write_summary(result)
sys.exit(result.outcome != "released")
"""

_STEP = re.compile(r"Executing task '([a-z-]+)'")
_IMPORT = re.compile(r"import time:\s+(\d+) \|\s+\d+ \| ")


@dataclass
class Figures:
    """What one run took, in seconds."""

    wall: float
    cpu: float
    steps: dict[str, tuple[float, float, str]] = field(default_factory=dict)


def main() -> int:
    """Print the table and the targets; with --json, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--repeat", type=int, default=3, help="pairs")
    options = parser.parse_args()
    runs: dict[str, list[Figures]] = {"plain": [], "warm": []}
    with tempfile.TemporaryDirectory() as folder:
        for turn, order in enumerate(turns(list(runs), options.repeat)):
            for mode in order:
                place = Path(folder) / f"{mode}-{turn}"
                runs[mode].append(_run(_example(place, options.rows), mode))
        again = _again(Path(folder) / "warm-0" / "project.yaml")
        imports = {
            mode: _imports(_example(Path(folder) / f"{mode}-imports", options.rows), mode)
            for mode in runs
        }
    middle = {mode: _middle(some) for mode, some in runs.items()} | {"again": again}
    _print(middle, imports)
    return report(
        "run",
        question=QUESTION,
        figures=_figures(runs, middle, imports),
        targets=[
            Target("a release of the example, warm, median", middle["warm"].wall, TARGET, "s")
        ],
        path=options.json,
    )


def _middle(some: list[Figures]) -> Figures:
    """Return the run of the median time, whose steps add up; of two, the slower."""
    return sorted(some, key=lambda one: one.wall)[len(some) // 2]


def _figures(
    runs: Mapping[str, list[Figures]],
    middle: Mapping[str, Figures],
    imports: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    names = {"plain": "kfp.local alone", "warm": "warm", "again": "again, another gate"}
    steps: dict[str, dict[str, Any]] = {}
    for mode, figures in middle.items():
        for step, (seconds, cpu, how) in figures.steps.items():
            row = steps.setdefault(step, {})
            row[f"{names[mode]}, s"] = seconds
            if mode == "again":
                row["again"] = how
            else:
                row[f"{names[mode]}, CPU s"] = cpu
                row[f"{names[mode]}, imports s"] = imports[mode].get(step, 0.0)
    pairs = list(zip(runs["warm"], runs["plain"], strict=True))
    return {
        "releases": {
            names[mode]: {"wall_seconds": of.wall, "cpu_seconds": of.cpu}
            for mode, of in middle.items()
        },
        "wall_ratio": statistics.median(warm.wall / plain.wall for warm, plain in pairs),
        "cpu_ratio": statistics.median(warm.cpu / plain.cpu for warm, plain in pairs),
        "pairs": len(pairs),
        "steps_of_the_median_run": steps,
        "seconds_of_import_in_the_servers": imports["warm"].get("servers", 0.0),
        "versions": versions("kfp", "scikit-learn", "mlflow", "great-expectations"),
    }


def _example(folder: Path, rows: int) -> Path:
    command = [str(PENSTOCK), "example", str(folder), "--rows", str(rows)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    project = folder / "project.yaml"
    text = project.read_text()
    project.write_text(text.replace("\n  #port: 8080", "\n  port: 0"))
    return project


def _run(project: Path, mode: str, **variables: str) -> Figures:
    """Release the project, stop what it serves, and return what the run took."""
    before, began = _children(), time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", RUN, str(project), mode],
        check=True,
        stdout=subprocess.DEVNULL,
        # With the variable for import times it would be thousands of lines.
        stderr=subprocess.DEVNULL if variables else None,
        env=os.environ | variables,
    )
    took = Figures(time.perf_counter() - began, _children() - before)
    subprocess.run([str(PENSTOCK), "stop", str(project)], check=True, stdout=subprocess.DEVNULL)
    for step in json.loads((_last(project) / "summary.json").read_text())["steps"]:
        took.steps[step["step"].replace("_", "-")] = (step["seconds"], step["cpu"], step["how"])
    return took


def _again(project: Path) -> Figures:
    """Run the project once more under a gate that refuses: a canary's time is set, not spent."""
    strict = "gate: {floors: [{metric: roc_auc, at_least: 1.0}]}\n"
    text = re.sub(r"^gate:.*?(?=^\w)", strict, project.read_text(), flags=re.M | re.S)
    project.write_text(text)
    before, began = _children(), time.perf_counter()
    done = subprocess.run([str(PENSTOCK), "run", str(project)], stdout=subprocess.DEVNULL)
    assert done.returncode == 3, done.returncode
    took = Figures(time.perf_counter() - began, _children() - before)
    for step in json.loads((_last(project) / "summary.json").read_text())["steps"]:
        took.steps[step["step"].replace("_", "-")] = (step["seconds"], step["cpu"], step["how"])
    return took


def _imports(project: Path, mode: str) -> dict[str, float]:
    """Return the seconds of import in each step, and in the servers that the steps come from."""
    _run(project, mode, PYTHONPROFILEIMPORTTIME="1")
    found: dict[str, float] = {}
    step = ""
    for line in (_last(project) / "kfp.log").read_text(errors="replace").splitlines():
        if begun := _STEP.search(line):
            step = begun[1]
        elif imported := _IMPORT.search(line):
            found[step] = found.get(step, 0.0) + int(imported[1]) / 1e6
    servers = _last(project) / "imports.log"
    if servers.exists():
        spent = _IMPORT.findall(servers.read_text(errors="replace"))
        found["servers"] = sum(map(int, spent)) / 1e6
    return found


def _last(project: Path) -> Path:
    return sorted((project.parent / ".penstock" / "runs").iterdir())[-1]


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _print(figures: Mapping[str, Figures], imports: Mapping[str, Mapping[str, float]]) -> None:
    plain, warm, again = figures["plain"], figures["warm"], figures["again"]
    print(f"{'':18} {'kfp.local alone':^26} {'warm':^26} {'again, another gate':^18}")
    head = f"{'s':>8} {'CPU s':>8} {'imports':>8} "
    print(f"{'step':18} {head}{head}{'s':>8} {'':10}")
    for step, (seconds, cpu, _) in plain.steps.items():
        ours = warm.steps.get(step, (0.0, 0.0, ""))
        then = again.steps.get(step)
        print(
            f"{step:18} {seconds:8.1f} {cpu:8.1f} {imports['plain'].get(step, 0):8.1f} "
            f"{ours[0]:8.1f} {ours[1]:8.1f} {imports['warm'].get(step, 0):8.1f} "
            + (f"{then[0]:8.1f} {then[2]}" if then else f"{'-':>8}")
        )
    print(f"{'import servers':18} {'':26} {'':8} {'':8} {imports['warm'].get('servers', 0):8.1f}")
    print(
        f"{'the whole':18} "
        f"{plain.wall:8.1f} {plain.cpu:8.1f} {sum(imports['plain'].values()):8.1f} "
        f"{warm.wall:8.1f} {warm.cpu:8.1f} {sum(imports['warm'].values()):8.1f} {again.wall:8.1f}"
    )
    print(
        f"ratio warm to kfp.local alone: {warm.wall / plain.wall:.2f} in time, "
        f"{warm.cpu / plain.cpu:.2f} in CPU"
    )


if __name__ == "__main__":
    sys.exit(main())
