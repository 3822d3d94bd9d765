"""The figures of every model on the holdout, with intervals. Imported only while evaluating."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock.evaluation._figures import (
    MIN_CLASS,
    Answers,
    Figure,
    difference,
    figures,
    without_interval,
)
from penstock.evaluation._statistics import (
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
from penstock.evaluation.spec import EvaluationSpec
from penstock.gate.holdout import CANDIDATE, Holdout
from penstock.metrics import METRICS, names_for
from penstock.records.estimate import Estimate
from penstock.records.evaluation import Comparison
from penstock.records.model import Task
from penstock.reports.words import has_width

Exact = dict[str, float]

_MAKES = {
    "name",
    "task",
    "target",
    "classes",
    "positive",
    "threshold",
    "columns",
    "parameters",
    "dataset",
    "libraries",
    "levels",
}
"""Fields of a model's record that make it what it is. Who trained it and when do not; nor does the
seed, where every answer is the same to the last digit."""


@dataclass(frozen=True)
class Measurement:
    """Metrics by model, the candidate's advantages, and what had to be left out."""

    metrics: dict[str, dict[str, Estimate]]
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]


def measure_all(holdout: Holdout, spec: EvaluationSpec) -> Measurement:
    """Measure every model on the same rows, and the candidate's advantage over each other."""
    values = {name: exact(answers(holdout, name)) for name in holdout.models}
    kept, notes = _kept(holdout, values)

    def measured(name: str) -> tuple[dict[str, Figure], Answers]:
        given = answers(holdout, name)
        asked = {metric: values[name][metric] for metric in kept}
        return figures(given, asked, confidence=spec.confidence), given

    ours = measured(CANDIDATE)
    found = {CANDIDATE: ours[0]}
    comparisons: list[Comparison] = []
    for name in holdout.models:
        if name == CANDIDATE:
            continue
        # One after another: what each row adds to the figures of all need not be held at once.
        theirs = measured(name)
        found[name] = {m: replace(figure, influence=None) for m, figure in theirs[0].items()}
        known = _sameness(holdout, name)
        comparisons += (
            _same(name, metric, known)
            if known
            else _compare(name, metric, ours, theirs, confidence=spec.confidence)
            for metric in kept
        )
    metrics = {
        name: {metric: figure.estimate for metric, figure in of.items()}
        for name, of in found.items()
    }
    notes += _without_width(holdout, metrics[CANDIDATE])
    return Measurement(metrics=metrics, comparisons=tuple(comparisons), notes=tuple(notes))


def answers(holdout: Holdout, name: str) -> Answers:
    """Return what one model says of the rows, as the intervals take it."""
    return Answers(
        task=holdout.record.task,
        truth=holdout.truth,
        scores=holdout.scores[name],
        predicted=holdout.predicted(name),
        classes=len(holdout.record.classes),
        losses=losses(holdout.record.task, holdout.truth, holdout.scores[name]),
    )


def exact(given: Answers) -> Exact:
    """Return every metric of the task on all rows; NaN where they do not define it."""
    ones = np.ones((1, len(given.truth)))
    found = measure(statistics(given), ones)
    return {metric: float(values[0]) for metric, values in found.items()}


def statistics(given: Answers) -> list[Statistic]:
    """Return the task's statistics of one model, which tell all its scores apart."""
    truth, scores = given.truth, given.scores
    if given.task == "regression":
        return [Errors(truth, scores), MedianError(np.abs(scores - truth), max_cells=None)]
    binary = given.task == "binary"
    labels = Labels(truth, given.predicted, classes=given.classes, binary=binary)
    means = Means(dict(given.losses))
    if binary:
        return [Ranking(truth == 1, scores, max_cells=None), labels, means]
    return [labels, means, OneVersusRest(truth, scores, max_cells=None)]


def losses(task: Task, truth: NDArray[Any], scores: Floats) -> dict[str, Floats]:
    """Return what each row adds to the metrics of classes that are means, shape (n,) each."""
    if task == "regression":
        return {}
    if task == "binary":
        given = np.select([truth == 1, truth == 0], [scores, 1 - scores], 0.0)
        # Half the squared distances summed over both classes: an unknown class is neither.
        of_neither = (scores**2 + (1 - scores) ** 2) / 2
        squares = np.where(truth > 1, of_neither, (scores - (truth == 1)) ** 2)
        return {"log_loss": surprise(given), "brier": squares}
    padded = np.append(scores, np.zeros((len(scores), 1)), axis=1)
    return {"log_loss": surprise(padded[np.arange(len(truth)), truth])}


def surprise(probability: Floats) -> Floats:
    """Return -ln of the probability given to what was true, at most 36 as in scikit-learn."""
    smallest = np.finfo(np.float64).eps
    return np.asarray(-np.log(np.clip(probability, smallest, 1 - smallest)))


def _kept(holdout: Holdout, values: Mapping[str, Exact]) -> tuple[list[str], list[str]]:
    """Return the metrics that have an interval, and why others do not."""
    kept, notes = [], []
    too_few = without_interval(answers(holdout, CANDIDATE))
    for metric in names_for(holdout.record.task):
        if metric not in values[CANDIDATE]:
            continue
        if not all(np.isfinite(of[metric]) for of in values.values()):
            notes.append(f"{metric} is left out: these rows do not define it{_why(holdout)}.")
        elif metric in too_few:
            notes.append(
                f"{metric} is left out: with fewer than {MIN_CLASS} rows of a class it has no "
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
    other: str,
    metric: str,
    ours: tuple[dict[str, Figure], Answers],
    theirs: tuple[dict[str, Figure], Answers],
    *,
    confidence: float,
) -> Comparison:
    pair = [(ours[0][metric], ours[1]), (theirs[0][metric], theirs[1])]
    if not METRICS[metric].higher_is_better:
        pair.reverse()
    advantage, method, p_equal = difference(metric, *pair, confidence=confidence)
    return Comparison(
        against=other, metric=metric, advantage=advantage, method=method, p_equal=p_equal
    )


def _sameness(holdout: Holdout, name: str) -> str:
    """Return in which way a model is the candidate itself; empty: it is another."""
    ours, theirs = holdout.models[CANDIDATE], holdout.models[name]
    if ours.digest == theirs.digest:
        return "the same model"
    made = (one.record.model_dump(include=_MAKES) for one in (ours, theirs))
    first, second = made
    if first == second and np.array_equal(holdout.scores[CANDIDATE], holdout.scores[name]):
        return "the same model, trained again"
    return ""


def _same(other: str, metric: str, known: str) -> Comparison:
    """Return the comparison of a model with itself, in which nothing is uncertain."""
    nothing = Estimate(value=0, low=0, high=0)
    return Comparison(against=other, metric=metric, advantage=nothing, method=known, p_equal=1.0)


def _without_width(holdout: Holdout, metrics: dict[str, Estimate]) -> list[str]:
    flat = [name for name, figure in metrics.items() if not has_width(figure)]
    if not flat:
        return []
    return [
        f"The interval of {', '.join(flat)} has no width, because all rows say the same. That is "
        "not certainty: a fault can be missed that is rarer than about 3 in the rows that the "
        f"figure rests on, which are at most {holdout.rows:,} (rule of three)."
    ]
