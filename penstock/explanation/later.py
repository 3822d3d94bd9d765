"""SHAP values of later rows, computed as those of the holdout were, where that is cheap.

Trees: TreeSHAP, or Saabas' paths where the holdout's were. Linear models: coefficient times
distance from the mean of the rows that were explained, which is found from a row that is kept with
the explanation. What had to be drawn is not computed again. Imported only while explaining.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.explanation._attribution import TOLERANCE, _inner, _linear_parts, _side, sign_of
from penstock.explanation._columns import origins, summed
from penstock.explanation._sample import Sample
from penstock.explanation._tree_shap import cost, saabas, tree_shap
from penstock.model import LoadedModel
from penstock.model.calibrated import uncalibrated
from penstock.model.trees import trees_of
from penstock.records.explanation import ExplainedRow, Explanation

if TYPE_CHECKING:
    import pandas as pd

BUDGET = 2e7
"""Cells, as `cost` counts them, times rows that are taken at once: a tenth of a second or two."""


def later_attributions(
    model: LoadedModel, frame: pd.DataFrame, explanation: Explanation
) -> np.ndarray | str:
    """Return what each column adds to the output of each row, shape (n, columns), or why not.

    Args:
        model: The model that was explained.
        frame: The rows, as `model.frame` makes them. Of an expensive model the first ones alone are
            explained, at least 40.
        explanation: Of the model on its holdout.
    """
    features, estimator = (step for _, step in model.typed.steps)
    code = model.record.code
    if code is not None and (code.estimator or code.transformer):
        return "it has code of its project, which decides what its features and outputs are"
    estimator = uncalibrated(estimator)
    of = origins(features)
    x = np.asarray(features.transform(frame), dtype=np.float64)
    if of is None or x.shape[1] != len(of):
        return "which column each feature comes from is not known"
    ensemble = trees_of(estimator)
    if ensemble is None:
        return _linear(model, x, of, explanation)
    rows = len(x) if not explanation.exact else int(BUDGET / cost(ensemble))
    if rows < min(40, len(x)):
        return "its trees are too large to be explained at each look"
    sample = _sample(model, frame.iloc[:rows])
    side = _side(sample, np.arange(len(sample.frame)), outputs=len(ensemble.offset))
    method = tree_shap if explanation.exact else saabas
    values, _ = method(ensemble, x[:rows], side.output)
    return np.asarray(side.sign * summed(values, of, columns=len(sample.columns)))


def _linear(
    model: LoadedModel, x: np.ndarray, of: np.ndarray, explained: Explanation
) -> np.ndarray | str:
    found = _linear_parts(uncalibrated(model.typed.steps[-1][1]))
    if found is None:
        return "it is neither linear nor of trees"
    if model.record.task == "multiclass":
        return "of a linear model of many classes the mean of the explained rows is not kept"
    if not explained.examples:
        return "the mean of the explained rows is not kept: training.carry_rows is off"
    terms = _terms(model, x, of, found)
    kept = _kept(model, explained.examples)
    if terms is None or kept is None:
        return "which column each feature comes from is not known"
    columns = [column.name for column in model.record.columns]
    said = np.array([[one.contributions[name] for name in columns] for one in explained.examples])
    x = np.asarray(model.typed.steps[0][1].transform(kept), dtype=np.float64)
    shifts = _terms(model, x, of, found)
    assert shifts is not None
    shifts = shifts - said
    if np.abs(shifts - shifts[0]).max() > TOLERANCE * max(1.0, float(np.abs(said).max())):
        return "the rows that were explained cannot be made again"
    return np.asarray(terms - shifts[0])


def _terms(
    model: LoadedModel, x: np.ndarray, of: np.ndarray, parts: tuple[Any, Any]
) -> np.ndarray | None:
    """Return coefficient times value, summed by column, shape (n, columns)."""
    prepare, last = parts
    z = x if prepare is None else prepare.transform(x)
    inner = _inner(prepare, width=x.shape[1])
    if inner is None or z.shape[1] != len(inner):
        return None
    coefficients = np.atleast_2d(last.coef_)[0]
    columns = len(model.record.columns)
    return np.asarray(sign_of(model.record) * summed(coefficients * z, of[inner], columns=columns))


def _kept(model: LoadedModel, examples: Sequence[ExplainedRow]) -> pd.DataFrame | None:
    columns = [column.name for column in model.record.columns]
    return model.frame({name: [one.values[name] for one in examples] for name in columns})


def _sample(model: LoadedModel, frame: pd.DataFrame) -> Sample:
    # Which class a row is called matters with many classes alone.
    many = model.record.task == "multiclass"
    scores = model.scores(frame) if many else np.zeros(len(frame))
    return Sample(model, "", None, frame, scores, np.zeros(len(frame)))
