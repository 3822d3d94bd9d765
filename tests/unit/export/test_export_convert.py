"""The ONNX form of a pipeline answers as scikit-learn does, to the last digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from export_world import Pair, paired, record, strange, table

from penstock.data.table.frames import to_frame
from penstock.export.errors import NotConvertibleError
from penstock.records.dataset import Column

FAMILIES = (
    "linear", "hist_gradient_boosting", "random_forest", "extra_trees", "xgboost", "lightgbm",
)  # fmt: skip
SMALL: dict[str, dict[str, Any]] = {
    "hist_gradient_boosting": {"max_iter": 25},
    "random_forest": {"min_samples_leaf": 2, "n_estimators": 30},
    "extra_trees": {"min_samples_leaf": 2, "n_estimators": 30},
    "xgboost": {"n_estimators": 25, "subsample": 0.8},
    "lightgbm": {"n_estimators": 25, "subsample": 0.8},
}
CASES: list[tuple[str, Any]] = [
    ("binary", 1), ("binary", 0), ("multiclass", None), ("regression", None)
]  # fmt: skip
SOON = [(CASES[0], family) for family in FAMILIES]
SOON += [(case, "hist_gradient_boosting") for case in CASES[1:]]
"""Each family and each task once; the long tests have the others."""

Fit = Callable[..., Pair]


@pytest.mark.parametrize(
    ("task", "positive", "family"),
    [
        pytest.param(*case, family, marks=() if (case, family) in SOON else pytest.mark.long)
        for case in CASES
        for family in FAMILIES
    ],
)
def test_every_family_and_task_is_exact(fit: Fit, task: str, positive: Any, family: str) -> None:
    pair = fit(family, task, positive, **SMALL.get(family, {}))
    rows = table(600, seed=3)
    # What is our own from the margins on is equal to the bit.
    bound = 0.0 if family in ("xgboost", "lightgbm") else 1e-12
    assert pair.difference(rows) <= bound
    with np.errstate(all="ignore"):
        assert pair.difference(strange(rows)) <= bound
    labels = pair.model.labels_of(pair.run(rows))
    assert np.array_equal(labels, pair.model.labels_of(pair.model.scores_of(rows))) or (
        task == "regression"
    )
    scores = pair.run(rows)
    assert len(np.unique(scores)) > 20
    one_by_one = [
        pair.run({name: values[i : i + 1] for name, values in rows.items()}) for i in range(200)
    ]
    alone = np.concatenate(one_by_one)
    if family != "linear":
        assert np.array_equal(alone, scores[:200])
    assert np.abs(alone - scores[:200]).max() < 1e-12 * np.abs(scores).max()


def thresholds(pair: Pair) -> dict[str, np.ndarray]:
    """Every number that the trees compare a raw column with, by column."""
    features, estimator = (step for _, step in pair.model.typed.steps)
    (numbers,) = (names for group, _, names in features.transformers_ if group == "numbers")
    if hasattr(estimator, "nodes"):
        inner = estimator.nodes["left"] >= 0
        index, value = estimator.nodes["feature"][inner], estimator.nodes["threshold"][inner]
    elif hasattr(estimator, "_predictors"):
        nodes = np.concatenate([p.nodes for of_round in estimator._predictors for p in of_round])
        inner = nodes[nodes["is_leaf"] == 0]
        index, value = inner["feature_idx"], inner["num_threshold"]
    else:
        trees = [tree.tree_ for tree in estimator.estimators_]
        index = np.concatenate([tree.feature for tree in trees])
        value = np.concatenate([tree.threshold for tree in trees])
    return {name: value[index == place] for place, name in enumerate(numbers)}


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(family, marks=pytest.mark.long if family == "extra_trees" else ())
        for family in FAMILIES[1:]
    ],
)
def test_a_value_at_a_threshold_goes_the_same_way(fit: Fit, family: str) -> None:
    pair = fit(family, "regression", **SMALL[family])
    tried = 0
    for name, values in thresholds(pair).items():
        # LightGBM parts known values from missing ones by the largest number there is.
        finite = np.unique(values[np.abs(values) <= np.finfo(np.float32).max])
        if not len(finite):
            continue
        near = np.concatenate(
            [
                finite,
                np.nextafter(finite, np.inf),
                np.nextafter(finite, -np.inf),
                np.nextafter(finite.astype(np.float32), np.float32(np.inf)).astype(float),
                np.nextafter(finite.astype(np.float32), np.float32(-np.inf)).astype(float),
            ]
        )
        rows = {
            column: np.resize(given, len(near))
            if isinstance(given, np.ndarray)
            else (given * (len(near) // len(given) + 1))[: len(near)]
            for column, given in table(50, seed=4).items()
        } | {name: near}
        assert pair.difference(rows) < 1e-13, name
        tried += len(finite)
    assert tried > 100


def test_numbers_of_trees_are_kept_as_doubles(fit: Fit) -> None:
    pair = fit("hist_gradient_boosting", "binary", 1, max_iter=5)
    onnx.checker.check_model(pair.content, full_check=True)
    graph = onnx.load_from_string(pair.content).graph
    (trees,) = (node for node in graph.node if node.op_type == "TreeEnsemble")
    kinds = {a.name: a.t.data_type for a in trees.attribute if a.type == onnx.AttributeProto.TENSOR}
    assert kinds["nodes_splits"] == kinds["leaf_weights"] == onnx.TensorProto.DOUBLE
    constants = {constant.data_type for constant in graph.initializer}
    assert onnx.TensorProto.FLOAT not in constants


def test_a_split_between_missing_and_not_is_kept() -> None:
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

    columns = (Column(name="x", type="number"),)
    known = np.random.default_rng(0).normal(size=400)
    known[::2] = np.nan
    frame = pd.DataFrame({"x": known})
    features = ColumnTransformer([("numbers", "passthrough", ["x"])]).fit(frame)
    target = np.isnan(known) * 3.0
    for estimator in (HistGradientBoostingRegressor(max_iter=3), RandomForestRegressor(5)):
        estimator.fit(features.transform(frame), target)
        pair = paired(features, estimator, record("regression", columns=columns))
        rows = {"x": np.array([np.nan, 1e30, -1e30, 0.0])}
        assert pair.difference(rows) < 1e-15
        assert pair.run(rows)[0] - pair.run(rows)[1] > 0.5


def test_a_tree_of_one_leaf(fit: Fit) -> None:
    for family in ("hist_gradient_boosting", "random_forest"):
        pair = fit(family, "regression", min_samples_leaf=1400)
        assert pair.difference(table(50, seed=5)) < 1e-13


def test_no_release_of_onnx_runtime_takes_a_root_for_a_leaf(fit: Fit) -> None:
    """Before 1.31 it may, where two numbers of a root agree: microsoft/onnxruntime#24679."""
    mixed = 0
    for family, parameters in (
        ("xgboost", {"n_estimators": 40, "gamma": 25.0}),
        ("lightgbm", {"n_estimators": 40, "num_leaves": 3}),
        ("extra_trees", {"n_estimators": 40, "max_leaf_nodes": 3}),
        ("random_forest", {"min_samples_leaf": 1400}),
    ):
        pair = fit(family, "binary", 1, **parameters)
        assert pair.difference(table(50, seed=5)) < 1e-13
        graph = onnx.load_from_string(pair.content).graph
        (node,) = (node for node in graph.node if node.op_type == "TreeEnsemble")
        known = {a.name: np.array(a.ints) for a in node.attribute if a.ints}
        roots = known["tree_roots"]
        yes, no = (known[f"nodes_{side}nodeids"][roots] for side in ("true", "false"))
        assert (yes != no).all(), family
        mixed += (known["nodes_trueleafs"] != known["nodes_falseleafs"])[roots].sum()
    assert mixed > 20


def test_calendar_parts_of_any_day() -> None:
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import Ridge

    from penstock.features.transformers import PARTS, DatetimeParts

    columns = (Column(name="at", type="datetime"), Column(name="then", type="datetime"))
    first, last = np.array(["0001-01-01", "9999-12-31"], "datetime64[D]").astype(int)
    # 146,097 days are a whole turn of the calendar.
    turn = np.arange(-146_097, 146_097).astype("datetime64[D]").astype("datetime64[us]")
    others = np.random.default_rng(0).integers(first * 86_400, last * 86_400, 100_000)
    at = np.concatenate([turn, others.astype("datetime64[s]").astype("datetime64[us]")])
    at = at + np.random.default_rng(1).integers(0, 2, len(at)) * -1
    then = at[::-1].copy()
    frame = to_frame({"at": at, "then": then}, columns)
    parts = [list(PARTS), ["hour", "year"]]
    features = ColumnTransformer([("times", DatetimeParts(parts), ["at", "then"])]).fit(frame)
    made = features.transform(frame)
    # Each part has digits of its own in the sum, which a double holds exactly.
    weights = [[1e8, 1e6, 1e4, 1e3, 1.0, 0, 0], [0, 0, 0, 0, 0, 1.0, 1e3]]
    for weight in weights:
        model = Ridge()
        model.coef_, model.intercept_, model.n_features_in_ = np.array(weight), 0.0, 7
        pair = paired(features, model, record("regression", columns=columns))
        assert np.array_equal(pair.run({"at": at, "then": then}), made @ np.array(weight))
    missing = pair.run({"at": [None], "then": np.array(["NaT"], "datetime64[us]")})
    assert np.isnan(missing).all()


def _frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "x": np.arange(40.0) % 7,
            "job": ["nurse", "pilot", "clerk", "a word or two"] * 10,
            "at": pd.date_range("2026-01-01", periods=40).astype("datetime64[us]"),
        }
    )


FRAME_COLUMNS = (
    Column(name="x", type="number"),
    Column(name="job", type="string"),
    Column(name="at", type="datetime"),
)


def _unconvertible() -> dict[str, tuple[list[Any], Any, str]]:
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import Lasso, Ridge
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, RobustScaler

    from penstock.features.transformers import HashedWords

    number = ("numbers", "passthrough", ["x"])
    return {
        "words": ([number, ("texts", HashedWords(16), ["job"])], Ridge(), "words of a text"),
        "transformer": ([("scaled", RobustScaler(), ["x"])], Ridge(), "RobustScaler has no ONNX"),
        "estimator": ([number], Lasso(), "Lasso has no ONNX form"),
        "step": ([number], Pipeline([("s", MinMaxScaler()), ("m", Ridge())]), "MinMaxScaler"),
        "drop": ([("levels", OneHotEncoder(drop="first"), ["job"])], Ridge(), "drops a level"),
        "error": ([("levels", OneHotEncoder(), ["job"])], Ridge(), "handle_unknown='error'"),
        "mixed": (
            [("levels", OneHotEncoder(handle_unknown="ignore"), ["job", "x"])],
            Ridge(),
            "over text and numbers",
        ),
        "time as number": ([("numbers", "passthrough", ["at"])], Ridge(), "column 'at'"),
        "categories": (
            [number],
            HistGradientBoostingRegressor(categorical_features=[0], min_samples_leaf=2),
            "split by categories",
        ),
        "loss": ([number], HistGradientBoostingRegressor(loss="poisson"), "loss 'poisson'"),
    }


@pytest.mark.parametrize("name", _unconvertible())
def test_what_has_no_exact_form_is_named(name: str) -> None:
    from sklearn.compose import ColumnTransformer

    parts, estimator, message = _unconvertible()[name]
    frame = _frame()
    features = ColumnTransformer(parts, sparse_threshold=0.0).fit(frame)
    made = features.transform(frame)
    if name != "time as number":
        estimator.fit(made, frame["x"] + 1)
    with pytest.raises(NotConvertibleError, match=message):
        paired(features, estimator, record("regression", columns=FRAME_COLUMNS))


def test_an_encoder_without_rare_levels_gives_nothing_for_an_unseen_one() -> None:
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import OneHotEncoder

    frame = _frame()
    for unknown in ("ignore", "infrequent_if_exist"):
        encoder = OneHotEncoder(handle_unknown=unknown, sparse_output=False)
        features = ColumnTransformer([("a", encoder, ["job"]), ("b", encoder, ["x"])]).fit(frame)
        model = Ridge().fit(features.transform(frame), frame["x"])
        pair = paired(features, model, record("regression", columns=FRAME_COLUMNS))
        rows = {"x": np.array([1.0, 5.5, np.nan]), "job": ["nurse", "new", None], "at": [None] * 3}
        assert pair.difference(rows) < 1e-14
        assert pair.run(rows)[1] == pytest.approx(model.intercept_, abs=1e-12)
