"""Margins become probabilities with the same bits in numpy and ONNX, alone or among others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import special

from penstock.export import _links
from penstock.export._graph import Graph
from penstock.model import links
from penstock.model.onnx import OUTPUT, _session
from penstock.records.dataset import Column

MOST = np.finfo(float).max
HOSTILE = [
    0.0,
    -0.0,
    5e-324,
    -5e-324,
    1e-17,
    708.0,
    -708.0,
    709.9,
    -745.2,
    MOST,
    -MOST,
    np.inf,
    -np.inf,
]


def margins() -> np.ndarray:
    chance = np.random.default_rng(0)
    near = np.arange(-400, 400) * (np.log(2) / links.STEPS / 2)
    edges = [near, np.nextafter(near, np.inf), np.nextafter(near, -np.inf)]
    return np.concatenate([*edges, chance.normal(size=3000) * 4, chance.uniform(-750, 750, 3000)])


def by_graph(kind: str, width: int) -> Any:
    graph = Graph([Column(name=f"c{at}", type="number") for at in range(width)])
    found = (
        getattr(_links, kind)(graph, "numbers")
        if width == 1
        else getattr(_links, kind)(graph, "numbers", classes=width)
    )
    session = _session(graph.finish(found, shape=[None, width]), where="")
    return lambda values: session.run([OUTPUT], {"numbers": values})[0]


@pytest.mark.parametrize(("kind", "width"), [("logistic", 1), ("softmax", 3), ("softmax", 40)])
def test_numpy_and_a_graph_give_the_same_bits(kind: str, width: int) -> None:
    values = margins()
    if kind == "logistic":
        values = np.append(values, HOSTILE)
    values = values[: len(values) // width * width].reshape(-1, width)
    ours, graph = getattr(links, kind), by_graph(kind, width)
    theirs = special.expit if kind == "logistic" else lambda rows: special.softmax(rows, axis=1)
    whole = ours(values)
    assert np.abs(whole - theirs(values)).max() < 1e-15
    assert np.array_equal(graph(values), whole)
    for at in range(0, len(values), 7):
        assert np.array_equal(graph(values[at : at + 1]), whole[at : at + 1])


@pytest.mark.parametrize(("kind", "width"), [("logistic", 1), ("softmax", 3), ("log", 1)])
def test_what_is_no_number_stays_none_beside_others(kind: str, width: int) -> None:
    values = np.array([[np.nan] * width, [0.5] * width])
    found, graph = getattr(links, kind)(values), by_graph(kind, width)(values)
    assert np.isnan(found[0]).all()
    assert np.array_equal(found[1:], getattr(links, kind)(values[1:]))
    assert np.array_equal(graph, found, equal_nan=True)


def test_the_logarithm_has_the_same_bits_and_is_near_itself() -> None:
    chance, powers = np.random.default_rng(0), np.ldexp(1.0, np.arange(-49, 50))
    parts = 1 + np.arange(1, 3000) / 2048
    steps = [np.nextafter(values, [[0.0], [9e99]]).ravel() for values in (powers, parts)]
    odds = np.exp(chance.uniform(np.log(1e-15), np.log(9e14), 3000))
    values = np.concatenate([powers, parts, *steps, odds, chance.uniform(0.9, 1.1, 500)])
    values = values[:, None]
    found, true, graph = links.log(values), np.log(values), by_graph("log", 1)
    assert (np.abs(found - true) / np.maximum(1, np.abs(true))).max() < 4e-16
    assert np.array_equal(graph(values), found)
    for at in range(0, len(values), 7):
        assert np.array_equal(graph(values[at : at + 1]), found[at : at + 1])


def test_the_exponential_is_near_itself_and_ends_at_its_table() -> None:
    values = -np.abs(np.append(margins(), HOSTILE))
    found, true = links.exp(values), np.exp(np.maximum(values, links.LEAST))
    assert (np.abs(found - true) / true).max() < 1e-15
    assert links.exp(np.array([-0.0, -np.inf])).tolist() == [1.0, found.min()]
    assert 0 < found.min() < 1e-307
