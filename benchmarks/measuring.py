"""Processes measured in turns: CPU, wall time and memory, and the median of the pairs' ratios."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple


class Cost(NamedTuple):
    """What one run took.

    Attributes:
        cpu: Seconds of user and system time, of the process and the children that it waited for.
        wall: Seconds.
        mb: Peak of resident memory, of the largest of these processes, in MiB.
    """

    cpu: float
    wall: float
    mb: float


def measured(
    command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None, code: int = 0
) -> tuple[Cost, str]:
    """Run a command to its end; return what it took, and its standard output.

    Args:
        command: Program and arguments.
        environment: Variables beside those of this process.
        code: The exit code that it must have; with another one the benchmark ends.
    """
    with TemporaryFile("w+") as output, TemporaryFile("w+") as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=output, stderr=errors, env={**os.environ, **(environment or {})}
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        said = output.read()
        if process.returncode != code:
            words = " ".join(str(word) for word in command)[:200]
            raise SystemExit(
                f"{words} ended with {process.returncode}:\n{(said + errors.read())[-2000:]}"
            )
    # Linux counts in KiB, macOS in bytes.
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return Cost(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / unit), said


def turns(names: Sequence[str], repeat: int) -> Iterator[tuple[str, ...]]:
    """Yield who runs in which order in each turn: everybody once, each turn another one first."""
    for turn in range(repeat):
        first = turn % len(names)
        yield (*names[first:], *names[:first])


def ratio(ours: Sequence[Cost], theirs: Sequence[Cost], what: str = "cpu") -> float:
    """Return the median of the ratios of the turns: what was run side by side met the same load."""
    pairs = zip(ours, theirs, strict=True)
    ratios = [getattr(one, what) / getattr(other, what) for one, other in pairs]
    return float(statistics.median(ratios))


def medians(costs: Sequence[Cost]) -> dict[str, float]:
    """Return the medians of CPU and wall time and the largest peak, as a row of a table."""
    return {
        "cpu_seconds": statistics.median(cost.cpu for cost in costs),
        "wall_seconds": statistics.median(cost.wall for cost in costs),
        "peak_mb": max(cost.mb for cost in costs),
        "runs": len(costs),
    }


def versions(*packages: str) -> str:
    """Return names and versions of installed packages, as a reader would write them."""
    from importlib.metadata import version

    return ", ".join(f"{package} {version(package)}" for package in packages)
