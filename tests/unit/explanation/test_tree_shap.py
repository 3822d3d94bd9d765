"""SHAP values of trees against the library shap, and against their definition."""

from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.explanation._tree_shap import saabas, tree_shap
from penstock.model.ensemble import Ensemble, Tree
from penstock.model.trees import trees_of

pytestmark = pytest.mark.xdist_group("shap")


def table(rows: int, columns: int, *, missing: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers, few and many different ones, and what they tell together."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, columns))
    x[:, ::2] = x[:, ::2].round()
    y = x[:, 0] * x[:, -1] + x.sum(axis=1) + 0.3 * random.normal(size=rows)
    x[random.random(x.shape) < missing] = np.nan
    return x, y


@st.composite
def fitted(draw: st.DrawFn) -> tuple[Any, np.ndarray]:
    """An estimator of a family that we train, and rows for it, as many of them unseen."""
    from sklearn import ensemble

    x, y = table(
        draw(st.integers(30, 300)),
        draw(st.integers(1, 12)),
        missing=draw(st.sampled_from([0.0, 0.2])),
        seed=draw(st.integers(0, 2**20)),
    )
    half = len(x) // 2
    kind = draw(st.sampled_from(["HistGradientBoosting", "RandomForest", "ExtraTrees"]))
    classes = draw(st.sampled_from([0, 2, 4]))
    options: dict[str, Any] = {
        "random_state": 1,
        "min_samples_leaf": draw(st.integers(1, 20)),
        "max_leaf_nodes": draw(st.sampled_from([None, 2, 9])),
    }
    rounds = "max_iter" if kind == "HistGradientBoosting" else "n_estimators"
    options[rounds] = draw(st.integers(1, 8))
    if classes:
        # Every class is in both halves, and the rare ones weigh more.
        y = np.arange(len(y)) % classes + (y > 0) * (classes - 1)
        y = np.minimum(y, classes - 1)
        y[:classes] = np.arange(classes)
        options["class_weight"] = draw(st.sampled_from([None, "balanced"]))
    name = f"{kind}{'Classifier' if classes else 'Regressor'}"
    return getattr(ensemble, name)(**options).fit(x[:half], y[:half]), x


def by_shap(
    estimator: Any, x: np.ndarray, outputs: np.ndarray, *, approximate: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shap

        explainer = shap.TreeExplainer(estimator, feature_perturbation="tree_path_dependent")
        values = explainer.shap_values(x, check_additivity=False, approximate=approximate)
    rows = np.arange(len(x))
    base = np.atleast_1d(explainer.expected_value)[outputs]
    return (values[rows, :, outputs] if values.ndim == 3 else values), base


@given(model=fitted(), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_values_are_those_of_shap_whatever_the_trees(
    model: tuple[Any, np.ndarray], seed: int
) -> None:
    estimator, x = model
    ensemble = trees_of(estimator)
    assert ensemble is not None
    outputs = np.random.default_rng(seed).integers(0, len(ensemble.offset), len(x))
    for own, approximate in ((tree_shap, False), (saabas, True)):
        values, base = own(ensemble, x, outputs)
        expected, expected_base = by_shap(estimator, x, outputs, approximate=approximate)
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-10)
        np.testing.assert_allclose(base, expected_base, rtol=0, atol=1e-10)


@pytest.mark.parametrize("columns", [2, 24])
def test_deep_trees_lose_no_digits(columns: int) -> None:
    from sklearn.ensemble import ExtraTreesRegressor

    x, y = table(6000, columns, missing=0.0, seed=3)
    estimator = ExtraTreesRegressor(2, max_features=1, random_state=0).fit(x, y)
    assert estimator.estimators_[0].get_depth() > 25
    ensemble = trees_of(estimator)
    assert ensemble is not None
    outputs = np.zeros(40, dtype=int)
    values, base = tree_shap(ensemble, x[:40], outputs)
    given_ = estimator.predict(x[:40])
    np.testing.assert_allclose(base + values.sum(axis=1), given_, rtol=0, atol=1e-11)
    expected, _ = by_shap(estimator, x[:40], outputs)
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-9)


def worth(tree: Tree, row: np.ndarray, known: frozenset[int], node: int = 0) -> float:
    """What a tree answers where only some features are known: EXPVALUE of Lundberg et al."""
    left, right, feature = int(tree.left[node]), int(tree.right[node]), int(tree.feature[node])
    if left < 0:
        return float(tree.value[node, 0])
    if feature in known:
        value = row[feature]
        goes_left = tree.missing_left[node] if np.isnan(value) else value <= tree.threshold[node]
        return worth(tree, row, known, left if goes_left else right)
    both = [worth(tree, row, known, child) * tree.cover[child] for child in (left, right)]
    return float(sum(both) / tree.cover[node])


def by_definition(tree: Tree, row: np.ndarray) -> list[float]:
    players, found = frozenset(range(len(row))), []
    for feature in players:
        total = 0.0
        for size in range(len(players)):
            weight = math.factorial(size) * math.factorial(len(players) - size - 1)
            for others in itertools.combinations(players - {feature}, size):
                without = frozenset(others)
                added = worth(tree, row, without | {feature}) - worth(tree, row, without)
                total += weight / math.factorial(len(players)) * added
        found.append(total)
    return found


def test_values_are_shapley_values_of_the_tree() -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    x, y = table(400, 4, missing=0.1, seed=5)
    estimator = HistGradientBoostingRegressor(max_iter=1, max_leaf_nodes=12).fit(x, y)
    ensemble = trees_of(estimator)
    assert ensemble is not None
    values, base = tree_shap(ensemble, x[:20], np.zeros(20, dtype=int))
    (tree,) = ensemble.trees
    expected = [by_definition(tree, row) for row in x[:20]]
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)
    assert base[0] == pytest.approx(ensemble.offset[0] + worth(tree, x[0], frozenset()))


def test_a_tree_that_is_one_leaf_moves_nothing() -> None:
    nowhere, none = np.array([-1]), np.array([0.0])
    leaf = Tree(
        left=nowhere,
        right=nowhere,
        feature=nowhere,
        threshold=none,
        missing_left=np.array([False]),
        cover=np.array([7.0]),
        value=np.array([[3.0]]),
    )
    ensemble = Ensemble([leaf], scale=2.0, offset=np.array([1.0]), reads=np.float64)
    for own in (tree_shap, saabas):
        values, base = own(ensemble, np.ones((2, 3)), np.zeros(2, dtype=int))
        assert values.tolist() == [[0.0] * 3] * 2
        assert base.tolist() == [7.0, 7.0]


def test_splits_on_sets_of_categories_are_not_taken_for_thresholds() -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    random = np.random.default_rng(2)
    x = random.integers(0, 5, (300, 2)).astype(float)
    y = np.isin(x[:, 0], [1, 4]) + 0.1 * random.normal(size=300)
    for categories, known in (([0], False), (None, True)):
        estimator = HistGradientBoostingRegressor(max_iter=2, categorical_features=categories)
        assert (trees_of(estimator.fit(x, y)) is not None) is known


def test_many_rows_are_taken_in_parts_that_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.ensemble import RandomForestClassifier

    from penstock.explanation import _tree_shap

    x, y = table(200, 5, missing=0.1, seed=8)
    ensemble = trees_of(RandomForestClassifier(3, random_state=0).fit(x, y > 0))
    assert ensemble is not None
    outputs = np.ones(len(x), dtype=int)
    whole, _ = tree_shap(ensemble, x, outputs)
    monkeypatch.setattr(_tree_shap, "_CELLS", 1500)
    parts, _ = tree_shap(ensemble, x, outputs)
    np.testing.assert_array_equal(parts, whole)
