"""CPU seconds to compile the release pipeline in a fresh process, and the size of the YAML."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from measuring import measured
from targets import Target, report

PENSTOCK = Path(sys.executable).parent / "penstock"
BARE = [sys.executable, "-c", "from kfp import compiler, dsl"]

PLAIN = {"name": "bench", "target": "y", "source": {"uri": "s3://bucket/table.parquet"}}
CLUSTER = yaml.safe_load(Path(__file__).with_name("cluster-settings.yaml").read_text())
KIND = Path(__file__).parent.parent / "docs" / "kind-project.yaml"

MOST_KILOBYTES = 60
MOST_RATIO = 1.23
"""What it came to while pipelines held the source of each component (five pairs, November 2026)."""


def main() -> int:
    """Print the sizes, the seconds and the targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        sizes = _sizes(folder)
        pairs = [_pair(folder, swapped=bool(n % 2)) for n in range(options.repeat)]
    ratio = statistics.median(ours / bare for ours, bare in pairs)
    for name, size in sizes.items():
        print(f"{name:40} {size:6.1f} KB")
    print(f"{'penstock compile':40} {statistics.median(ours for ours, _ in pairs):6.2f} CPU s")
    print(f"{'importing kfp alone':40} {statistics.median(bare for _, bare in pairs):6.2f} CPU s")
    return report(
        "compile",
        question=(
            "How large is the compiled release pipeline, which a schedule runs too, and what does "
            "compiling cost beside importing kfp and its client?"
        ),
        figures={"kilobytes": sizes, "cpu_seconds": pairs},
        targets=[
            *(Target(name, size, MOST_KILOBYTES, "KB") for name, size in sizes.items()),
            Target("CPU to compile, beside importing kfp", ratio, MOST_RATIO),
        ],
        path=options.json,
    )


def _sizes(folder: Path) -> dict[str, float]:
    """Return the size of each form of the pipeline, in kilobytes."""
    projects: dict[str, str] = {
        "plain": json.dumps(PLAIN),
        "KServe": KIND.read_text(),
        "every cluster setting": json.dumps({**PLAIN, "cluster": CLUSTER}),
    }
    found = {}
    for name, text in projects.items():
        project, output = folder / f"{name.split()[0]}.yaml", folder / "p.yaml"
        project.write_text(text)
        for form, flags in (("", []), (", manifest", ["--kubernetes-manifest"])):
            command: list[Any] = [PENSTOCK, "compile", project, "-o", output, *flags]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            found[f"release pipeline, {name}{form}"] = output.stat().st_size / 1000
    return found


def _pair(folder: Path, *, swapped: bool) -> tuple[float, float]:
    """Return the CPU seconds to compile and to import kfp, measured one after the other."""
    compiling = [PENSTOCK, "compile", folder / "plain.yaml", "-o", folder / "p.yaml"]
    commands = [BARE, compiling] if swapped else [compiling, BARE]
    first, second = (measured(command)[0].cpu for command in commands)
    return (second, first) if swapped else (first, second)


if __name__ == "__main__":
    sys.exit(main())
