"""Intervals: published figures, other libraries, and how often they hold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from penstock.metrics import METRICS, comparisons, influence, intervals, methods
from penstock.metrics import weighted as statistics
from penstock.metrics.predictions import Predictions
from penstock.metrics.weighted import compute
from penstock.records.estimate import Estimate

ROWS = 300


def classes(seed: int, *, rows: int = ROWS, shift: float = 1.2, share: float = 0.3):
    """Return whether each row is positive, and scores with ties."""
    random = np.random.default_rng(seed)
    positive = random.random(rows) < share
    return positive, random.normal(positive * shift).round(1)


def predictions(truth: np.ndarray, scores: np.ndarray) -> Predictions:
    return Predictions(
        task="binary",
        truth=truth.astype(np.int64),
        scores=scores,
        predicted=(scores >= 0.5).astype(np.int64),
        classes=2,
    )


def numeric(statistic: statistics.Statistic, row: int, rows: int) -> dict[str, float]:
    """Return the influence of a row by giving it a little more weight."""
    step = 1e-5
    weights = np.ones((2, rows))
    weights[1, row] += step
    return {name: (v[1] - v[0]) / step * rows for name, v in statistic(weights).items()}


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_influences_are_what_a_little_more_weight_does() -> None:
    positive, scores = classes(1)
    truth, predicted = positive.astype(np.int64), (scores > 0.6).astype(np.int64)
    labels = statistics.Labels(truth, predicted, classes=2, binary=True)
    table = np.bincount(truth * 2 + predicted, minlength=6).reshape(3, 2).astype(float)
    found = influence.ranking(positive, scores) | {
        "precision": influence.precision(truth, predicted),
        "f1": influence.f1(truth, predicted),
        "f1_macro": influence.f1_macro(table)[truth, predicted],
    }
    ranking = statistics.Ranking(positive, scores)
    for row in range(0, ROWS, 7):
        expected = numeric(ranking, row, ROWS) | numeric(labels, row, ROWS)
        for name, values in found.items():
            assert values[row] == pytest.approx(expected[name], abs=2e-3), name
    for values in found.values():
        assert values.mean() == pytest.approx(0, abs=1e-12)


def test_influences_on_a_regression_are_what_a_little_more_weight_does() -> None:
    random = np.random.default_rng(2)
    truth = random.normal(5, 1, ROWS)
    predicted = truth + random.normal(size=ROWS)
    found = influence.regression(truth, predicted)
    for row in range(0, ROWS, 7):
        for name, expected in numeric(statistics.Errors(truth, predicted), row, ROWS).items():
            assert found[name][row] == pytest.approx(expected, abs=2e-3), name


def test_tangos_interval_is_the_published_one() -> None:
    # Airway hyper-responsiveness (Bentur et al. 2009; Fagerland, Lydersen and Laake 2014, table
    # III): of 21 children 1 had it only before and 7 only after; -0.286 (-0.517 to -0.026).
    low, high = methods.tango(1, 7, 21, confidence=0.95)
    assert (low, high) == pytest.approx((-0.517, -0.026), abs=5e-4)
    assert methods.tango(7, 1, 21, confidence=0.95) == pytest.approx((-high, -low))


def test_two_that_never_differ_have_a_width_of_z_squared() -> None:
    z = stats.norm.ppf(0.975)
    low, high = methods.tango(0, 0, 50, confidence=0.95)
    assert (low, high) == pytest.approx((-(z**2) / (50 + z**2), z**2 / (50 + z**2)))
    assert methods.tango(50, 0, 50, confidence=0.95)[1] == 1
    assert methods.tango(0, 50, 50, confidence=0.95)[0] == -1


def test_wilsons_interval_is_the_published_one() -> None:
    # Newcombe 1998, table I: 81 of 263.
    assert methods.wilson(81, 263, confidence=0.95) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert methods.wilson(0, 0, confidence=0.95) == (0, 1)
    assert methods.wilson(30, 30, confidence=0.95)[0] < 0.9


def test_the_exact_test_of_equal_shares() -> None:
    assert methods.mcnemar(1, 7) == pytest.approx(2 * (1 + 8) / 2**8)
    assert methods.mcnemar(0, 0) == 1


def test_delongs_standard_error_is_that_of_scipys_brunner_munzel_test() -> None:
    positive, scores = classes(3)
    area = roc_auc_score(positive, scores)
    found = stats.brunnermunzel(scores[~positive], scores[positive])
    theirs = (area - 0.5) / abs(found.statistic)
    ours, _ = methods.standard_error(influence.ranking(positive, scores)["roc_auc"])
    # The two differ in dividing by n or by n - 1 within the classes.
    assert ours == pytest.approx(theirs, rel=0.01)


def test_a_sum_of_independent_shares_is_newcombes_square_and_add() -> None:
    # Newcombe 1998, method 10 for unpaired shares: 56 of 70 and 48 of 80 differ by
    # 0.2 (0.0524 to 0.3339).
    one, other = (
        Estimate(value=hits / trials, low=low, high=high)
        for hits, trials in ((56, 70), (48, 80))
        for low, high in [methods.wilson(hits, trials, confidence=0.95)]
    )
    found = methods.mover_difference(one, other, correlation=0)
    assert found == pytest.approx((0.0524, 0.3339), abs=5e-5)
    closer = methods.mover_difference(one, other, correlation=0.8)
    assert found[0] < closer[0] < 0.2 < closer[1] < found[1]


def test_a_medians_interval_is_that_of_its_order_statistics() -> None:
    values = np.random.default_rng(4).permutation(np.arange(1.0, 11.0))
    # Of 10 rows the 2nd and the 9th hold the median with probability 1 - 2 * 11 / 1024.
    assert methods.median(values, confidence=0.95) == (2, 9)


def test_f1_of_classes_that_are_taken_for_one_another_is_correlated() -> None:
    table = np.array([[30.0, 5, 2], [4, 20, 6], [3, 1, 9], [0, 0, 0]])
    truth, predicted = np.unravel_index(np.arange(9), (3, 3))
    weights = table[:3].ravel() / table.sum()
    sizes = (table.sum(axis=1)[:3] + table.sum(axis=0)) / table.sum()
    scores = 2 * np.diagonal(table) / table.sum() / sizes
    effects = np.array(
        [
            (
                2 * ((truth == k) & (predicted == k))
                - scores[k] * ((truth == k) * 1 + (predicted == k))
            )
            / sizes[k]
            for k in range(3)
        ]
    )
    covariance = (effects * weights) @ effects.T
    deviation = np.sqrt(np.diagonal(covariance))
    assert influence.f1_correlation(table) == pytest.approx(
        covariance / np.outer(deviation, deviation)
    )


def test_a_skewed_mean_is_corrected_towards_its_long_tail() -> None:
    values = np.random.default_rng(5).exponential(size=40)
    plain = methods.delta_method(values.mean(), influence.mean(values), confidence=0.95)
    bent = methods.delta_method(
        values.mean(), influence.mean(values), confidence=0.95, skewness=True
    )
    assert plain[0] < bent[0] < values.mean() < plain[1] < bent[1]


def test_few_rows_that_carry_all_leave_few_degrees_of_freedom() -> None:
    even = np.random.default_rng(6).normal(size=1000)
    _, many = methods.standard_error(even)
    assert 800 < many < 1200
    alone = np.where(np.arange(1000) < 10, even * 100, even)
    _, few = methods.standard_error(alone)
    assert few < 20


@pytest.mark.long
@pytest.mark.parametrize(
    ("share", "rows"),
    [pytest.param(0.5, 200, id="balanced"), pytest.param(0.05, 600, id="few positives")],
)
def test_intervals_hold_the_true_figure_about_as_often_as_they_say(share: float, rows: int) -> None:
    """`make bench-gate` measures this for every metric and size; here, that nothing broke."""
    random = np.random.default_rng(7)
    trials, held = 300, {}

    def draw(count: int) -> tuple[Predictions, Predictions]:
        positive = random.random(count) < share
        common = random.normal(positive * 1.5, 0.9)
        pair = (1 / (1 + np.exp(-(common + random.normal(0, 0.4, count)))) for _ in range(2))
        one, other = (predictions(positive, scores) for scores in pair)
        return one, other

    true = compute(draw(400_000)[0])
    for _ in range(trials):
        pair = draw(rows)
        if intervals.too_few_rows(pair[0]):
            continue
        measured = [intervals.estimate_metrics(of, compute(of), confidence=0.9) for of in pair]
        for metric, of in measured[0].items():
            estimate = of.estimate
            apart = comparisons.paired_difference(
                metric, *(one[metric] for one in measured), confidence=0.9
            ).estimate
            held.setdefault(metric, []).append(estimate.low <= true[metric] <= estimate.high)
            # Both models are equally good.
            held.setdefault(f"{metric} apart", []).append(apart.low <= 0 <= apart.high)
    assert len(held) == 20
    for metric, hits in held.items():
        # 90 %, less three standard errors of 300 trials and half a point of the 400,000 rows.
        assert np.mean(hits) > 0.9 - 0.06, metric


def test_nothing_flagged_is_a_precision_of_zero_without_a_claim() -> None:
    positive, _ = classes(8)
    given = predictions(positive, np.full(ROWS, 0.2))
    found = intervals.estimate_metrics(given, compute(given), confidence=0.95)
    assert (found["precision"].estimate.low, found["precision"].estimate.high) == (0, 0)
    # One answer to all rows ranks nothing, whatever rows come.
    area = found["roc_auc"].estimate
    assert (area.value, area.low, area.high) == (0.5, 0.5, 0.5)
    assert found["f1"].estimate.high > 0


def test_the_tables_name_a_method_and_its_source_for_every_metric_in_its_order() -> None:
    for table in (intervals.METHODS, comparisons.METHODS):
        assert list(table) == list(METRICS)
        assert all(method.name and method.source for method in table.values())
