"""False alarms, delay and cost of the monitor's detector, simulated, beside Evidently and NannyML.

A stable stream is an hour's window of 1,000 rows after the other, in which nothing changes; every
alarm is false, and the detector begins anew after it. A change comes after 24 hours, in which it
has learned how much rows hang together; how late it is without them is a figure of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from targets import Target, report  # isort: skip
from monitor_others import Others
from monitor_streams import NUMBER, TEXT, captured, changed, independent, reference_of, rows_of

from penstock.monitoring.signals.definitions import signals_of
from penstock.monitoring.signals.detector import rearm, start, update
from penstock.monitoring.signals.window import measure

QUESTION = (
    "How often does the monitor alarm in 3,000 hours of 1,000 stable rows of 20 columns each, how "
    "many hours after a change does it alarm, does it name the right column, and what does a "
    "window cost? The bound is one false alarm in 12 months."
)
HOURS = 500
"""Of each stable stream: each has a reference of its own."""

WARM = 24
MOST = 14
HERE = Path(__file__).parent
ROOT = HERE.parent
PEERS = {
    "evidently": ("evidently==0.7.23", "pandas<3", "pyarrow", "scipy"),
    "nannyml": ("nannyml==0.13.1", "statsmodels", "pandas<3", "setuptools<81", "pyarrow", "scipy"),
}


@dataclass(frozen=True)
class Stable:
    """Traffic in which nothing changes.

    Attributes:
        kind: Of the rows.
        reference: Rows of the reference; of the same kind, but for what has shifted since.
        together: What the monitor is told of the reference's rows.
        others: Whether losses, values, gaps, attributions and numbers of rows are watched too.
    """

    kind: str
    reference: int
    together: float = 1.0
    others: bool = False


@dataclass(frozen=True)
class Change:
    """Something that happens to one column.

    Attributes:
        change: What: see `monitor_streams.changed`.
        size: How much.
        rows: Of a window.
        reference: Rows of the reference.
        warm: Windows before it.
        within: Windows within which it is to be found.
    """

    change: str
    size: float
    rows: int = 1000
    reference: int = 10_000
    warm: int = WARM
    within: int = MOST


STABLE = {
    "independent rows": Stable("independent", 10_000),
    "25 rows of a user together": Stable("together", 100_000),
    "25 rows of a user over 3 windows": Stable("spread", 100_000),
    "a column at the tolerance": Stable("tolerance", 10_000),
    "independent rows, and all other signals": Stable("independent", 10_000, others=True),
    "reference of 1,000 rows": Stable("independent", 1000),
    "reference of 100,000 rows": Stable("independent", 100_000),
    "reference of 400 users": Stable("together", 10_000, together=13),
}
OTHERS = "independent rows, and all other signals"
SMALL = ("reference of 1,000 rows", "reference of 100,000 rows", "reference of 400 users")
CHANGES = {
    "5 % missing": Change("missing", 0.05, within=2),
    "a new level of 2 %": Change("level", 0.02, within=2),
    "0.25 sd": Change("shift", 0.25, within=6),
    "0.1 sd, 100,000 rows": Change("shift", 0.1, rows=100_000, reference=100_000, warm=1, within=3),
    "0.25 sd, in the first hour": Change("shift", 0.25, warm=0),
    "5 % missing, in the first hour": Change("missing", 0.05, warm=0),
    "a new level of 2 %, in the first hour": Change("level", 0.02, warm=0),
    "0.1 sd, 100,000 rows, reference of 10,000": Change(
        "shift", 0.1, rows=100_000, reference=10_000, warm=1
    ),
}
NO_TARGET = tuple(name for name, case in CHANGES.items() if case.within == MOST)


def stable(case: Stable, seed: int, hours: int) -> int:
    """Return how often a stable stream alarms."""
    rng = np.random.default_rng([1, seed])
    source = rows_of(case.kind)
    # Training drew whole users, as they came.
    before = {"spread": "together", "tolerance": "independent"}.get(case.kind, case.kind)
    kept = reference_of(changed(rows_of(before)(rng, case.reference), "", 0.0, rng))
    others = Others(rng) if case.others else None
    more = others.signals if others else ()
    signals = signals_of(kept, together=case.together, more=more)
    state, alarms = start(signals), 0
    for hour in range(hours):
        table = captured(changed(source(rng, 1000), "", 0.0, rng), hour=hour)
        window = measure(table, signals=signals, reference=kept, carry=state.carry("rows"))
        seen = others.blocks(hour, signals=signals, state=state) if others else ()
        found = update(state, window, signals=signals, more=seen)
        state = rearm(found.state, signals) if found.alarm else found.state
        alarms += found.alarm
    return alarms


def delay(case: Change, seed: int) -> tuple[int | None, bool]:
    """Return windows from a change to the alarm, and whether it names the column first."""
    rng = np.random.default_rng([2, seed])
    kept = reference_of(changed(independent(rng, case.reference), "", 0.0, rng))
    signals = signals_of(kept)
    state = start(signals)
    guilty = TEXT if case.change == "level" else NUMBER
    first = ""
    for hour in range(case.warm + MOST):
        change = case.change if hour >= case.warm else ""
        rows = changed(independent(rng, case.rows), change, case.size if change else 0.0, rng)
        window = measure(
            captured(rows, hour=hour), signals=signals, reference=kept, carry=state.carry("rows")
        )
        found = update(state, window, signals=signals)
        state, first = found.state, found.columns[0][0]
        if found.alarm and hour >= case.warm:
            return hour - case.warm + 1, first == guilty
    return None, first == guilty


def summary(found: Sequence[tuple[int | None, bool]], case: Change) -> dict[str, Any]:
    """Return what came out over the seeds."""
    late = [MOST + 1 if windows is None else windows for windows, _ in found]
    return {
        "seeds": len(found),
        "median_windows": float(np.median(late)),
        "95 % within": float(np.quantile(late, 0.95, method="inverted_cdf")),
        "not_found": sum(windows is None for windows, _ in found),
        f"within_{case.within}": sum(windows <= case.within for windows in late) / len(late),
        "named": sum(named for _, named in found) / len(found),
    }


def peers(folder: Path) -> dict[str, Any]:
    """Return what Evidently and NannyML say of the same windows, each in its own environment."""
    found: dict[str, Any] = {}
    for name, packages in PEERS.items():
        python = folder / name / "bin" / "python"
        if not python.exists():
            uv = ROOT / ".venv" / "bin" / "uv"
            made = [[uv, "venv", "--quiet", "--python", sys.executable, folder / name]]
            made += [[uv, "pip", "install", "--quiet", "--python", python, *packages]]
            done = [subprocess.run(one, capture_output=True, text=True) for one in made]
            if any(one.returncode for one in done):
                found[name] = {"not here": done[-1].stderr.strip().splitlines()[-1][:200]}
                continue
        found[name] = dict(_of_peer(name, python, windows=25))
    return found


def _of_peer(name: str, python: Path, *, windows: int) -> Iterator[tuple[str, Any]]:
    kinds = {case.kind: what for what, case in reversed(STABLE.items())}
    for kind, what in reversed(kinds.items()):
        told = _run_peer(python, name, "windows", kind, "none", 0, windows)
        yield f"{what}: share of windows with an alarm", _share(told, "with an alarm")
    for what in ("5 % missing", "a new level of 2 %", "0.25 sd"):
        case = CHANGES[what]
        told = _run_peer(python, name, "windows", "independent", case.change, case.size, windows)
        key = "of the changed column"
        yield f"{what}: share of windows in which that column alarms", _share(told, key)
    told = _run_peer(python, name, "cost", "-", "-", 0, 100_000)
    yield "CPU seconds of 100,000 rows", told.get("cpu_seconds", told.get("error"))


def _share(told: Mapping[str, Any], key: str) -> Any:
    return told[key] / told["windows"] if key in told else told.get("error")


def _run_peer(python: Path, *words: object) -> dict[str, Any]:
    quiet = {"NML_DISABLE_USAGE_LOGGING": "1", "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [python, HERE / "monitor_peers.py", *map(str, words)],
        capture_output=True, text=True, env={**os.environ, **quiet},
    )  # fmt: skip
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1][:200]}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def cost(rows: int) -> dict[str, float]:
    """Return what it costs to count a window and to update the detector, in a fresh process."""
    done = subprocess.run(
        [sys.executable, HERE / "monitor_cost.py", str(rows)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dict(json.loads(done.stdout.splitlines()[-1]))


def targets(
    alarms: Mapping[str, Mapping[str, Any]],
    delays: Mapping[str, Mapping[str, Any]],
    costs: Mapping[str, Mapping[str, float]],
    *,
    quick: bool,
) -> list[Target]:
    """Return what is to be reached; a quick run has too few windows and seeds to tell."""
    apart = (*SMALL, OTHERS)
    main = sum(row["alarms"] for name, row in alarms.items() if name not in apart)
    small = sum(row["alarms"] for name, row in alarms.items() if name in SMALL)
    hours = sum(row["hours"] for name, row in alarms.items() if name not in apart)
    whole = alarms[OTHERS]
    found = [
        Target(f"Alarms in {hours:,} stable windows of four kinds", main, 4, unit=""),
        Target("Alarms with small references, and a large one", small, 0, unit=""),
        Target(
            f"Alarms in {whole['hours']:,} stable windows of a service with all other signals",
            whole["alarms"],
            1,
            unit="",
        ),
    ]
    million, hour = costs["1,000,000 rows"], costs["100,000 rows"]
    distance = million["ks_error"]
    found += [
        Target("CPU to count 1M rows x 20 columns", million["measure_cpu_seconds"], 1.5, "s"),
        Target("Memory above that table", million["mb_above_the_table"], 100, "MB"),
        Target("CPU of an hour's 100,000 rows, the detector too", hour["cpu_seconds"], 0.3, "s"),
        Target("KS from counts beside KS of the rows, worst column", distance, 0.0002, ""),
    ]
    if quick:
        return found
    for name, case in CHANGES.items():
        if name not in NO_TARGET:
            share = delays[name][f"within_{case.within}"]
            what = f"{name}: found within {case.within} windows"
            found.append(Target(what, 100 * share, 95, "%", "at least"))
    named = min(row["named"] for name, row in delays.items() if name not in NO_TARGET)
    found.append(Target("The guilty column is named first", 100 * named, 95, "%", "at least"))
    return found


def main() -> int:
    """Print the targets; with --json, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="a smoke run of a minute")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--peers", type=Path, default=ROOT / "build" / "monitor-peers")
    parser.add_argument("--no-peers", action="store_true", help="without Evidently and NannyML")
    options = parser.parse_args()
    streams, hours = (1, 60) if options.quick else (6, HOURS)
    seeds = 2 if options.quick else options.seeds
    began = time.perf_counter()
    costs = {f"{rows:,} rows": cost(rows) for rows in (100_000, 1_000_000)}
    print(costs, flush=True)
    alarms: dict[str, dict[str, Any]] = {}
    delays: dict[str, dict[str, Any]] = {}
    with ProcessPoolExecutor(options.workers) as pool:
        for name, stream in STABLE.items():
            each = max(1, streams // 2) if name in SMALL else streams
            jobs = [pool.submit(stable, stream, seed, hours) for seed in range(each)]
            alarms[name] = {"hours": each * hours, "alarms": sum(one.result() for one in jobs)}
            print(name, alarms[name], f"{time.perf_counter() - began:.0f} s", flush=True)
        for name, case in CHANGES.items():
            few = seeds if case.rows == 1000 else max(2, seeds * 2 // 5)
            few = max(2, few // 4) if name in NO_TARGET else few
            late = [pool.submit(delay, case, seed) for seed in range(few)]
            delays[name] = summary([one.result() for one in late], case)
            print(name, delays[name], f"{time.perf_counter() - began:.0f} s", flush=True)
    figures = {
        "quick": options.quick,
        "false_alarms": alarms,
        "changes": delays,
        "cost": costs,
        "peers": {} if options.quick or options.no_peers else peers(options.peers),
    }
    print(json.dumps(figures["peers"], indent=1))
    return report(
        "monitor",
        question=QUESTION,
        figures=figures,
        targets=targets(alarms, delays, costs, quick=options.quick),
        path=options.json,
    )


if __name__ == "__main__":
    sys.exit(main())
