"""The figures of every model on the holdout, with intervals. Imported only while evaluating."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from penstock.evaluation._bootstrap import (
    UNDEFINED_SHARE,
    estimate,
    replicate,
    undefined_share,
)
from penstock.evaluation._statistics import (
    MAX_CELLS,
    Errors,
    Floats,
    Labels,
    Means,
    MedianError,
    OneVersusRest,
    Ranking,
    Statistic,
    measure,
)
from penstock.evaluation.holdout import CANDIDATE, Holdout
from penstock.evaluation.spec import EvaluationSpec
from penstock.evaluation.words import has_width
from penstock.metrics import METRICS, names_for
from penstock.records.estimate import Estimate
from penstock.records.evaluation import Comparison

OVR_BUDGET = 10_000_000_000
"""Passes over a row (rows x classes x models x resamples) that one metric may take: a minute."""

Figures = dict[str, dict[str, Floats]]


@dataclass(frozen=True)
class Measurement:
    """Metrics by model, the candidate's advantages, and what had to be left out."""

    metrics: dict[str, dict[str, Estimate]]
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]


def measure_all(holdout: Holdout, spec: EvaluationSpec) -> Measurement:
    """Measure every model on all rows and on the same resamples of them."""
    names = holdout.models
    skipped = _over_budget(holdout, spec)
    ones = np.ones((1, holdout.rows))
    # One model after another: the exact layout of all of them need not be held at once.
    exact: Figures = {
        name: measure(statistics(holdout, name, max_cells=None, skip=skipped), ones)
        for name in names
    }
    resampled = replicate(
        {name: statistics(holdout, name, max_cells=MAX_CELLS, skip=skipped) for name in names},
        rows=holdout.rows,
        resamples=spec.resamples,
        seed=spec.seed,
    )
    kept, notes = _defined(holdout, exact, resampled, spec)
    notes += [
        f"{name} is left out: with so many rows and classes its interval would take hours. "
        "Lower evaluation.resamples to have it."
        for name in sorted(skipped)
    ]
    metrics = {
        name: {
            metric: estimate(
                exact[name][metric][0], resampled[name][metric], confidence=spec.confidence
            )
            for metric in kept
        }
        for name in names
    }
    comparisons = tuple(
        _compare(other, metric, exact, resampled, confidence=spec.confidence)
        for other in names
        if other != CANDIDATE
        for metric in kept
    )
    notes += _without_width(holdout, metrics[CANDIDATE])
    return Measurement(metrics=metrics, comparisons=comparisons, notes=tuple(notes))


def statistics(
    holdout: Holdout, name: str, *, max_cells: int | None, skip: frozenset[str] = frozenset()
) -> list[Statistic]:
    """Return the task's statistics of one model.

    Args:
        holdout: The rows and what the model says of them.
        name: Which model.
        max_cells: See `penstock.evaluation._statistics.Ranking`.
        skip: Metrics to leave out.
    """
    truth, scores = holdout.truth, holdout.scores[name]
    if holdout.record.task == "regression":
        return [
            Errors(truth, scores),
            MedianError(np.abs(scores - truth), max_cells=max_cells),
        ]
    classes = len(holdout.record.classes)
    binary = holdout.record.task == "binary"
    labels = Labels(truth, holdout.predicted(name), classes=classes, binary=binary)
    if binary:
        positive = truth == 1
        losses = {
            "log_loss": surprise(np.where(positive, scores, 1 - scores)),
            "brier": (scores - positive) ** 2,
        }
        return [Ranking(positive, scores, max_cells=max_cells), labels, Means(losses)]
    given = np.append(scores, np.zeros((len(scores), 1)), axis=1)[np.arange(len(truth)), truth]
    found: list[Statistic] = [labels, Means({"log_loss": surprise(given)})]
    if "roc_auc_ovr" not in skip:
        found.append(OneVersusRest(truth, scores, max_cells=max_cells))
    return found


def surprise(probability: Floats) -> Floats:
    """Return -ln of the probability given to what was true, at most 36 as in scikit-learn."""
    smallest = np.finfo(np.float64).eps
    return np.asarray(-np.log(np.clip(probability, smallest, 1 - smallest)))


def _over_budget(holdout: Holdout, spec: EvaluationSpec) -> frozenset[str]:
    classes = len(holdout.record.classes)
    passes = holdout.rows * classes * len(holdout.models) * spec.resamples
    wanted = holdout.record.task == "multiclass" and holdout.record.metric != "roc_auc_ovr"
    return frozenset({"roc_auc_ovr"} if wanted and passes > OVR_BUDGET else ())


def _defined(
    holdout: Holdout, exact: Figures, resampled: Figures, spec: EvaluationSpec
) -> tuple[list[str], list[str]]:
    """Return the metrics that have an interval, and what to say of those that lack resamples."""
    kept, notes = [], []
    for metric in names_for(holdout.record.task):
        if metric not in exact[CANDIDATE]:
            continue
        share = max(undefined_share(of[metric]) for of in resampled.values())
        if not all(np.isfinite(of[metric][0]) for of in exact.values()):
            notes.append(f"{metric} is left out: these rows do not define it{_why(holdout)}.")
        elif share > UNDEFINED_SHARE:
            notes.append(
                f"{metric} is left out: {share:.0%} of the resamples do not define it"
                f"{_why(holdout)}, too many for an interval."
            )
        else:
            kept.append(metric)
            if share:
                notes.append(
                    f"The interval of {metric} is from the resamples that define it: "
                    f"{round(share * spec.resamples):,} of {spec.resamples:,} do not"
                    f"{_why(holdout)}."
                )
    return kept, notes


def _why(holdout: Holdout) -> str:
    if holdout.record.task == "regression":
        return " (the target does not vary)"
    counts = np.bincount(holdout.truth, minlength=len(holdout.record.classes))
    rarest = int(counts[: len(holdout.record.classes)].argmin())
    return f" (only {counts[rarest]:,} rows are of class {holdout.labels()[rarest]!r})"


def _compare(
    other: str, metric: str, exact: Figures, resampled: Figures, *, confidence: float
) -> Comparison:
    sign = 1.0 if METRICS[metric].higher_is_better else -1.0
    value = sign * (exact[CANDIDATE][metric][0] - exact[other][metric][0])
    differences = sign * (resampled[CANDIDATE][metric] - resampled[other][metric])
    return Comparison(
        against=other,
        metric=metric,
        advantage=estimate(value, differences, confidence=confidence),
    )


def _without_width(holdout: Holdout, metrics: dict[str, Estimate]) -> list[str]:
    flat = [name for name, figure in metrics.items() if not has_width(figure)]
    if not flat:
        return []
    return [
        f"The interval of {', '.join(flat)} has no width, because every resample gives the same "
        "figure. That is not certainty: a fault can be missed that is rarer than about 3 in the "
        f"rows that the figure rests on, which are at most {holdout.rows:,} (rule of three)."
    ]
