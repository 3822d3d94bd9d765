"""SHAP values of a fitted model, by raw column. Imported only while explaining.

Trees: see `_tree_shap`; exact for the estimator over its features; a missing feature is averaged by
the shares of training rows in the tree's branches. Linear models: coefficient times distance from
the mean, exact where features are set to the background's (Strumbelj & Kononenko, 2014, "Explaining
prediction models and individual predictions with feature contributions"). What comes from one
column is summed. Anything else: Shapley values over raw columns from drawn orders. Of a calibrated
model the first two explain the score before calibration, and the unit says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from penstock.errors import InputError
from penstock.explanation._columns import origins, summed
from penstock.explanation._sample import Sample
from penstock.explanation._tree_shap import cost, saabas, tree_shap
from penstock.model.calibrated import uncalibrated
from penstock.model.ensemble import Ensemble
from penstock.model.trees import trees_of
from penstock.records.model import Model

BUDGET = 7e8
"""Cells, as `cost` counts them, times rows that TreeSHAP may take: three to eight seconds."""

LEAST_ROWS = 50
"""Fewer rows than this say too little of a distribution: a faster method is taken instead."""

DRAWN_ROWS = 40
"""Rows that are explained where orders have to be drawn."""

BACKGROUND_ROWS = 50

TOLERANCE = 1e-6
"""Gap, as a share of the outputs' size, up to which contributions count as adding up."""

_SINGLE = 1e-4
"""The same where the estimator itself adds its trees as float32, each with an error of 6e-8."""


@dataclass(frozen=True)
class Attributions:
    """What each column adds to the output of each of some rows.

    Args:
        places: Which rows of the sample, shape (m,).
        values: Shape (m, columns); of many classes, toward the class that each row is called.
        base: What the contributions are added to, shape (m,).
        output: What the model gives in `unit`, shape (m,).
        unit: What all of this is in.
        method: How it was computed.
        exact: Whether nothing was drawn or approximated.
        tolerance: Gap, as a share of the outputs' size, up to which they count as adding up.
    """

    places: np.ndarray
    values: np.ndarray
    base: np.ndarray
    output: np.ndarray
    unit: str
    method: str
    exact: bool
    tolerance: float = TOLERANCE

    @property
    def gap(self) -> float:
        """Return the largest difference of base and contributions from the output."""
        return float(np.abs(self.base + self.values.sum(axis=1) - self.output).max())


def attribute(sample: Sample, *, keep: np.ndarray, seed: int) -> Attributions:
    """Return the SHAP values of a sample, or of as many of its rows as time allows.

    Args:
        sample: The rows.
        keep: Places of rows that must be among them.
        seed: Of what is drawn.

    Raises:
        InputError: If the contributions do not add up to the output by any method.
    """
    found = _by_structure(sample, keep=keep, seed=seed)
    if found is None or not _adds_up(found):
        found = _by_orders(sample, keep=keep, seed=seed)
    if not _adds_up(found):
        raise InputError(
            f"the contributions miss the model's output by {found.gap:g}", where="explanation"
        )
    return found


def _adds_up(found: Attributions) -> bool:
    return found.gap <= found.tolerance * max(1.0, float(np.abs(found.output).max()))


def _by_structure(sample: Sample, *, keep: np.ndarray, seed: int) -> Attributions | None:
    features, estimator = (step for _, step in sample.model.typed.steps)
    estimator = uncalibrated(estimator)
    of = origins(features)
    if of is None:
        return None
    x = np.asarray(features.transform(sample.frame), dtype=np.float64)
    if x.shape[1] != len(of):
        return None
    linear = _linear_parts(estimator)
    if linear is not None:
        prepare, last = linear
        z = x if prepare is None else prepare.transform(x)
        inner = _inner(prepare, width=x.shape[1])
        if inner is None or z.shape[1] != len(inner):
            return None
        return _linear(sample, last, z, of[inner])
    ensemble = trees_of(estimator)
    if ensemble is None:
        return None
    return _trees(sample, estimator, ensemble, x, of, keep=keep, seed=seed)


def _linear_parts(estimator: Any) -> tuple[Any, Any] | None:
    """Return what comes before a linear model, or None, and the linear model."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import Pipeline

    last = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    if not isinstance(last, LogisticRegression | Ridge):
        return None
    return (estimator[:-1] if isinstance(estimator, Pipeline) else None), last


def _inner(prepare: Any, *, width: int) -> np.ndarray | None:
    """Return which feature each input of a linear model comes from: values, then indicators."""
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import StandardScaler

    found = np.arange(width)
    for _, step in prepare.steps if prepare is not None else ():
        if isinstance(step, SimpleImputer):
            if not step.keep_empty_features and np.isnan(step.statistics_).any():
                return None
            if step.add_indicator:
                found = np.append(found, found[step.indicator_.features_])
        elif not isinstance(step, StandardScaler):
            return None
    return found


def _linear(sample: Sample, last: Any, z: np.ndarray, of: np.ndarray) -> Attributions:
    coefficients = np.atleast_2d(last.coef_)
    side = _side(sample, np.arange(len(z)), outputs=len(coefficients))
    mean = z.mean(axis=0)
    return _oriented(
        sample,
        last,
        z,
        side,
        values=summed(coefficients[side.output] * (z - mean), of, columns=len(sample.columns)),
        base=(coefficients @ mean + last.intercept_)[side.output],
        method="SHAP of a linear model: coefficient times distance from the mean of the explained "
        "rows, summed by column",
        exact=True,
    )


def _trees(
    sample: Sample,
    estimator: Any,
    ensemble: Ensemble,
    x: np.ndarray,
    of: np.ndarray,
    *,
    keep: np.ndarray,
    seed: int,
) -> Attributions:
    affordable = int(BUDGET / cost(ensemble))
    exact = affordable >= min(LEAST_ROWS, len(x))
    places = _some(len(x), rows=affordable if exact else len(x), keep=keep, seed=seed)
    side = _side(sample, places, outputs=len(ensemble.offset))
    values, base = (tree_shap if exact else saabas)(ensemble, x[places], side.output)
    return _oriented(
        sample,
        estimator,
        x[places],
        side,
        values=summed(values, of, columns=len(sample.columns)),
        base=base,
        method=(
            "TreeSHAP over the estimator's features, against the training rows in the trees' "
            "branches, summed by column"
            if exact
            else "Saabas' path attributions over the estimator's features, summed by column: the "
            "trees are too large for TreeSHAP"
        ),
        exact=exact,
        tolerance=TOLERANCE if ensemble.adds is np.float64 else _SINGLE,
    )


@dataclass(frozen=True)
class _Side:
    """The output that is explained: the target, or the predicted or positive class'.

    Args:
        places: Which rows of the sample are explained, shape (m,).
        output: Which of the estimator's outputs it is, shape (m,).
        single: Whether there is one output alone.
        sign: -1 where this one counts against the positive class.
    """

    places: np.ndarray
    output: np.ndarray
    single: bool
    sign: int


def _side(sample: Sample, places: np.ndarray, *, outputs: int) -> _Side:
    from penstock.model import positive_index

    record = sample.model.record
    single, place = outputs == 1, 0
    if record.task == "multiclass":
        return _Side(places, sample.scores[places].argmax(axis=1), single, sign=1)
    if record.task == "binary":
        place = positive_index(record)
    sign = sign_of(record) if single else 1
    return _Side(places, np.full(len(places), 0 if single else place), single, sign)


def sign_of(record: Model) -> int:
    """Return -1 where a single output is of the class that is not meant, else 1.

    One output of two classes is the second's.
    """
    from penstock.model import positive_index

    return -1 if record.task == "binary" and positive_index(record) == 0 else 1


def _oriented(
    sample: Sample,
    estimator: Any,
    x: np.ndarray,
    side: _Side,
    *,
    values: np.ndarray,
    base: np.ndarray,
    method: str,
    exact: bool,
    tolerance: float = TOLERANCE,
) -> Attributions:
    """Return attributions beside what the estimator itself gives, both of the side that is meant.

    Args:
        sample: The rows.
        estimator: What is explained.
        x: The rows as it takes them, shape (m, features).
        side: Which output is meant.
        values: Toward that output, shape (m, columns).
        base: Of that output, shape (m,).
        method: See `Attributions`.
        exact: See `Attributions`.
        tolerance: See `Attributions`.
    """
    record = sample.model.record
    margin = hasattr(estimator, "decision_function")
    if record.task == "regression":
        output, unit = estimator.predict(x), f"units of {record.target}"
    else:
        output = estimator.decision_function(x) if margin else estimator.predict_proba(x)
        unit = _unit(record, margin=margin) + (" before calibration" if record.calibration else "")
    return Attributions(
        places=side.places,
        values=side.sign * values,
        base=side.sign * base,
        output=side.sign * (output if side.single else output[np.arange(len(x)), side.output]),
        unit=unit,
        method=method,
        exact=exact,
        tolerance=tolerance,
    )


def _unit(record: Model, *, margin: bool) -> str:
    if record.task == "binary":
        return f"{'log-odds' if margin else 'probability'} of {record.positive}"
    return (
        f"{'score before softmax' if margin else 'probability'} of the class that the row is called"
    )


def _some(total: int, *, rows: int, keep: np.ndarray, seed: int) -> np.ndarray:
    """Return sorted places of `rows` rows, those of `keep` among them."""
    if rows >= total:
        return np.arange(total)
    others = np.setdiff1d(np.arange(total), keep)
    drawn = np.random.default_rng(seed).permutation(others)[: max(0, rows - len(keep))]
    return np.sort(np.append(keep, drawn))


def _by_orders(sample: Sample, *, keep: np.ndarray, seed: int) -> Attributions:
    from penstock.serving.shapley import explain

    places = _some(len(sample.frame), rows=DRAWN_ROWS, keep=keep, seed=seed)
    backdrop = sample.frame.iloc[
        _some(len(sample.frame), rows=BACKGROUND_ROWS, keep=keep[:0], seed=seed)
    ]
    background = {name: backdrop[name].to_numpy() for name in sample.columns}
    many = sample.model.record.task == "multiclass"
    values, bases, outputs = [], [], []
    for place in places:
        row = {name: sample.frame[name].to_numpy()[[place]] for name in sample.columns}
        called = int(sample.scores[place].argmax()) if many else 0

        def score(columns: Any, called: int = called) -> np.ndarray:
            scores = sample.answers(_framed(columns, sample))
            return scores[:, called] if many else scores

        explained = explain(score, row, background, seed=seed)
        values.append([explained.contributions[name] for name in sample.columns])
        bases.append(explained.base)
        outputs.append(explained.score)
    regression = sample.model.record.task == "regression"
    unit = f"units of {sample.model.record.target}" if regression else "probability"
    if many:
        unit += " of the class that the row is called"
    elif not regression:
        unit += f" of {sample.model.record.positive}"
    return Attributions(
        places=places,
        values=np.array(values),
        base=np.array(bases),
        output=np.array(outputs),
        unit=unit,
        method="Shapley values over the columns from drawn orders, against "
        f"{len(backdrop)} of the rows",
        exact=False,
    )


def _framed(columns: Any, sample: Sample) -> Any:
    import pandas as pd

    kinds = sample.frame.dtypes
    return pd.DataFrame(
        {name: pd.Series(columns[name], dtype=kinds[name]) for name in sample.columns}
    )
