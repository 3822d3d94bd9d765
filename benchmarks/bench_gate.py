"""How often the gate's intervals hold, and how often it approves what it should not; simulated.

Pairs of a candidate and a champion whose true figures are known (gate_pairs.py) are measured by the
very functions that `evaluate` uses and judged as the champion rule judges: approved when the lower
end of the interval of the advantage lies above minus the margin. Beside it stands what templates
do: approved when the candidate's figure is at least the champion's.

It ends with 1 if a claim does not hold:

- false approval: of a candidate that is worse by exactly the margin, at most 5 %; of one that is
  worse by twice the margin too; and the first not above the stated level (half of what the
  confidence leaves), by more than a point beyond what chance in the simulation explains;
- coverage: every interval of a figure or of a difference holds the true one as often as it says,
  within 2 points. Of counts, which move in steps, it may do so more often: that is the safe side;
- slices: any of 20 slices of equally good models is accused in at most 5 % of holdouts (Holm).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import zlib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from gate_pairs import World
from gate_report import checks, line, rate, rates, summary
from gate_slices import ALPHA, FORMS, alarms

from penstock.evaluation._figures import difference, figures, without_interval
from penstock.evaluation._measurement import exact
from penstock.metrics import METRICS

CONFIDENCE = 0.95
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
    left_out = without_interval(candidate)
    measured = []
    for answers in (candidate, champion):
        values = {m: v for m, v in exact(answers).items() if m not in left_out and np.isfinite(v)}
        measured.append((figures(answers, values, confidence=CONFIDENCE), answers))
    found = {}
    for metric in measured[0][0].keys() & measured[1][0].keys():
        pair = [(of[metric], answers) for of, answers in measured]
        if not METRICS[metric].higher_is_better:
            pair.reverse()
        advantage, _, _ = difference(metric, *pair, confidence=CONFIDENCE)
        single = measured[0][0][metric].estimate
        found[metric] = [
            *(single.value, single.low, single.high),
            *(advantage.value, advantage.low, advantage.high),
        ]
    return found


def _accused(pool: ProcessPoolExecutor, world: World, pairs: int) -> list[dict[str, bool]]:
    size = max(1, pairs // 40)
    tasks = [(world, start, min(start + size, pairs)) for start in range(0, pairs, size)]
    return [one for some in pool.map(alarms, tasks) for one in some]


def main() -> None:
    """Print the table and the claims; with --json, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--pairs",
        type=int,
        default=1000,
        help="of models, in each cell; with few, chance alone fails claims",
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="", help="worlds whose name contains this")
    options = parser.parse_args()
    began = time.perf_counter()
    results = {}
    with ProcessPoolExecutor(options.workers) as pool:
        for world in WORLDS:
            if options.only not in world.name:
                continue
            found = {}
            for worse in WORSE:
                size = max(1, options.pairs // 40)
                tasks = [
                    (world, worse, start, min(start + size, options.pairs))
                    for start in range(0, options.pairs, size)
                ]
                found[worse] = [one for some in pool.map(batch, tasks) for one in some]
            results[world.name] = summary(found, world)
            print(f"\n{world.name} ({time.perf_counter() - began:.0f} s)")
            print(line())
            for metric, of in results[world.name].items():
                print(rates(metric, of), flush=True)
        accused = {
            f"{world.name}: {metric}": rate([one[metric] for one in found])
            for world in WORLDS
            if world.positives is not None and options.only in world.name
            for found in [_accused(pool, world, options.pairs)]
            for metric in FORMS
        }
    print("\nAny slice accused though none is bad, % of holdouts")
    for name, of in accused.items():
        print(f"{name:44} {100 * of['share']:.1f} ±{50 * (of['high'] - of['low']):.1f}")
    claims = checks(results) + [
        {
            "claim": f"{name}: false alarms of slices",
            "value": of["share"],
            # Above by more than chance in the simulation explains.
            "holds": bool(of["low"] <= ALPHA),
            "bound": "at most 5 % of holdouts",
        }
        for name, of in accused.items()
    ]
    print()
    for claim in claims:
        if not claim["holds"]:
            print(f"DOES NOT HOLD {claim['claim']}: {claim['value']:.4f}, {claim['bound']}")
    held = sum(bool(claim["holds"]) for claim in claims)
    print(f"{held} of {len(claims)} claims hold; {time.perf_counter() - began:.0f} s")
    if options.json:
        figures = {"results": results, "slices": accused, "claims": claims}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    sys.exit(held < len(claims))


if __name__ == "__main__":
    main()
