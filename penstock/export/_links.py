"""The functions of `penstock.model.links` as nodes, operation by operation."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from penstock.export._graph import Graph
from penstock.model.links import COEFFICIENTS, HIGH, LEAST, LOW, PER_UNIT, POWERS


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
    parts = _exp(graph, graph.node("Sub", margins, most))
    sums = graph.node("CumSum", parts, graph.constant(np.int64(1)))
    return graph.node("Div", parts, graph.columns(sums, [classes - 1]))


def _exp(graph: Graph, values: str) -> str:
    values = graph.node("Max", values, graph.constant(LEAST))
    steps = graph.node("Mul", values, graph.constant(PER_UNIT))
    steps = graph.node("Floor", graph.node("Add", steps, graph.constant(0.5)))
    rest = values
    for part in (HIGH, LOW):
        rest = graph.node("Sub", rest, graph.node("Mul", steps, graph.constant(part)))
    found = graph.constant(COEFFICIENTS[0])
    for coefficient in COEFFICIENTS[1:]:
        found = graph.node("Mul", found, rest)
        found = graph.node("Add", found, graph.constant(coefficient))
    places = graph.node("Cast", steps, to=TensorProto.INT64)
    return graph.node("Mul", found, graph.node("Gather", graph.constant(POWERS), places))
