"""What a benchmark is to reach, said beside what it measured, and its exit code.

Every benchmark ends with `report(...)`: it prints each target, writes the figures with the machine
and the date for `docs/benchmarks.md`, and the process exits 1 when a target is missed.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Target:
    """A figure and its bound.

    Args:
        what: What was measured, against what: "CPU of 25 expectations on 1M rows, beside plain GX".
        value: What came out.
        bound: What it may come to.
        unit: Of both; `x` for a ratio.
        side: Whether the bound is the most or the least that is accepted.
    """

    what: str
    value: float
    bound: float
    unit: str = "x"
    side: Literal["at most", "at least"] = "at most"

    @property
    def met(self) -> bool:
        """Whether the value keeps to the bound; not a number keeps to none."""
        if self.side == "at most":
            return self.value <= self.bound
        return self.value >= self.bound


def report(
    name: str,
    *,
    question: str,
    figures: Mapping[str, Any],
    targets: Sequence[Target],
    path: Path | None = None,
) -> int:
    """Print the targets, write everything to `path`, and return the exit code.

    Args:
        name: The benchmark's, as in `make bench-NAME`.
        question: What it measures and against what, in a sentence or two.
        figures: What was measured, as JSON takes it.
        targets: At least one.
        path: The JSON file; None writes none.

    Returns:
        0 when every target is met, 1 otherwise.
    """
    for target in targets:
        print(
            f"target {'met   ' if target.met else 'MISSED'}  {target.what}: {target.value:.3g} "
            f"{target.unit} ({target.side} {target.bound:g} {target.unit})"
        )
    if path is not None:
        written = {
            "name": name,
            "question": question,
            "machine": machine(),
            "date": datetime.now(UTC).date().isoformat(),
            "commit": _commit(),
            "figures": figures,
            "targets": [vars(target) | {"met": target.met} for target in targets],
        }
        path.write_text(json.dumps(written, indent=2) + "\n")
    return 0 if all(target.met for target in targets) else 1


def machine() -> str:
    """Return what it ran on: processor, cores, memory, Python."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{_processor()}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB, "
        f"{platform.system()}, Python {platform.python_version()}"
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=Path(__file__).parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip()
