"""Which rows of a fold grow trees, and which are set aside to see when to stop growing them.

They are taken out of the rows that the fold is fitted on: the rows that it is scored on, and the
holdout, have no say in how many trees there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.errors import InputError
from penstock.training.fold_rule import WHERE
from penstock.training.inputs import Problem

if TYPE_CHECKING:
    import numpy as np

SHARE = 0.2
"""Share of the rows that are set aside."""


def stopping_rows(problem: Problem, rows: np.ndarray, *, seed: int) -> np.ndarray:
    """Return which of a fold's rows are set aside, as the folds themselves are cut.

    Of folds by time they are the latest; of folds by group they are whole groups; copies of a
    row stay together.

    Args:
        problem: The training part.
        rows: Positions in it of the rows that the fold is fitted on.
        seed: Of the draw, where there is one.

    Returns:
        A mask over `rows`, neither all nor none of those whose weight is above 0: the others have
        no loss, and teach nothing.

    Raises:
        InputError: If folds by group or time are asked for, and the rows are of one group or time.
    """
    import numpy as np

    order = _order(problem, seed)[rows]
    counts = np.full(len(rows), True) if problem.weights is None else problem.weights[rows] > 0
    total = int(counts.sum())
    cut = np.sort(order[counts])[int(total * (1 - SHARE))]
    aside = order >= cut
    if aside[counts].all():
        # All of them are one time, or one group.
        _refuse_one(problem)
        aside = np.cumsum(counts) - 1 >= total * (1 - SHARE)
    last = np.arange(len(rows)) == np.flatnonzero(counts)[-1]
    return np.asarray(aside if aside[counts].any() else last)


def growing_rows(problem: Problem, rows: np.ndarray, aside: np.ndarray) -> np.ndarray:
    """Return which of a fold's rows grow trees while others are set aside: all that may.

    Args:
        problem: The training part.
        rows: Positions in it of the rows that the fold is fitted on.
        aside: What `stopping_rows` returned for them.

    Returns:
        A mask over `rows`: those that are not set aside, and are as much earlier as the gap asks.

    Raises:
        InputError: If the gap leaves none whose weight is above 0.
    """
    import numpy as np

    rule = problem.fold_rule
    growing = np.isin(rows, rule.early_enough(rows[~aside], rows[aside]))
    counts = growing if problem.weights is None else growing & (problem.weights[rows] > 0)
    if rule.gap and not counts.any():
        raise InputError(
            f"the gap of {rule.gap_text} leaves a fold no row to grow trees on before those that "
            "show when to stop",
            where=WHERE,
            remedy="Use fewer folds or a smaller gap, or give n_estimators in training.search.",
        )
    return growing


def _refuse_one(problem: Problem) -> None:
    rule = problem.fold_rule
    if rule.named and rule.kind in ("group", "time"):
        raise InputError(
            f"a fold is fitted on rows of one {rule.column} alone, so none can be set aside to see "
            "when to stop growing trees",
            where=WHERE,
            remedy="Use fewer folds or another column, or give n_estimators in training.search.",
        )


def _order(problem: Problem, seed: int) -> np.ndarray:
    """Return a number for each row: those with the largest are set aside, equal ones together."""
    import numpy as np

    rule = problem.fold_rule
    if rule.values is not None:
        if rule.kind == "time":
            return rule.values
        units = rule.values
    elif problem.repeats is not None:
        units = np.unique(problem.repeats.units, return_inverse=True)[1]
    else:
        units = np.arange(len(problem.y))
    drawn = np.random.default_rng(seed).permutation(int(units.max()) + 1)
    return np.asarray(drawn[units])
