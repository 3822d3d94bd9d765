"""How often a canary is decided rightly, by simulation, beside how others decide.

Each scenario is run `--rollouts` times, seeded, through the whole default plan with the very
`judge`, `abort` and `verdict_of` that the engine calls. The engine looks every second. To spare
hours, the simulation looks after 1, 2, 3, 5, 10 ... seconds of a stage, and where traffic is steady
an interval lasts from look to look; in bursty traffic an interval is a second, as the engine has
it. The first scenario is also run with a look a second, a twentieth as often.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np
from canary_arms import GRIDS, RATE, Scenario, Trace
from canary_peers import ARGO, FLAGGER, Outcome, by_mann_whitney, by_thresholds

from penstock.records.rollout import Interval
from penstock.rollout.analysis.judge import abort, judge, verdict_of
from penstock.rollout.spec import CanarySpec, ShadowSpec, StepSpec

PLAN = CanarySpec()
LOOKS = (1, 2, 3, 5, 10, 20, 40, 60, 80, 120, 180, 300, 420, 600)

SCENARIOS = (
    Scenario("identical, no errors", True, base=0.0),
    Scenario("identical, 0.1 % errors", True),
    Scenario("identical, 1 % errors", True, base=0.01),
    Scenario("identical, bursty", True, traffic="bursty"),
    Scenario("identical, diurnal", True, traffic="diurnal"),
    Scenario("+0.5 points of errors", None, extra=0.005),
    Scenario("+2 points, no errors before", False, base=0.0, extra=0.02),
    Scenario("+2 points, 1 % before", False, base=0.01, extra=0.02),
    Scenario("+10 points of errors", False, extra=0.1),
    Scenario("+10 points, bursty", False, extra=0.1, traffic="bursty"),
    Scenario("all answers 1.2x slower", None, slower=1.2),
    Scenario("all answers 1.5x slower", False, slower=1.5),
    Scenario("99 % quantile alone 1.5x", False, tail=1.5),
    Scenario("all answers 3x slower", False, slower=3.0),
    Scenario("scores shifted 0.1 sd", None, shift=0.1),
    Scenario("scores shifted 0.5 sd", False, shift=0.5),
)
STAGES: list[tuple[Literal["shadow", "step"], int, int, int, ShadowSpec | StepSpec]] = [
    ("shadow", 0, 0, PLAN.shadow.min_pairs, PLAN.shadow),
    *(
        ("step", place, step.weight, step.min_samples, step)
        for place, step in enumerate(PLAN.steps)
    ),
]
ENDS = ("promoted", "rolled back", "inconclusive")


def ours(case: Scenario, rng: np.random.Generator, looks: Sequence[int] = LOOKS) -> Outcome:
    """Run one rollout through the default plan."""
    trace = Trace(case, rng)
    intervals: list[Interval] = []
    for phase, index, weight, samples, stage in STAGES:
        verdict, waited = "inconclusive", 0
        for look in (*(look for look in looks if look < stage.max_wait), int(stage.max_wait)):
            while waited < look:
                seconds = min(case.grain, look - waited)
                waited += seconds
                intervals.append(
                    trace.interval(phase=phase, step=index, weight=weight, seconds=seconds)
                )
            if abort(intervals, abort=PLAN.abort) is not None:
                return Outcome("rolled back", trace.asked, trace.clock)
            findings = judge(
                intervals,
                phase=phase,
                step=index,
                rules=PLAN.rules,
                min_samples=samples,
                grids=GRIDS,
                task="binary",
            )
            verdict = verdict_of(findings)
            if verdict != "inconclusive":
                break
        if verdict != "pass":
            end = "rolled back" if verdict == "fail" else "inconclusive"
            return Outcome(end, trace.asked, trace.clock)
    return Outcome("promoted", trace.asked, trace.clock)


def every_second(case: Scenario, rng: np.random.Generator) -> Outcome:
    """The same with a look each second, as the engine has it."""
    return ours(case, rng, looks=range(1, 1000))


def flagger(case: Scenario, rng: np.random.Generator) -> Outcome:
    """Fixed thresholds as in Flagger's documentation."""
    return by_thresholds(case, rng, FLAGGER)


def argo(case: Scenario, rng: np.random.Generator) -> Outcome:
    """Fixed thresholds as in Argo Rollouts' documentation."""
    return by_thresholds(case, rng, ARGO)


Judge = Callable[[Scenario, np.random.Generator], Outcome]
JUDGES: dict[str, Judge] = {
    "penstock": ours,
    "flagger": flagger,
    "argo": argo,
    "kayenta": by_mann_whitney,
    "penstock, a look a second": every_second,
}


def batch(task: tuple[str, Scenario, int, int]) -> list[Outcome]:
    """Run some rollouts; the seed is the scenario's, the rollout's and the judge's alone."""
    name, case, begin, end = task
    label = zlib.crc32(f"{name}|{case.name}".encode())
    return [JUDGES[name](case, np.random.default_rng((label, seed))) for seed in range(begin, end)]


def summary(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """Return shares with 95 % Wilson intervals, and what a decision took."""
    figures: dict[str, object] = {"rollouts": len(outcomes)}
    for end in ENDS:
        hits = sum(outcome.end == end for outcome in outcomes)
        figures[end] = {"share": hits / len(outcomes), "interval": wilson(hits, len(outcomes))}
    back = sum(outcome.end != "promoted" for outcome in outcomes)
    figures["not promoted"] = {
        "share": back / len(outcomes),
        "interval": wilson(back, len(outcomes)),
    }
    for end in ("promoted", "rolled back"):
        chosen = [outcome for outcome in outcomes if outcome.end == end]
        if chosen:
            figures[f"median to {end}"] = {
                "candidate_requests": statistics.median(outcome.samples for outcome in chosen),
                "seconds": statistics.median(outcome.seconds for outcome in chosen),
            }
    return figures


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson, 1927)."""
    z = 1.959964
    share, spread = hits / trials, z * z / trials
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / trials + spread / (4 * trials)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def targets(results: dict[str, dict[str, dict[str, object]]]) -> list[dict[str, object]]:
    """Hold the results against what issue 3 asks for."""
    checks: list[dict[str, object]] = []
    for case in SCENARIOS:
        mine = results[case.name]["penstock"]
        if case.name.startswith("identical"):
            checks.append(_check(f"{case.name}: not promoted", mine["not promoted"], 0.02))
        if case.extra == 0.02 or 1.5 in (case.slower, case.tail) or case.shift == 0.5:
            checks.append(_check(f"{case.name}: promoted", mine["promoted"], 0.01))
        if case.extra == 0.1:
            taken = {
                name: figures.get("median to rolled back", {}).get("candidate_requests", math.inf)  # type: ignore[attr-defined]
                for name, figures in results[case.name].items()
            }
            others = min(taken[name] for name in ("flagger", "argo", "kayenta"))
            checks.append(
                {
                    "target": f"{case.name}: fewer candidate requests to abort than any peer",
                    "value": taken["penstock"],
                    "bound": others,
                    "met": taken["penstock"] < others,
                }
            )
    return checks


def _check(target: str, share: object, bound: float) -> dict[str, object]:
    assert isinstance(share, dict)
    return {
        "target": target,
        "value": share["share"],
        "bound": bound,
        "met": share["share"] <= bound,
    }


def row(case: str, judge_name: str, figures: dict[str, object]) -> str:
    """One line of the table."""

    def cell(end: str) -> str:
        share = figures[end]
        assert isinstance(share, dict)
        low, high = share["interval"]
        return f"{100 * share['share']:5.1f} ({100 * low:.1f}-{100 * high:.1f})"

    def median(end: str) -> str:
        found = figures.get(f"median to {end}")
        if not isinstance(found, dict):
            return "-"
        return f"{found['candidate_requests']:,.0f} in {found['seconds']:,.0f} s"

    return (
        f"{case:28} {judge_name:26} {cell('promoted'):>19} {cell('rolled back'):>19} "
        f"{cell('inconclusive'):>19} {median('promoted'):>20} {median('rolled back'):>20}"
    )


def main() -> None:
    """Print the table and, with --json, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rollouts", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    options = parser.parse_args()
    began = time.perf_counter()
    results: dict[str, dict[str, dict[str, object]]] = {}
    cases = [case for case in SCENARIOS if options.only in case.name]
    print(f"{RATE:g} requests/s; shares in % (95 % interval); candidate requests to the decision")
    print(
        f"{'scenario':28} {'judged by':26} {'promoted':>19} {'rolled back':>19} "
        f"{'inconclusive':>19} {'to promoted':>20} {'to rolled back':>20}"
    )
    with ProcessPoolExecutor(options.workers) as pool:
        for case in cases:
            results[case.name] = {}
            for name in JUDGES:
                if name == "penstock, a look a second" and case.name != cases[0].name:
                    continue
                rollouts = max(1, options.rollouts // 20) if "second" in name else options.rollouts
                size = max(1, rollouts // 40)
                tasks = [
                    (name, case, begin, min(begin + size, rollouts))
                    for begin in range(0, rollouts, size)
                ]
                outcomes = [one for some in pool.map(batch, tasks) for one in some]
                results[case.name][name] = summary(outcomes)
                print(row(case.name, name, results[case.name][name]), flush=True)
    checks = targets(results) if not options.only else []
    for check in checks:
        word = "met    " if check["met"] else "NOT MET"
        print(f"{word} {check['target']}: {check['value']:.4g}, bound {check['bound']:.4g}")
    print(f"{time.perf_counter() - began:.0f} s")
    if options.json:
        figures = {
            "scenarios": {case.name: asdict(case) for case in cases},
            "looks": LOOKS,
            "results": results,
            "targets": checks,
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
