"""The vectorised metrics against scikit-learn, on the rows and on weighted copies of them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from penstock.metrics import METRICS, names_for
from penstock.metrics import weighted as stats
from penstock.metrics.losses import log_loss

ROWS = 150


def binary(seed: int, *, decimals: int = 2):
    """Truth, scores with many ties, and predictions."""
    random = np.random.default_rng(seed)
    truth = (random.random(ROWS) < 0.3).astype(np.int64)
    scores = np.clip(random.normal(0.3 + 0.3 * truth, 0.25), 0, 1).round(decimals)
    return truth, scores, (scores >= 0.5).astype(np.int64)


def several(seed: int, *, classes: int = 4):
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes, ROWS)
    scores = random.dirichlet(np.ones(classes), ROWS) + 0.5 * np.eye(classes)[truth]
    scores /= scores.sum(axis=1, keepdims=True)
    return truth, scores, scores.argmax(axis=1)


def weights(seed: int, copies: int = 6) -> np.ndarray:
    drawn = np.random.default_rng(seed + 100).integers(0, 4, (copies, ROWS)).astype(float)
    drawn[0] = 1
    return drawn


def of_binary(truth, scores, predicted):
    positive = truth == 1
    losses = {
        "log_loss": log_loss(np.where(positive, scores, 1 - scores)),
        "brier": (scores - positive) ** 2,
    }
    return [
        stats.Ranking(positive, scores),
        stats.Labels(truth, predicted, classes=2, binary=True),
        stats.Means(losses),
    ]


@pytest.mark.parametrize("seed", range(5))
def test_binary_metrics_equal_scikit_learns_with_weights(seed: int) -> None:
    truth, scores, predicted = binary(seed)
    drawn = np.random.default_rng(seed).random((5, ROWS)) * 3
    found = stats.weighted_metrics(of_binary(truth, scores, predicted), drawn)
    for at, w in enumerate(drawn):
        expected = {
            "roc_auc": sk.roc_auc_score(truth, scores, sample_weight=w),
            "average_precision": sk.average_precision_score(truth, scores, sample_weight=w),
            "accuracy": sk.accuracy_score(truth, predicted, sample_weight=w),
            "balanced_accuracy": sk.balanced_accuracy_score(truth, predicted, sample_weight=w),
            "precision": sk.precision_score(truth, predicted, sample_weight=w),
            "recall": sk.recall_score(truth, predicted, sample_weight=w),
            "f1": sk.f1_score(truth, predicted, sample_weight=w),
            "f1_macro": sk.f1_score(truth, predicted, sample_weight=w, average="macro"),
            "log_loss": sk.log_loss(truth, scores, sample_weight=w),
            "brier": sk.brier_score_loss(truth, scores, sample_weight=w),
        }
        assert {name: values[at] for name, values in found.items()} == pytest.approx(
            expected, rel=1e-10
        )


@pytest.mark.parametrize("seed", range(5))
def test_multiclass_metrics_equal_scikit_learns_on_repeated_rows(seed: int) -> None:
    truth, scores, predicted = several(seed)
    given = scores[np.arange(ROWS), truth]
    found = stats.weighted_metrics(
        [
            stats.Labels(truth, predicted, classes=4, binary=False),
            stats.Means({"log_loss": log_loss(given)}),
            stats.OneVersusRest(truth, scores),
        ],
        weights(seed),
    )
    for at, w in enumerate(weights(seed)):
        copies = np.repeat(np.arange(ROWS), w.astype(int))
        y, p, s = truth[copies], predicted[copies], scores[copies]
        expected = {
            "accuracy": sk.accuracy_score(y, p),
            "balanced_accuracy": sk.balanced_accuracy_score(y, p),
            "f1_macro": sk.f1_score(y, p, average="macro"),
            "log_loss": sk.log_loss(y, s, labels=range(4)),
            "roc_auc_ovr": sk.roc_auc_score(y, s, multi_class="ovr", labels=range(4)),
        }
        assert {name: values[at] for name, values in found.items()} == pytest.approx(
            expected, rel=1e-10
        )


@pytest.mark.parametrize("seed", range(5))
def test_regression_metrics_equal_scikit_learns_on_repeated_rows(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = 1e6 + random.normal(size=ROWS)
    predicted = truth + random.normal(size=ROWS).round(1)
    found = stats.weighted_metrics(
        [
            stats.Errors(truth, predicted),
            stats.MedianError(np.abs(predicted - truth)),
        ],
        weights(seed),
    )
    for at, w in enumerate(weights(seed)):
        copies = np.repeat(np.arange(ROWS), w.astype(int))
        y, p = truth[copies], predicted[copies]
        expected = {
            "r2": sk.r2_score(y, p),
            "rmse": sk.root_mean_squared_error(y, p),
            "mae": sk.mean_absolute_error(y, p),
            "mape": sk.mean_absolute_percentage_error(y, p),
            "median_absolute_error": sk.median_absolute_error(y, p),
        }
        assert {name: values[at] for name, values in found.items()} == pytest.approx(
            expected, rel=1e-8
        )


def test_they_agree_with_the_table_of_metrics_that_training_uses() -> None:
    ones = np.ones((1, ROWS))
    truth, scores, predicted = binary(1)
    found = stats.weighted_metrics(of_binary(truth, scores, predicted), ones)
    assert set(found) == set(names_for("binary"))
    for name, values in found.items():
        metric = METRICS[name]
        given = scores if metric.needs == "scores" else predicted
        assert values[0] == pytest.approx(metric.of(truth, given), rel=1e-10)
    truth, scores, predicted = several(1)
    found = stats.weighted_metrics(
        [
            stats.Labels(truth, predicted, classes=4, binary=False),
            stats.Means({"log_loss": log_loss(scores[np.arange(ROWS), truth])}),
            stats.OneVersusRest(truth, scores),
        ],
        ones,
    )
    assert set(found) == set(names_for("multiclass"))
    for name, values in found.items():
        metric = METRICS[name]
        given = scores if metric.needs == "scores" else predicted
        assert values[0] == pytest.approx(metric.of(truth, given), rel=1e-10)
    y, p = np.arange(1.0, ROWS + 1), np.arange(ROWS) * 1.1
    found = stats.weighted_metrics([stats.Errors(y, p), stats.MedianError(np.abs(y - p))], ones)
    assert set(found) == set(names_for("regression"))
    for name, values in found.items():
        assert values[0] == pytest.approx(METRICS[name].of(y, p), rel=1e-10)


def test_a_probability_of_zero_for_what_was_true_is_clipped_as_in_scikit_learn() -> None:
    truth, scores = np.array([1, 0, 1]), np.array([0.0, 1.0, 0.5])
    found = stats.weighted_metrics(of_binary(truth, scores, truth), np.ones((1, 3)))
    assert found["log_loss"][0] == pytest.approx(sk.log_loss(truth, scores))


def test_what_a_copy_does_not_define_is_nan() -> None:
    truth, scores, predicted = binary(0)
    only_negatives = (truth == 0).astype(float)[None, :]
    found = stats.weighted_metrics(of_binary(truth, scores, predicted), only_negatives)
    undefined = {name for name, values in found.items() if np.isnan(values[0])}
    assert undefined == {"roc_auc", "average_precision", "recall"}
    truth, scores, _ = several(0)
    without = (truth != 2).astype(float)[None, :]
    found = stats.weighted_metrics([stats.OneVersusRest(truth, scores)], without)
    assert np.isnan(found["roc_auc_ovr"][0])
    constant = np.zeros(ROWS)
    constant[:3] = 1
    y = np.where(np.arange(ROWS) < 3, 5.1, np.arange(ROWS))
    assert np.isnan(stats.weighted_metrics([stats.Errors(y, y + 1)], constant[None, :])["r2"][0])


def test_nothing_called_positive_is_a_precision_of_zero() -> None:
    truth, scores, _ = binary(0)
    nothing = np.zeros(ROWS, dtype=np.int64)
    found = stats.weighted_metrics(of_binary(truth, scores, nothing), np.ones((1, ROWS)))
    assert [found[name][0] for name in ("precision", "recall", "f1")] == [0, 0, 0]


def test_a_class_that_the_model_does_not_know_counts_as_wrong() -> None:
    truth, _, predicted = several(3)
    truth[:20] = 4
    found = stats.Labels(truth, predicted, classes=4, binary=False)(np.ones((1, ROWS)))
    assert found["accuracy"][0] == pytest.approx(sk.accuracy_score(truth, predicted))
    with np.errstate(all="ignore"):
        assert found["balanced_accuracy"][0] == pytest.approx(
            sk.recall_score(truth, predicted, average="macro", zero_division=0)
        )
        assert found["f1_macro"][0] == pytest.approx(
            sk.f1_score(truth, predicted, average="macro", zero_division=0)
        )


def test_mape_is_not_there_when_a_true_value_is_zero() -> None:
    y = np.array([0.0, 1.0, 2.0])
    assert "mape" not in stats.Errors(y, y + 1)(np.ones((1, 3)))
    assert "mape" in stats.Errors(y + 1, y)(np.ones((1, 3)))
