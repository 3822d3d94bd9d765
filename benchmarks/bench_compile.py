"""Seconds to compile the release pipeline in a fresh process, and the size of the YAML."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = "name: bench\ntarget: y\nsource:\n  uri: s3://bucket/table.parquet\n"
BARE = "from kfp import compiler, dsl"


def main() -> None:
    """Print a table and, with --json, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    penstock = Path(sys.executable).parent / "penstock"
    with tempfile.TemporaryDirectory() as folder:
        project, output = Path(folder) / "project.yaml", Path(folder) / "release.yaml"
        project.write_text(PROJECT)
        ours, bare = [], []
        for _ in range(options.repeat):
            ours.append(_seconds([str(penstock), "compile", str(project), "-o", str(output)]))
            bare.append(_seconds([sys.executable, "-c", BARE]))
        size = output.stat().st_size / 1000
    figures = {
        "compile_seconds": statistics.median(ours),
        "kfp_import_seconds": statistics.median(bare),
        "kilobytes": size,
    }
    figures["ratio"] = figures["compile_seconds"] / figures["kfp_import_seconds"]
    print(f"penstock compile    {figures['compile_seconds']:6.2f} s  (median of {options.repeat})")
    print(f"importing kfp alone {figures['kfp_import_seconds']:6.2f} s")
    print(f"ratio               {figures['ratio']:6.2f}")
    print(f"release.yaml        {size:6.1f} KB")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
