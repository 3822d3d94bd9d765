"""What a benchmark is to reach, said beside what it measured, and its exit code.

Every benchmark ends with `report(...)`: it prints each target, writes the figures with the machine
and the date for `docs/benchmarks.md`, and the process exits 1 when a target is missed. Import it
before the work begins: from then on it counts how much of the machine others use.
"""

from __future__ import annotations

import json
import math
import os
import platform
import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

FORM = "penstock-benchmark-1"
"""Name of the form of the JSON file; `page.py` refuses any other."""


@dataclass(frozen=True)
class Target:
    """A figure and its bound. They are compared as they are, without rounding.

    Args:
        what: What was measured, against what: "CPU of 25 expectations on 1M rows, beside plain GX".
        value: What came out; not a number where it could not be measured, which misses the target.
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
            return bool(self.value <= self.bound)
        return bool(self.value >= self.bound)

    def said(self) -> str:
        """Return the value with so many digits that it does not look like a bound it is not."""
        for digits in range(3, 17):
            text = f"{self.value:,.{digits}g}" if abs(self.value) < 1e15 else str(self.value)
            if "e+" in text:
                text = f"{self.value:,.0f}"
            if self.value == self.bound or float(text.replace(",", "")) != self.bound:
                return text
        return repr(self.value)


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
        figures: What was measured, as JSON takes it. A mapping of mappings becomes a table of
            `docs/benchmarks.md`, single figures a list; what is under `raw` is for the file alone.
            `"quick": True` marks a short run, which shows that the benchmark runs and no more.
        targets: At least one.
        path: The JSON file; None writes none. Its folder is made.

    Returns:
        0 when every target is met, 1 otherwise.

    Raises:
        ValueError: If there is no target.
    """
    if not targets:
        raise ValueError(f"The benchmark {name} has no target: nothing that it could miss.")
    for target in targets:
        print(
            f"target {'met   ' if target.met else 'MISSED'}  {target.what}: "
            f"{_with(target.said(), target.unit)} ({target.side} "
            f"{_with(f'{target.bound:g}', target.unit)})"
        )
    if path is not None:
        written = {
            "form": FORM,
            "name": name,
            "question": question,
            "machine": machine(),
            "busy": others(),
            "date": datetime.now(UTC).date().isoformat(),
            "commit": _COMMIT,
            "figures": figures,
            "targets": [vars(target) | {"met": target.met} for target in targets],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(_finite(written), indent=2, allow_nan=False)
        # Whole or not at all: a page of half a file would be wrong, or none.
        part = path.with_suffix(".part")
        part.write_text(text + "\n")
        part.replace(path)
    return 0 if all(target.met for target in targets) else 1


def _with(number: str, unit: str) -> str:
    return f"{number} {unit}".strip()


def machine() -> str:
    """Return what it ran on: processor, cores, memory, Python."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{_processor()}, {_cores()} cores, {memory:.0f} GiB, "
        f"{platform.system()}, Python {platform.python_version()}"
    )


def others() -> float | None:
    """Return the share of the machine that other processes have used since this module came.

    Of all processors' time: 0 on a quiet machine. Processes that the benchmark did not wait for,
    as servers that go on, count as others. None where the kernel does not say.
    """
    now = _used()
    if now is None or _BEGAN is None:
        return None
    elapsed, busy, own = (after - before for after, before in zip(now, _BEGAN, strict=True))
    processors = os.cpu_count() or 1
    if elapsed * processors <= 0:
        return None
    return min(1.0, max(0.0, (busy - own) / (elapsed * processors)))


def _used() -> tuple[float, float, float] | None:
    """Return the time, and seconds of processors spent by everybody and by this benchmark."""
    try:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    except OSError:
        return None
    user, nice, system, _, _, irq, soft, steal = map(int, fields)
    busy = (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    own = sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, kinds))
    return time.monotonic(), busy, own


_BEGAN = _used()


def _finite(value: Any) -> Any:
    """Return the value with null for what JSON has no word for."""
    if isinstance(value, Mapping):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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


# What runs is the code of the beginning; a commit may come meanwhile.
_COMMIT = _commit()
