"""What the trial of own code on a few rows has not shown is refused where it comes, never used."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from own_project import ring
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from penstock.data.table import write_dataset
from penstock.errors import InputError
from penstock.features.fit import fit_features
from penstock.features.spec import FeaturesSpec
from penstock.metrics import METRICS, own
from penstock.model.loading import LoadedModel
from penstock.model.pyfunc import ServedModel
from penstock.records.dataset import Column
from penstock.records.model import Model, OwnCode
from penstock.training.crossval import CrossValidation
from penstock.training.folds import make_folds
from penstock.training.inputs import Problem, read_problem
from penstock.training.own_check import check, check_whole
from penstock.training.own_estimator import own_estimator
from penstock.training.own_metric import check_direction
from penstock.training.saving import pipeline_of
from penstock.training.spec import TrainingSpec

ROWS = 600
"""Three times what is tried."""


def prepared(
    folder: Path, table: Mapping[str, Any], *, target: str = "y", **features: Any
) -> Problem:
    """The training part and its features, without a store: nothing is trained here."""
    write_dataset([pa.table(table)], output=folder / "train", source="a test")
    fit_features(
        folder / "train", target=target, spec=FeaturesSpec(**features),
        output=folder / "features", report=folder / "features.html",
    )  # fmt: skip
    return read_problem(
        folder / "train", features=folder / "features", target=target, task="auto", positive="",
        split=None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    return prepared(tmp_path_factory.mktemp("late"), ring(ROWS))


HEAD = """
    import numpy as np
    from sklearn.base import BaseEstimator, ClassifierMixin


    class Base(ClassifierMixin, BaseEstimator):
        def fit(self, X, y):
            self.classes_ = np.unique(y)
            self.many_ = len(X) > 200
            return self

        def predict_proba(self, X):
            p = np.tile([0.25, 0.75], (len(X), 1))
            return self.late(p) if self.many_ else p

        def late(self, p):
            return p

        def predict(self, X):
            return self.classes_[self.predict_proba(X).argmax(axis=1)]


    class make(Base):
"""
ESTIMATORS = {
    "order of classes": (
        "def fit(self, X, y):\n    super().fit(X, y)\n"
        "    self.classes_ = self.classes_[np.argsort(np.unique(y, return_index=True)[1])]\n"
        "    return self",
        r"its classes_ are \['out', 'in'\], those of the target \['in', 'out'\]",
    ),
    "nan": ("def late(self, p):\n    p[3] = np.nan\n    return p", "an answer is not finite"),
    "one more": (
        "def late(self, p):\n    return np.column_stack([p[:, 0] * 0, p])",
        r"of shape \(\d+, 3\)",
    ),
    "one less": ("def late(self, p):\n    return p[:, :1]", r"of shape \(\d+, 1\)"),
    "rows": ("def late(self, p):\n    return p[1:]", r"answers 200 rows with an array of shape"),
    "sums": ("def late(self, p):\n    return p * 3", "do not add up to 1"),
    "no self": (
        "def fit(self, X, y):\n    super().fit(X, y)\n    return None if self.many_ else self",
        "its fit returns None",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_that_fails_in_a_fold_is_refused(
    name: str, problem: Problem, tmp_path: Path
) -> None:
    text, message = ESTIMATORS[name]
    text = textwrap.dedent(HEAD) + textwrap.indent(text, "    ") + "\n"
    (tmp_path / "late.py").write_text(text)
    spec = TrainingSpec(estimator="late:make", code={"folder": str(tmp_path)})
    made = own_estimator(spec, task="binary")
    assert made is not None
    # Of the rows that are tried it shows nothing.
    check(made, problem, seed=0, class_weight="none")
    folds, _ = make_folds(problem, folds=3, seed=1)
    validation = CrossValidation(problem, folds, METRICS["roc_auc"])
    estimator = made.build({}, seed=0)
    with pytest.raises(InputError, match=message):
        validation.evaluate(estimator, number=1, family="own", parameters={})


def test_what_cannot_be_kept_once_it_knows_all_rows_is_refused(
    problem: Problem, tmp_path: Path
) -> None:
    more = """
    def fit(self, X, y):
        super().fit(X, y)
        self.how_ = (lambda x: x) if self.many_ else None
        return self
    """
    text = textwrap.dedent(HEAD) + textwrap.indent(textwrap.dedent(more), "    ")
    (tmp_path / "late.py").write_text(text)
    spec = TrainingSpec(estimator="late:make", code={"folder": str(tmp_path)})
    made = own_estimator(spec, task="binary")
    assert made is not None
    check(made, problem, seed=0, class_weight="none")
    x = problem.columns.fitted.matrix(np.arange(ROWS))
    fitted = made.build({}, seed=0).fit(x, problem.y)
    with pytest.raises(InputError, match=r"skops|types that are not trusted"):
        check_whole(made, "own", fitted, problem)


TRANSFORMERS = {
    "drops rows": ("return X[['b']][X['b'] < 40]", r"an array of shape \(\d+, 1\) of \d+ rows"),
    "more columns": (
        "return np.column_stack([X['b']] * (2 if (X['b'] > 40).any() else 1))",
        r"it makes 1 features of one row, and 2 of \d+",
    ),
    "infinite": ("return np.where(X[['b']] > 40, np.inf, 0)", "a feature that is infinite"),
}  # fmt: skip


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_transformer_that_fails_on_other_rows_is_refused(name: str, tmp_path: Path) -> None:
    body, message = TRANSFORMERS[name]
    text = f"""
    import numpy as np
    from sklearn.base import BaseEstimator, TransformerMixin


    class make(TransformerMixin, BaseEstimator):
        def fit(self, X, y=None):
            self.seen_ = 1
            return self

        def transform(self, X):
            {body}
    """
    (tmp_path / "odd.py").write_text(textwrap.dedent(text))
    rows = ring(ROWS)
    # Row 1 is none of the 200 that are tried.
    rows["b"][1] = 50.0
    own_code = {"transformer": "odd:make", "code": {"folder": str(tmp_path)}}
    found = prepared(tmp_path / "bench", rows, **own_code)
    with pytest.raises(InputError, match=message):
        found.columns.fitted.matrix(np.arange(ROWS))
    with pytest.raises(InputError, match=message):
        make_folds(found, folds=2, seed=1)[0][0].x  # noqa: B018


def test_a_transformer_that_is_another_one_the_second_time_is_refused(tmp_path: Path) -> None:
    text = """
    from sklearn.base import BaseEstimator, TransformerMixin


    class make(TransformerMixin, BaseEstimator):
        def fit(self, X, y=None):
            self.calls_ = 0
            return self

        def transform(self, X):
            self.calls_ += len(X) > 1
            return X[["b"]] * (1 if self.calls_ < 3 else 2)
    """
    (tmp_path / "odd.py").write_text(textwrap.dedent(text))
    own_code = {"transformer": "odd:make", "code": {"folder": str(tmp_path)}}
    with pytest.raises(InputError, match="a second time it makes other features"):
        prepared(tmp_path / "bench", ring(), **own_code)
    assert not (tmp_path / "bench" / "features").exists()


@pytest.fixture
def forgotten() -> Iterator[None]:
    yield
    own.forget()


def mistakes(truth: Any, given: Any) -> float:
    return float(np.abs(truth - given).mean()) if given.ndim == 1 else float(
        1 - given[np.arange(len(truth)), truth].mean()
    )  # fmt: skip


def in_tenths(truth: Any, scores: Any) -> float:
    """The share of the positive class in the highest tenth; ties cannot be cut."""
    tenth = pd.qcut(scores, 10, labels=False)
    return float(truth[tenth == 9].mean())


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize("target", ["y", "kind", "amount"])
@pytest.mark.parametrize("needs", ["scores", "labels"])
def test_a_metric_that_points_the_other_way_is_refused(
    target: str, needs: Any, make_table: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    others = {name: "drop" for name in ("y", "kind", "amount") if name != target}
    found = prepared(tmp_path, make_table(), target=target, columns=others)

    def asked(function: Any, *, higher: bool) -> None:
        metric = own.use("odd", function, reference="a:odd", higher_is_better=higher, needs=needs)
        check_direction(metric, found, reference="a:odd")

    asked(mistakes, higher=False)
    with pytest.raises(InputError, match=r"greater_is_better: false") as refused:
        asked(mistakes, higher=True)
    assert "the greater is taken for the better: the worst model would win" in str(refused.value)
    with pytest.raises(InputError, match=r"greater_is_better: true"):
        asked(lambda truth, given: -mistakes(truth, given), higher=False)
    # What says nothing of right and wrong is not refused, nor what such predictions do not define.
    for higher in (True, False):
        asked(lambda truth, _: float(len(truth)), higher=higher)
        asked(lambda *_: float("nan"), higher=higher)
    if target == "y" and needs == "scores":
        asked(in_tenths, higher=True)
        with pytest.raises(InputError, match=r"greater_is_better: true"):
            asked(in_tenths, higher=False)


class Odd(ClassifierMixin, BaseEstimator):
    """An estimator whose `predict` is not its most probable class, and whose scores are short."""

    def fit(self, x: Any, y: Any) -> Odd:
        self.inner_ = LogisticRegression().fit(np.nan_to_num(x), y)
        self.classes_ = self.inner_.classes_
        return self

    def predict_proba(self, x: Any) -> Any:
        return self.inner_.predict_proba(np.nan_to_num(x)).astype(np.float32)

    def predict(self, x: Any) -> Any:
        return np.repeat(self.classes_[:1], len(x))


COLUMNS = (Column(name="a", type="number"), Column(name="b", type="number"))


def loaded(
    classes: tuple[str, ...], *, threshold: float | None = None, features: Any = None
) -> tuple[LoadedModel, pd.DataFrame]:
    """A model of code of the project's own, and rows as a client has them."""
    frame = pd.DataFrame({"a": np.linspace(-3, 3, 60), "b": np.cos(np.arange(60))})
    fitted = Odd().fit(frame.to_numpy(), np.repeat(classes, 60 // len(classes)))
    record = Model(
        name="own", task="binary" if len(classes) == 2 else "multiclass", target="y",
        classes=classes, positive=classes[1] if len(classes) == 2 else None, threshold=threshold,
        columns=COLUMNS, metric="f1_macro", score=0.5, parameters={}, dataset="", seed=0,
        libraries={}, trusted_types=(), code=OwnCode(digest="", files=(), libraries={}),
    )  # fmt: skip
    features = features or FunctionTransformer(lambda x: x.to_numpy())
    pipeline = pipeline_of(record, features.fit(frame), fitted)
    assert isinstance(pipeline, Pipeline)
    return LoadedModel(record, "", pipeline), frame


def test_mlflow_gives_the_labels_of_the_scores() -> None:
    model, frame = loaded(("a", "b", "c"))
    said = ServedModel(model).predict(frame).tolist()
    assert said == model.labels(frame).tolist()
    assert set(said) == {"a", "b", "c"}
    # A threshold just above a score of 32 bits is rounded to that score where 32 bits compare.
    score = float(loaded(("a", "b"), threshold=0.5)[0].scores(frame)[40])
    model, frame = loaded(("a", "b"), threshold=float(np.nextafter(score, 1)))
    assert model.pipeline.predict(frame)[40] == "b"
    assert model.labels(frame)[40] == ServedModel(model).predict(frame)[40] == "a"


def test_an_answer_that_is_missing_is_no_answer_to_another_row() -> None:
    drops = FunctionTransformer(lambda x: x[x["a"] > -2.9].to_numpy())
    model, frame = loaded(("a", "b"), threshold=0.5, features=drops)
    with pytest.raises(InputError, match=r"it answers 60 rows with an array of shape \(59, 2\)"):
        model.scores(frame)

    def far(x: pd.DataFrame) -> Any:
        if (x["a"] < -2.9).any():
            raise KeyError("far")
        return x.to_numpy()

    model, frame = loaded(("a", "b"), threshold=0.5, features=FunctionTransformer(far))
    with pytest.raises(InputError, match="asked for a score it raises KeyError: 'far'"):
        model.scores(frame)
    assert len(model.scores(frame.iloc[1:])) == 59
