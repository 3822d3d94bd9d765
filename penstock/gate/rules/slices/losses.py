"""What is measured in slices: the losses of single rows. Imported only while evaluating."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penstock.errors import InputError
from penstock.gate.holdout import CHAMPION, Holdout
from penstock.metrics import METRICS
from penstock.metrics.losses import ROW_METRICS, row_losses
from penstock.metrics.slice_tests import Floats, Form

_FORMS: Mapping[str, Form] = {"accuracy": "share", "recall": "share", "rmse": "root"}

_EVIDENCE = 20
"""Rows of either class below which stated probabilities are not judged: where a kind of row that
matters much was never seen, no test of a mean holds its level."""


@dataclass(frozen=True)
class Losses:
    """What each row costs; less is better.

    Args:
        metric: What the mean of them is, `complement` (1 minus it) or by its root (`form`).
        rows: The positions in the holdout that it rests on, shape (n,); None for all.
        candidate: Shape (n,).
        champion: Shape (n,); None where there is none to compare with.
        form: See `penstock.metrics.slice_tests.Form`.
        complement: Whether the metric is 1 minus the mean loss.
        rare: Whether a row is of the positive class, where both classes must be there; shape (n,).
    """

    metric: str
    rows: NDArray[np.bool_] | None
    candidate: Floats
    champion: Floats | None
    form: Form
    complement: bool = False
    rare: NDArray[np.bool_] | None = None

    def of(self, means: Floats) -> Floats:
        """Return the metric that mean losses amount to."""
        if self.complement:
            return np.asarray(1 - means)
        return np.sqrt(np.maximum(means, 0)) if self.form == "root" else means

    def bound(self, figure: float) -> float:
        """Return the mean loss that a figure of the metric amounts to."""
        return 1 - figure if self.complement else figure**2 if self.form == "root" else figure

    def taken(self, codes: NDArray[np.integer]) -> NDArray[np.integer]:
        """Return the codes of the rows that the metric rests on."""
        return codes if self.rows is None else codes[self.rows]

    def evidence(self, codes: NDArray[np.integer], slices: int) -> NDArray[np.bool_]:
        """Return of each slice whether what it rests on can carry a test, besides its rows."""
        if self.rare is None:
            return np.ones(slices, dtype=bool)
        rows = np.bincount(codes, minlength=slices)
        rare = np.bincount(codes[self.rare], minlength=slices)
        return np.asarray(np.minimum(rare, rows - rare) >= _EVIDENCE)


def slice_metric(name: str, holdout: Holdout, *, bounded: bool) -> str:
    """Return what is measured in each slice.

    Args:
        name: What the policy names; empty for the primary metric.
        holdout: The rows and the models.
        bounded: Whether the policy gives a floor.

    Raises:
        InputError: If a metric is named that is not a mean over rows, or a floor is given for the
            primary metric and that is not one.
    """
    task = holdout.record.task
    metric = name or holdout.record.metric
    if metric in ROW_METRICS[task]:
        return metric
    known = ", ".join(ROW_METRICS[task])
    if name or bounded:
        raise InputError(
            f"{metric!r} is not measured in slices of a {task} model",
            where="gate.slices.metric",
            remedy=f"Only what is a mean over rows is sound in small parts: name one of {known}.",
        )
    return ROW_METRICS[task][0]


def losses_of(holdout: Holdout, metric: str) -> Losses:
    """Return the losses of the candidate and, if it was loaded, of the champion.

    `r2` is measured against the variance of the whole holdout, so that slices add up to the whole
    and one whose target hardly varies is not called bad for that.
    """
    names = [name for name in ("candidate", CHAMPION) if name in holdout.models]
    rows = holdout.truth == 1 if metric == "recall" else None
    found = [
        row_losses(
            metric,
            task=holdout.record.task,
            truth=holdout.truth,
            scores=holdout.scores[name],
            predicted=holdout.predicted(name),
        )
        for name in names
    ]
    if rows is not None:
        found = [of[rows] for of in found]
    binary = holdout.record.task == "binary" and metric in ("log_loss", "brier")
    return Losses(
        metric=metric,
        rows=rows,
        candidate=found[0],
        champion=found[1] if len(found) > 1 else None,
        form=_FORMS.get(metric, "mean"),
        complement=METRICS[metric].higher_is_better,
        rare=holdout.truth == 1 if binary else None,
    )
