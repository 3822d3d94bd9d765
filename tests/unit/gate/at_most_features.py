"""A rule that Penstock does not have: a model takes at most so many columns. One file, no other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from penstock.errors import InputError
from penstock.gate.rule import Case, Measurement, Rule, RuleSpec, not_measured, result
from penstock.records.decision import RuleResult
from penstock.records.evaluation import EvaluationBase
from penstock.records.model import Task
from penstock.records.operations import Operations
from penstock.reports.blocks import Part, Text
from penstock.reports.page import Section, paragraph

if TYPE_CHECKING:
    from penstock.gate.holdout import Context

NAME = "features"


class FeaturesSpec(RuleSpec):
    """How many columns of the table a model may take."""

    at_most: int = Field(ge=1, description="Columns that the model takes")


class Features(Measurement):
    """The columns that a model takes."""

    columns: tuple[str, ...]


class FeaturesRule(Rule[FeaturesSpec, Features]):
    """The model takes at most so many columns."""

    name = NAME
    field = (
        FeaturesSpec | None,
        Field(default=None, description="How many columns the model may take"),
    )
    record = (Features | None, None)

    def describe(self, settings: FeaturesSpec) -> Iterator[tuple[str, str]]:
        yield NAME, f"The model may take at most {settings.at_most} columns of the table."

    def check_fit(self, settings: FeaturesSpec, *, where: str, task: Task) -> None:
        if settings.at_most > 1000:
            raise InputError("no table has so many columns", where=f"{where}.at_most")

    def measure(self, settings: FeaturesSpec, context: Context) -> Features:
        return Features(columns=tuple(c.name for c in context.holdout.record.columns))

    def judge(self, settings: FeaturesSpec, case: Case) -> Iterator[RuleResult]:
        found = self.measured(case.evaluation)
        if found is None:
            yield not_measured(NAME, settings, "the columns", bound=settings.at_most)
            return
        count = len(found.columns)
        yield result(
            NAME,
            settings,
            passed=count <= settings.at_most,
            value=count,
            bound=settings.at_most,
            sentence=f"The model takes {count} columns; at most {settings.at_most} are allowed.",
        )

    def section(self, evaluation: EvaluationBase) -> Section | None:
        found = self.measured(evaluation)
        if found is None:
            return None
        return Section("Columns taken", paragraph(f"It takes {', '.join(found.columns)}."))

    def card(self, evaluation: EvaluationBase | None, operations: Operations | None) -> Part:
        found = None if evaluation is None else self.measured(evaluation)
        told = "Not counted." if found is None else f"It takes {len(found.columns)} columns."
        return Part("Columns taken", [Text(told)])


RULE = FeaturesRule()
