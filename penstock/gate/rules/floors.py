"""Bounds on metrics of the candidate over the whole holdout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator

from penstock.errors import InputError
from penstock.gate.rule import Case, PolicyBase, Rule, RuleSpec, blocks, not_measured, result
from penstock.metrics.bounds import beyond_guessing, check_bounds
from penstock.metrics.descriptions import SCALES, names_for
from penstock.records.decision import RuleResult
from penstock.records.evaluation import EvaluationBase
from penstock.records.model import Task


class FloorSpec(RuleSpec):
    """A bound on one metric of the candidate."""

    metric: str = Field(min_length=1)
    at_least: float | None = Field(default=None, description="For metrics where more is better")
    at_most: float | None = Field(default=None, description="For metrics where less is better")
    on: Literal["estimate", "interval"] = Field(
        default="estimate",
        description="estimate compares the figure, interval the worse end of its interval",
    )

    @model_validator(mode="after")
    def _one_bound(self) -> FloorSpec:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("give exactly one of at_least and at_most")
        check_bounds(self.metric, at_least=self.at_least, at_most=self.at_most)
        return self


class FloorRule(Rule[FloorSpec, None]):
    """A metric, or the worse end of its interval, keeps its bound: one result a floor."""

    name = "floors"
    order = 40
    policy_order = 55
    field = (tuple[FloorSpec, ...], Field(default=(), description="Bounds on metrics"))

    def describe(self, settings: FloorSpec) -> Iterator[tuple[str, str]]:
        """Yield its requirement."""
        side, bound = (
            ("at least", settings.at_least)
            if settings.at_least is not None
            else ("at most", settings.at_most)
        )
        what = f"{settings.metric} on the holdout"
        if settings.on == "interval":
            what = f"The worse end of the confidence interval of {what}"
        yield _name(settings), f"{what} must be {side} {bound:g}."

    def check_fit(self, settings: FloorSpec, *, where: str, task: Task) -> None:
        """Refuse a metric that the task does not have."""
        if task not in SCALES[settings.metric].tasks:
            raise InputError(
                f"{settings.metric} is not defined for a {task} task",
                where=f"{where}.metric",
                remedy=f"Use one of: {', '.join(names_for(task))}.",
            )

    def quality(self, settings: FloorSpec, *, task: Task | None) -> Iterator[str]:
        """Yield the result of a bound that guessing may miss."""
        if beyond_guessing(
            settings.metric, at_least=settings.at_least, at_most=settings.at_most, task=task
        ):
            yield _name(settings)

    def quality_shown(self, settings: FloorSpec, evaluation: EvaluationBase) -> Iterator[str]:
        """Yield the same, but for a floor that the trivial baseline meets on these rows."""
        if blocks(settings) and not _is_trivial(settings, evaluation):
            yield from self.quality(settings, task=evaluation.task)

    def judge(self, settings: FloorSpec, case: Case) -> Iterator[RuleResult]:
        """Yield whether the metric keeps its bound."""
        evaluation, name = case.evaluation, _name(settings)
        estimate = evaluation.candidate.metrics.get(settings.metric)
        lower = settings.at_least is not None
        bound = settings.at_least if settings.at_least is not None else settings.at_most
        assert bound is not None
        if estimate is None:
            why = evaluation.left_out(settings.metric)
            yield not_measured(name, settings, settings.metric, bound=bound, why=why)
            return
        worse = estimate.low if lower else estimate.high
        value = worse if settings.on == "interval" else estimate.value
        subject = "The worse end of its confidence interval" if settings.on == "interval" else "It"
        yield result(
            name,
            settings,
            passed=value >= bound if lower else value <= bound,
            value=value,
            bound=bound,
            sentence=f"{settings.metric} must be {'at least' if lower else 'at most'} {bound:.4g}. "
            f"{subject} is {value:.4g}.",
        )

    def metrics(self, policy: PolicyBase, _: EvaluationBase) -> Iterator[str]:
        """Yield the bounded ones."""
        return (floor.metric for floor in self.settings(policy))


def _name(settings: FloorSpec) -> str:
    return f"floor {settings.metric}"


def _is_trivial(settings: FloorSpec, evaluation: EvaluationBase) -> bool:
    """Return whether the trivial baseline meets a floor, so that it says nothing of a model."""
    baseline = evaluation.scores_of("majority") or evaluation.scores_of("mean")
    figure = baseline.metrics.get(settings.metric) if baseline else None
    if figure is None:
        return False
    if settings.at_least is not None:
        return figure.value >= settings.at_least
    return settings.at_most is not None and figure.value <= settings.at_most


RULE = FloorRule()
