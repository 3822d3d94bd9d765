"""Chow's rule: which rows are left to people, and what comes of it on rows that nobody has seen."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from penstock.metrics.abstention import abstained, band_of
from penstock.metrics.business_value import DecisionValue
from penstock.metrics.methods import wilson

MISS, ALARM, REVIEW = 10.0, 2.0, 0.5
TABLES = [(0.3, 2.0), (0.5, 5.0), (1.0, 1.0), (1.0, 9.0), (2.0, 2.0),
          (2.0, 8.0), (5.0, 1.0), (0.2, 0.2), (3.0, 30.0), (8.0, 3.0)]  # fmt: skip
"""Ten tables: what the probabilities of their rows are drawn from (Beta)."""


def test_a_person_is_asked_exactly_where_one_is_cheapest() -> None:
    """Against the three costs themselves, at each probability."""
    p = np.linspace(0, 1, 10_001)
    costs = np.stack([(1 - p) * ALARM, p * MISS, np.full_like(p, REVIEW)])
    margin = np.abs(np.sort(costs, axis=0)[0] - np.sort(costs, axis=0)[1]) > 1e-9
    cheapest = costs.argmin(axis=0) == 2
    band = band_of(miss=MISS, false_alarm=ALARM, review=REVIEW)
    assert (abstained(band, p) == cheapest)[margin].all()
    assert cheapest.any()
    assert not cheapest.all()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"matrix": {"false_negative": -10, "false_positive": -2}, "review": 0}, "cost something"),
        ({"matrix": {"false_negative": -1, "false_positive": -1}, "review": 0.6}, "for no row"),
        ({"matrix": {"false_negative": "-amount", "false_positive": -1}, "review": 1}, "numbers"),
        ({"expression": "-abs(truth - predicted)", "review": 1}, "numbers"),
    ],
)
def test_a_review_that_can_never_pay_is_refused(value: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        DecisionValue.model_validate(value)


def test_a_policy_that_does_not_ask_for_it_is_written_as_before() -> None:
    value = DecisionValue.model_validate({"matrix": {"false_negative": -10}})
    assert value.abstention() is None
    assert "review" not in value.model_dump()


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(shape, marks=() if at % 4 == 0 else pytest.mark.long)
        for at, shape in enumerate(TABLES)
    ],
    ids=str,
)
def test_share_and_cost_are_on_new_rows_what_the_holdout_said(shape: tuple[float, float]) -> None:
    """A hundred holdouts of 1,000 rows each; the intervals of 95 % hold what new rows show."""
    draw = np.random.default_rng([*map(int, np.multiply(shape, 10)), 5])
    band = band_of(miss=MISS, false_alarm=ALARM, review=REVIEW)
    cut = ALARM / (ALARM + MISS)

    def costs(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows left to people, and what each row costs with people and without."""
        p = draw.beta(*shape, rows)
        truth, called = draw.random(rows) < p, p >= cut
        alone = np.where(truth & ~called, MISS, 0.0) + np.where(~truth & called, ALARM, 0.0)
        left = abstained(band, p)
        return left, np.where(left, REVIEW, alone), alone

    left, people, alone = costs(500_000)
    share, saved = left.mean(), (alone - people).mean()
    assert saved > 0
    held = within = 0
    for _ in range(100):
        left, people, alone = costs(1_000)
        low, high = wilson(int(left.sum()), 1_000, confidence=0.95)
        held += low <= share <= high
        gain = alone - people
        within += abs(gain.mean() - saved) <= 1.96 * gain.std() / 1_000**0.5
    # Of 100 at 95 %, fewer than 87 come with a chance below 1 in 1,000.
    assert min(held, within) >= 87
