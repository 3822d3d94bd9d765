"""A metric of the project's own: searched by, measured with an interval, compared, judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from own_project import CODE, ring, written

from penstock.data.table import read_table, write_dataset
from penstock.errors import InputError
from penstock.evaluation.baseline import _watched
from penstock.evaluation.evaluate import evaluate
from penstock.evaluation.spec import EvaluationSpec
from penstock.gate.policy import Policy
from penstock.metrics import METRICS, own, own_interval
from penstock.metrics.predictions import Predictions
from penstock.model import load
from penstock.model.own_metric import use_metric
from penstock.training.spec import TrainingSpec

ASKED = count()


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    own.forget()


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, make_bench: Callable[[Path], Any]
) -> tuple[Any, Any]:
    bench = make_bench(tmp_path_factory.mktemp("metric"))
    project = written(tmp_path_factory.mktemp("project"), CODE)
    bench.prepare(ring())
    record = bench.train(
        candidates=("hist_gradient_boosting",),
        trials=2,
        positive="out",
        own_metric={
            "function": "churn.metrics:cost", "greater_is_better": False, "given": "labels",
        },
        code={"folder": str(project)},
    )  # fmt: skip
    return bench, record


def test_a_search_minimises_it(trained: Any) -> None:
    _, record = trained
    assert record.metric == "cost"
    assert record.code.metric.function == "churn.metrics:cost"
    # A line parts nothing here, so it costs more: the less is the better.
    assert record.name == "hist_gradient_boosting"
    assert record.code.estimator == ""


def test_it_has_an_interval_and_is_compared_in_its_direction(trained: Any, tmp_path: Path) -> None:
    bench, record = trained
    own.forget()
    write_dataset([pa.table(ring(seed=6))], output=tmp_path / "holdout", source="a test")
    evaluation = evaluate(
        tmp_path / "holdout",
        model=bench.folder / "model",
        baselines=bench.folder / "model-baselines",
        spec=EvaluationSpec(),
        policy=Policy(),
        output=tmp_path / "evaluation.json",
        report=tmp_path / "evaluation.html",
    ).evaluation
    assert evaluation.metric == "cost"
    assert evaluation.higher_is_better["cost"] is False
    found = evaluation.scores_of("candidate").metrics["cost"]
    loaded = load(bench.folder / "model", run_code=True)
    table = read_table(tmp_path / "holdout")
    labels = loaded.labels(loaded.frame(table.select(["a", "b", "kind"])))
    truth = np.array(table.column("y").to_pylist())
    costs = np.where(truth == labels, 0.0, np.where(truth == "out", 3.0, 1.0))
    assert found.value == pytest.approx(costs.mean())
    half = 1.96 * costs.std() / np.sqrt(len(costs))
    assert found.high - found.low == pytest.approx(2 * half, rel=0.25)
    against = evaluation.comparison(against="linear", metric="cost")
    assert against.method == "paired percentile bootstrap"
    assert against.advantage.low > 0
    assert "cost" in (tmp_path / "evaluation.html").read_text()
    assert _watched(record) == "roc_auc"


def test_it_cannot_take_the_name_of_a_known_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="accuracy is a metric of Penstock's"):
        own.use(
            "accuracy", lambda *_: 0, reference="a:accuracy", higher_is_better=True, needs="labels"
        )
    with pytest.raises(ValueError, match="leave metric at auto"):
        TrainingSpec(metric="f1", own_metric={"function": "a:b"})


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda *_: 1 / 0, "of 3 rows it raises ZeroDivisionError"),
        (lambda *_: "much", "raises ValueError"),
        (lambda *_: next(ASKED), "0.0 and then 1.0 for the same"),
        (lambda *_: len(Path("pyproject.toml").read_bytes()), r"it reads pyproject\.toml, which"),
    ],
)
def test_a_metric_that_cannot_be_relied_on_is_refused(function: Any, message: str) -> None:
    metric = own.use("odd", function, reference="a:odd", higher_is_better=True, needs="scores")
    with pytest.raises(InputError, match=message):
        metric.of(np.array([0, 1, 1]), np.array([0.1, 0.2, 0.3]))


def test_an_interval_of_few_draws_is_none() -> None:
    truth = np.arange(40) % 2
    scores = np.linspace(0, 1, 40)
    predictions = Predictions(
        task="binary", truth=truth, scores=scores, predicted=scores.round(), classes=2
    )

    def first(truth: Any, given: Any) -> float:
        # Defined on the draws that have the first row: two of three.
        return float("nan") if given.min() > 0 else float((given * truth).mean())

    own.use("odd", first, reference="a:odd", higher_is_better=True, needs="scores")
    with pytest.raises(InputError, match=r"no finite number on 1\d\d of 400 draws"):
        own_interval.interval("odd", 0.5, predictions, confidence=0.95)


def test_a_training_without_one_does_not_know_the_last_one() -> None:
    own.use("odd", lambda *_: 1, reference="a:odd", higher_is_better=True, needs="scores")
    use_metric(None)
    assert "odd" not in METRICS


def test_it_is_forgotten_with_its_model() -> None:
    own.use("odd", lambda *_: 1, reference="a:odd", higher_is_better=True, needs="scores")
    assert METRICS["odd"].scale.highest == float("inf")
    own.forget()
    assert "odd" not in METRICS
