"""How well one column alone predicts the target."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from penstock.metrics.single_column import strength


def test_an_identifier_predicts_nothing_alone() -> None:
    draw = np.random.default_rng(1)
    truth = (draw.random(2000) < 0.05).astype(int)
    names = np.array([f"customer {i}" for i in range(2000)], dtype=object)
    assert strength(names, truth, task="binary", seed=1) < 0.55
    assert strength(names, draw.normal(size=2000), task="regression", seed=1) < 0.05
    many = draw.integers(0, 3, 2000)
    assert strength(names, many, task="multiclass", seed=1) < 0.55


def test_one_long_text_takes_no_room_in_the_other_rows() -> None:
    texts = np.array([f"{i % 7}" for i in range(2000)], dtype=object)
    texts[0], texts[1] = "x" * 36_000, None
    truth = np.arange(2000) % 7 == 0
    tracemalloc.start()
    found = strength(texts, truth.astype(int), task="binary", seed=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found > 0.99
    assert peak < 5e6


def test_a_regression_and_many_classes_are_predicted_by_a_column() -> None:
    draw = np.random.default_rng(1)
    target = draw.normal(size=900)
    assert strength(np.exp(-target), target, task="regression", seed=1) == pytest.approx(1)
    assert strength(draw.normal(size=900), target, task="regression", seed=1) < 0.05
    level = np.array([f"{x > 0}" for x in target], dtype=object)
    assert 0.5 < strength(level, target, task="regression", seed=1) < 0.9
    codes = draw.integers(0, 4, 900)
    shuffled = np.array([2.0, 0.0, 3.0, 1.0])[codes]
    assert strength(shuffled, codes, task="multiclass", seed=1) == pytest.approx(1)
