"""How often a canary is decided rightly, by simulation, beside how others decide.

Each scenario is run `--rollouts` times, seeded, through the whole default plan with the very
`judge`, `abort` and `verdict_of` that the engine calls. The engine looks every second. To spare
hours, the simulation looks after 1, 2, 3, 5, 10 ... seconds of a stage, and where traffic is steady
an interval lasts from look to look; in bursty traffic an interval is a second, as the engine has
it. The first scenario is also run with a look a second, a twentieth as often. Each judge meets
traffic of its own, drawn from the same scenario: not the very same requests. Penstock sees the
first of them as copies, in the shadow phase; to the others they are users' requests.

Targets at the default settings: identical versions are not promoted in at most 2 % of rollouts,
candidates that are worse than allowed are promoted in at most 1 %, and one with 10 points more
errors is rolled back after fewer of the candidate's requests than by any peer, by the median over
all rollouts (one that is not rolled back takes infinitely many). Shares are known up to chance:
it is the upper end of the 95 % interval (Wilson) that must keep to the bound, of the worst
scenario.

`--quick` is a smoke run of a minute, 20 rollouts each, judged by the lower end: what it misses is
refuted, what it meets is not shown.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
from canary_arms import GRIDS, RATE, Scenario, Trace
from canary_peers import ARGO, FLAGGER, Outcome, by_mann_whitney, by_thresholds
from targets import Target, report

from penstock.records.rollout import Interval
from penstock.rollout.analysis.judge import abort, judge, verdict_of
from penstock.rollout.spec import CanarySpec, ShadowSpec, StepSpec

QUESTION = (
    "How often a canary of the default plan is decided rightly, simulated at 50 requests a second, "
    "beside Flagger's and Argo Rollouts' fixed thresholds and Kayenta's Mann-Whitney test, each "
    "after its documentation."
)
PEERS = ("flagger", "argo", "kayenta")
QUICK = 20
"""Rollouts of each scenario in a smoke run."""
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
    figures["requests_to_roll_back"] = statistics.median(
        outcome.samples if outcome.end == "rolled back" else math.inf for outcome in outcomes
    )
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


def targets(results: Mapping[str, Mapping[str, Mapping[str, Any]]], *, quick: bool) -> list[Target]:
    """Hold the results against what issue 3 asks for, each by its worst scenario."""
    ran = [case for case in SCENARIOS if case.name in results]
    found = []
    for good, end, text, bound in (
        (True, "not promoted", "identical versions, not promoted", 0.02),
        (False, "promoted", "worse than allowed, promoted", 0.01),
    ):
        shares = {c.name: results[c.name]["penstock"][end] for c in ran if c.good is good}
        if shares:
            found.append(_worst(text, shares, bound, quick=quick))
    for case in ran:
        if case.extra == 0.1:
            taken = {n: of["requests_to_roll_back"] for n, of in results[case.name].items()}
            quickest = min(PEERS, key=lambda name: taken[name])
            text = f"{case.name}: requests until it is rolled back, less those of {quickest}"
            found.append(Target(text, taken["penstock"] - taken[quickest], -1, "requests"))
    return found


def _worst(
    text: str, shares: Mapping[str, Mapping[str, Any]], bound: float, *, quick: bool
) -> Target:
    end = 0 if quick else 1
    worst = max(shares, key=lambda name: shares[name]["interval"][end])
    said = (
        f"{text}: worst scenario {worst} ({100 * shares[worst]['share']:.2f} %), "
        f"{'lower' if quick else 'upper'} end of its 95 % interval"
    )
    return Target(said, 100 * shares[worst]["interval"][end], 100 * bound, "%")


def shown(results: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return shares in percent and medians by scenario and judge, as rows of a table."""
    rows = {}
    for case, judges in results.items():
        for name, of in judges.items():
            usual = max(ENDS, key=lambda end: of[end]["share"])
            took = of.get(f"median to {usual}", {})
            rows[f"{case}, {name}"] = {
                **{f"{end}, %": 100 * of[end]["share"] for end in ENDS},
                "candidate_requests": took.get("candidate_requests"),
                "seconds": took.get("seconds"),
                "rollouts": of["rollouts"],
            }
    return rows


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


def main() -> int:
    """Print the table and the targets; with --json, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rollouts", type=int, default=2000)
    parser.add_argument("--quick", action="store_true", help="a smoke run of a minute")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    options = parser.parse_args()
    each = min(options.rollouts, QUICK) if options.quick else options.rollouts
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
                rollouts = max(1, each // 20) if "second" in name else each
                size = max(1, rollouts // 40)
                tasks = [
                    (name, case, begin, min(begin + size, rollouts))
                    for begin in range(0, rollouts, size)
                ]
                outcomes = [one for some in pool.map(batch, tasks) for one in some]
                results[case.name][name] = summary(outcomes)
                print(row(case.name, name, results[case.name][name]), flush=True)
    print(f"{time.perf_counter() - began:.0f} s")
    return report(
        "canary",
        question=QUESTION,
        figures={
            "quick": options.quick,
            "rollouts_of_each_scenario": each,
            "decisions": shown(results),
            "raw": results,
        },
        targets=targets(results, quick=options.quick),
        path=options.json,
    )


if __name__ == "__main__":
    sys.exit(main())
