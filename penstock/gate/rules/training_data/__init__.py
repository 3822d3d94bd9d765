"""The rows that a model learned from must look right: labels, and no drift from the champion's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from penstock.gate.rule import Case, Rule, not_measured, result
from penstock.gate.rules.training_data.page import card_part, section_of
from penstock.gate.rules.training_data.spec import TrainingData, TrainingDataSpec
from penstock.records.decision import RuleResult
from penstock.records.evaluation import EvaluationBase
from penstock.records.health import Suspect
from penstock.records.operations import Operations
from penstock.reports.blocks import Part
from penstock.reports.page import Section

if TYPE_CHECKING:
    from penstock.gate.holdout import Context

WHOLE = "training data"
LABEL_NOISE, FLIPPED_LABELS, DRIFT = (
    f"training data: {part}" for part in ("label noise", "flipped labels", "drift")
)

_NAMED = 5
"""Columns and parts that a sentence names."""


class TrainingDataRule(Rule[TrainingDataSpec, TrainingData]):
    """One result each for label noise, flipped labels and drift."""

    name = "training_data"
    order = 110
    field = (
        TrainingDataSpec | None,
        Field(default=TrainingDataSpec(), description="Whether the rows learned from look right"),
    )
    record = (TrainingData | None, None)

    def describe(self, settings: TrainingDataSpec) -> Iterator[tuple[str, str]]:
        """Yield the requirement of each bound."""
        yield WHOLE, "The rows that the model learned from must look right."
        if settings.label_noise_at_most is not None:
            share = settings.label_noise_at_most
            yield LABEL_NOISE, f"At most {share:.0%} of the training labels may be wrong."
        if settings.flipped_labels_at_most is not None:
            yield (
                FLIPPED_LABELS,
                f"At most {settings.flipped_labels_at_most:.0%} of the training rows may look as "
                "if their labels were flipped.",
            )
        if settings.drift_at_most is not None:
            yield (
                DRIFT,
                f"No column may have moved further than {settings.drift_at_most:g} (population "
                "stability index) from the data that the champion learned from.",
            )

    def measure(self, settings: TrainingDataSpec, context: Context) -> TrainingData:
        """Read what the candidate carries, and hold it against what the champion carries."""
        from penstock.gate.rules.training_data.measure import measure_training_data

        return measure_training_data(settings, model=context.model, champion=context.champion)

    def measured_alike(self, settings: TrainingDataSpec, then: Sequence[TrainingDataSpec]) -> bool:
        """Return whether drift was compared too, if it is bounded: the rest is carried along."""
        drift = settings.drift_at_most is None
        return any(drift or one.drift_at_most is not None for one in then)

    def judge(self, settings: TrainingDataSpec, case: Case) -> Iterator[RuleResult]:
        """Yield one result for each bound."""
        evaluation, measured = case.evaluation, self.measured(case.evaluation)
        if measured is None:
            yield not_measured(WHOLE, settings, "the training data")
            return
        if settings.label_noise_at_most is not None:
            yield _label_noise(evaluation, measured, settings, settings.label_noise_at_most)
        if settings.flipped_labels_at_most is not None:
            yield _flipped_labels(evaluation, measured, settings, settings.flipped_labels_at_most)
        if settings.drift_at_most is not None:
            yield _drift(evaluation, measured, settings, settings.drift_at_most)

    def section(self, evaluation: EvaluationBase) -> Section | None:
        """Return what is known of labels and of drift."""
        found = self.measured(evaluation)
        return None if found is None else section_of(found)

    def card(self, evaluation: EvaluationBase | None, _: Operations | None) -> Part:
        """Return the estimated shares of labels that are not right."""
        return card_part(None if evaluation is None else self.measured(evaluation))


def _unknown(
    name: str,
    evaluation: EvaluationBase,
    measured: TrainingData,
    settings: TrainingDataSpec,
    bound: float,
) -> RuleResult:
    if evaluation.task == "regression":
        sentence = "A regression has no classes, so that wrong labels are not estimated."
        return result(name, settings, passed=None, bound=bound, sentence=sentence)
    if measured.health is None:
        sentence = (
            "It is not known, for the model carries no record of its training data's health, so "
            "the rule cannot pass. Train it again with this release of Penstock."
        )
        return result(name, settings, passed=False, bound=bound, sentence=sentence)
    return not_measured(name, settings, "it", bound=bound)


def _label_noise(
    evaluation: EvaluationBase, measured: TrainingData, settings: TrainingDataSpec, bound: float
) -> RuleResult:
    name = LABEL_NOISE
    value = None if measured.health is None else measured.health.label_noise
    if value is None:
        return _unknown(name, evaluation, measured, settings, bound)
    passed = value <= bound
    return result(
        name,
        settings,
        passed=passed,
        value=value,
        bound=bound,
        sentence=(
            f"An estimated {value:.1%} of the training labels are wrong or belong to rows that the "
            f"columns cannot tell apart, {'not more' if passed else 'more'} than {bound:.4g} of 1."
        ),
    )


def _flipped_labels(
    evaluation: EvaluationBase, measured: TrainingData, settings: TrainingDataSpec, bound: float
) -> RuleResult:
    name = FLIPPED_LABELS
    health = measured.health
    if health is None or health.flipped_labels is None:
        return _unknown(name, evaluation, measured, settings, bound)
    share = health.flipped_labels
    passed = share <= bound
    if health.suspects:
        sentence = (
            f"Labels look flipped where {_suspects(health.suspects)}: {share:.1%} of all "
            f"training rows beyond what is so elsewhere, {'not more' if passed else 'more'} than "
            f"{bound:.1%}. Or the relation is another one there: look at these rows."
        )
    else:
        sentence = f"In none of {health.parts:,} parts of the training data do labels look flipped."
    return result(name, settings, passed=passed, value=share, bound=bound, sentence=sentence)


def _suspects(suspects: tuple[Suspect, ...]) -> str:
    listed = [f"{s.name} ({s.flipped:.0%} of {s.rows:,} rows)" for s in suspects[:_NAMED]]
    more = len(suspects) - len(listed)
    return ", where ".join(listed) + (f" and in {more} other parts" if more else "")


def _drift(
    evaluation: EvaluationBase, measured: TrainingData, settings: TrainingDataSpec, bound: float
) -> RuleResult:
    name = DRIFT
    if evaluation.champion_state == "none":
        sentence = "There is no champion yet whose training data could have been another."
        return result(name, settings, passed=None, bound=bound, sentence=sentence)
    if measured.drift is None:
        why = measured.drift_note or "the champion's was not given"
        sentence = (
            "How far the training data has moved from the champion's is not known, so the rule "
            f"cannot pass: {why}."
        )
        return result(name, settings, passed=False, bound=bound, sentence=sentence)
    if measured.incomparable:
        listed = ", ".join(f"{c.column} ({c.note})" for c in measured.incomparable[:_NAMED])
        more = len(measured.incomparable) - _NAMED
        sentence = (
            "Not every column can be held against the champion's training data, so the rule "
            f"cannot pass: {listed}{f' and {more} more' if more > 0 else ''}."
        )
        return result(name, settings, passed=False, bound=bound, sentence=sentence)
    if not measured.drift:
        sentence = "The champion learned from none of the columns that can be compared."
        return result(name, settings, passed=False, bound=bound, sentence=sentence)
    strongest = measured.drift[0]
    passed = strongest.value <= bound
    moved = [figure.column for figure in measured.drift if figure.value > bound]
    sentence = (
        f"Against the champion's training data {strongest.column} has moved most: population "
        f"stability index {strongest.value:.3f}, {'not above' if passed else 'above'} {bound:.4g}."
    )
    if len(moved) > 1:
        named = ", ".join(moved[1 : 1 + _NAMED])
        sentence += f" Above it too: {named}{' and others' if len(moved) > 1 + _NAMED else ''}."
    if measured.new_columns:
        named = ", ".join(measured.new_columns[:_NAMED])
        more = len(measured.new_columns) - _NAMED
        sentence += (
            f" The champion's training data does not have {named}"
            f"{f' and {more} more' if more > 0 else ''}."
        )
    return result(
        name, settings, passed=passed, value=strongest.value, bound=bound, sentence=sentence
    )


RULE = TrainingDataRule()
