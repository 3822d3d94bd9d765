"""The metrics of every model on the holdout, and the candidate's advantage over each other one.

Imported only while evaluating. How a metric's interval is made: `penstock.metrics.intervals`; how
that of a difference: `penstock.metrics.comparisons`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from penstock.evaluation.spec import EvaluationSpec
from penstock.gate.holdout import CANDIDATE, Holdout
from penstock.metrics import METRICS, names_for
from penstock.metrics.bounds import MIN_CLASS_ROWS
from penstock.metrics.comparisons import paired_difference
from penstock.metrics.influence import RANKINGS_OF_TWO
from penstock.metrics.intervals import (
    MetricEstimate,
    estimate_metrics,
    too_few_rows,
)
from penstock.metrics.weighted import compute
from penstock.records.estimate import Estimate
from penstock.records.evaluation import Comparison
from penstock.reports.words import has_width

_IDENTITY = {
    "name",
    "task",
    "target",
    "classes",
    "positive",
    "threshold",
    "columns",
    "parameters",
    "dataset",
    "code",
    "libraries",
    "levels",
}
"""Fields of a model's record that make it what it is. Who trained it and when do not; nor does the
seed, where every prediction is the same to the last digit."""


@dataclass(frozen=True)
class ModelMetrics:
    """What every model reaches on the holdout.

    Args:
        metrics: By model and metric.
        comparisons: The candidate's advantages over the other models.
        notes: What had to be left out, and why.
    """

    metrics: dict[str, dict[str, Estimate]]
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]


def measure_models(holdout: Holdout, spec: EvaluationSpec) -> ModelMetrics:
    """Measure every model on the same rows, and the candidate's advantage over each other.

    Args:
        holdout: The rows and what the models predict for them.
        spec: The confidence of the intervals.
    """
    candidate = holdout.predictions(CANDIDATE)
    values = {name: compute(holdout.predictions(name)) for name in holdout.models}
    kept, notes = _kept(holdout, values, too_few_rows(candidate))
    others = [name for name in holdout.models if name != CANDIDATE]
    same = {name: _sameness(holdout, name) for name in others}
    metrics: dict[str, dict[str, Estimate]] = {name: {} for name in holdout.models}
    advantages: dict[tuple[str, str], Comparison] = {}
    # What each row moves a metric by is 8 bytes: of few metrics and two models at a time.
    for together in _together(kept):
        ours = _measured(holdout, CANDIDATE, values, together, confidence=spec.confidence)
        metrics[CANDIDATE] |= _estimates(ours)
        for name in others:
            theirs = _measured(holdout, name, values, together, confidence=spec.confidence)
            metrics[name] |= _estimates(theirs)
            advantages |= {
                (name, metric): _same(name, metric, same[name])
                if same[name]
                else _compare(name, metric, (ours[metric], theirs[metric]), spec.confidence)
                for metric in together
            }
    ordered = {name: {metric: found[metric] for metric in kept} for name, found in metrics.items()}
    notes += _without_width(holdout, ordered[CANDIDATE])
    return ModelMetrics(
        metrics=ordered,
        comparisons=tuple(advantages[name, metric] for name in others for metric in kept),
        notes=tuple(notes),
    )


def _measured(
    holdout: Holdout,
    name: str,
    values: Mapping[str, Mapping[str, float]],
    metrics: Sequence[str],
    *,
    confidence: float,
) -> dict[str, MetricEstimate]:
    chosen = {metric: values[name][metric] for metric in metrics}
    return estimate_metrics(holdout.predictions(name), chosen, confidence=confidence)


def _estimates(measured: Mapping[str, MetricEstimate]) -> dict[str, Estimate]:
    return {metric: of.estimate for metric, of in measured.items()}


def _together(metrics: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield metrics that are measured at a time: those that come of one sort, or one."""
    sorted_once = tuple(metric for metric in metrics if metric in RANKINGS_OF_TWO)
    if sorted_once:
        yield sorted_once
    yield from ((metric,) for metric in metrics if metric not in RANKINGS_OF_TWO)


def _kept(
    holdout: Holdout, values: Mapping[str, Mapping[str, float]], too_few: frozenset[str]
) -> tuple[list[str], list[str]]:
    """Return the metrics that have an interval, and why others do not."""
    kept, notes = [], []
    for metric in names_for(holdout.record.task):
        if metric not in values[CANDIDATE]:
            continue
        if not all(np.isfinite(of[metric]) for of in values.values()):
            notes.append(f"{metric} is left out: these rows do not define it{_why(holdout)}.")
        elif metric in too_few:
            notes.append(
                f"{metric} is left out: with fewer than {MIN_CLASS_ROWS} rows of a class it has no "
                f"interval that could be trusted{_why(holdout)}. Hold out more rows."
            )
        else:
            kept.append(metric)
    return kept, notes


def _why(holdout: Holdout) -> str:
    if holdout.record.task == "regression":
        return " (the target does not vary)"
    counts = np.bincount(holdout.truth, minlength=len(holdout.record.classes))
    rarest = int(counts[: len(holdout.record.classes)].argmin())
    return f" (only {counts[rarest]:,} rows are of class {holdout.labels()[rarest]!r})"


def _compare(
    other: str, metric: str, both: tuple[MetricEstimate, MetricEstimate], confidence: float
) -> Comparison:
    pair = both if METRICS[metric].higher_is_better else reversed(both)
    found = paired_difference(metric, *pair, confidence=confidence)
    return Comparison(
        against=other,
        metric=metric,
        advantage=found.estimate,
        method=found.method,
        p_equal=found.p_equal,
    )


def _sameness(holdout: Holdout, name: str) -> str:
    """Return in which way a model is the candidate itself; empty: it is another."""
    ours, theirs = holdout.models[CANDIDATE], holdout.models[name]
    if ours.digest == theirs.digest:
        return "the same model"
    first, second = (one.record.model_dump(include=_IDENTITY) for one in (ours, theirs))
    if first == second and np.array_equal(holdout.scores[CANDIDATE], holdout.scores[name]):
        return "the same model, trained again"
    return ""


def _same(other: str, metric: str, how: str) -> Comparison:
    """Return the comparison of a model with itself, in which nothing is uncertain."""
    nothing = Estimate(value=0, low=0, high=0)
    return Comparison(against=other, metric=metric, advantage=nothing, method=how, p_equal=1.0)


def _without_width(holdout: Holdout, metrics: dict[str, Estimate]) -> list[str]:
    narrow = [name for name, figure in metrics.items() if not has_width(figure)]
    if not narrow:
        return []
    return [
        f"The interval of {', '.join(narrow)} has no width, because all rows say the same. That is "
        "not certainty: a fault can be missed that is rarer than about 3 in the rows that the "
        f"figure rests on, which are at most {holdout.rows:,} (rule of three)."
    ]
