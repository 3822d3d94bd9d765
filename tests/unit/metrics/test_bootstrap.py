"""The bootstrap: exact replicates, honest coverage, pairing, bounded blocks."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from penstock.metrics import bootstrap as boot
from penstock.metrics.weighted import Labels, Means, Ranking


def test_every_resample_draws_as_many_rows_as_there_are() -> None:
    blocks = list(boot.resample_weights(37, resamples=500, seed=1))
    drawn = np.concatenate(blocks)
    assert drawn.shape == (500, 37)
    assert (drawn.sum(axis=1) == 37).all()
    # A row is left out with probability (1 - 1/n)^n.
    assert (drawn == 0).mean() == pytest.approx((1 - 1 / 37) ** 37, abs=0.01)


def test_the_seed_decides_and_the_block_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    first = np.concatenate(list(boot.resample_weights(50, resamples=20, seed=3)))
    monkeypatch.setattr(boot, "_BLOCK", 300)
    blocks = list(boot.resample_weights(50, resamples=20, seed=3))
    assert [len(block) for block in blocks] == [6, 6, 6, 2]
    assert (np.concatenate(blocks) == first).all()
    other = np.concatenate(list(boot.resample_weights(50, resamples=20, seed=4)))
    assert (other != first).any()


def test_blocks_stay_small_however_many_rows_there_are() -> None:
    for rows in (10, 1_000, 300_000):
        block = next(boot.resample_weights(rows, resamples=1000, seed=0))
        assert block.size <= max(boot._BLOCK, 4 * rows)


def test_replicates_are_what_scikit_learn_gives_on_the_drawn_rows() -> None:
    random = np.random.default_rng(0)
    positive = random.random(80) < 0.4
    scores = random.normal(positive).round(1)
    found = boot.replicate({"a": [Ranking(positive, scores)]}, rows=80, resamples=40, seed=9)["a"][
        "roc_auc"
    ]
    drawn = np.concatenate(list(boot.resample_weights(80, resamples=40, seed=9)))
    expected = [roc_auc_score(positive, scores, sample_weight=w) for w in drawn]
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.long
def test_intervals_hold_the_true_figure_about_as_often_as_they_say() -> None:
    random = np.random.default_rng(2)
    # Scores N(1, 1) against N(0, 1): the area is P(Z < 1 / sqrt 2).
    true_area, true_mean = 0.7602499389, 0.3
    held = {"roc_auc": 0, "loss": 0}
    trials = 400
    for trial in range(trials):
        positive = random.random(200) < 0.3
        scores = random.normal(positive)
        loss = (random.random(200) < true_mean).astype(float)
        found = boot.replicate(
            {"a": [Ranking(positive, scores), Means({"loss": loss})]},
            rows=200,
            resamples=200,
            seed=trial,
        )["a"]
        for metric, true in (("roc_auc", true_area), ("loss", true_mean)):
            interval = boot.percentile_interval(0, found[metric], confidence=0.9)
            held[metric] += interval.low <= true <= interval.high
    for count in held.values():
        # 90 % of 400, within three standard errors and the known shortfall at 200 rows.
        assert 0.84 <= count / trials <= 0.945


def test_a_difference_on_the_same_draws_is_sharper_than_two_intervals() -> None:
    random = np.random.default_rng(4)
    truth = (random.random(400) < 0.5).astype(np.int64)
    hard = random.random(400) < 0.2
    one = np.where(hard, 1 - truth, truth)
    other = one.copy()
    other[:8] = 1 - truth[:8]
    found = boot.replicate(
        {
            "one": [Labels(truth, one, classes=2, binary=True)],
            "other": [Labels(truth, other, classes=2, binary=True)],
        },
        rows=400,
        resamples=500,
        seed=0,
    )
    single = found["one"]["accuracy"].std()
    paired = (found["one"]["accuracy"] - found["other"]["accuracy"]).std()
    assert paired < 0.5 * single


def test_an_estimate_uses_the_defined_resamples() -> None:
    replicates = np.append(np.linspace(0, 1, 101), [np.nan] * 5)
    found = boot.percentile_interval(0.5, replicates, confidence=0.9)
    assert (found.low, found.high) == pytest.approx((0.05, 0.95))
