"""What bench_gate.py found, as rates with their Monte-Carlo intervals, and its claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from gate_pairs import World
from scipy import stats

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


def checks(results: Mapping[str, Mapping[str, Figures]]) -> list[dict[str, object]]:
    """Hold the results against the claims."""
    found: list[dict[str, object]] = []

    def claim(text: str, value: float, holds: bool, bound: str) -> None:
        found.append({"claim": text, "value": value, "holds": bool(holds), "bound": bound})

    for world, metrics in results.items():
        for metric, of in metrics.items():
            if not of["measured"]["share"]:
                continue
            text = f"{world}: {metric}"
            for name in ("false_at_margin", "false_at_twice"):
                value = of[name]["share"]
                claim(f"{text}: {name}", value, value <= FALSE_APPROVAL, "at most 5 %")
            value = of["false_at_margin"]
            claim(
                f"{text}: stated level",
                value["share"],
                value["low"] <= LEVEL + NOISE,
                "not above 2.5 % by more than a point",
            )
            for name in ("coverage", "coverage_difference"):
                value = of[name]["share"]
                off = value - (1 - 2 * LEVEL)
                holds = -TOLERANCE <= off <= TOLERANCE or (off > 0 and metric in COUNTED)
                claim(f"{text}: {name}", value, holds, "within 2 points of 95 %")
    return found


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
