"""The tests of slices on arrays: right in the tails, and within the family-wise level."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from penstock.metrics.slice_tests import compare_slices, holm, p_lost_more


def test_a_floor_on_a_share_is_the_exact_binomial_tail() -> None:
    wrong = np.repeat([1.0, 0.0, 1.0, 0.0], [30, 70, 2, 18])
    codes = np.repeat([0, 0, 1, 1], [30, 70, 2, 18])
    found = compare_slices(codes, wrong, slices=2, form="share", bound=0.2)
    assert found.rows.tolist() == [100, 20]
    expected = [stats.binom.sf(29, 100, 0.2), stats.binom.sf(1, 20, 0.2)]
    assert found.p_floor == pytest.approx(expected)


def test_without_a_margin_it_is_the_exact_sign_test() -> None:
    p = p_lost_more(np.array([15.0, 0.0]), np.array([4.0, 0.0]), np.array([200, 200]), margin=0.0)
    assert p[0] == pytest.approx(stats.binomtest(15, 19, alternative="greater").pvalue)
    assert p[1] == 1.0


@pytest.mark.parametrize(("lost", "won"), [(12, 0), (16, 2), (25, 9), (30, 6)])
def test_with_a_margin_the_tail_is_that_of_the_difference_of_counts(lost: int, won: int) -> None:
    rows, margin = 100, 0.05
    found = p_lost_more(
        np.array([float(lost)]), np.array([float(won)]), np.array([rows]), margin=margin
    )
    # The likeliest share of rows that only the champion gets wrong, on a fine grid.
    share = np.linspace(1e-9, 0.4, 200_001)
    fit = lost * np.log(share + margin) + won * np.log(share)
    fit += (rows - lost - won) * np.log(1 - 2 * share - margin)
    q = share[fit.argmax()]
    step = np.array([q, 1 - 2 * q - margin, q + margin])
    tail = np.ones(1)
    for _ in range(rows):
        tail = np.convolve(tail, step)
    exact = tail[rows + lost - won :].sum()
    assert exact < 0.05
    assert found[0] == pytest.approx(exact, rel=0.05)


def test_a_mean_is_tested_and_its_interval_agrees_with_the_test() -> None:
    random = np.random.default_rng(0)
    loss = random.lognormal(size=400)
    codes = np.zeros(400, dtype=int)
    found = compare_slices(codes, loss, slices=1, bound=float(loss.mean()))
    assert found.p_floor[0] == pytest.approx(0.5, abs=0.06)
    value, low, high = (end[0] for end in found.loss)
    assert low < value < high
    # A mean of what is skewed to the right may lie further above than below.
    assert high - value > value - low
    at = compare_slices(codes, loss, slices=1, bound=float(low))
    assert at.p_floor[0] <= 0.07
    assert compare_slices(codes, loss, slices=1, bound=0.9 * float(low)).p_floor[0] < 0.01


def test_equal_models_are_never_told_apart() -> None:
    loss = np.random.default_rng(0).random(300)
    for form in ("mean", "root"):
        found = compare_slices(
            np.arange(300) % 3, loss, slices=3, champion=loss, form=form, margin=0.0
        )
        assert found.p_worse.tolist() == [1.0] * 3
        assert np.abs(found.difference).max() < 1e-12


def test_holm_is_holm() -> None:
    p = np.array([0.01, 0.04, 0.03, 0.005])
    assert holm(p)[0] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    # A few that were named are not drowned by many that were searched.
    named, found = holm(np.array([0.004]), np.linspace(0.1, 1, 1000))
    assert named[0] == pytest.approx(0.008)
    assert found.min() == 1.0
    assert [len(one) for one in holm(np.array([]), p)] == [0, 4]
    assert holm(np.array([]), p)[1] == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize("form", [pytest.param("share", marks=pytest.mark.long), "mean"])
def test_looking_at_many_slices_does_not_raise_the_rate_of_false_alarms(form) -> None:
    random = np.random.default_rng(5)
    slices, rows, worlds, margin = 40, 120, 400, 0.05
    codes = np.repeat(np.arange(slices), rows)
    alarms, plain = 0, 0
    for _ in range(worlds):
        if form == "share":
            kind = random.choice(3, len(codes), p=[0.15, 0.1, 0.75])
            ours, theirs = (kind == 0).astype(float), (kind == 1).astype(float)
            bound = 0.15
        else:
            ours, theirs = random.exponential(size=(2, len(codes)))
            ours += margin
            bound = 1 + margin
        found = compare_slices(
            codes, ours, slices=slices, champion=theirs, form=form, bound=bound, margin=margin
        )
        family = np.concatenate([found.p_floor, found.p_worse])
        alarms += bool(holm(family)[0].min() <= 0.05)
        plain += bool(family.min() <= 0.05)
    # Every null hypothesis is true, and just so. Three standard errors over the level.
    assert alarms / worlds <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / worlds)
    assert plain / worlds > 0.6


def test_one_bad_slice_among_many_is_found() -> None:
    random = np.random.default_rng(6)
    codes = np.repeat(np.arange(200), 150)
    ours = (random.random(len(codes)) < np.where(codes == 17, 0.45, 0.1)).astype(float)
    theirs = (random.random(len(codes)) < 0.1).astype(float)
    found = compare_slices(codes, ours, slices=200, champion=theirs, form="share", margin=0.05)
    adjusted = holm(found.p_worse)[0]
    assert np.flatnonzero(adjusted <= 0.05).tolist() == [17]
    value, low, high = (end[17] for end in found.difference)
    assert 0.2 < low < value < high < 0.5


@pytest.mark.parametrize("rows", [100, 1000])
def test_intervals_hold_the_truth_as_often_as_they_say(rows) -> None:
    random = np.random.default_rng(7)
    worlds = 2000
    codes = np.repeat(np.arange(worlds), rows)
    kind = random.choice(3, len(codes), p=[0.12, 0.05, 0.83])
    ours, theirs = (kind == 0).astype(float), (kind == 1).astype(float)
    share = compare_slices(codes, ours, slices=worlds, champion=theirs, form="share")
    skewed = random.exponential(size=len(codes))
    mean = compare_slices(codes, skewed, slices=worlds)
    for (_, low, high), truth in (
        (share.loss, 0.12),
        (share.difference, 0.07),
        (mean.loss, 1.0),
    ):
        assert ((low <= truth) & (truth <= high)).mean() == pytest.approx(0.95, abs=0.02)


def test_heavy_tails_do_not_accuse_more_often_far_out() -> None:
    random = np.random.default_rng(8)
    slices, rows = 8000, 100
    codes = np.repeat(np.arange(slices), rows)
    one, two = random.standard_t(5, size=(2, len(codes))) ** 2
    found = compare_slices(codes, one, slices=slices, champion=two, form="root", margin=0.0)
    assert (found.p_worse <= 0.001).mean() < 0.004
    assert (found.p_worse <= 0.05).mean() < 0.08
