"""Features computed without scikit-learn's transformer: the same numbers, to the last bit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.data.table.frames import typed_frame
from penstock.features.fit import build
from penstock.features.kinds import Choice
from penstock.features.spec import FeatureKind, FeaturesSpec
from penstock.model import LoadedModel
from penstock.records.dataset import Column
from penstock.records.model import Model
from penstock.serving import sklearn_scorer
from penstock.training import estimators
from penstock.training.saving import pipeline_of

KINDS: dict[str, tuple[Any, FeatureKind]] = {
    "age": ("integer", "number"),
    "hours": ("number", "number"),
    "member": ("boolean", "boolean"),
    "job": ("string", "category"),
    "town": ("string", "category"),
    "code": ("integer", "category"),
    "branch": ("number", "category"),
    "since": ("datetime", "datetime"),
    "note": ("string", "text"),
}
NUMBERS = st.one_of(st.none(), st.floats(-1e6, 1e6), st.sampled_from([0.0, -0.0, 1e-300]))
CODES = st.sampled_from([None, 0.0, -0.0, 1.0, 2.0, 3.0, 7.0, 99.0])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "age": NUMBERS,
    "hours": NUMBERS,
    "member": st.sampled_from([None, 0.0, 1.0]),
    "job": st.sampled_from([None, "clerk", "nurse", "", "(missing)", "(rare or unseen)", "new"]),
    "town": st.one_of(st.none(), st.sampled_from(["a", "b", "rare"]), st.text(max_size=2)),
    "code": CODES,
    "branch": CODES,
    "since": st.one_of(
        st.none(), st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
    ),
    "note": st.one_of(st.none(), st.text(max_size=20), st.just("a good day, a good day")),
}


def arrays_of(rows: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, Any]:
    """Rows as a server's intake hands them to a scorer."""
    found: dict[str, Any] = {}
    for name in names:
        values = [row[name] for row in rows]
        numeric = KINDS[name][0] in ("integer", "number", "boolean")
        found[name] = np.array(values, dtype=np.float64) if numeric else values
    return found


def training_rows(count: int = 200) -> list[dict[str, Any]]:
    chance = np.random.default_rng(7)

    def one_of(*values: Any, p: list[float] | None = None) -> Any:
        return values[int(chance.choice(len(values), p=p))]

    return [
        {
            "age": one_of(None, 20.0, 30.0, 55.0),
            "hours": float(chance.normal(40, 5)),
            "member": one_of(None, 0.0, 1.0),
            "job": one_of(None, "clerk", "nurse", "pilot"),
            "town": one_of("a", "b", "rare", p=[0.6, 0.385, 0.015]),
            "code": one_of(None, 1.0, 2.0, 3.0, p=[0.01, 0.5, 0.485, 0.005]),
            "branch": one_of(None, 0.0, 7.0),
            "since": datetime(2020, 1 + i % 12, 1 + i % 28, i % 24, tzinfo=UTC),
            "note": one_of(None, "a good day", "a bad night"),
        }
        for i in range(count)
    ]


def model_of(
    names: tuple[str, ...], *, family: Any = "linear", task: Any = "binary"
) -> LoadedModel:
    """A model as training makes it, of these columns."""
    columns = tuple(Column(name=name, type=KINDS[name][0]) for name in names)
    choices = tuple(Choice(c, KINDS[c.name][1], "declared", "") for c in columns)
    rows = training_rows()
    frame = typed_frame(arrays_of(rows, names), columns)
    parts = {"since": ["month", "day", "weekday", "hour"]}
    spec = FeaturesSpec(rare_share=0.03, text_buckets=16)
    transformer = build(choices, parts, spec)
    hours = np.array([row["hours"] for row in rows])
    target: Any = hours * 2
    classes: tuple[Any, ...] = ()
    if task == "binary":
        target, classes = np.where(hours > 40, "yes", "no"), ("no", "yes")
    elif task == "multiclass":
        target, classes = np.digitize(hours, [36, 44]), (0, 1, 2)
    defaults = dict(estimators.family(family, task=task).defaults)
    estimator = estimators.build(family, defaults, task=task, seed=0)
    estimator = estimator.fit(transformer.fit_transform(frame), target)
    record = Model(
        name=family, task=task, target="target", classes=classes,
        positive="yes" if task == "binary" else None,
        threshold=0.5 if task == "binary" else None,
        columns=columns, metric="roc_auc", score=0.9, parameters={}, seed=0,
        dataset="xxh3-128:00000000000000000000000000000001", libraries={}, trusted_types=(),
    )  # fmt: skip
    return LoadedModel(record, "sha256:0", pipeline_of(record, transformer, estimator))


def assert_same(model: LoadedModel, rows: list[dict[str, Any]]) -> None:
    names = tuple(column.name for column in model.record.columns)
    arrays = arrays_of(rows, names)
    scorer = sklearn_scorer.scorer(model)
    assert isinstance(scorer, sklearn_scorer.DirectModel)
    found = np.concatenate([block(arrays, len(rows)) for block in scorer._blocks], axis=1)
    expected = model.typed.steps[0][1].transform(typed_frame(arrays, model.record.columns))
    np.testing.assert_array_equal(found, expected, strict=True)
    np.testing.assert_array_equal(scorer.scores_of(arrays), model.scores_of(arrays), strict=True)


@pytest.fixture(scope="module")
def everything() -> LoadedModel:
    """A model of every kind of feature."""
    assert {kind for _, kind in KINDS.values()} == set(get_args(FeatureKind)) - {"drop"}
    return model_of(tuple(KINDS))


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.fixed_dictionaries(VALUES), min_size=1, max_size=8))
@pytest.mark.long
def test_any_row_has_the_score_that_scikit_learn_gives(
    everything: LoadedModel, rows: list[dict[str, Any]]
) -> None:
    assert_same(everything, rows)


@pytest.mark.parametrize(
    ("family", "task"),
    [
        *(
            (family, "binary")
            for family in ("linear", "hist_gradient_boosting", "random_forest", "xgboost")
        ),
        *(("random_forest", task) for task in ("multiclass", "regression")),
        *(
            pytest.param(family, task, marks=pytest.mark.long)
            for family in ("linear", "hist_gradient_boosting", "xgboost")
            for task in ("multiclass", "regression")
        ),
    ],
)
def test_every_task_and_family(family: str, task: str) -> None:
    assert_same(model_of(("hours", "job", "code"), family=family, task=task), training_rows(30))


@pytest.mark.parametrize("names", [("age", "hours"), ("town",), ("code", "branch"), ("since",)])
def test_columns_of_one_kind(names: tuple[str, ...]) -> None:
    """One block alone may lie otherwise in memory, and a sum be rounded otherwise."""
    assert_same(model_of(names), training_rows(30))
    assert_same(model_of(names), training_rows(1))


def test_features_of_others_are_left_to_scikit_learn(everything: LoadedModel) -> None:
    from sklearn.base import clone
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    for other in (StandardScaler(), FunctionTransformer(np.log1p)):
        model = model_of(("age", "hours"))
        features = clone(model.typed.steps[0][1]).set_params(numbers=other)
        rows = arrays_of(training_rows(), ("age", "hours"))
        features.fit(typed_frame(rows, model.record.columns))
        pipeline = pipeline_of(model.record, features, model.typed.steps[1][1])
        changed = LoadedModel(model.record, model.digest, pipeline)
        assert sklearn_scorer.scorer(changed) is changed
