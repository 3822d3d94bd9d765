"""What one window costs the monitor, in a process that has the table and the reference alone.

    python benchmarks/monitor_cost.py 1000000

Two processes: the child makes the reference and the window, so that what that left behind in
memory is not mistaken for what counting takes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from mixed_table import batch, write_dataset


def make(rows: int, folder: Path) -> None:
    """Write a reference and a later window of the same columns."""
    from penstock.data.profile.reference import reference_of

    write_dataset(rows, folder / "rows")
    reference_of(folder / "rows").write(folder / "reference.json")
    starts = range(10 * rows, 11 * rows, min(rows, 100_000))
    table = pa.Table.from_batches([batch(at, min(rows, 100_000)) for at in starts])
    named = table.rename_columns([f"inputs.{name}" for name in table.column_names])
    times = pa.array(np.arange(rows) * (3600 * 10**6 // rows))
    named = named.append_column("time", times.cast(pa.timestamp("us", tz="UTC")))
    path = str(folder / "window.arrow")
    with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, named.schema) as writer:
        writer.write_table(named)


def memory(name: str) -> float:
    """Return a line of this process's status in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def count(folder: Path) -> dict[str, float]:
    """Return what it takes to count the window and to update the detector."""
    from penstock.monitoring.signals.definitions import signals_of
    from penstock.monitoring.signals.detector import start, update
    from penstock.monitoring.signals.distances import distances
    from penstock.monitoring.signals.window import measure
    from penstock.records.reference import Reference

    reference = Reference.read(folder / "reference.json")
    with pa.OSFile(str(folder / "window.arrow"), "rb") as source:
        table = pa.ipc.open_file(source).read_all()
    signals = signals_of(reference)
    # Once with few rows, for what is loaded at first use.
    update(
        start(signals),
        measure(table.slice(0, 1000), signals=signals, reference=reference),
        signals=signals,
    )
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    began = time.process_time()
    window = measure(table, signals=signals, reference=reference)
    measured = time.process_time()
    update(start(signals), window, signals=signals)
    distances(window.counts, reference)
    ended = time.process_time()
    return {
        "measure_cpu_seconds": measured - began,
        "cpu_seconds": ended - began,
        "mb_above_the_table": memory("VmHWM") - before,
        "table_mb": table.nbytes / 2**20,
        "kept_kb": len(window.counts.model_dump_json()) / 1000,
        "ks_error": ks_error(),
    }


def ks_error() -> float:
    """Return by how much KS from counts is off at most, over shifts of 0.1 to 0.5 sd of 1M rows."""
    from monitor_streams import captured, reference_of
    from scipy.stats import ks_2samp

    from penstock.monitoring.signals.definitions import signals_of
    from penstock.monitoring.signals.distances import distances
    from penstock.monitoring.signals.window import measure

    rng, worst = np.random.default_rng(3), 0.0
    before = rng.normal(size=1_000_000)
    reference = reference_of({"x": pa.array(before)})
    signals = signals_of(reference)
    for shift in (0.1, 0.25, 0.5):
        now = rng.normal(size=1_000_000) + shift
        table = captured({"x": pa.array(now)}, hour=0)
        window = measure(table, signals=signals, reference=reference)
        (found,) = distances(window.counts, reference)
        exact = ks_2samp(before, now, method="asymp").statistic
        worst = max(worst, abs(float(exact) - (found.ks or 0.0)))
    return worst


def main() -> int:
    """Print the figures as JSON."""
    if len(sys.argv) == 3:
        print(json.dumps(count(Path(sys.argv[2]))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        make(int(sys.argv[1]), Path(folder))
        done = subprocess.run(
            [sys.executable, __file__, sys.argv[1], folder],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    print(done.stdout.strip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
