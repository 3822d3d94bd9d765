"""Contributions against the definition, on functions whose Shapley values are known."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from serving_process import ROW, Start

from penstock.model import BACKGROUND_NAME, load
from penstock.serving.shapley import explain


def _table(width: int, rows: int, *, seed: int) -> dict[str, Any]:
    chance = np.random.default_rng(seed)
    table: dict[str, Any] = {f"n{i}": chance.normal(size=rows) for i in range(width - 1)}
    table["text"] = chance.choice(np.array(["a", "b", None], dtype=object), rows).tolist()
    return table


def _score(columns: Mapping[str, Any]) -> np.ndarray:
    """Interactions of pairs, a step, and a text."""
    numbers = [columns[name] for name in columns if name != "text"]
    total = numbers[0] * numbers[1] + np.where(numbers[-1] > 0, 2.0, -1.0) * numbers[2]
    texts = np.array([{"a": 1.0, "b": -2.0}.get(text, 0.25) for text in columns["text"]])
    return total + texts * (1 + numbers[0])


def _brute(row: Mapping[str, Any], background: Mapping[str, Any]) -> dict[str, float]:
    """Shapley values by their first definition: the mean over all orders."""
    names, rows = list(row), len(background["text"])

    def value(taken: frozenset[str]) -> float:
        mixed = {n: list(row[n]) * rows if n in taken else list(background[n]) for n in names}
        arrays = {n: v if n == "text" else np.array(v) for n, v in mixed.items()}
        return float(_score(arrays).mean())

    sums = dict.fromkeys(names, 0.0)
    for order in itertools.permutations(names):
        taken: frozenset[str] = frozenset()
        for name in order:
            sums[name] += value(taken | {name}) - value(taken)
            taken |= {name}
    return {name: total / math.factorial(len(names)) for name, total in sums.items()}


def test_few_columns_give_the_exact_values() -> None:
    background, row = _table(5, 7, seed=1), _table(5, 1, seed=2)
    found = explain(_score, row, background)
    expected = _brute(row, background)
    assert (found.method, found.sets, found.background) == ("exact", 32, 7)
    assert found.contributions == pytest.approx(expected, abs=1e-12)
    assert found.score == float(_score(row)[0])
    assert found.base == pytest.approx(float(_score(background).mean()))


def test_many_columns_are_sampled_close_to_the_exact_values() -> None:
    background, row = _table(14, 20, seed=1), _table(14, 1, seed=2)
    found = explain(_score, row, background)
    assert found.method == "sampled"
    assert sum(found.contributions.values()) == pytest.approx(found.score - found.base, abs=1e-9)
    assert found == explain(_score, row, background), "the same row, the same explanation"
    assert found != explain(_score, row, background, seed=1)
    used = ["n0", "n1", "n2", "n12", "text"]
    # The other columns are not read, so the values are those of the game of these five alone.
    exact = _brute({n: row[n] for n in used}, {n: background[n] for n in used})
    assert {n for n, value in found.contributions.items() if value} == set(used)
    for name in used:
        assert found.contributions[name] == pytest.approx(exact[name], abs=0.25)


def test_reversed_orders_are_exact_where_columns_interact_in_pairs() -> None:
    """A pair's product is split evenly by an order and its reverse, whatever the order."""

    def pairs(columns: Mapping[str, Any]) -> np.ndarray:
        values = list(columns.values())
        total: np.ndarray = sum((a * b for a, b in itertools.pairwise(values)), np.zeros(1))
        return total

    chance = np.random.default_rng(0)
    row = {f"n{i}": chance.normal(size=1) for i in range(12)}
    background = {name: np.zeros(1) for name in row}
    found = explain(pairs, row, background, pairs=1)
    values = [float(column[0]) for column in row.values()]
    products = [0.0, *(a * b for a, b in itertools.pairwise(values)), 0.0]
    expected = [(left + right) / 2 for left, right in itertools.pairwise(products)]
    assert list(found.contributions.values()) == pytest.approx(expected)


def test_a_scorer_that_is_not_the_same_twice_is_noticed() -> None:
    chance = np.random.default_rng(0)

    def unsteady(columns: Mapping[str, Any]) -> np.ndarray:
        return np.full(len(columns["text"]), np.nan)

    row = {"text": ["a"], "n": chance.normal(size=1)}
    with pytest.raises(ValueError, match="contributions sum to"):
        explain(unsteady, row, {"text": ["b"], "n": np.zeros(1)})


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_server_explains_a_row(
    task: str,
    exported: Callable[..., Any],
    start: Start,
) -> None:
    made = exported(task, background=True)
    folder, background = made.folder, json.loads((made.folder / BACKGROUND_NAME).read_text())
    # One by scikit-learn; by ONNX Runtime a server starts sooner.
    server = start(folder, *(made.options if task != "binary" else ()))
    url = "/v1/models/adult:explain"
    answer = server.client.post(url, json={"instances": [ROW]})
    assert answer.status_code == 200
    told = answer.json()
    predicted = server.predict(ROW).json()
    loaded = load(folder)
    scores = loaded.scores(loaded.frame(background))
    own = loaded.scores(loaded.frame({name: [value] for name, value in ROW.items()}))
    if task == "multiclass":
        index = predicted["classes"].index(predicted["predictions"][0])
        scores, own = scores[:, index], own[:, index]
    assert told["prediction"] == predicted["predictions"][0]
    assert told["score"] == pytest.approx(own[0])
    assert told["base"] == pytest.approx(scores.mean())
    parts = [entry["contribution"] for entry in told["explanations"]]
    assert sum(parts) == pytest.approx(told["score"] - told["base"])
    assert [abs(part) for part in parts] == sorted((abs(part) for part in parts), reverse=True)
    assert {entry["column"]: entry["value"] for entry in told["explanations"]} == ROW
    assert (told["method"], told["background_rows"]) == ("exact", 20)
    unread = [e["contribution"] for e in told["explanations"] if e["column"] == "since"]
    assert unread == [0], "the model does not use it"
    assert (
        told["unit"]
        == {
            "binary": "probability that target is yes",
            "multiclass": f"probability that target is {told['prediction']}",
            "regression": "target",
        }[task]
    )
    two = server.client.post(url, json={"instances": [ROW, ROW]})
    assert (two.status_code, two.json()["error"][:36]) == (
        400,
        "one row is explained at a time; the ",
    )
    wrong = server.client.post(url, json={"instances": [ROW | {"age": "x"}]})
    assert (wrong.status_code, 'column "age"' in wrong.json()["error"]) == (400, True)


def test_a_model_without_background_says_so(start_onnx: Start) -> None:
    answer = start_onnx().client.post("/v1/models/adult:explain", json={"instances": [ROW]})
    assert answer.status_code == 404
    assert "no background rows" in answer.json()["error"]
