"""Rows of a fold that are set aside to see when boosting should stop growing trees.

They are taken out of the rows that the fold is fitted on: the rows that it is scored on, and the
holdout, have no say in how many trees there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.training.inputs import Problem

if TYPE_CHECKING:
    import numpy as np

SHARE = 0.2
"""Share of the rows that are set aside."""


def stopping_rows(problem: Problem, rows: np.ndarray, *, seed: int) -> np.ndarray:
    """Return which of a fold's rows are set aside, as the folds themselves are cut.

    After a split by time they are the latest; after one by group they are whole groups; copies of a
    row stay together.

    Args:
        problem: The training part.
        rows: Positions in it of the rows that the fold is fitted on.
        seed: Of the draw, where there is one.

    Returns:
        A mask over `rows`, neither all nor none of those whose weight is above 0: the others have
        no loss, and teach nothing.
    """
    import numpy as np

    order = _order(problem, seed)[rows]
    counts = np.full(len(rows), True) if problem.weights is None else problem.weights[rows] > 0
    total = int(counts.sum())
    cut = np.sort(order[counts])[int(total * (1 - SHARE))]
    aside = order >= cut
    if aside[counts].all():
        # All of them are one time, or one group.
        aside = np.cumsum(counts) - 1 >= total * (1 - SHARE)
    last = np.arange(len(rows)) == np.flatnonzero(counts)[-1]
    return np.asarray(aside if aside[counts].any() else last)


def _order(problem: Problem, seed: int) -> np.ndarray:
    """Return a number for each row: those with the largest are set aside, equal ones together."""
    import numpy as np

    if problem.split_values is not None:
        units = problem.split_values
        assert problem.split is not None
        if problem.split.method == "time":
            return units
    elif problem.repeats is not None:
        units = np.unique(problem.repeats.units, return_inverse=True)[1]
    else:
        units = np.arange(len(problem.y))
    drawn = np.random.default_rng(seed).permutation(int(units.max()) + 1)
    return np.asarray(drawn[units])
