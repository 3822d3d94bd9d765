"""The candidate must be better than a constant answer: the majority class, or the mean."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from penstock.gate.advantage import MarginSpec, lower_end_above
from penstock.gate.rule import Case, Rule
from penstock.records.decision import RuleResult
from penstock.records.model import Task

_BASELINES = ("majority", "mean")


class BaselineRule(Rule[MarginSpec, None]):
    """The lower end of the interval of the advantage over the baseline lies above the margin."""

    name = "baseline"
    order = 10
    field = (
        MarginSpec,
        Field(
            default=MarginSpec(margin=0.0),
            description="The lower end of the interval of the advantage over the majority class "
            "(or the mean) must lie above the margin",
        ),
    )

    def describe(self, settings: MarginSpec) -> Iterator[tuple[str, str]]:
        """Yield its requirement."""
        yield (
            "baseline",
            "The model must do better than a constant answer: always the commonest class, or the "
            f"mean. Even the lower end of its advantage must exceed {settings.margin:g}, so that "
            "chance alone does not explain it.",
        )

    def margins(self, settings: MarginSpec) -> Iterator[tuple[str, float, str]]:
        """Yield the margin, which can be too wide on either side."""
        yield "margin", settings.margin, "can never be exceeded"
        yield "margin", -settings.margin, "is always exceeded"

    def quality(self, settings: MarginSpec, *, task: Task | None) -> Iterator[str]:  # noqa: ARG002
        """Yield the result, unless the margin lets a model be worse than the baseline."""
        if settings.margin >= 0:
            yield "baseline"

    def judge(self, settings: MarginSpec, case: Case) -> Iterator[RuleResult]:
        """Yield whether the candidate is better."""
        evaluation = case.evaluation
        name = next((n for n in _BASELINES if evaluation.scores_of(n)), _BASELINES[0])
        yield lower_end_above(
            "baseline",
            settings,
            evaluation,
            title=f"the {name} baseline",
            comparison=evaluation.comparison(against=name, metric=evaluation.metric),
            bound=settings.margin,
        )


RULE = BaselineRule()
