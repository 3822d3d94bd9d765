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
            beside other rows, or cannot be written and read again.
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
    if not np.array_equal(
        first,
        _answers(
            own, read_again(fits[0], reference=own.reference, code=own.record.digest), x, problem
        ),
    ):
        _refuse(
            own,
            "written as skops and read again it gives other answers",
            "Keep all that fit learns in attributes that end in an underscore.",
        )


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
    import numpy as np

    if fitted is None:
        _refuse(own, "its fit returns None", "Let fit return self.")
    with reported(own.reference, "asking it after it was fitted"):
        if problem.task == "regression":
            values = np.asarray(fitted.predict(x), dtype=np.float64)
            classes = None
        else:
            values = np.asarray(fitted.predict_proba(x), dtype=np.float64)
            classes = np.asarray(fitted.classes_).tolist()
    expected = (len(x), len(problem.classes)) if problem.classes else (len(x),)
    if values.shape != expected:
        _refuse(
            own,
            f"it answers {len(x)} rows with an array of shape {values.shape}, not {expected}",
            "Return one value a row, or the probability of each class.",
        )
    if classes is not None and tuple(classes) != problem.classes:
        _refuse(
            own,
            f"its classes_ are {classes}, those of the target {list(problem.classes)}",
            "Let fit set classes_ to numpy.unique(y).",
        )
    if not np.isfinite(values).all():
        _refuse(own, "an answer is not finite", "Treat missing features, which are NaN.")
    if classes is not None and (
        (values < 0).any() or (np.abs(values.sum(axis=1) - 1) > _TOLERANCE * 1e3).any()
    ):
        _refuse(
            own,
            "its probabilities are negative or do not add up to 1",
            "Let predict_proba return probabilities.",
        )
    return values


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
