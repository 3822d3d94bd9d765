"""Calibration maps as nodes of the graph. Imported only inside functions that convert."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from penstock.export import _links
from penstock.export._graph import Graph
from penstock.model.calibrated import CLIP, slopes

Map = dict[str, np.ndarray]


def calibrate(graph: Graph, maps: Sequence[Map], value: str) -> str:
    """Add the maps of `penstock.model.calibrated.calibrated`.

    Args:
        graph: The graph.
        maps: One, or one for each class.
        value: The probabilities, shape (n, maps).
    """
    if len(maps) == 1:
        return _mapped(graph, maps[0], value)
    columns = [_mapped(graph, one, graph.columns(value, [at])) for at, one in enumerate(maps)]
    return _links.shares(graph, graph.beside(columns), classes=len(maps))


def _mapped(graph: Graph, one: Map, p: str) -> str:
    return _line(graph, one, p) if "x" in one else _sigmoid(graph, one, p)


def _sigmoid(graph: Graph, one: Map, p: str) -> str:
    score = p
    if one["log_odds"][0]:
        ends = [graph.constant(np.float64(end)) for end in (CLIP, 1.0 - CLIP)]
        clipped = graph.node("Clip", p, *ends)
        rest = graph.node("Sub", graph.constant(np.float64(1)), clipped)
        score = _links.log(graph, graph.node("Div", clipped, rest))
    scaled = graph.node("Mul", score, graph.constant(one["slope"][None]))
    margins = graph.node("Add", scaled, graph.constant(one["offset"][None]))
    return _links.logistic(graph, margins)


def _line(graph: Graph, one: Map, p: str) -> str:
    x, y = one["x"], one["y"]
    p = graph.node("Clip", p, graph.constant(x[0]), graph.constant(x[-1]))
    at = _links.place(graph, p, x[1:])

    def of(values: np.ndarray) -> str:
        return _links.chosen(graph, values, at)

    beyond = graph.node("Sub", p, of(x))
    return graph.node("Add", of(y), graph.node("Mul", beyond, of(slopes(one))))
