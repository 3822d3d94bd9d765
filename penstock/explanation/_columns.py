"""Which raw column each input of an estimator comes from. Imported only while explaining."""

from __future__ import annotations

from typing import Any

import numpy as np

from penstock.features.own_transformer import GROUP


def origins(transformer: Any) -> np.ndarray | None:
    """Return, for each output of a fitted `ColumnTransformer`, the position of its raw column.

    Shape (outputs,). None if a part of it is of a kind that is not known here.
    """
    places = {name: i for i, name in enumerate(transformer.feature_names_in_)}
    found: list[int] = []
    for group, fitted, names in transformer.transformers_:
        if group == "remainder":
            continue
        if group == GROUP:
            return None
        widths = _widths(fitted, len(names))
        if widths is None:
            return None
        for name, width in zip(names, widths, strict=True):
            found += [places[name]] * width
    return np.array(found)


def _widths(fitted: Any, columns: int) -> list[int] | None:
    """Return how many outputs each of the columns of one group has."""
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

    from penstock.features.transformers import DatetimeParts, HashedWords

    last = fitted[-1] if isinstance(fitted, Pipeline) else fitted
    if isinstance(last, OneHotEncoder):
        rare = getattr(last, "infrequent_categories_", [None] * columns)
        pairs = zip(last.categories_, rare, strict=True)
        return [len(all_) - (0 if few is None else len(few) - 1) for all_, few in pairs]
    if isinstance(last, DatetimeParts):
        return [len(parts) for parts in last.parts]
    if isinstance(last, HashedWords):
        return [last.buckets] * columns
    if last == "passthrough" or isinstance(last, FunctionTransformer):
        return [1] * columns
    if isinstance(last, SimpleImputer) and not last.add_indicator:
        return None if np.isnan(np.asarray(last.statistics_, float)).any() else [1] * columns
    return None


def summed(values: np.ndarray, of: np.ndarray, *, columns: int) -> np.ndarray:
    """Return contributions of features as those of the columns they come from.

    Args:
        values: Shape (rows, features) or (rows, features, outputs).
        of: Position of each feature's column, shape (features,).
        columns: How many columns there are.

    Returns:
        Shape (rows, columns) or (rows, columns, outputs).
    """
    total = np.zeros((values.shape[0], columns, *values.shape[2:]))
    np.add.at(total.swapaxes(0, 1), of, values.swapaxes(0, 1))
    return total
