"""What is said of a step that ran out of memory: what it held, and how it holds less."""

from __future__ import annotations

import json
import re
import resource
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from penstock.errors import ServiceError

_LESS: Mapping[str, str] = {
    "ingest": "read fewer columns (source.columns)",
    "ingest_artifact": "read fewer columns (source.columns)",
    "validate": "leave out what Great Expectations checks itself (docs/validation.md)",
    "split": "set split.repeats to rows, if no row is a copy of another",
    "engineer_features": "raise features.rare_share or lower features.text_buckets",
    "train": "lower training.max_rows",
    "evaluate": "lower split.holdout",
    "score": "lower scoring.part_rows",
}
"""By step: the setting with which it holds less."""


def out_of_memory(step: str, arguments: Sequence[str]) -> ServiceError:
    """Return the error of a step whose own process found no memory left.

    Args:
        step: Its component.
        arguments: What kfp's executor was given.
    """
    rows = max(_rows(arguments), default=0)
    of = f" on a table of {rows:,} rows" if rows else ""
    return ServiceError(
        f"there was no memory left{of}, when its process had held {_held():,} MB",
        where=step,
        remedy=_remedy(step),
    )


def killed(step: str) -> ServiceError:
    """Return the error of a step whose process was killed from outside."""
    return ServiceError(
        "its process was killed, as the system does to the largest one when memory runs out",
        where=step,
        remedy=_remedy(step),
    )


def _held() -> int:
    """Return the most memory of this process, in MB."""
    status = Path("/proc/self/status")
    if status.exists():
        # What the system counts as used includes the process that began this one.
        peak = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE)
        if peak:
            return int(peak[1]) >> 10
    # Linux counts in KiB, macOS in bytes.
    unit = 1 << (20 if sys.platform == "darwin" else 10)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit


def _remedy(step: str) -> str:
    less = f", or {_LESS[step]}" if step in _LESS else ""
    return (
        f"Give it more memory (on a cluster cluster.resources: {{{step}: {{memory: ...}}}}){less}. "
        "docs/limits.md says what each step holds."
    )


def _rows(arguments: Sequence[str]) -> Iterator[int]:
    """Yield the rows of each dataset that the step was given, as far as that is written there."""
    try:
        given = json.loads(arguments[list(arguments).index("--executor_input") + 1])
        listed = [
            one for group in given["inputs"]["artifacts"].values() for one in group["artifacts"]
        ]
    except (ValueError, LookupError, TypeError):
        return
    for artifact in listed:
        rows: Any = artifact.get("metadata", {}).get("rows")
        if isinstance(rows, int | float):
            yield int(rows)
