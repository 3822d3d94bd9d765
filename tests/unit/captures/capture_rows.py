"""Captured rows for tests: written by the server's own writer, or by one that can be killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from penstock.captures.files import Bounds
from penstock.captures.segments import CapturedModel
from penstock.records.dataset import Column
from penstock.serving.capture import Capture, Rows, Truths

COLUMNS = (
    Column(name="amount", type="number"),
    Column(name="visits", type="integer"),
    Column(name="member", type="boolean"),
    Column(name="city", type="string"),
    Column(name="since", type="datetime"),
)
MODEL = CapturedModel(
    service="shop",
    version="3",
    task="binary",
    classes=("no", "yes"),
    positive="yes",
    columns=COLUMNS,
)
INPUTS: dict[str, list[Any]] = {
    "amount": [1.5, None],
    "visits": [2**53 + 1, None],
    "member": [True, None],
    "city": ["Köln", None],
    "since": ["2026-01-01T00:00:00Z", None],
}
START = 1_800_000_000.0


def rows(request_id: str, *, time: float = START, count: int = 1, **changes: Any) -> Rows:
    """Rows of one request."""
    inputs = {name: [values[0]] * count for name, values in INPUTS.items()}
    fields: dict[str, Any] = {
        "request_id": request_id,
        "time": time,
        "version": "3",
        "mirrored": False,
        "replayed": False,
        "inputs": inputs,
        "scores": [0.25] * count,
        "labels": ["no"] * count,
    }
    return Rows(**fields | changes)


class Counts:
    """What a capture says that it wrote and dropped."""

    def __init__(self) -> None:
        self.written = 0
        self.dropped = 0

    def wrote(self, rows: int) -> None:
        self.written += rows

    def drop(self, rows: int) -> None:
        self.dropped += rows


@contextmanager
def capturing(
    folder: Path,
    *,
    model: CapturedModel | None = MODEL,
    counts: Counts | None = None,
    sample: float = 1.0,
    **bounds: Any,
) -> Iterator[Capture]:
    """A capture that is closed at the end of the block."""
    counts = counts or Counts()
    capture = Capture(
        folder,
        bounds=Bounds(**bounds),
        written=counts.wrote,
        dropped=counts.drop,
        model=model,
        sample=sample,
    )
    yield capture
    capture.close()


def capture_all(folder: Path, *requests: Rows, **options: Any) -> None:
    """Write requests by a capture of their own."""
    with capturing(folder, **options) as capture:
        for request in requests:
            capture.rows(request, size=10)


def label(folder: Path, *labels: tuple[str, int, Any], known: bool = True) -> None:
    """Write labels by a capture of their own."""
    with capturing(folder) as capture:
        capture.truths(Truths(time=START, labels=labels), size=10, known=known)


_KILLED = """
import os, signal, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from capture_rows import capturing, rows
with capturing(Path({folder!r}), **{options!r}) as capture:
    for index in range({requests}):
        capture.rows(rows(str(index), count={count}), size=10)
        if index == {accepted}:
            os.kill(os.getpid(), signal.SIGKILL)
        if {pause}:
            time.sleep({pause})
"""


def captured_and_killed(
    folder: Path, *, requests: int, count: int = 1, pause: float = 0.0, **options: Any
) -> int:
    """Have a process capture requests and be killed at the last; return the rows it accepted."""
    code = _KILLED.format(
        tests=str(Path(__file__).parent),
        folder=str(folder),
        options=options,
        requests=requests,
        accepted=requests - 1,
        count=count,
        pause=pause,
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    return requests * count
