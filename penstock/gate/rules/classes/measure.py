"""Recall and precision by class, and what other thresholds give. Imported only while evaluating."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from penstock.gate.holdout import CANDIDATE, CHAMPION, Holdout
from penstock.gate.rules.classes.spec import Classes, ClassFigures, Cut
from penstock.metrics.curves import ThresholdCurve, confusion, threshold_curve
from penstock.metrics.methods import wilson
from penstock.records.estimate import Estimate
from penstock.records.evaluation import Comparison

METRIC = "balanced_accuracy"

_RECALLS = (0.5, 0.8, 0.95)
"""Shares of the positive class for which the threshold is named that finds so many."""

_PLAIN = 0.5


def measure_classes(
    holdout: Holdout,
    metrics: Mapping[str, Estimate],
    comparisons: Sequence[Comparison],
    *,
    confidence: float,
) -> Classes | None:
    """Return what the candidate finds of each class at its own threshold; None for a regression.

    Args:
        holdout: The rows and what the models say of them.
        metrics: The candidate's metrics.
        comparisons: Its advantages.
        confidence: Of the intervals of recall and precision (Wilson 1927).
    """
    record = holdout.record
    if record.task == "regression" or METRIC not in metrics:
        return None
    names = holdout.labels()
    counts = confusion(holdout.truth, holdout.predicted(CANDIDATE), classes=len(names))
    beside = None
    if CHAMPION in holdout.models:
        theirs = confusion(holdout.truth, holdout.predicted(CHAMPION), classes=len(names))
        beside = theirs.diagonal() / np.maximum(theirs.sum(axis=1)[: len(names)], 1)
    right, actual, called = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    over = next((c for c in comparisons if (c.against, c.metric) == (CHAMPION, METRIC)), None)
    return Classes(
        target=record.target,
        positive="" if record.positive is None else str(record.positive),
        threshold=record.threshold,
        classes=tuple(
            ClassFigures(
                name=name,
                rows=int(actual[code]),
                called=int(called[code]),
                recall=_estimate(right[code], actual[code], confidence),
                precision=_estimate(right[code], called[code], confidence),
                champion=None if beside is None or not actual[code] else float(beside[code]),
            )
            for code, name in enumerate(names)
        ),
        balanced_accuracy=metrics[METRIC],
        advantage=None if over is None else over.advantage,
        others=_others(holdout) if record.task == "binary" else (),
    )


def _others(holdout: Holdout) -> tuple[Cut, ...]:
    """Return what 0.5 gives, and the highest thresholds that find so much of the positive class."""
    curve = threshold_curve(holdout.truth == 1, holdout.scores[CANDIDATE])
    own = holdout.record.threshold
    places = {int(np.searchsorted(curve.recall, share)) for share in _RECALLS}
    found = {f"{cut.threshold:.3g}": cut for cut in (_cut(curve, place) for place in places)}
    plain = _cut(curve, curve.index_of(_PLAIN)).model_copy(update={"threshold": _PLAIN})
    found[f"{_PLAIN:.3g}"] = plain
    if own is not None:
        found.pop(f"{own:.3g}", None)
    return tuple(sorted(found.values(), key=lambda cut: -cut.threshold))


def _cut(curve: ThresholdCurve, place: int) -> Cut:
    precision = float(curve.precision[place])
    return Cut(
        threshold=float(curve.threshold[place]),
        recall=float(curve.recall[place]),
        precision=None if np.isnan(precision) else precision,
        called=float(curve.predicted_positive[place]),
    )


def _estimate(hits: int, trials: int, confidence: float) -> Estimate | None:
    if not trials:
        return None
    low, high = wilson(hits, trials, confidence=confidence)
    value = float(hits / trials)
    return Estimate(value=value, low=min(low, value), high=max(high, value))
