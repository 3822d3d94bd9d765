"""Imputing, scaling and linear models. Imported only inside functions that convert."""

from __future__ import annotations

from typing import Any

import numpy as np

from penstock.export._graph import Graph
from penstock.export.errors import NotConvertibleError


def impute(graph: Graph, fitted: Any, value: str) -> str:
    """Add a fitted `SimpleImputer`, with its columns that say where a value was missing."""
    filling = np.asarray(fitted.statistics_, dtype=np.float64)
    if not np.isnan(fitted.missing_values) or np.isnan(filling).any():
        raise NotConvertibleError(
            "a SimpleImputer that leaves out columns, or fills others than NaN, has no ONNX form "
            "here"
        )
    missing = graph.node("IsNaN", value)
    filled = graph.node("Where", missing, graph.constant(filling[None]), value)
    if not fitted.add_indicator or not len(fitted.indicator_.features_):
        return filled
    flags = graph.columns(missing, fitted.indicator_.features_)
    return graph.beside([filled, graph.double(flags)])


def scale(graph: Graph, fitted: Any, value: str) -> str:
    """Add a fitted `StandardScaler`."""
    if fitted.with_mean:
        value = graph.node("Sub", value, graph.constant(np.asarray(fitted.mean_)[None]))
    if fitted.with_std:
        value = graph.node("Div", value, graph.constant(np.asarray(fitted.scale_)[None]))
    return value


def decision(graph: Graph, fitted: Any, value: str) -> str:
    """Add the linear function of a fitted linear model; its output has the shape (n, k)."""
    weights = np.atleast_2d(np.asarray(fitted.coef_, dtype=np.float64)).T
    product = graph.node("MatMul", value, graph.constant(np.ascontiguousarray(weights)))
    offset = np.atleast_1d(np.asarray(fitted.intercept_, dtype=np.float64))
    return graph.node("Add", product, graph.constant(offset[None]))
