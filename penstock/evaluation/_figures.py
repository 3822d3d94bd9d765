"""Every metric of a model with its interval, and of two models with that of their difference.

Imported only while evaluating. Which method each metric has, and how it was chosen, is told in
docs/gate-statistics.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock.evaluation import _influence as influence
from penstock.evaluation import _intervals as intervals
from penstock.evaluation._curves import confusion
from penstock.evaluation._intervals import LOG, LOGIT, PLAIN, Range
from penstock.evaluation._statistics import Floats
from penstock.records.estimate import Estimate
from penstock.records.model import Task

MIN_CLASS = 20
"""Rows of the rarest class below which ranking and probabilities have no honest interval."""

TANGO, DELONG = "Tango's score interval", "DeLong"
MOVER, DELTA = "square-and-add of both intervals", "delta method"

# The largest effect of a share of rows that behave as none of these rows does.
_REACH = {"roc_auc": 1.0, "roc_auc_ovr": 1.0, "average_precision": 2.0, "brier": 1.0}
_REACH["log_loss"] = 36.0
_SCALES = {"roc_auc": LOGIT, "roc_auc_ovr": LOGIT, "average_precision": LOGIT, "rmse": LOG}
# Where the influences lean so much to a side that taking it off makes intervals hold better.
_SKEWED = frozenset({"log_loss", "brier", "mae", "mape", "rmse", "r2"})
_SKEWED_PAIRS = frozenset({"average_precision"})
_SHARES = frozenset({"accuracy", "recall", "balanced_accuracy"})
_RANKED = frozenset({"roc_auc", "roc_auc_ovr", "average_precision"})
_COMBINED = frozenset({"precision", "f1", "f1_macro", "median_absolute_error"})


@dataclass(frozen=True)
class Answers:
    """What one model says of the rows.

    Args:
        task: Of the model.
        truth: See `penstock.gate.holdout.Holdout`.
        scores: Likewise, shape (n,) or (n, k).
        predicted: Class codes, or of a regression the values; shape (n,).
        classes: How many classes the model knows; 0 for a regression.
        losses: What each row adds to the metrics that are means, by metric; shape (n,).
    """

    task: Task
    truth: NDArray[Any]
    scores: Floats
    predicted: NDArray[Any]
    classes: int
    losses: Mapping[str, Floats]

    @cached_property
    def right(self) -> np.ndarray:
        """Whether each row is predicted right, shape (n,)."""
        return np.asarray(self.truth == self.predicted)

    @cached_property
    def table(self) -> Floats:
        """Rows by true class (the last: none that is known) and predicted class, (k + 1, k)."""
        counts = confusion(self.truth, self.predicted, classes=self.classes)
        return counts.astype(np.float64)

    @cached_property
    def rarest(self) -> int:
        """Rows of the rarest class that the model knows; of a regression, all rows."""
        if self.task == "regression":
            return len(self.truth)
        return int(self.table[: self.classes].sum(axis=1).min())


@dataclass(frozen=True)
class Figure:
    """A metric with its interval and, where its difference needs it, each row's influence."""

    estimate: Estimate
    influence: Floats | None


def without_interval(answers: Answers) -> frozenset[str]:
    """Return the metrics that too few rows of a class leave without an honest interval."""
    if answers.task == "regression" or answers.rarest >= MIN_CLASS:
        return frozenset()
    if answers.task == "multiclass":
        return frozenset({"roc_auc_ovr"})
    return frozenset({"roc_auc", "average_precision", "log_loss", "brier"})


def figures(
    answers: Answers, exact: Mapping[str, float], *, confidence: float
) -> dict[str, Figure]:
    """Return each metric of a model.

    Args:
        answers: What the model says.
        exact: The metrics' values; only these are given intervals.
        confidence: Share of such intervals that hold the true figure, between 0 and 1.
    """
    influences = _influences(answers, exact)
    counted = {} if answers.task == "regression" else _of_labels(answers, confidence=confidence)
    found = {}
    for metric, value in exact.items():
        moved = influences.get(metric)
        if metric == "median_absolute_error":
            sizes = np.abs(answers.scores - answers.truth)
            reached = intervals.median(sizes, confidence=confidence)
        elif metric in counted:
            reached = counted[metric]
        else:
            assert moved is not None
            reached = _smooth(metric, value, moved, answers, confidence=confidence)
        found[metric] = Figure(estimate=_estimate(value, reached), influence=moved)
    return found


def difference(
    metric: str,
    one: tuple[Figure, Answers],
    other: tuple[Figure, Answers],
    *,
    confidence: float,
) -> tuple[Estimate, str, float | None]:
    """Return by how much the figure of `one` is above that of `other` on the same rows.

    Returns:
        The difference with its interval, the method's name, and the p-value of `both are equal`
        where a test applies.
    """
    (ours, mine), (theirs, others) = one, other
    value = ours.estimate.value - theirs.estimate.value
    if metric in _SHARES:
        reached, p_equal = _paired_shares(metric, mine, others, confidence=confidence)
        return _estimate(value, reached), TANGO, p_equal
    assert ours.influence is not None
    assert theirs.influence is not None
    if metric in _COMBINED:
        related = _correlation(ours.influence, theirs.influence)
        reached = intervals.difference(ours.estimate, theirs.estimate, correlation=related)
        return _estimate(value, reached), MOVER, None
    change = ours.influence - theirs.influence
    reached = _smooth(metric, value, change, mine, confidence=confidence, paired=True)
    method = DELONG if metric in ("roc_auc", "roc_auc_ovr") else DELTA
    return _estimate(value, reached), method, intervals.equal_probability(value, change)


def _influences(answers: Answers, exact: Mapping[str, float]) -> dict[str, Floats]:
    truth, scores = answers.truth, answers.scores
    if answers.task == "regression":
        return influence.regression(truth.astype(np.float64), scores)
    codes, predicted = truth.astype(np.int64), answers.predicted.astype(np.int64)
    found = {name: influence.mean(losses) for name, losses in answers.losses.items()}
    found["f1_macro"] = influence.f1(answers.table)[codes, predicted]
    if answers.task == "binary":
        found["precision"] = influence.precision(codes, predicted)
        found["f1"] = influence.f1_of_positive(codes, predicted)
        if exact.keys() & _RANKED:
            found |= influence.ranking(codes == 1, scores)
    elif "roc_auc_ovr" in exact:
        found["roc_auc_ovr"] = influence.one_versus_rest(codes, scores)
    return found


def _of_labels(answers: Answers, *, confidence: float) -> dict[str, Range]:
    """Return the intervals of what the table of true and predicted classes gives."""
    table, known = answers.table, answers.classes
    right, actual, given = np.diagonal(table), table.sum(axis=1), table.sum(axis=0)

    def share(hits: float, trials: float) -> Estimate:
        low, high = intervals.wilson(hits, trials, confidence=confidence)
        return Estimate(value=hits / trials, low=low, high=high)

    def f1(code: int) -> Estimate:
        # F1 = 2 J / (1 + J), where J is the share right of the rows that are or are called so.
        of = share(right[code], actual[code] + given[code] - right[code])
        value, low, high = (2 * j / (1 + j) for j in (of.value, of.low, of.high))
        return Estimate(value=value, low=low, high=high)

    there = [code for code in range(known) if actual[code]]
    met = [code for code in range(known) if actual[code] + given[code]]
    # Of rows of a class that the model cannot name, none is ever right.
    unseen = [Estimate(value=0, low=0, high=0)] if actual[known] else []
    recalls = [share(right[code], actual[code]) for code in there]
    scores = [f1(code) for code in met]
    related = np.eye(len(met) + len(unseen))
    related[: len(met), : len(met)] = influence.f1_correlation(table)[np.ix_(met, met)]
    found = {
        "accuracy": intervals.wilson(right.sum(), table.sum(), confidence=confidence),
        "balanced_accuracy": intervals.combined(recalls + unseen),
        "f1_macro": intervals.combined(scores + unseen, correlation=related),
    }
    if answers.task == "binary":
        nothing = (0.0, 0.0)
        found["recall"] = (recalls[1].low, recalls[1].high) if actual[1] else nothing
        found["f1"] = (scores[-1].low, scores[-1].high) if 1 in met else nothing
        # By convention a precision of which nothing is called positive is 0.
        found["precision"] = (
            intervals.wilson(right[1], given[1], confidence=confidence) if given[1] else nothing
        )
    return found


def _paired_shares(
    metric: str, one: Answers, other: Answers, *, confidence: float
) -> tuple[Range, float | None]:
    def paired(rows: np.ndarray) -> tuple[int, int, int]:
        more = int((rows & one.right & ~other.right).sum())
        return more, int((rows & ~one.right & other.right).sum()), int(rows.sum())

    if metric != "balanced_accuracy":
        rows = one.truth == 1 if metric == "recall" else np.ones(len(one.truth), dtype=bool)
        more, fewer, count = paired(rows)
        reached = intervals.tango(more, fewer, count, confidence=confidence)
        return reached, intervals.mcnemar(more, fewer)
    parts = []
    for code in np.unique(one.truth):
        if code == one.classes:
            parts.append(Estimate(value=0, low=0, high=0))
            continue
        more, fewer, count = paired(one.truth == code)
        low, high = intervals.tango(more, fewer, count, confidence=confidence)
        parts.append(Estimate(value=(more - fewer) / count, low=low, high=high))
    return intervals.combined(parts), None


def _smooth(
    metric: str,
    value: float,
    moved: Floats,
    answers: Answers,
    *,
    confidence: float,
    paired: bool = False,
) -> Range:
    perfect = metric in _RANKED and not paired and min(value, 1 - value) < 1e-12
    if perfect or intervals.spread(moved)[0] <= 1e-12 * abs(value):
        return _unseen(metric, value, answers, confidence=confidence, paired=paired)
    return intervals.from_influence(
        value,
        moved,
        confidence=confidence,
        scale=PLAIN if paired else _SCALES.get(metric, PLAIN),
        skewed=metric in (_SKEWED_PAIRS if paired else _SKEWED),
    )


def _unseen(
    metric: str, value: float, answers: Answers, *, confidence: float, paired: bool
) -> Range:
    """Return the interval where no row differs from another: others may, if they are rare."""
    if not paired and (answers.scores == answers.scores[0]).all():
        return value, value  # It answers the same whatever it is asked.
    rows = answers.rarest if metric in _RANKED else len(answers.truth)
    reach = _REACH.get(metric, 0.0)
    step = reach * intervals.unseen_share(rows, confidence=confidence)
    if paired:
        return max(value - step, -reach), min(value + step, reach)
    return max(value - step, 0.0), min(value + step, max(1.0, reach))


def _correlation(one: Floats, other: Floats) -> float:
    size = float(np.sqrt((one @ one) * (other @ other)))
    # Nothing is known where one does not vary: none is the cautious side of a difference.
    return float(np.clip(one @ other / size, -1, 1)) if size else 0.0


def _estimate(value: float, reached: Range) -> Estimate:
    # Rounding must not put a figure outside of its own interval.
    low, high = reached
    return Estimate(value=value, low=min(low, value), high=max(high, value))
