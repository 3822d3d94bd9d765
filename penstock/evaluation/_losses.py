"""Per-row losses whose mean over a part of the rows is a metric. Imported only while evaluating."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penstock.errors import InputError
from penstock.gate.holdout import CHAMPION, Holdout
from penstock.metrics import METRICS
from penstock.metrics.slice_tests import Floats, Form

PER_ROW = {
    "binary": ("accuracy", "recall", "log_loss", "brier"),
    "multiclass": ("accuracy", "log_loss"),
    "regression": ("r2", "rmse", "mae"),
}
"""Metrics that are means over rows, by task; the first stands in for those that are not."""

_EVIDENCE = 20
"""Rows of either class below which stated probabilities are not judged: where a kind of row that
matters much was never seen, no test of a mean holds its level."""


@dataclass(frozen=True)
class Losses:
    """What each row costs; less is better.

    Args:
        metric: What the mean of them is, `flipped` (1 minus it) or by its root (`form`).
        rows: The positions in the holdout that it rests on, shape (n,); None for all.
        candidate: Shape (n,).
        champion: Shape (n,); None where there is none to compare with.
        form: See `penstock.metrics.slice_tests.Form`.
        flipped: Whether the metric is 1 minus the mean loss.
        rare: Whether a row is of the positive class, where both classes must be there; shape (n,).
    """

    metric: str
    rows: NDArray[np.bool_] | None
    candidate: Floats
    champion: Floats | None
    form: Form
    flipped: bool = False
    rare: NDArray[np.bool_] | None = None

    def of(self, means: Floats) -> Floats:
        """Return the metric that mean losses amount to."""
        if self.flipped:
            return np.asarray(1 - means)
        return np.sqrt(np.maximum(means, 0)) if self.form == "root" else means

    def bound(self, figure: float) -> float:
        """Return the mean loss that a figure of the metric amounts to."""
        return 1 - figure if self.flipped else figure**2 if self.form == "root" else figure

    def taken(self, codes: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the codes of the rows that the metric rests on."""
        return codes if self.rows is None else codes[self.rows]

    def evidence(self, codes: NDArray[np.int32], slices: int) -> NDArray[np.bool_]:
        """Return of each slice whether what it rests on can carry a test, besides its rows."""
        if self.rare is None:
            return np.ones(slices, dtype=bool)
        rows = np.bincount(codes, minlength=slices)
        rare = np.bincount(codes[self.rare], minlength=slices)
        return np.asarray(np.minimum(rare, rows - rare) >= _EVIDENCE)


def slice_metric(asked: str, holdout: Holdout, *, bounded: bool) -> str:
    """Return what is measured in each slice.

    Args:
        asked: What the policy names; empty for the primary metric.
        holdout: The rows and the models.
        bounded: Whether the policy gives a floor.

    Raises:
        InputError: If a metric is named that is not a mean over rows, or a floor is given for the
            primary metric and that is not one.
    """
    task = holdout.record.task
    wanted = asked or holdout.record.metric
    if wanted in PER_ROW[task]:
        return wanted
    known = ", ".join(PER_ROW[task])
    if asked or bounded:
        raise InputError(
            f"{wanted!r} is not measured in slices of a {task} model",
            where="gate.slices.metric",
            remedy=f"Only what is a mean over rows is sound in small parts: name one of {known}.",
        )
    return PER_ROW[task][0]


def losses_of(holdout: Holdout, metric: str) -> Losses:
    """Return the losses of the candidate and, if it was loaded, of the champion.

    `r2` is measured against the variance of the whole holdout, so that slices add up to the whole
    and one whose target hardly varies is not called bad for that.
    """
    names = [name for name in ("candidate", CHAMPION) if name in holdout.models]
    rows = holdout.truth == 1 if metric == "recall" else None
    found = [_losses(holdout, name, metric) for name in names]
    if rows is not None:
        found = [of[rows] for of in found]
    binary = holdout.record.task == "binary" and metric in ("log_loss", "brier")
    return Losses(
        metric=metric,
        rows=rows,
        candidate=found[0],
        champion=found[1] if len(found) > 1 else None,
        form={"accuracy": "share", "recall": "share", "rmse": "root"}.get(metric, "mean"),  # type: ignore[arg-type]
        flipped=METRICS[metric].higher_is_better,
        rare=holdout.truth == 1 if binary else None,
    )


def _losses(holdout: Holdout, name: str, metric: str) -> Floats:
    truth, scores = holdout.truth, holdout.scores[name]
    if metric in ("accuracy", "recall"):
        return np.asarray(holdout.predicted(name) != truth, dtype=np.float64)
    if metric in ("brier", "log_loss"):
        from penstock.evaluation._measurement import losses

        return losses(holdout.record.task, truth, scores)[metric]
    error = np.abs(scores - truth)
    if metric == "mae":
        return np.asarray(error)
    return np.asarray(error**2 / (truth.var() if metric == "r2" else 1.0))
