"""Curves: every threshold as scikit-learn counts it, and bins with Wilson's interval."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from penstock.metrics.curves import reliability, threshold_curve
from penstock.metrics.methods import wilson


def _scored(rows: int = 200) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    positive = random.random(rows) < 0.3
    return positive, np.clip(random.normal(0.3 + 0.3 * positive, 0.2), 0, 1).round(2)


def test_every_point_is_what_scikit_learn_counts_at_its_threshold() -> None:
    positive, scores = _scored()
    curve = threshold_curve(positive, scores)
    assert len(curve.threshold) == len(np.unique(scores)) + 1
    for at, threshold in enumerate(curve.threshold):
        called = scores >= threshold
        expected = {
            "recall": sk.recall_score(positive, called),
            "false_positive_rate": called[~positive].mean(),
            "f1": sk.f1_score(positive, called, zero_division=0),
            "f1_macro": sk.f1_score(positive, called, average="macro", zero_division=0),
            "accuracy": sk.accuracy_score(positive, called),
            "balanced_accuracy": sk.balanced_accuracy_score(positive, called),
            "predicted_positive": called.mean(),
        }
        found = {name: getattr(curve, name)[at] for name in expected}
        assert found == pytest.approx(expected, abs=1e-12)
        assert curve.index_of(float(threshold)) == at
    assert np.isnan(curve.precision[0])
    assert curve.precision[-1] == pytest.approx(positive.mean())


def test_a_thinned_curve_keeps_its_ends() -> None:
    random = np.random.default_rng(4)
    positive = random.random(5000) < 0.5
    thin = threshold_curve(positive, random.normal(positive)).thinned()
    assert len(thin.threshold) <= 200
    assert (thin.recall[0], thin.false_positive_rate[0]) == (0, 0)
    assert (thin.recall[-1], thin.false_positive_rate[-1]) == (1, 1)


def test_bins_hold_all_rows_and_have_wilsons_interval() -> None:
    positive, scores = _scored()
    bins = reliability(positive, scores)
    assert bins.rows.sum() == len(scores)
    assert (bins.start[1:] > bins.end[:-1]).all()
    inside = (scores >= bins.start[2]) & (scores <= bins.end[2])
    assert bins.observed[2] == pytest.approx(positive[inside].mean())
    ends = wilson(positive[inside].sum(), inside.sum(), confidence=0.95)
    assert (bins.low[2], bins.high[2]) == pytest.approx(ends)
