"""The KPI of an experiment: its range, its planned users, and what a decision is worth."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from typing import Any

from penstock.common.durations import seconds_of
from penstock.errors import UsageError
from penstock.metrics.business_value import DecisionValue, Matrix
from penstock.records.experiment import ExperimentPlan
from penstock.records.model import Model
from penstock.rollout.experiment.size import Size, sd_of_rate, size_of
from penstock.rollout.experiment.spec import ExperimentSpec

_UNPLANNED = 10_000
"""Users where none are computed; the reading is narrowest around so many."""

_WHERE = "experiment"


def plan_of(spec: ExperimentSpec, *, model: Model, cost: DecisionValue | None) -> ExperimentPlan:
    """Return the plan of an experiment that begins now, with a salt of its own.

    Args:
        spec: The project's section.
        model: The challenger's record.
        cost: The policy's, of kpi: cost.

    Raises:
        UsageError: If the KPI is a cost and there is none, or it takes what only the table has.
    """
    low, high = range_of(spec, cost)
    size = planned_size(spec, low=low, high=high)
    each = spec.weight / 100 * (1 - spec.weight / 100)
    variance = size.variance if size else _UNPLANNED * each * (_sd(spec, low, high)) ** 2
    baseline = spec.baseline if spec.baseline is not None else (low + high) / 2
    negative = next((label for label in model.classes if label != model.positive), None)
    return ExperimentPlan(
        salt=secrets.token_hex(16),
        header=spec.header.lower(),
        weight=spec.weight,
        kpi=spec.kpi,
        cost=_cost(cost).model_dump(mode="json") if spec.kpi == "cost" and cost else {},
        task=model.task,
        positive=model.positive,
        negative=negative,
        unit=spec.unit or (cost.unit if spec.kpi == "cost" and cost else ""),
        low=low,
        high=high,
        better=spec.better,
        per_user=spec.per_user,
        missing=spec.missing,
        window=seconds_of(spec.window),
        confidence=spec.confidence,
        centre=baseline,
        variance=variance,
        users=size.users if size else _UNPLANNED,
        power=spec.power,
        effect=spec.effect,
        seconds=spec.days * 86_400,
        automatic=spec.ends == "decided",
    )


def planned_size(spec: ExperimentSpec, *, low: float, high: float) -> Size | None:
    """Return how many users the section asks for; None: it does not say what is to be seen.

    Raises:
        UsageError: If what it says does not fit together.
    """
    if spec.effect is None or (spec.sd is None and spec.baseline is None):
        return None
    return size_of(
        effect=spec.effect,
        sd=spec.sd if spec.sd is not None else sd_of(spec, low=low, high=high),
        low=low,
        high=high,
        weight=spec.weight,
        power=spec.power,
        confidence=spec.confidence,
    )


def sd_of(spec: ExperimentSpec, *, low: float, high: float) -> float:
    """Return the standard deviation of a KPI that is `low` or `high`, with the baseline as mean.

    No KPI within this range and of these means has a larger one.

    Raises:
        UsageError: If the baseline is not between the two.
    """
    assert spec.baseline is not None
    rate = (spec.baseline - low) / (high - low)
    if not 0 < rate < 1:
        raise UsageError(
            f"a baseline of {spec.baseline:g} is not between {low:g} and {high:g}",
            where=f"{_WHERE}.baseline",
            remedy="Give experiment.low and experiment.high as the KPI's range.",
        )
    effect = (spec.effect or 0.0) / (high - low)
    return (high - low) * sd_of_rate(rate, effect=effect, weight=spec.weight)


def range_of(spec: ExperimentSpec, cost: DecisionValue | None) -> tuple[float, float]:
    """Return the least and the most that a user's KPI can count.

    Raises:
        UsageError: If the KPI is a cost and the policy has none that can be used.
    """
    if spec.kpi == "value":
        return spec.low, spec.high
    found = _cost(cost)
    if found.matrix is None or spec.per_user == "sum":
        if (spec.low, spec.high) == (0.0, 1.0):
            raise UsageError(
                "the range of this KPI is not known",
                where=f"{_WHERE}.low, {_WHERE}.high",
                remedy="Give both: what lies outside counts as the nearer of them.",
            )
        return spec.low, spec.high
    amounts = _amounts(found.matrix).values()
    return min(amounts), max(amounts)


def amount_of(plan: ExperimentPlan) -> Callable[[Any, Any], float | None] | None:
    """Return what a predicted label is worth where another was true; None: the KPI is no cost."""
    if plan.kpi != "cost":
        return None
    cost = DecisionValue.parse(plan.cost, where=f"{_WHERE}: cost")
    if cost.matrix is not None:
        amounts, known = _amounts(cost.matrix), (plan.positive, plan.negative)

        def by_outcome(predicted: Any, truth: Any) -> float | None:
            if truth not in known:
                return None
            right = "true" if predicted == truth else "false"
            return amounts[f"{right}_{'positive' if predicted == plan.positive else 'negative'}"]

        return by_outcome

    def by_expression(predicted: Any, truth: Any) -> float | None:
        import numpy as np

        from penstock.metrics.business_value import values_of

        found = values_of(
            cost,
            task=plan.task,
            columns={},
            truth=np.array([truth]),
            predicted=np.array([predicted]),
        )
        return float(found[0]) if math.isfinite(found[0]) else None

    return by_expression


def _amounts(matrix: Matrix) -> dict[str, float]:
    return {name: float(one.of({})) for name, one in matrix.expressions().items()}


def _cost(cost: DecisionValue | None) -> DecisionValue:
    if cost is None:
        raise UsageError(
            "the KPI is a cost, and the policy has none",
            where=f"{_WHERE}.kpi",
            remedy="Give gate.cost, or send the KPI with feedback: experiment.kpi: value.",
        )
    if cost.names():
        raise UsageError(
            f"the policy's cost takes {', '.join(sorted(cost.names()))}, which are not known when "
            "a label comes",
            where=f"{_WHERE}.kpi",
            remedy="Work the value out where these are known, and send it with feedback: "
            "experiment.kpi: value.",
        )
    return DecisionValue(matrix=cost.matrix, expression=cost.expression, unit=cost.unit)


def _sd(spec: ExperimentSpec, low: float, high: float) -> float:
    if spec.sd is not None:
        return spec.sd / (high - low)
    if spec.baseline is not None:
        return sd_of(spec, low=low, high=high) / (high - low)
    return 0.25
