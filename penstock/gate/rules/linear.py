"""A plain linear model may be better than the candidate by the margin at most."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from penstock.gate.advantage import MarginSpec
from penstock.gate.rule import Case, Rule, not_measured, result
from penstock.records.decision import RuleResult
from penstock.records.model import Task


class LinearRule(Rule[MarginSpec, None]):
    """The advantage over a plain linear model is not below minus the margin."""

    name = "linear"
    order = 20
    field = (
        MarginSpec,
        Field(
            default=MarginSpec(margin=0.02, severity="warn"),
            description="The advantage over a plain linear model must not be below minus the "
            "margin",
        ),
    )

    def describe(self, settings: MarginSpec) -> Iterator[tuple[str, str]]:
        """Yield its requirement."""
        yield (
            "linear",
            "The model must justify its complexity: a plain linear model may be better by at most "
            f"{settings.margin:g}.",
        )

    def margins(self, settings: MarginSpec) -> Iterator[tuple[str, float, str]]:
        """Yield the margin."""
        yield "margin", settings.margin, "is never exceeded"

    def quality(self, settings: MarginSpec, *, task: Task | None) -> Iterator[str]:  # noqa: ARG002
        """Yield the result."""
        yield "linear"

    def judge(self, settings: MarginSpec, case: Case) -> Iterator[RuleResult]:
        """Yield whether the candidate is not worse than the margin allows."""
        evaluation, bound = case.evaluation, -settings.margin
        comparison = evaluation.comparison(against="linear", metric=evaluation.metric)
        if comparison is None:
            why = evaluation.left_out(evaluation.metric)
            yield not_measured("linear", settings, "the linear model", bound=bound, why=why)
            return
        value = comparison.advantage.value
        passed = value >= bound
        yield result(
            "linear",
            settings,
            passed=passed,
            value=value,
            bound=bound,
            sentence=f"On {evaluation.metric} the candidate's advantage over a plain linear model "
            f"is {value:+.4g}, {'not below' if passed else 'below'} {bound:+.4g}.",
        )


RULE = LinearRule()
