"""Figures must not rest on what will not be there when the model is used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from penstock.gate.rule import Case, Rule, not_measured, result
from penstock.gate.rules.leakage.spec import NOT_LOOKED_FOR, Leakage, LeakageSpec
from penstock.records.decision import RuleResult
from penstock.records.evaluation import EvaluationBase
from penstock.records.operations import Operations
from penstock.reports.blocks import Block, Grid, Part, Text, number
from penstock.reports.page import Section, paragraph
from penstock.reports.words import column_figures

if TYPE_CHECKING:
    from penstock.gate.holdout import Context

WHOLE = "leakage"
ONE_COLUMN, NOT_AT_SERVING, OVERLAP = (
    f"leakage: {part}" for part in ("one column", "not at serving", "overlap")
)

_SHOWN = 10

_STRENGTH = {
    "binary": "Area under the ROC curve of the column alone: 0.5 predicts nothing, 1 all.",
    "multiclass": "Mean area under the ROC curve of each class against the rest: 0.5 predicts "
    "nothing, 1 all.",
    "regression": "Squared rank correlation of the column with the target: 0 predicts nothing, 1 "
    "all.",
}

_HOW = (
    " A level or range is scored by the mean target of its rows in four other fifths of the "
    "holdout, so that an identifier predicts nothing."
)


class LeakageRule(Rule[LeakageSpec, Leakage]):
    """One result each for single columns, columns that are not known in use, and overlap."""

    name = "leakage"
    order = 100
    field = (
        LeakageSpec | None,
        Field(
            default=LeakageSpec(),
            description="Whether the figures rest on what will not be there",
        ),
    )
    record = (Leakage | None, None)

    def describe(self, settings: LeakageSpec) -> Iterator[tuple[str, str]]:
        """Yield the requirement of each part."""
        yield WHOLE, "The figures must not rest on what will not be there when the model is used."
        if settings.single_column is not None:
            yield (
                ONE_COLUMN,
                f"No column alone may predict the target as well as {settings.single_column:g}: "
                "possible target leakage.",
            )
        if settings.not_at_serving:
            yield (
                NOT_AT_SERVING,
                f"It must not take {', '.join(settings.not_at_serving)}, which is not known when a "
                "prediction is made.",
            )
        yield OVERLAP, "It must be proved that no row judged on is a row learned from."

    def columns(self, settings: LeakageSpec) -> Iterator[tuple[str, str]]:
        """Yield those that are not known in use."""
        for name in settings.not_at_serving:
            yield "gate.leakage.not_at_serving", name

    def measure(self, settings: LeakageSpec, context: Context) -> Leakage:
        """Measure each part that is on."""
        from penstock.gate.rules.leakage.measure import measure_leakage

        return measure_leakage(context.holdout, settings, model=context.model, seed=context.seed)

    def measured_alike(self, settings: LeakageSpec, then: Sequence[LeakageSpec]) -> bool:
        """Return whether each part that is on was measured: how well a column does has no bound."""
        return any(
            (settings.single_column is None or one.single_column is not None)
            and (not settings.overlap or one.overlap)
            and settings.not_at_serving in ((), one.not_at_serving)
            for one in then
        )

    def judge(self, settings: LeakageSpec, case: Case) -> Iterator[RuleResult]:
        """Yield one result for each part."""
        measured = self.measured(case.evaluation)
        if measured is None:
            yield not_measured(WHOLE, settings, "leakage")
            return
        if settings.single_column is not None:
            yield _single_column(case.evaluation, measured, settings, settings.single_column)
        if settings.not_at_serving:
            yield _not_at_serving(measured, settings)
        if settings.overlap:
            yield _overlap(measured, settings)

    def section(self, evaluation: EvaluationBase) -> Section | None:
        """Return what was found of each part."""
        found = self.measured(evaluation)
        return None if found is None else _section(evaluation, found)

    def card(self, evaluation: EvaluationBase | None, _: Operations | None) -> Part:
        """Return the same for the model card."""
        found = None if evaluation is None else self.measured(evaluation)
        if found is None:
            return Part("Leakage", [Text("Leakage was not looked for.")])
        return Part("Leakage", list(_blocks(found)))


def _single_column(
    evaluation: EvaluationBase, measured: Leakage, settings: LeakageSpec, bound: float
) -> RuleResult:
    own = settings.model_copy(update={"severity": settings.single_column_severity})
    if not measured.single_columns:
        return not_measured(
            ONE_COLUMN, own, "how well each column alone predicts the target", bound=bound
        )
    strongest = measured.single_columns[0]
    figure = {
        "binary": "area under the ROC curve",
        "multiclass": "mean area under the ROC curve of each class against the rest",
        "regression": "squared rank correlation",
    }[evaluation.task]
    passed = strongest.value < bound
    sentence = (
        f"The column that alone predicts the target best is {strongest.column}: {figure} "
        f"{strongest.value:.4f}, {'below' if passed else 'not below'} {bound:.4g}."
    )
    if not passed:
        sentence += " Possible target leakage: check that it is known before the outcome is."
    return result(
        ONE_COLUMN, own, passed=passed, value=strongest.value, bound=bound, sentence=sentence
    )


def _not_at_serving(measured: Leakage, settings: LeakageSpec) -> RuleResult:
    taken = ", ".join(measured.not_at_serving)
    sentence = (
        f"The model takes {taken}, which the policy says is not known when a prediction is made."
        if taken
        else f"The model takes none of {', '.join(settings.not_at_serving)}."
    )
    if measured.unknown:
        sentence += (
            f" The holdout has no column called {', '.join(measured.unknown)}, so the rule cannot "
            "pass: see that the policy spells it right."
        )
    return result(
        NOT_AT_SERVING,
        settings,
        passed=not taken and not measured.unknown,
        value=float(len(measured.not_at_serving)),
        bound=0.0,
        sentence=sentence,
    )


def _overlap(measured: Leakage, settings: LeakageSpec) -> RuleResult:
    both = measured.rows_in_both
    passed = not measured.overlap and both is not None and both <= measured.by_chance
    if passed and not both:
        sentence = f"No holdout row is a training row: {measured.proof}."
    elif passed:
        sentence = (
            f"{both:,} different holdout rows equal training rows, which rows of few different "
            f"values do by chance; none is a copy: {measured.proof}."
        )
    elif both:
        sentence = f"Rows that are judged on were trained on: {measured.overlap}."
    else:
        why = measured.overlap or "it was not looked for"
        sentence = f"It is not proved that no holdout row is a training row: {why}."
    return result(
        OVERLAP,
        settings,
        passed=passed,
        value=None if both is None else float(both),
        bound=float(measured.by_chance),
        sentence=sentence,
    )


def _overlap_text(leakage: Leakage) -> str:
    both = leakage.rows_in_both
    if not leakage.overlap and both == 0:
        return f"No row of the holdout was trained on: {leakage.proof}."
    if not leakage.overlap and both is not None and both <= leakage.by_chance:
        return (
            f"{both:,} rows of the holdout equal training rows, as rows of few different values do "
            f"by chance; none is known to be a copy: {leakage.proof}."
        )
    if both:
        return f"Some rows of the holdout were trained on: {leakage.overlap or f'{both:,}'}."
    if leakage.overlap == NOT_LOOKED_FOR:
        return "The policy does not require a proof that no row of the holdout was trained on."
    why = leakage.overlap or "it was not looked for"
    return f"It is not proved that no row of the holdout was trained on: {why}."


def _section(evaluation: EvaluationBase, leakage: Leakage) -> Section:
    body = paragraph(_overlap_text(leakage))
    if leakage.not_at_serving:
        body += paragraph(
            "The model takes columns that the policy says are not known when it is used: "
            f"{', '.join(leakage.not_at_serving)}."
        )
    if leakage.single_columns:
        body += column_figures(leakage.single_columns, figure="Alone")
        body += paragraph(_STRENGTH[evaluation.task] + _HOW)
    return Section("Leakage", body, "Whether the figures rest on what will not be there in use.")


def _blocks(found: Leakage) -> Iterator[Block]:
    yield Text(_overlap_text(found))
    taken = ", ".join(found.not_at_serving) or "none"
    yield Text(f"Columns taken that the policy says are unknown in use: {taken}.")
    strongest = [[one.column, number(one.value)] for one in found.single_columns[:_SHOWN]]
    if strongest:
        yield Grid(["Column alone", "How well it predicts the target"], strongest, (1,))


RULE = LeakageRule()
