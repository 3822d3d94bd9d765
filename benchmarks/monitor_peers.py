"""Evidently and NannyML on the windows of bench_monitor.py, each by its defaults.

Run by the Python of an environment of its own, which has nothing of penstock:

    python benchmarks/monitor_peers.py evidently windows independent none 0 100

A window counts when at least one column alarms. Evidently (docs "Data drift", `DataDriftPreset`):
for up to 1,000 rows a test of each column at 0.05, above that a distance at 0.1. NannyML (docs
"Detecting drift", `UnivariateDriftCalculator`): Jensen-Shannon of each column, bounds of three
standard deviations over the chunks of the reference.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from monitor_streams import NUMBER, TEXT, changed, frame, independent, rows_of

ROWS = 1000
REFERENCE = 10_000


Alarms = Callable[[Any], set[str]]
"""Returns the columns of a window that alarm."""


def evidently(reference: Any) -> Alarms:
    """Return what says which columns alarm in Evidently."""
    from evidently import Report
    from evidently.presets import DataDriftPreset

    def alarms(window: Any) -> set[str]:
        found = Report([DataDriftPreset()]).run(window, reference).dict()["metrics"]
        named = set()
        for metric in found[1:]:
            # ValueDrift(column=n0,method=K-S p_value,threshold=0.05)
            told = metric["metric_name"].rstrip(")").split("column=")[1]
            name, method, threshold = (part.split("=")[-1] for part in told.split(","))
            value = float(metric["value"])
            if value < float(threshold) if "p_value" in method else value >= float(threshold):
                named.add(name)
        if len(named) != found[0]["value"]["count"]:
            raise ValueError(f"its own count is {found[0]['value']}, and these alarm: {named}")
        return named

    return alarms


def nannyml(reference: Any) -> Alarms:
    """Return what says which columns alarm in NannyML."""
    from nannyml import UnivariateDriftCalculator

    calculator = UnivariateDriftCalculator(
        column_names=list(reference.columns), chunk_size=ROWS
    ).fit(reference)

    def alarms(window: Any) -> set[str]:
        found = calculator.calculate(window).filter(period="analysis").to_df()
        return {
            name[0] for name in found.columns if name[-1] == "alert" and bool(found[name].any())
        }

    return alarms


def main() -> int:
    """Print how many windows alarm, or the cost of one window, as JSON."""
    warnings.filterwarnings("ignore")
    tool, what, kind, change, size, count = sys.argv[1:7]
    make = {"evidently": evidently, "nannyml": nannyml}[tool]
    rng = np.random.default_rng(7)
    if what == "windows":
        source = rows_of(kind)
        before = independent if kind == "tolerance" else rows_of(kind)
        alarms = make(frame(changed(before(rng, REFERENCE), "", 0.0, rng)))
        found = [
            alarms(frame(changed(source(rng, ROWS), change, float(size), rng)))
            for _ in range(int(count))
        ]
        guilty = TEXT if change == "level" else NUMBER
        told = {
            "windows": len(found),
            "with an alarm": sum(bool(named) for named in found),
            "of the changed column": sum(guilty in named for named in found),
        }
        print(json.dumps(told))
        return 0
    reference = frame(changed(independent(rng, int(count)), "", 0.0, rng))
    window = frame(changed(independent(rng, int(count)), "", 0.0, rng))
    make(frame(changed(independent(rng, 10 * ROWS), "", 0.0, rng)))(window[:ROWS])
    began = time.process_time()
    make(reference)(window)
    print(json.dumps({"cpu_seconds": time.process_time() - began}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
