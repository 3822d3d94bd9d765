"""What bench_gate.py found, as rates with their Monte-Carlo intervals, and its targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from gate_pairs import World
from scipy import stats
from targets import Target

from penstock.metrics import METRICS

LEVEL = 0.025
"""Stated: a one-sided error of the 95 % interval."""
FALSE_APPROVAL = 0.05
TOLERANCE = 0.02
NOISE = 0.01
COUNTED = frozenset({"accuracy", "recall", "precision", "f1", "f1_macro", "balanced_accuracy"})
"""Metrics of counts, whose intervals may be wider than nominal: counts move in steps."""

Figures = dict[str, dict[str, float]]
COLUMNS = (
    ("measured", "measured"),
    ("coverage", "covers"),
    ("coverage_difference", "difference"),
    ("false_at_margin", "false at m"),
    ("false_at_twice", "at 2 m"),
    ("power_equal", "pow. equal"),
    ("power_better", "better"),
    ("single_at_margin", "single at m"),
    ("single_equal", "equal"),
)


def rate(hits: Sequence[bool] | np.ndarray, *, of: int | None = None) -> dict[str, float]:
    """Return a share with its 95 % Wilson interval; of nothing, of nothing known."""
    total = len(hits) if of is None else of
    count = int(np.sum(hits))
    if not total:
        return {"share": float("nan"), "low": 0.0, "high": 1.0, "pairs": 0}
    found = stats.binomtest(count, total).proportion_ci(method="wilson")
    return {"share": count / total, "low": found.low, "high": found.high, "pairs": total}


def summary(
    found: Mapping[int, Sequence[Mapping[str, Sequence[float]]]], world: World
) -> dict[str, Figures]:
    """Return the rates of every metric of one world.

    Args:
        found: What was measured of each pair, by how many margins its candidate is worse.
        world: Where the pairs are from.
    """
    truths = {worse: world.truths(worse) for worse in (*found, 0)}
    return {metric: _of_metric(metric, found, truths) for metric in truths[0]}


def _of_metric(
    metric: str,
    found: Mapping[int, Sequence[Mapping[str, Sequence[float]]]],
    truths: Mapping[int, Mapping[str, float]],
) -> Figures:
    sign = 1 if METRICS[metric].higher_is_better else -1
    true = {worse: sign * (of[metric] - truths[0][metric]) for worse, of in truths.items()}
    pairs = {
        worse: np.array([one[metric] for one in some if metric in one]).reshape(-1, 6)
        for worse, some in found.items()
    }
    drawn = {worse: len(some) for worse, some in found.items()}
    single = [
        (of[:, 1] <= truths[worse][metric]) & (truths[worse][metric] <= of[:, 2])
        for worse, of in pairs.items()
    ]
    paired = [(of[:, 4] <= true[worse]) & (true[worse] <= of[:, 5]) for worse, of in pairs.items()]
    # The margin of every metric is what a candidate at the margin of the first truly loses.
    bound = true[1]
    return {
        "measured": rate(
            np.concatenate([np.ones(len(of)) for of in pairs.values()]), of=sum(drawn.values())
        ),
        "coverage": rate(np.concatenate(single)),
        "coverage_difference": rate(np.concatenate(paired)),
        # Not measured is not approved.
        "false_at_margin": rate(pairs[1][:, 4] > bound, of=drawn[1]),
        "false_where_measured": rate(pairs[1][:, 4] > bound),
        "false_at_twice": rate(pairs[2][:, 4] > bound, of=drawn[2]),
        "power_equal": rate(pairs[0][:, 4] > bound, of=drawn[0]),
        "power_better": rate(pairs[-1][:, 4] > bound, of=drawn[-1]),
        "single_at_margin": rate(pairs[1][:, 3] >= 0),
        "single_equal": rate(pairs[0][:, 3] >= 0),
    }


def targets(
    results: Mapping[str, Mapping[str, Figures]],
    accused: Mapping[str, Mapping[str, float]],
    *,
    quick: bool,
) -> list[Target]:
    """Hold the results against the claims, each by its worst cell.

    A rate of a simulation is known up to chance. Where being wrong would let something through, the
    95 % interval counts against us: its unfavourable end must keep to the bound. `quick` takes the
    favourable end there, since few pairs cannot show anything: what it misses is refuted.
    """
    cells = {
        f"{world}, {metric}": of
        for world, metrics in results.items()
        for metric, of in metrics.items()
        if of["measured"]["share"]
    }
    exact = {name: of for name, of in cells.items() if name.split(", ")[-1] not in COUNTED}
    high, low = ("low", "high") if quick else ("high", "low")
    found = []
    for name, text in (
        ("false_at_margin", "approved though worse by exactly the margin"),
        ("false_at_twice", "approved though worse by twice the margin"),
    ):
        found.append(_most(text, cells, name, high, FALSE_APPROVAL))
    found.append(
        _most(
            "approved at the margin, beyond the stated 2.5 % by more than chance explains",
            cells, "false_at_margin", "low", LEVEL + NOISE,
        )
    )  # fmt: skip
    stated = 1 - 2 * LEVEL
    for name, text in (
        ("coverage", "interval of a figure holds"),
        ("coverage_difference", "interval of a difference holds"),
    ):
        found.append(_least(f"{text}, too narrow", cells, name, low, stated - TOLERANCE))
        if exact:
            wide = "low" if quick else "share"
            text = f"{text}, too wide (not of counts)"
            found.append(_most(text, exact, name, wide, stated + TOLERANCE))
    if accused:
        # Where 5 % is what the method allows, half of all simulations show more: refuted counts.
        alarms = {name: {"alarm": of} for name, of in accused.items()}
        text = "holdouts in which any of 20 slices is accused though none is bad"
        found.append(_most(text, alarms, "alarm", "low", FALSE_APPROVAL))
    return found


_ENDS = {
    "low": "lower end of its 95 % interval",
    "high": "upper end of its 95 % interval",
    "share": "as it came out",
}


def _most(text: str, cells: Mapping[str, Any], name: str, end: str, bound: float) -> Target:
    worst = max(cells, key=lambda cell: cells[cell][name][end])
    return _of_worst(text, worst, cells[worst][name], end, bound, side="at most")


def _least(text: str, cells: Mapping[str, Any], name: str, end: str, bound: float) -> Target:
    worst = min(cells, key=lambda cell: cells[cell][name][end])
    return _of_worst(text, worst, cells[worst][name], end, bound, side="at least")


def _of_worst(
    text: str,
    worst: str,
    of: Mapping[str, float],
    end: str,
    bound: float,
    *,
    side: Literal["at most", "at least"],
) -> Target:
    said = f"{text}: worst cell {worst} ({100 * of['share']:.1f} %), {_ENDS[end]}"
    return Target(said, 100 * of[end], 100 * bound, "%", side)


def line() -> str:
    """Return the head of the table."""
    return f"{'metric, %':22}" + "".join(f"{title:>14}" for _, title in COLUMNS)


def rates(metric: str, of: Figures) -> str:
    """Return one line of the table."""
    cells = []
    for name, _ in COLUMNS:
        one = of[name]
        half = 100 * (one["high"] - one["low"]) / 2
        cells.append(f"{100 * one['share']:.1f} ±{half:.1f}" if one["pairs"] else "-")
    return f"{metric:22}" + "".join(f"{cell:>14}" for cell in cells)
