"""SHAP values of a fitted model, by raw column. Imported only while explaining.

Trees: TreeSHAP (Lundberg et al., 2020, "From local explanations to global understanding with
explainable AI for trees"), exact for the estimator over its features; a missing feature is
averaged by the shares of training rows in the tree's branches. Linear models: coefficient times
distance from the mean, exact where features are set to the background's. What comes from one
column is summed. Anything else: Shapley values over raw columns from drawn orders.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from penstock.errors import InputError
from penstock.explanation._columns import origins, summed
from penstock.explanation._sample import Sample

BUDGET = 2e10
"""Leaves times squared depth times rows that TreeSHAP may take: some ten seconds."""

LEAST_ROWS = 50
"""Fewer rows than this say too little of a distribution: a faster method is taken instead."""

DRAWN_ROWS = 40
"""Rows that are explained where orders have to be drawn."""

BACKGROUND_ROWS = 50

TOLERANCE = 1e-6
"""Gap, as a share of the outputs' size, up to which contributions count as adding up."""


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
    """

    places: np.ndarray
    values: np.ndarray
    base: np.ndarray
    output: np.ndarray
    unit: str
    method: str
    exact: bool

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
    return found.gap <= TOLERANCE * max(1.0, float(np.abs(found.output).max()))


def _by_structure(sample: Sample, *, keep: np.ndarray, seed: int) -> Attributions | None:
    features, estimator = (step for _, step in sample.model.typed.steps)
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
    if _leaves(estimator) is not None:
        return _trees(sample, estimator, x, of, keep=keep, seed=seed)
    return None


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
    import shap

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        everything = shap.maskers.Independent(z, max_samples=len(z))
        explainer = shap.LinearExplainer(last, everything)
        values = np.asarray(explainer.shap_values(z))
    output = last.predict(z) if sample.model.record.task == "regression" else _margin(last, z)
    return _oriented(
        sample,
        places=np.arange(len(z)),
        values=summed(values, of, columns=len(sample.columns)),
        base=np.asarray(explainer.expected_value),
        output=np.asarray(output),
        probability=False,
        method="SHAP of a linear model: coefficient times distance from the mean of the explained "
        "rows, summed by column",
        exact=True,
    )


def _margin(estimator: Any, x: np.ndarray) -> np.ndarray:
    return np.asarray(estimator.decision_function(x))


def _leaves(estimator: Any) -> tuple[float, float] | None:
    """Return the leaves of all trees, and those times their tree's squared depth."""
    from sklearn.ensemble import (
        ExtraTreesClassifier,
        ExtraTreesRegressor,
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
        RandomForestClassifier,
        RandomForestRegressor,
    )

    if isinstance(estimator, HistGradientBoostingClassifier | HistGradientBoostingRegressor):
        trees = [tree for stage in estimator._predictors for tree in stage]
        sizes = [(tree.get_n_leaf_nodes(), tree.get_max_depth()) for tree in trees]
    elif isinstance(
        estimator,
        ExtraTreesClassifier | ExtraTreesRegressor | RandomForestClassifier | RandomForestRegressor,
    ):
        sizes = [(tree.get_n_leaves(), tree.get_depth()) for tree in estimator.estimators_]
    else:
        return None
    return float(sum(n for n, _ in sizes)), float(sum(n * (d + 1) ** 2 for n, d in sizes))


def _trees(
    sample: Sample,
    estimator: Any,
    x: np.ndarray,
    of: np.ndarray,
    *,
    keep: np.ndarray,
    seed: int,
) -> Attributions:
    import shap

    sizes = _leaves(estimator)
    assert sizes is not None
    affordable = int(BUDGET / max(sizes[1], 1.0))
    exact = affordable >= min(LEAST_ROWS, len(x))
    places = _some(len(x), rows=affordable if exact else len(x), keep=keep, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        explainer = shap.TreeExplainer(estimator, feature_perturbation="tree_path_dependent")
        values = explainer.shap_values(x[places], check_additivity=False, approximate=not exact)
    regression = sample.model.record.task == "regression"
    boosted = hasattr(estimator, "decision_function")
    output = (
        estimator.predict(x[places])
        if regression
        else _margin(estimator, x[places])
        if boosted
        else estimator.predict_proba(x[places])
    )
    return _oriented(
        sample,
        places=places,
        values=summed(np.asarray(values), of, columns=len(sample.columns)),
        base=np.asarray(explainer.expected_value),
        output=np.asarray(output),
        probability=not boosted and not regression,
        method=(
            "TreeSHAP over the estimator's features, against the training rows in the trees' "
            "branches, summed by column"
            if exact
            else "Saabas' path attributions over the estimator's features, summed by column: the "
            "trees are too large for TreeSHAP"
        ),
        exact=exact,
    )


def _oriented(
    sample: Sample,
    *,
    places: np.ndarray,
    values: np.ndarray,
    base: np.ndarray,
    output: np.ndarray,
    probability: bool,
    method: str,
    exact: bool,
) -> Attributions:
    """Return attributions of the one output that is meant: the positive class, or the class said.

    Args:
        sample: The rows.
        places: Which of them.
        values: Shape (m, columns) or (m, columns, outputs).
        base: Scalar, shape (1,) or (outputs,).
        output: Shape (m,) or (m, outputs).
        probability: Whether an output is a probability; else log-odds, or the target's unit.
        method: See `Attributions`.
        exact: See `Attributions`.
    """
    from penstock.model import positive_index

    record = sample.model.record
    rows = np.arange(len(places))
    if record.task == "multiclass":
        said = sample.scores[places].argmax(axis=1)
        values, base, output = values[rows, :, said], base[said], output[rows, said]
        unit = "probability" if probability else "score before softmax"
        unit += " of the class that the row is called"
    elif record.task == "binary":
        place = positive_index(record)
        if values.ndim == 3:
            values, base, output = values[:, :, place], base[place], output[:, place]
        elif place == 0:
            values, base, output = -values, -base, -output
        unit = f"{'probability' if probability else 'log-odds'} of {record.positive}"
    else:
        unit = f"units of {record.target}"
    return Attributions(
        places=places,
        values=values,
        base=np.broadcast_to(np.asarray(base).reshape(-1), (len(places),)),
        output=output,
        unit=unit,
        method=method,
        exact=exact,
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
        said = int(sample.scores[place].argmax()) if many else 0

        def score(columns: Any, said: int = said) -> np.ndarray:
            scores = sample.answers(_framed(columns, sample))
            return scores[:, said] if many else scores

        told = explain(score, row, background, seed=seed)
        values.append([told.contributions[name] for name in sample.columns])
        bases.append(told.base)
        outputs.append(told.score)
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
