"""How much blocks depend on each other is learned; a change of the mean is not taken for it."""

from __future__ import annotations

import numpy as np
import pytest

from penstock.monitoring.signals.dependence import FIRST, MOST, Dependence, LevelState, fresh

WIDTH = 20


def learned(means: np.ndarray) -> Dependence:
    found = Dependence(fresh(means.shape[1]), np.ones(means.shape[1]))
    for row in means:
        found.add(row)
    return found


def factors(means: np.ndarray) -> np.ndarray:
    factor = learned(means).factor
    return np.ones(means.shape[1]) if factor is None else factor


def test_independent_blocks_lose_nothing_once_they_are_known() -> None:
    means = np.random.default_rng(1).binomial(40, 0.3, size=(2000, WIDTH)) / 40
    assert factors(means[:200]) == pytest.approx(FIRST)
    assert factors(means).max() <= 1.1


@pytest.mark.parametrize("together", [4, 16, 200])
def test_blocks_that_depend_on_each_other_are_found_to(together: int) -> None:
    rng = np.random.default_rng(2)
    users = rng.normal(size=(12_000 // together, WIDTH))
    means = 0.5 + 0.02 * (
        users.repeat(together, axis=0) + rng.normal(size=(12_000 // together * together, WIDTH))
    )
    # Half of the variance is the user's: batches vary (1 + together) / 2 times as much.
    expected = min(MOST, (1 + together) / 2)
    assert np.median(factors(means)) == pytest.approx(expected, rel=0.35)


def test_one_column_alone_may_depend_on_its_past() -> None:
    rng = np.random.default_rng(3)
    means = 0.5 + 0.02 * rng.normal(size=(9600, WIDTH))
    means[:, 7] = 0.5 + 0.02 * rng.normal(size=600).repeat(16)
    found = factors(means)
    assert found[7] > 6
    assert np.delete(found, 7).max() < 2


def test_a_change_of_the_mean_is_not_taken_for_dependence() -> None:
    rng = np.random.default_rng(4)
    means = 0.5 + 0.02 * rng.normal(size=(3000 + 300, WIDTH))
    means[3000:, 0] += 0.1
    assert factors(means).max() < 1.6


def test_what_never_varies_says_nothing() -> None:
    assert factors(np.zeros((1000, 3))) == pytest.approx(1)


def test_what_was_learned_survives_the_way_through_json() -> None:
    means = np.random.default_rng(5).random((3000, 3))
    once, weights = learned(means), np.ones(3)
    part = learned(means[:1234]).kept()
    read = tuple(LevelState.model_validate_json(level.model_dump_json()) for level in part)
    again = Dependence(read, weights)
    for row in means[1234:]:
        again.add(row)
    assert again.kept() == once.kept()
