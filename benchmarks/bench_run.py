"""`make run` step by step: seconds, CPU and the share of imports, beside kfp.local's own processes.

The built-in example is released in a folder of its own: once by kfp.local as it is (a new
interpreter for every step), once by Penstock's warm processes, and once more by these under another
gate, where steps are reused. Import times are taken from a further run of each of the first two,
with Python's `-X importtime`, which slows a run down and is therefore not the one that is timed.
Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

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
    """Print the table and, with --json, write the figures; 1 if the target was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rows", type=int, default=50_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plain, warm = Path(folder) / "plain", Path(folder) / "warm"
        figures = {
            "plain": _run(_example(plain, options.rows), "plain"),
            "warm": _run(_example(warm, options.rows), "warm"),
        }
        figures["again"] = _again(warm / "project.yaml")
        imports = {
            mode: _imports(_example(Path(folder) / f"{mode}-imports", options.rows), mode)
            for mode in ("plain", "warm")
        }
    _print(figures, imports)
    if options.json:
        written = {name: vars(one) for name, one in figures.items()} | {"imports": imports}
        options.json.write_text(json.dumps(written, indent=2) + "\n")
    return int(figures["warm"].wall > TARGET)


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
    verdict = "met" if warm.wall <= TARGET else "MISSED"
    print(f"target: at most {TARGET:.0f} s warm on two quiet cores: {verdict}")


if __name__ == "__main__":
    sys.exit(main())
