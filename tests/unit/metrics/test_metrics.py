"""The table of metrics: figures worked out by hand, and names that are refused."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from penstock.errors import InputError
from penstock.metrics import METRICS, codes, metric_for, names_for

TRUTH = np.array([1, 0, 1, 0, 0])
SCORES = np.array([0.9, 0.8, 0.7, 0.2, 0.1])
LABELS = np.array([1, 1, 0, 0, 0])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("roc_auc", 5 / 6),
        ("average_precision", (1 + 2 / 3) / 2),
        ("accuracy", 3 / 5),
        ("balanced_accuracy", (1 / 2 + 2 / 3) / 2),
        ("f1", 2 * 1 / (2 * 1 + 1 + 1)),
        ("f1_macro", (1 / 2 + 2 * 2 / (2 * 2 + 1 + 1)) / 2),
        ("log_loss", -np.log([0.9, 0.2, 0.7, 0.8, 0.9]).mean()),
    ],
)
def test_two_classes(name: str, expected: float) -> None:
    metric = metric_for(name, task="binary")
    given = SCORES if metric.needs == "scores" else LABELS
    assert metric.of(TRUTH, given) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "expected"), [("r2", 1 - 2 / 2), ("rmse", (2 / 3) ** 0.5), ("mae", 2 / 3)]
)
def test_numbers(name: str, expected: float) -> None:
    truth, given = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0])
    assert metric_for(name, task="regression").of(truth, given) == pytest.approx(expected)


def test_several_classes() -> None:
    truth = np.array([0, 1, 2, 2])
    scores = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.5, 0.3, 0.2]])
    loss = metric_for("log_loss", task="multiclass").of(truth, scores)
    assert loss == pytest.approx(-np.log([0.8, 0.8, 0.6, 0.2]).mean())
    labels = scores.argmax(axis=1)
    assert metric_for("accuracy", task="multiclass").of(truth, labels) == 0.75
    assert metric_for("balanced_accuracy", task="multiclass").of(truth, labels) == pytest.approx(
        (1 + 1 + 0.5) / 3
    )


def test_a_class_that_is_absent_from_the_rows_does_not_count() -> None:
    balanced = METRICS["balanced_accuracy"]
    assert balanced.of(np.array([0, 0, 2]), np.array([0, 1, 2])) == pytest.approx((0.5 + 1) / 2)


def test_losses_are_turned_so_that_more_is_better() -> None:
    assert METRICS["rmse"].oriented(2.0) == -2.0
    assert METRICS["r2"].oriented(0.5) == 0.5


@pytest.mark.parametrize(
    ("name", "task"), [("gini", "binary"), ("r2", "binary"), ("roc_auc", "multiclass")]
)
def test_a_metric_that_does_not_fit_the_task_lists_those_that_do(name: str, task: str) -> None:
    with pytest.raises(InputError, match=f"'{name}' is not a metric for a {task} task") as caught:
        metric_for(name, task=task)
    assert ", ".join(names_for(task)) in caught.value.remedy


def test_codes() -> None:
    assert codes(["b", "a"], classes=("a", "b"), positive="a").tolist() == [0, 1]
    assert codes([True, False], classes=(False, True), positive=True).tolist() == [1, 0]
    assert codes(np.array(["c", "a"]), classes=("a", "b", "c")).tolist() == [2, 0]
    with pytest.raises(InputError, match="'d' is not a class"):
        codes(["d"], classes=("a", "b"))


def test_the_face_needs_no_numpy() -> None:
    """Policies are read by steps, and by the command line, that have none."""
    code = "import sys, penstock.metrics; print({'numpy', 'scipy', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
