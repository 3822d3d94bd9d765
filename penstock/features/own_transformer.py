"""The project's own transformer: made, tried on some rows, and put where ours would be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from penstock.errors import InputError
from penstock.features.spec import FeaturesSpec
from penstock.model.own_skops import read_again
from penstock.own_code.making import Made, kind, make, reported

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

GROUP = "own"
"""Name of the one group of a `ColumnTransformer` that holds the project's transformer."""

ROWS = 200
"""Rows that are tried."""

_ALONE = 5
_TOLERANCE = 1e-9


def own_transformer(spec: FeaturesSpec) -> Made | None:
    """Return the transformer that a project file names; None if it names none.

    Raises:
        InputError: If its code is not there or raises, or what it returns is no transformer.
        IntegrityError: If the code is not the one that the run was ordered with.
    """
    if not spec.transformer:
        return None
    made = make(spec.transformer, spec.code)
    for method in ("fit", "transform", "get_params"):
        if isinstance(made.made, type) or not callable(getattr(made.made, method, None)):
            raise InputError(
                f"it returns {kind(made.made)}, which has no {method}",
                where=spec.transformer,
                remedy="Return an unfitted transformer: derive it from TransformerMixin and "
                "BaseEstimator of sklearn.base.",
            )
    code = made.code.model_copy(update={"transformer": spec.transformer})
    return Made(made.reference, code, made.made)


def build_own(own: Made, names: Sequence[str]) -> Any:
    """Return the unfitted `ColumnTransformer` that hands columns to the project's transformer.

    Its output is made doubles: an estimator would learn other thresholds from numbers that are
    rounded in training and not in serving.

    Raises:
        InputError: If the transformer cannot be cloned.
    """
    from sklearn.base import clone
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    from penstock.features.transformers import Doubles

    try:
        step = clone(own.made)
    except Exception as error:
        raise InputError(
            f"it returns {kind(own.made)}, which cannot be cloned: {error!s:.300}",
            where=own.reference,
            remedy="Let __init__ keep each argument as it is, under its own name.",
        ) from error
    return ColumnTransformer(
        [(GROUP, Pipeline([("own", step), ("doubles", Doubles())]), list(names))],
        sparse_threshold=0.0,
        verbose_feature_names_out=False,
    )


def fit_own(own: Made, frame: pd.DataFrame) -> tuple[Any, tuple[str, ...]]:
    """Return the project's transformer fitted on all rows, and the names of its features.

    Raises:
        InputError: If it raises, fits differently a second time, or makes features that are no
            finite numbers (NaN is one that is missing), depend on the rows beside, or cannot be had
            after it was written and read again.
    """
    import numpy as np

    places = np.linspace(0, len(frame) - 1, min(ROWS, len(frame))).astype(int)
    _check(own, frame.iloc[np.unique(places)])
    transformer = build_own(own, list(frame.columns))
    with reported(own.reference, f"fitting it on {len(frame):,} rows"):
        transformer.fit(frame)
    width = _features(own, transformer, frame.iloc[:1]).shape[1]
    return transformer, _names(transformer, frame, width)


def _check(own: Made, sample: pd.DataFrame) -> None:
    import numpy as np

    fits = []
    for _ in range(2):
        transformer = build_own(own, list(sample.columns))
        with reported(own.reference, f"fitting it on {len(sample)} rows"):
            fits.append(transformer.fit(sample))
    first, second = (_features(own, fitted, sample) for fitted in fits)
    if not np.array_equal(first, second, equal_nan=True):
        _refuse(
            own,
            f"fitted twice on the same {len(sample)} rows it makes other features",
            "Give whatever is random a fixed seed.",
        )
    for at in np.linspace(0, len(sample) - 1, _ALONE).astype(int):
        alone = _features(own, fits[0], sample.iloc[at : at + 1])[0]
        if not np.allclose(alone, first[at], rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True):
            _refuse(
                own,
                "it makes other features of one row than of the same row beside others",
                "Let them depend on the row and on what fit has learned alone.",
            )
    if not np.array_equal(first, _features(own, fits[0], sample), equal_nan=True):
        _refuse(
            own,
            "asked for the same rows a second time it makes other features",
            "Let transform leave what fit has learned as it is.",
        )
    if not np.array_equal(
        first,
        _features(own, read_again(fits[0], reference=own.reference, code=own.code.digest), sample),
        equal_nan=True,
    ):
        _refuse(
            own,
            "written as skops and read again it makes other features",
            "Keep all that fit learns in attributes that end in an underscore.",
        )


def features_of(fitted: Any, frame: pd.DataFrame, *, where: str) -> np.ndarray:
    """Return the features that the project's transformer makes of rows, shape (rows, features).

    Args:
        fitted: As `build_own` returns it, fitted.
        frame: The rows.
        where: What the project file names, for errors.

    Raises:
        InputError: If it raises, makes other than one row of numbers for each, or an infinite one.
    """
    import numpy as np

    with reported(where, f"transforming {len(frame):,} rows"):
        found = np.asarray(fitted.transform(frame))
    if found.ndim != 2 or len(found) != len(frame) or not found.shape[1]:
        raise InputError(
            f"it makes an array of shape {found.shape} of {len(frame):,} rows",
            where=where,
            remedy="Return a row of numbers for each row.",
        )
    if np.isinf(found).any():
        raise InputError(
            "it makes a feature that is infinite",
            where=where,
            remedy="Return finite numbers, or NaN.",
        )
    return found


def _features(own: Made, fitted: Any, frame: pd.DataFrame) -> np.ndarray:
    return features_of(fitted, frame, where=own.reference)


def _names(transformer: Any, frame: pd.DataFrame, width: int) -> tuple[str, ...]:
    """Return the names that the transformer gives its features, or numbers where it gives none."""
    step = transformer.transformers_[0][1].steps[0][1]
    try:  # Many transformers have no names.
        names = [str(name) for name in step.get_feature_names_out(list(frame.columns))]
    except Exception:
        names = []
    if len(names) != width or len(set(names)) != width:
        return tuple(f"own {at}" for at in range(width))
    return tuple(names)


def _refuse(own: Made, what: str, remedy: str) -> NoReturn:
    raise InputError(what, where=own.reference, remedy=remedy)
