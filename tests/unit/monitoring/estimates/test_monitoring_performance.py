"""Performance without labels, with labels, and what the one teaches of the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from penstock.errors import InputError
from penstock.metrics.predictions import Predictions
from penstock.metrics.score_bins import score_bins, score_edges
from penstock.metrics.weighted import compute
from penstock.monitoring.estimates.concept import NORMAL, Concept, agreement, learn
from penstock.monitoring.estimates.estimates import Estimated, NotEstimated, Realized
from penstock.monitoring.estimates.expected_metrics import (
    BINARY,
    MULTICLASS,
    Unlabelled,
    UnlabelledClasses,
)
from penstock.monitoring.estimates.performance import estimate, loss_of, predictions_of, realized
from penstock.records.baseline import Baseline, ErrorBins, ScoreBins

Rows = tuple[np.ndarray, np.ndarray]


def binary_rows(rng: np.random.Generator, rows: int, *, shift: float = 0.0) -> Rows:
    """Scores of a model that overstates, and the truth: P(1) = 0.1 + 0.7 score."""
    scores = rng.beta(1.5 + shift, 2.0, size=rows)
    return scores, (rng.random(rows) < 0.1 + 0.7 * scores).astype(np.int64)


def binary_baseline(rng: np.random.Generator, rows: int = 20_000, **changes: Any) -> Baseline:
    scores, truth = binary_rows(rng, rows)
    bins = score_bins(scores, truth == 1, score_edges(scores, truth == 1, threshold=0.5))
    fields: dict[str, Any] = {
        "task": "binary",
        "target": "y",
        "metric": "accuracy",
        "model": "sha256:0",
        "dataset": "rows1:0",
        "rows": rows,
        "classes": ("no", "yes"),
        "threshold": 0.5,
        "scores": (bins,),
        "losses": {},
    }
    return Baseline(**(fields | changes))


def class_rows(rng: np.random.Generator, rows: int, *, shift: float = 0.0) -> Rows:
    """Scores of three classes, too sure of themselves, and the truth."""
    logits = rng.normal(size=(rows, 3)) * (1.5 + shift)
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    stated = np.exp(1.4 * logits) / np.exp(1.4 * logits).sum(axis=1, keepdims=True)
    truth = (rng.random((rows, 1)) > true.cumsum(axis=1)).sum(axis=1)
    return stated, np.minimum(truth, 2)


def class_baseline(rng: np.random.Generator, rows: int = 20_000) -> Baseline:
    scores, truth = class_rows(rng, rows)
    surest, right = scores.max(axis=1), scores.argmax(axis=1) == truth

    def of(column: np.ndarray, hits: np.ndarray) -> Any:
        return score_bins(column, hits, score_edges(column, hits))

    return Baseline(
        task="multiclass",
        target="y",
        metric="accuracy",
        model="sha256:0",
        dataset="rows1:0",
        rows=rows,
        classes=("a", "b", "c"),
        scores=tuple(of(scores[:, k], truth == k) for k in range(3)),
        predicted=of(surest, right),
        losses={},
    )


def number_rows(rng: np.random.Generator, rows: int, *, shift: float = 0.0) -> Rows:
    """Predicted values whose errors grow with them, and the truth."""
    scores = rng.uniform(1, 5, size=rows) ** (1 + shift)
    return scores, scores + rng.normal(size=rows) * scores / 4


def number_baseline(rng: np.random.Generator, rows: int = 20_000) -> Baseline:
    scores, truth = number_rows(rng, rows)
    edges = score_edges(scores, None)
    places = np.searchsorted(edges, scores)
    error = np.abs(truth - scores)
    sums = [tuple(np.bincount(places, weights=error**p).tolist()) for p in (1, 2, 4)]
    return Baseline(
        task="regression",
        target="y",
        metric="rmse",
        model="sha256:0",
        dataset="rows1:0",
        rows=rows,
        scores=(score_bins(scores, None, edges),),
        errors=ErrorBins(absolute=sums[0], squared=sums[1], fourth=sums[2]),
        losses={},
    )


def named(truth: np.ndarray, baseline: Baseline) -> list[Any]:
    return [baseline.classes[code] for code in truth] if baseline.classes else truth.tolist()


def estimated(scores: np.ndarray, baseline: Baseline, metric: str, **given: Any) -> Estimated:
    found = estimate(scores, baseline=baseline, metric=metric, **given)
    assert isinstance(found, Estimated), found
    return found


def measured(scores: np.ndarray, truth: np.ndarray, baseline: Baseline, metric: str) -> Realized:
    found = realized(scores, named(truth, baseline), baseline=baseline, metric=metric)
    assert isinstance(found, Realized), found
    return found


def test_an_estimate_is_what_labels_give_and_so_is_its_interval() -> None:
    """Over windows of other inputs, and of a model whose scores are not probabilities."""
    rng = np.random.default_rng(3)
    inside: dict[str, list[bool]] = {metric: [] for metric in BINARY}
    off: dict[str, list[float]] = {metric: [] for metric in BINARY}
    for _ in range(12):
        baseline = binary_baseline(rng)
        for shift in (0.0, 1.0, -0.7) * 4:
            scores, truth = binary_rows(rng, 500, shift=shift)
            codes = (scores >= 0.5).astype(np.int64)
            values = compute(Predictions("binary", truth, scores, codes, 2))
            for metric in BINARY:
                found = estimated(scores, baseline, metric)
                inside[metric].append(found.low <= values[metric] <= found.high)
                off[metric].append((values[metric] - found.value) / found.error)
    for metric in BINARY:
        assert np.mean(inside[metric]) >= 0.9, metric
        assert abs(np.mean(off[metric])) < 0.35, metric
        assert 0.85 < np.std(off[metric]) < 1.15, metric


@pytest.mark.parametrize("metric", ["accuracy", *MULTICLASS])
def test_of_more_classes_too(metric: str) -> None:
    rng = np.random.default_rng(4)
    baseline = class_baseline(rng)
    off = []
    for window in range(60):
        scores, truth = class_rows(rng, 500, shift=[0.0, 0.5, -0.5][window % 3])
        found = estimated(scores, baseline, metric)
        value = compute(Predictions("multiclass", truth, scores, scores.argmax(axis=1), 3))[metric]
        off.append((value - found.value) / found.error)
    assert np.mean(np.abs(off) < NORMAL) >= 0.85
    assert abs(np.mean(off)) < 0.6


def test_an_estimate_follows_the_inputs_where_a_constant_does_not() -> None:
    rng = np.random.default_rng(5)
    baseline = binary_baseline(rng)
    scores, truth = binary_rows(rng, 20_000, shift=2.0)
    then = measured(*binary_rows(rng, 20_000), baseline, "accuracy").value
    now = measured(scores, truth, baseline, "accuracy").value
    found = estimated(scores, baseline, "accuracy")
    assert abs(now - then) > 0.03
    assert abs(now - found.value) < min(3 * found.error, 0.4 * abs(now - then))


@pytest.mark.parametrize("metric", BINARY)
def test_the_gradient_is_the_slope(metric: str) -> None:
    rng = np.random.default_rng(6)
    scores = rng.random(200).round(2)
    probability = rng.random(200)
    of = Unlabelled(probability, scores >= 0.5, scores)
    found = BINARY[metric](of)
    for row in (0, 7, 100):
        moved = probability.copy()
        moved[row] += 1e-6
        after = BINARY[metric](Unlabelled(moved, of.flagged, scores)).value
        slope = (after - found.value) / 1e-6 * 200
        assert slope == pytest.approx(found.gradient[row], rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("metric", MULTICLASS)
def test_and_of_more_classes(metric: str) -> None:
    rng = np.random.default_rng(7)
    scores, probability = rng.dirichlet(np.ones(3), 100), rng.dirichlet(np.ones(3), 100)
    predicted = scores.argmax(axis=1)
    found = MULTICLASS[metric](UnlabelledClasses(probability, predicted, scores))
    for row, code in ((0, 0), (5, 2)):
        moved = probability.copy()
        moved[row, code] += 1e-6
        after = MULTICLASS[metric](UnlabelledClasses(moved, predicted, scores)).value
        slope = (after - found.value) / 1e-6 * 100
        assert slope == pytest.approx(found.gradient[row, code], rel=1e-3, abs=1e-5)


def windows(
    rng: np.random.Generator, baseline: Baseline, metric: str, offsets: list[float]
) -> tuple[Concept | None, list[bool]]:
    """Learn from windows in which a share of the labels, drawn anew, is another than it was."""
    concept: Concept | None = None
    withdrawn = []
    for offset in offsets:
        scores, truth = binary_rows(rng, 1000)
        wrong = rng.random(1000) < offset
        truth = np.where(wrong, 1 - truth, truth)
        before = estimated(scores, baseline, metric, concept=concept, to_compare=True)
        concept = learn(
            concept,
            metric=metric,
            estimated=before,
            realized=measured(scores, truth, baseline, metric),
        )
        withdrawn.append(concept.of(metric).withdrawn)
    return concept, withdrawn


def test_without_labels_the_interval_says_what_it_lacks() -> None:
    rng = np.random.default_rng(8)
    baseline = binary_baseline(rng)
    scores, _ = binary_rows(rng, 500)
    assert estimated(scores, baseline, "accuracy").note.startswith("No labels have come yet")
    concept, _ = windows(rng, baseline, "accuracy", [0.0])
    assert estimated(scores, baseline, "accuracy", concept=concept).note == ""


def test_a_concept_that_wanders_widens_the_interval_and_a_steady_one_does_not() -> None:
    rng = np.random.default_rng(9)
    baseline = binary_baseline(rng)
    scores, _ = binary_rows(rng, 1000)
    plain = estimated(scores, baseline, "accuracy")
    steady, _ = windows(rng, baseline, "accuracy", [0.0] * 40)
    wandering, _ = windows(rng, baseline, "accuracy", rng.uniform(0, 0.12, 40).tolist())
    widths = [
        one.high - one.low
        for one in (
            plain,
            estimated(scores, baseline, "accuracy", concept=steady),
            estimated(scores, baseline, "accuracy", concept=wandering),
        )
    ]
    assert widths[1] < 1.25 * widths[0]
    assert widths[2] > 1.3 * widths[0]


def test_labels_that_come_in_small_parts_do_not_widen_the_estimate_of_many_rows() -> None:
    rng = np.random.default_rng(21)
    baseline = binary_baseline(rng)
    scores, _ = binary_rows(rng, 20_000)
    widths = []
    concept: Concept | None = None
    for parts in ([2000] * 10, [40] * 60):
        for rows in parts:
            some, truth = binary_rows(rng, rows)
            concept = learn(
                concept,
                metric="accuracy",
                estimated=estimated(some, baseline, "accuracy", concept=concept),
                realized=measured(some, truth, baseline, "accuracy"),
            )
        one = estimated(scores, baseline, "accuracy", concept=concept)
        widths.append(one.high - one.low)
    assert widths[1] < 1.3 * widths[0]


def test_a_changed_concept_withdraws_the_estimate_and_an_old_one_returned_gives_it_back() -> None:
    rng = np.random.default_rng(10)
    baseline = binary_baseline(rng)
    concept, withdrawn = windows(rng, baseline, "accuracy", [0.0] * 20 + [0.5] * 4)
    assert not any(withdrawn[:22])
    assert withdrawn[-1]
    scores, _ = binary_rows(rng, 500)
    found = estimate(scores, baseline=baseline, metric="accuracy", concept=concept)
    assert isinstance(found, NotEstimated)
    assert "withdrawn: labels disagree with it more often" in found.reason
    # Another metric, of which nothing was learned, stands for itself.
    assert isinstance(estimate(scores, baseline=baseline, metric="f1", concept=concept), Estimated)
    _, again = windows(rng, baseline, "accuracy", [0.0] * 20 + [0.5] * 4 + [0.0] * 12)
    assert again[23]
    assert not again[-1]


def test_a_steady_concept_is_not_withdrawn() -> None:
    rng = np.random.default_rng(11)
    baseline = binary_baseline(rng)
    concept, withdrawn = windows(rng, baseline, "accuracy", [0.0] * 150)
    assert not any(withdrawn)
    assert concept is not None
    assert concept.of("accuracy").misses <= 0.1 * 150


def test_the_state_is_json_and_learning_is_pure() -> None:
    rng = np.random.default_rng(12)
    baseline = binary_baseline(rng)
    concept, _ = windows(rng, baseline, "accuracy", [0.0, 0.3, 0.0])
    assert concept is not None
    assert Concept.model_validate_json(concept.model_dump_json()) == concept
    scores, truth = binary_rows(rng, 500)
    given: dict[str, Any] = {
        "metric": "accuracy",
        "estimated": estimated(scores, baseline, "accuracy", concept=concept),
        "realized": measured(scores, truth, baseline, "accuracy"),
    }
    assert learn(concept, **given) == learn(concept, **given)


def test_agreement_says_the_figures() -> None:
    one = Estimated(0.8, 0.75, 0.85, "", "", 0.02, 100)
    far = Realized(0.7, 0.6, 0.8, 1234, {})
    found = agreement("accuracy", one, far)
    assert not found.agrees
    assert found.sentence == (
        "By the labels of 1,234 rows accuracy is 0.7, outside of 0.75 to 0.85, which was estimated "
        "without them."
    )
    assert agreement("accuracy", one, Realized(0.84, 0.8, 0.9, 10, {})).agrees


def test_a_regression_is_estimated_once_labels_have_shown_how_far_off() -> None:
    rng = np.random.default_rng(13)
    baseline = number_baseline(rng)
    scores, truth = number_rows(rng, 2000, shift=-0.3)
    now = measured(scores, truth, baseline, "rmse")
    before = estimate(scores, baseline=baseline, metric="rmse")
    assert isinstance(before, NotEstimated)
    assert "those of 5 more windows are needed" in before.reason
    concept = None
    for _ in range(5):
        earlier, known = number_rows(rng, 2000)
        concept = learn(
            concept,
            metric="rmse",
            estimated=estimated(earlier, baseline, "rmse", concept=concept, to_compare=True),
            realized=measured(earlier, known, baseline, "rmse"),
        )
    after = estimated(scores, baseline, "rmse", concept=concept)
    assert after.low <= now.value <= after.high
    then = measured(*number_rows(rng, 20_000), baseline, "rmse").value
    assert abs(after.value - now.value) < 0.3 * abs(then - now.value)


@pytest.mark.parametrize("metric", ["r2", "median_absolute_error", "mape"])
def test_what_cannot_follow_is_not_estimated(metric: str) -> None:
    rng = np.random.default_rng(14)
    found = estimate(number_rows(rng, 100)[0], baseline=number_baseline(rng, 1000), metric=metric)
    assert isinstance(found, NotEstimated)
    assert found.reason.startswith(f"{metric} cannot be estimated without labels")


def test_predictions_outside_the_holdouts_have_no_known_errors() -> None:
    rng = np.random.default_rng(15)
    concept = Concept.model_validate({"metrics": {"mae": {"windows": 9}}})
    baseline = number_baseline(rng)
    far = number_rows(rng, 500)[0] + 2
    found = estimate(far, baseline=baseline, metric="mae", concept=concept)
    assert isinstance(found, NotEstimated)
    assert "of the predictions lie outside of the holdout's range" in found.reason


def test_too_few_rows_or_positives_are_said() -> None:
    rng = np.random.default_rng(16)
    baseline = binary_baseline(rng)
    few = estimate(binary_rows(rng, 29)[0], baseline=baseline, metric="accuracy")
    assert few == NotEstimated("29 rows are too few; 30 are needed.")
    found = estimate(np.full(100, 0.02), baseline=baseline, metric="recall")
    assert isinstance(found, NotEstimated)
    assert found.reason.startswith("recall rests on positive rows, and about 1")
    none = estimate(np.full(100, 0.02), baseline=baseline, metric="precision")
    assert isinstance(none, NotEstimated)
    assert "predicted positive rows, and about 0 are expected" in none.reason


def test_wrong_input_is_refused() -> None:
    rng = np.random.default_rng(17)
    baseline = binary_baseline(rng, 500)
    scores, truth = binary_rows(rng, 100)
    with pytest.raises(InputError, match="'rmse' is not a metric of a binary model"):
        estimate(scores, baseline=baseline, metric="rmse")
    with pytest.raises(InputError, match="shape"):
        estimate(scores[:, None], baseline=baseline, metric="accuracy")
    with pytest.raises(InputError, match="not finite"):
        estimate(np.append(scores, np.nan), baseline=baseline, metric="accuracy")
    with pytest.raises(InputError, match="100 scores but 99 labels"):
        realized(scores, named(truth[1:], baseline), baseline=baseline, metric="accuracy")
    with pytest.raises(InputError, match="a label is missing"):
        realized(scores[:2], ["no", None], baseline=baseline, metric="accuracy")
    with pytest.raises(InputError, match="none of the 2 labels, such as '1', is a class"):
        realized(scores[:2], ["1", "0"], baseline=baseline, metric="accuracy")
    with pytest.raises(InputError, match=r"scores from 1\.5 to 1\.5 are no probabilities"):
        estimate(np.full(40, 1.5), baseline=baseline, metric="accuracy")
    numbers = number_baseline(rng, 500)
    for label, words in (("x", "no number"), (float("inf"), "not a finite number")):
        with pytest.raises(InputError, match=words):
            realized(np.ones(1), [label], baseline=numbers, metric="mae")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rows": (1, 0)}, "at least one row"),
        ({"sums": (1.0,)}, "every bin has an edge"),
        ({"hits": (1,)}, "every bin has an edge"),
        ({"edges": (1.0, 0.5)}, "edges rise"),
    ],
)
def test_bins_that_are_not_whole_are_refused(changes: dict[str, Any], words: str) -> None:
    fields = {"edges": (0.5, 1.0), "rows": (1, 1), "sums": (0.2, 0.8), "hits": (0, 1)}
    with pytest.raises(ValueError, match=words):
        ScoreBins(**(fields | changes))


def test_labels_of_a_class_that_the_model_does_not_know_are_wrong() -> None:
    rng = np.random.default_rng(18)
    baseline = binary_baseline(rng, 500)
    scores, truth = binary_rows(rng, 100)
    labels = [*named(truth, baseline)[:99], "perhaps"]
    assert predictions_of(scores, labels, baseline=baseline).truth[-1] == 2
    found = realized(scores, labels, baseline=baseline, metric="accuracy")
    assert isinstance(found, Realized)
    assert found.losses["error"][-1] == 1
    assert found.value == pytest.approx(1 - found.losses["error"].mean())


def test_no_labels_and_too_few_of_a_class() -> None:
    rng = np.random.default_rng(19)
    baseline = binary_baseline(rng, 500)
    assert realized(np.empty(0), [], baseline=baseline, metric="accuracy") == NotEstimated(
        "No row has a label."
    )
    scores = rng.random(60)
    found = realized(scores, ["no"] * 60, baseline=baseline, metric="roc_auc")
    assert found == NotEstimated("The 60 rows with labels do not define roc_auc.")


def test_the_loss_that_is_watched_is_bounded_where_one_is() -> None:
    rng = np.random.default_rng(20)
    assert loss_of(binary_baseline(rng, 500)) == "error"
    assert loss_of(binary_baseline(rng, 500, metric="roc_auc")) == "brier"
    assert loss_of(class_baseline(rng, 500)) == "error"
    assert loss_of(number_baseline(rng, 500)) == "squared_error"


@pytest.mark.parametrize("metric", ["rmse", "mae"])
def test_a_label_beyond_all_measure_is_a_sentence(metric: str) -> None:
    rng = np.random.default_rng(17)
    baseline = number_baseline(rng)
    scores, truth = number_rows(rng, 500)
    truth[0] = 1e308
    found = realized(scores, truth.tolist(), baseline=baseline, metric=metric)
    assert isinstance(found, NotEstimated)
    scores[0] = -1e308
    found = realized(scores, truth.tolist(), baseline=baseline, metric=metric)
    assert isinstance(found, NotEstimated)
    estimated(scores, baseline, metric, to_compare=True)
