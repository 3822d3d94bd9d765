"""What a holdout says of rows that are left to people, on ten tables: seven real, three simulated.

A model learns from half of a table. The other half is the population: holdouts are drawn from it,
row by row and with replacement, so the true share and the true worth are known exactly. Each
holdout's intervals are made as the gate makes them. docs/human-review.md has what is printed for
a thousand holdouts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from needs import shared

from penstock.metrics.abstention import abstained, band_of
from penstock.metrics.bootstrap import percentile_interval, replicate
from penstock.metrics.methods import wilson
from penstock.metrics.weighted import Means

MISS, ALARM, REVIEW = 10.0, 2.0, 0.5
HOLDOUTS, ROWS, RESAMPLES = 100, 1_000, 400
CONFIDENCE = 0.95
Table = tuple[np.ndarray, np.ndarray]


def _adult() -> Table:
    import pandas as pd

    frame = pd.read_csv(shared("data") / "adult-train.csv", skipinitialspace=True).dropna()
    truth = frame.pop("income").str.startswith(">50K").to_numpy()
    return pd.get_dummies(frame.drop(columns="native-country")).to_numpy(float), truth


def _white_wine() -> Table:
    import pandas as pd

    frame = pd.read_csv(shared("data") / "winequality-white.csv")
    return frame.drop(columns="quality").to_numpy(float), (frame["quality"] >= 7).to_numpy()


def _bundled(name: str, positive: Callable[[np.ndarray], np.ndarray]) -> Callable[[], Table]:
    def load() -> Table:
        from sklearn import datasets

        rows, target = getattr(datasets, f"load_{name}")(return_X_y=True)
        return rows, positive(target)

    return load


def _simulated(**how: Any) -> Callable[[], Table]:
    def make() -> Table:
        from sklearn.datasets import make_classification

        rows, target = make_classification(20_000, random_state=5, **how)
        return rows, target == 1

    return make


TABLES: dict[str, Callable[[], Table]] = {
    "census income": _adult,
    "white wine": _white_wine,
    "breast cancer": _bundled("breast_cancer", lambda target: target == 0),
    "diabetes": _bundled("diabetes", lambda target: target > np.median(target)),
    "digits": _bundled("digits", lambda target: target >= 5),
    "iris": _bundled("iris", lambda target: target == 1),
    "wine cultivars": _bundled("wine", lambda target: target == 1),
    "simulated, balanced": _simulated(class_sep=0.5),
    "simulated, 5 % positive": _simulated(weights=[0.95], class_sep=0.7),
    "simulated, wrong labels": _simulated(flip_y=0.3),
}


def _scored(table: Table) -> Table:
    """Return probabilities and truth of the half that a model did not learn from."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows, truth = table
    order = np.random.default_rng(5).permutation(len(truth))
    half = len(order) // 2
    learned, kept = order[: min(half, 5_000)], order[half:]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2_000))
    model.fit(rows[learned], truth[learned])
    return model.predict_proba(rows[kept])[:, 1], truth[kept]


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", TABLES)
def test_intervals_of_a_holdout_hold_what_is_true_of_the_table(name: str) -> None:
    p, truth = _scored(TABLES[name]())
    band = band_of(miss=MISS, false_alarm=ALARM, review=REVIEW)
    called = p >= ALARM / (ALARM + MISS)
    alone = -np.where(truth & ~called, MISS, 0.0) - np.where(~truth & called, ALARM, 0.0)
    left = abstained(band, p)
    worth = np.where(left, -REVIEW, alone)
    draw = np.random.default_rng(7)
    held = within = 0
    for number in range(HOLDOUTS):
        rows = draw.integers(len(p), size=ROWS)
        low, high = wilson(int(left[rows].sum()), ROWS, confidence=CONFIDENCE)
        held += low <= left.mean() <= high
        drawn = replicate(
            {"all": [Means({"value": worth[rows]})]}, rows=ROWS, resamples=RESAMPLES, seed=number
        )
        found = percentile_interval(
            worth[rows].mean(), drawn["all"]["value"], confidence=CONFIDENCE
        )
        within += found.low <= worth.mean() <= found.high
    print(
        f"{name}: {len(p)} rows, {left.mean():.3f} left, worth of 1,000 {1000 * worth.mean():.0f} "
        f"with people, {1000 * alone.mean():.0f} without, {held} and {within} of {HOLDOUTS}"
    )
    # Of 100 at 95 %, fewer than 87 come with a chance below 1 in 1,000.
    assert min(held, within) >= 87
