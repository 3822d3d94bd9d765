"""Whether the project's own estimator can be served: tried on a sample before the search.

A model is served row by row, in other processes, loaded from a file, beside others. So on a sample
it is fitted twice with one seed, asked for all rows and for single ones, written and read again:
the answers must be the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from penstock.errors import InputError
from penstock.model.own_skops import read_again
from penstock.own_code.making import reported
from penstock.training.fitting import fit
from penstock.training.own_answers import answers
from penstock.training.own_estimator import OwnEstimator

if TYPE_CHECKING:
    import numpy as np

    from penstock.training.inputs import Problem

ROWS = 200
"""Rows that are tried, of each class as many as there is room for."""

_ALONE = 5
"""Rows that it answers one by one."""

_TOLERANCE = 1e-9


def check(own: OwnEstimator, problem: Problem, *, seed: int, class_weight: Any) -> None:
    """Refuse an estimator whose answers could not be relied on where it is served.

    Raises:
        InputError: If it raises, changes what it is given, fits differently with one seed, answers
            with no probabilities of all classes or no finite values, answers a row differently
            beside other rows or a second time, or cannot be written and read again.
    """
    import numpy as np

    places = _places(problem)
    x, y = problem.columns.fitted.matrix(places), problem.y[places]
    weights = None if problem.weights is None else problem.weights[places]
    given = x.copy()
    fits = []
    for _ in range(2):
        estimator = own.build({}, seed=seed, class_weight=class_weight)
        with reported(own.reference, f"fitting it on {len(x)} rows"):
            fits.append(fit(estimator, x, y, weights=weights))
    first, second = (_answers(own, fitted, x, problem) for fitted in fits)
    if not np.array_equal(x, given, equal_nan=True):
        _refuse(own, "it changes the features that it is given", "Let it work on a copy.")
    if not np.array_equal(first, second):
        _refuse(
            own,
            f"fitted twice on the same {len(x)} rows with the same seed it gives other answers",
            "Draw whatever is random from random_state, which is set where the factory leaves it "
            "at None.",
        )
    _check_alone(own, fits[0], x, first, problem)
    if not np.array_equal(first, _answers(own, fits[0], x, problem)):
        _refuse(
            own,
            "asked for the same rows a second time it gives other answers",
            "Let predict and predict_proba leave what fit has learned as it is.",
        )
    _check_kept(own, fits[0], x, first, problem)


def check_whole(own: OwnEstimator | None, family: str, fitted: Any, problem: Problem) -> None:
    """Refuse an estimator of the project's own that is not, of all rows, what it was of a few.

    Args:
        own: The estimator; None: the project has none.
        family: Of what was fitted; nothing is looked at of another than `own`.
        fitted: On all rows.
        problem: The training part.

    Raises:
        InputError: If its answers cannot be used, or it cannot be written and read again.
    """
    if own is None or family != "own":
        return
    x = problem.columns.fitted.matrix(_places(problem))
    _check_kept(own, fitted, x, _answers(own, fitted, x, problem), problem)


def _places(problem: Problem) -> np.ndarray:
    """Return rows evenly spread over the part, of each class alike."""
    import numpy as np

    groups = [np.arange(len(problem.y))]
    if problem.task != "regression":
        groups = [np.flatnonzero(problem.y == label) for label in np.unique(problem.y)]
    most = max(3, ROWS // len(groups))
    spread = [
        group[np.linspace(0, len(group) - 1, min(most, len(group))).astype(int)] for group in groups
    ]
    return np.unique(np.concatenate(spread))


def _answers(own: OwnEstimator, fitted: Any, x: np.ndarray, problem: Problem) -> np.ndarray:
    return answers(fitted, x, classes=problem.classes, where=own.reference)


def _check_kept(
    own: OwnEstimator, fitted: Any, x: np.ndarray, said: np.ndarray, problem: Problem
) -> None:
    import numpy as np

    again = read_again(fitted, reference=own.reference, code=own.record.digest)
    if not np.array_equal(said, _answers(own, again, x, problem)):
        _refuse(
            own,
            "written as skops and read again it gives other answers",
            "Keep all that fit learns in attributes that end in an underscore.",
        )


def _check_alone(
    own: OwnEstimator, fitted: Any, x: np.ndarray, answers: np.ndarray, problem: Problem
) -> None:
    import numpy as np

    for at in np.linspace(0, len(x) - 1, _ALONE).astype(int):
        alone = _answers(own, fitted, x[at : at + 1], problem)[0]
        if not np.allclose(alone, answers[at], rtol=_TOLERANCE, atol=_TOLERANCE):
            _refuse(
                own,
                f"asked for one row it answers {alone.tolist()}, and for the same row beside "
                f"others {answers[at].tolist()}",
                "Let an answer depend on its row and on what fit has learned alone.",
            )


def _refuse(own: OwnEstimator, what: str, remedy: str) -> NoReturn:
    raise InputError(what, where=own.reference, remedy=remedy)
