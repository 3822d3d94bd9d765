"""The functions of `penstock.model.links` as nodes, operation by operation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from penstock.export._graph import Graph
from penstock.model.links import (
    BOUNDS,
    CENTRES,
    COEFFICIENTS,
    HIGH,
    LEAST,
    LOG_COEFFICIENTS,
    LOGS,
    LOGS_OF_BOUNDS,
    LOW,
    PER_UNIT,
    POWERS,
    STEPS,
)


def logistic(graph: Graph, margins: str) -> str:
    """Add `penstock.model.links.logistic`."""
    one = graph.constant(1.0)
    small = _exp(graph, graph.node("Neg", graph.node("Abs", margins)))
    negative = graph.node("Less", margins, graph.constant(0.0))
    return graph.node(
        "Div", graph.node("Where", negative, small, one), graph.node("Add", small, one)
    )


def softmax(graph: Graph, margins: str, *, classes: int) -> str:
    """Add `penstock.model.links.softmax`."""
    most = graph.node("ReduceMax", margins, graph.constant(np.array([1])), keepdims=1)
    return shares(graph, _exp(graph, graph.node("Sub", margins, most)), classes=classes)


def shares(graph: Graph, parts: str, *, classes: int) -> str:
    """Add `penstock.model.links.shares`."""
    sums = graph.node("CumSum", parts, graph.constant(np.int64(1)))
    return graph.node("Div", parts, graph.columns(sums, [classes - 1]))


def log(graph: Graph, values: str) -> str:
    """Add `penstock.model.links.log`, of one column."""
    one = graph.constant(1.0)
    power = place(graph, values, BOUNDS[1:])
    one_to_two = graph.node("Mul", values, chosen(graph, 1.0 / BOUNDS, power))
    steps = graph.node("Mul", graph.node("Sub", one_to_two, one), graph.constant(float(STEPS)))
    part = _places(graph, graph.node("Floor", steps), least=0)
    centre = chosen(graph, CENTRES, part)
    s = graph.node(
        "Div", graph.node("Sub", one_to_two, centre), graph.node("Add", one_to_two, centre)
    )
    found = _polynomial(graph, LOG_COEFFICIENTS, graph.node("Mul", s, s))
    found = graph.node("Add", graph.node("Mul", found, s), chosen(graph, LOGS, part))
    return graph.node("Add", found, chosen(graph, LOGS_OF_BOUNDS, power))


def place(graph: Graph, values: str, bounds: np.ndarray) -> str:
    """Add how many rising bounds each value of one column has reached, shape (n, 1)."""
    behind = graph.node("GreaterOrEqual", values, graph.constant(bounds[None]))
    count = graph.node("Cast", behind, to=TensorProto.INT64)
    return graph.node("ReduceSum", count, graph.constant(np.array([1])), keepdims=1)


def chosen(graph: Graph, values: np.ndarray, places: str) -> str:
    """Add the values of a table at places."""
    return graph.node("Gather", graph.constant(values), places, axis=0)


def _polynomial(graph: Graph, coefficients: Sequence[float], values: str) -> str:
    """Add a polynomial by Horner's rule, the coefficient of the largest power first."""
    found = graph.constant(coefficients[0])
    for coefficient in coefficients[1:]:
        found = graph.node("Mul", found, values)
        found = graph.node("Add", found, graph.constant(coefficient))
    return found


def _exp(graph: Graph, values: str) -> str:
    values = graph.node("Max", values, graph.constant(LEAST))
    steps = graph.node("Mul", values, graph.constant(PER_UNIT))
    steps = graph.node("Floor", graph.node("Add", steps, graph.constant(0.5)))
    rest = values
    for part in (HIGH, LOW):
        rest = graph.node("Sub", rest, graph.node("Mul", steps, graph.constant(part)))
    found = _polynomial(graph, COEFFICIENTS, rest)
    places = _places(graph, steps, least=1 - len(POWERS))
    return graph.node("Mul", found, chosen(graph, POWERS, places))


def _places(graph: Graph, numbers: str, *, least: int) -> str:
    """Add `penstock.model.links.places`."""
    bound = graph.constant(float(least))
    there = graph.node("Where", graph.node("GreaterOrEqual", numbers, bound), numbers, bound)
    return graph.node("Cast", there, to=TensorProto.INT64)
