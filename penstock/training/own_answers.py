"""What the project's own estimator answers: refused where it is not what was asked for.

It is looked at wherever it is asked while a model is made: in the trial, in each fold, and once it
is fitted on all rows. What a trial on a few rows has shown may not hold of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from penstock.errors import InputError
from penstock.own_code.making import reported
from penstock.records.model import Label

if TYPE_CHECKING:
    import numpy as np

_SUM = 1e-6
"""How far the probabilities of a row may be from adding up to 1: those of 32 bits are, by 1e-7."""


def answers(fitted: Any, x: np.ndarray, *, classes: Sequence[Label], where: str) -> np.ndarray:
    """Return what a fitted estimator answers, as doubles.

    Args:
        fitted: What its `fit` returned.
        x: Features, shape (n, width).
        classes: Those of the target, sorted; empty for a regression.
        where: What the project file names, for errors.

    Returns:
        A value for each row, shape (n,), or the probability of each class, shape (n, classes).

    Raises:
        InputError: If it raises, its classes are others or stand in another order, an answer is
            missing or not finite, or no probability.
    """
    import numpy as np

    if fitted is None:
        raise InputError("its fit returns None", where=where, remedy="Let fit return self.")
    with reported(where, "asking it after it was fitted"):
        asked = fitted.predict_proba if classes else fitted.predict
        values = np.asarray(asked(x), dtype=np.float64)
        found = np.asarray(fitted.classes_).tolist() if classes else []
    expected = (len(x), len(classes)) if classes else (len(x),)
    if values.shape != expected:
        raise InputError(
            f"it answers {len(x):,} rows with an array of shape {values.shape}, not {expected}",
            where=where,
            remedy="Return one value a row, or the probability of each class.",
        )
    if found != list(classes):
        raise InputError(
            f"its classes_ are {found}, those of the target {list(classes)}",
            where=where,
            remedy="Let fit set classes_ to numpy.unique(y), and answer in that order.",
        )
    if not np.isfinite(values).all():
        raise InputError(
            "an answer is not finite", where=where, remedy="Treat missing features, which are NaN."
        )
    if classes and ((values < 0).any() or (np.abs(values.sum(axis=1) - 1) > _SUM).any()):
        raise InputError(
            "its probabilities are negative or do not add up to 1",
            where=where,
            remedy="Let predict_proba return probabilities.",
        )
    return values
