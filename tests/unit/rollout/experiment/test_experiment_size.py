"""How many users an experiment takes, and what its settings may be."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from penstock.errors import InputError, UsageError
from penstock.metrics.business_value import DecisionValue
from penstock.records.model import Model
from penstock.rollout.experiment import kpi, sequence
from penstock.rollout.experiment.size import sd_of_rate, size_of
from penstock.rollout.experiment.spec import ExperimentSpec

COST = DecisionValue.parse({"matrix": {"true_positive": 5, "false_negative": -8}}, where="cost")


def test_a_test_that_is_read_once_takes_what_the_books_say() -> None:
    """(1.960 + 0.842)^2 x 2 x 0.10875 / 0.05^2 = 682.8 an arm, worked out by hand."""
    mean = (sd_of_rate(0.1) ** 2 + sd_of_rate(0.15) ** 2) / 2
    found = size_of(effect=0.05, sd=math.sqrt(mean))
    assert found.fixed / 2 == pytest.approx(683, abs=1)


@pytest.mark.parametrize("weight", [5, 20, 50])
@pytest.mark.parametrize("power", [0.8, 0.95])
def test_reading_at_any_time_costs_about_twice_the_users_at_most(weight: int, power: float) -> None:
    found = size_of(effect=0.01, sd=0.3, weight=weight, power=power)
    assert 1.5 < found.inflation < 2.6
    larger = size_of(effect=0.02, sd=0.3, weight=weight, power=power)
    assert larger.users < found.users / 3
    same = size_of(effect=10, sd=300, low=-500, high=500, weight=weight, power=power)
    assert same.users == pytest.approx(found.users, abs=1)


@pytest.mark.parametrize(
    ("given", "where"),
    [({"effect": 0}, "effect"), ({"effect": 2}, "effect"), ({"sd": 0.6}, "sd"), ({"sd": 0}, "sd")],
)
def test_what_cannot_be_is_refused(given: dict[str, float], where: str) -> None:
    with pytest.raises(UsageError) as error:
        size_of(**({"effect": 0.01, "sd": 0.3} | given))
    assert error.value.where == where


def test_the_boundary_is_where_the_wealth_reaches_its_threshold() -> None:
    limit = sequence.threshold(0.95)
    bets = sequence.bets(scale=0.8, variance=50.0, confidence=0.95)
    assert (bets > 0).all()
    assert (bets < 1 / 0.8).all()
    for variance in (0.0, 0.5, 50.0, 5000.0):
        end = sequence.boundary(variance, bets, scale=0.8, threshold=limit)
        wealth = sequence.log_wealth(np.array([end]), np.array([variance]), bets, scale=0.8)
        assert wealth[0] == pytest.approx(limit, abs=1e-6)


def test_the_wealth_of_one_user_is_fair_at_worst() -> None:
    """Whatever a user's score is like, if its mean is 0: the mean of the wealth is at most 1."""
    bets = sequence.bets(scale=0.8, variance=2.0, confidence=0.95)
    for low in np.linspace(0.01, 0.8, 20):
        for high in np.linspace(0.01, 0.8, 20):
            scores = np.array([-low, high])
            shares = np.array([high, low]) / (low + high)
            wealth = np.exp(sequence.log_wealth(scores, scores**2, bets, scale=0.8))
            assert (shares * wealth).sum() <= 1 + 1e-9


def _model() -> Model:
    return Model.model_construct(task="binary", classes=("no", "yes"), positive="yes")


def test_a_plan_takes_its_range_from_the_cost_and_its_users_from_the_effect() -> None:
    spec = ExperimentSpec(kpi="cost", sd=2.0, effect=0.1)
    plan = kpi.plan_of(spec, model=_model(), cost=COST)
    assert (plan.low, plan.high, plan.negative) == (-8.0, 5.0, "no")
    assert plan.users == size_of(effect=0.1, sd=2.0, low=-8, high=5).users
    amount = kpi.amount_of(plan)
    assert amount is not None
    assert [amount(*pair) for pair in (("yes", "yes"), ("no", "yes"), ("yes", "maybe"))] == [
        5,
        -8,
        None,
    ]
    assert kpi.plan_of(spec, model=_model(), cost=COST).salt != plan.salt
    assert kpi.plan_of(ExperimentSpec(), model=_model(), cost=None).users == 10_000


REFUSED: list[tuple[dict[str, Any], DecisionValue | None, str]] = [
    ({"kpi": "cost"}, None, "the policy has none"),
    ({"kpi": "cost"}, DecisionValue(expression="predicted * amount"), "takes amount"),
    ({"kpi": "cost"}, DecisionValue(expression="-abs(truth - predicted)"), "range"),
    ({"baseline": 3.0, "effect": 0.1}, None, "not between"),
]


@pytest.mark.parametrize(("given", "cost", "words"), REFUSED)
def test_a_kpi_that_cannot_be_known_is_refused(
    given: dict[str, Any], cost: DecisionValue | None, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        kpi.plan_of(ExperimentSpec(**given), model=_model(), cost=cost)


@pytest.mark.parametrize(
    "given",
    [{"low": 1}, {"weight": 51}, {"window": "soon"}, {"kpi": "cost", "missing": "zero"},
     {"header": "a b"}],
)  # fmt: skip
def test_settings_that_contradict_themselves_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        ExperimentSpec.parse(given, where="experiment")
