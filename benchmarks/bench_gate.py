"""How often the gate's intervals hold, and how often it approves what it should not; simulated.

Pairs of a candidate and a champion whose true figures are known (gate_pairs.py) are measured by the
very functions that `evaluate` uses and judged as the champion rule judges: approved when the lower
end of the interval of the advantage lies above minus the margin. Beside it stands what templates
do: approved when the candidate's figure is at least the champion's.

Targets, each of the worst cell (world and metric) with the 95 % interval of its rate (Wilson);
1,000 pairs leave it about 1 point wide on either side:

- false approval: of a candidate that is worse by exactly the margin, at most 5 %; of one that is
  worse by twice the margin too. The upper end of the interval must lie below: it is shown. The
  first is also not above the stated level (2.5 %, half of what the confidence leaves) by more than
  a point beyond what chance in the simulation explains: the lower end.
- coverage: every interval of a figure or of a difference holds the true one as often as it says,
  within 2 points. Too narrow is judged by the lower end, too wide by the rate as it came out. Of
  counts, which move in steps, it may hold more often: that is the safe side.
- slices: any of 20 slices of equally good models is accused in at most 5 % of holdouts (Holm). Each
  lies at its bound, where 5 % is what the method allows; so it is missed where the lower end lies
  above.

`--quick` is a smoke run of a minute: two sizes, 40 pairs, judged by the favourable end of each
interval. What it misses is refuted; what it meets is not shown.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import zlib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from gate_pairs import World
from gate_report import COLUMNS, Figures, line, rate, rates, summary, targets
from gate_slices import FORMS, alarms
from targets import report

from penstock.metrics import METRICS
from penstock.metrics.comparisons import paired_difference
from penstock.metrics.intervals import estimate_metrics, too_few_rows
from penstock.metrics.weighted import compute

QUESTION = (
    "How often the gate approves a candidate that is truly worse by the margin, and how often its "
    "intervals hold the true figure, simulated; beside the comparison of two single numbers that "
    "templates make."
)
CONFIDENCE = 0.95
QUICK = 40
"""Pairs in each cell of a smoke run."""
WORSE = (-1, 0, 1, 2)
"""By how many margins the candidate is worse; below 0 it is better."""

WORLDS = tuple(
    World(f"{name}, {rows:,} rows", rows, positives)
    for name, positives in (("balanced", 0.5), ("1 % positive", 0.01), ("regression", None))
    for rows in (500, 5_000, 50_000)
)


def batch(task: tuple[World, int, int, int]) -> list[dict[str, list[float]]]:
    """Measure some pairs: by metric value, low, high of the candidate, then of the advantage."""
    world, worse, begin, end = task
    label = zlib.crc32(f"{world.name}|{worse}".encode())
    return [_pair(world, worse, np.random.default_rng((label, seed))) for seed in range(begin, end)]


def _pair(world: World, worse: int, rng: np.random.Generator) -> dict[str, list[float]]:
    candidate, champion = world.draw(worse, rng)
    left_out = too_few_rows(candidate)
    measured = []
    for of in (candidate, champion):
        values = {m: v for m, v in compute(of).items() if m not in left_out and np.isfinite(v)}
        measured.append(estimate_metrics(of, values, confidence=CONFIDENCE))
    found = {}
    for metric in measured[0].keys() & measured[1].keys():
        pair = [of[metric] for of in measured]
        if not METRICS[metric].higher_is_better:
            pair.reverse()
        advantage = paired_difference(metric, *pair, confidence=CONFIDENCE).estimate
        single = measured[0][metric].estimate
        found[metric] = [
            *(single.value, single.low, single.high),
            *(advantage.value, advantage.low, advantage.high),
        ]
    return found


def _accused(pool: ProcessPoolExecutor, world: World, pairs: int) -> list[dict[str, bool]]:
    size = max(1, pairs // 40)
    tasks = [(world, start, min(start + size, pairs)) for start in range(0, pairs, size)]
    return [one for some in pool.map(alarms, tasks) for one in some]


def main() -> int:
    """Print the table and the targets; with --json, write the figures."""
    options = _options()
    pairs = min(options.pairs, QUICK) if options.quick else options.pairs
    worlds = [
        world
        for world in WORLDS
        if options.only in world.name and not (options.quick and world.rows > 5_000)
    ]
    began = time.perf_counter()
    results = {}
    with ProcessPoolExecutor(options.workers) as pool:
        for world in worlds:
            results[world.name] = summary(_measured(pool, world, pairs), world)
            print(f"\n{world.name} ({time.perf_counter() - began:.0f} s)")
            print(line())
            for metric, of in results[world.name].items():
                print(rates(metric, of), flush=True)
        accused = {
            f"{world.name}: {metric}": rate([one[metric] for one in found])
            for world in worlds
            if world.positives is not None
            for found in [_accused(pool, world, pairs)]
            for metric in FORMS
        }
    print("\nAny slice accused though none is bad, % of holdouts")
    for name, of in accused.items():
        print(f"{name:44} {100 * of['share']:.1f} ±{50 * (of['high'] - of['low']):.1f}")
    print(f"\n{time.perf_counter() - began:.0f} s")
    return report(
        "gate",
        question=QUESTION,
        figures={
            "quick": options.quick,
            "pairs_in_each_cell": pairs,
            "rates": _shown(results),
            "slices_falsely_accused": {name: _percent(of) for name, of in accused.items()},
            "raw": results,
        },
        targets=targets(results, accused, quick=options.quick),
        path=options.json,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--pairs",
        type=int,
        default=1000,
        help="of models, in each cell; few cannot show what is claimed",
    )
    parser.add_argument("--quick", action="store_true", help="a smoke run of a minute")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="", help="worlds whose name contains this")
    return parser.parse_args()


def _measured(
    pool: ProcessPoolExecutor, world: World, pairs: int
) -> dict[int, list[dict[str, list[float]]]]:
    found = {}
    size = max(1, pairs // 40)
    for worse in WORSE:
        tasks = [(world, worse, start, min(start + size, pairs)) for start in range(0, pairs, size)]
        found[worse] = [one for some in pool.map(batch, tasks) for one in some]
    return found


def _shown(results: dict[str, dict[str, Figures]]) -> dict[str, dict[str, float | None]]:
    """Return the rates by cell in percent, as rows of a table."""
    return {
        f"{world}: {metric}": {
            title: 100 * of[name]["share"] if of[name]["pairs"] else None for name, title in COLUMNS
        }
        for world, metrics in results.items()
        for metric, of in metrics.items()
    }


def _percent(of: dict[str, float]) -> dict[str, float]:
    shares = {end: 100 * of[end] for end in ("share", "low", "high")}
    return {f"{end}, %": value for end, value in shares.items()} | {"holdouts": of["pairs"]}


if __name__ == "__main__":
    sys.exit(main())
