"""Whether predicted classes are of use: better than guesses, each found, none lost since before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from penstock.gate.rule import (
    Case,
    PolicyBase,
    Rule,
    blocks,
    not_measured,
    result,
)
from penstock.gate.rules import business_value
from penstock.gate.rules.classes.spec import Classes, ClassesSpec, ClassFigures
from penstock.records.decision import RuleResult, Severity
from penstock.records.evaluation import EvaluationBase
from penstock.records.model import Task

if TYPE_CHECKING:
    from penstock.gate.holdout import Context

WHOLE = "classes"
GUESSING, RECALL, CHAMPION = "classes: guessing", "classes: recall", "classes: champion"

_NAMED = 3
"""Classes that a sentence names."""


class ClassesRule(Rule[ClassesSpec, Classes]):
    """One result each for guessing, recall and the champion; nothing for a regression."""

    name = "classes"
    order = 50
    field = (
        ClassesSpec | None,
        Field(default=ClassesSpec(), description="Classification: whether every class is found"),
    )
    record = (
        Classes | None,
        Field(default=None, description="Recall and precision by class; None of a regression"),
    )

    def describe(self, settings: ClassesSpec) -> Iterator[tuple[str, str]]:
        """Yield the requirement of each part."""
        yield WHOLE, "The predicted classes must be of use, each of them."
        yield (
            GUESSING,
            "The predicted classes must be better than guesses, which find each class alike often "
            "whatever the row is. The mean recall of the classes is compared, the lower end of its "
            "interval included.",
        )
        if settings.recall_at_least is not None:
            yield (
                RECALL,
                "Every class must be found: the recall of each is at least "
                f"{settings.recall_at_least:g}.",
            )
        if settings.margin is not None:
            yield (
                CHAMPION,
                "The mean recall of the classes may be lower than the champion's by at most "
                f"{settings.margin:g}.",
            )

    def quality(self, settings: ClassesSpec, *, task: Task | None) -> Iterator[str]:
        """Yield the part on guessing."""
        if settings.better_than_guessing and task != "regression":
            yield GUESSING

    def quality_shown(self, settings: ClassesSpec, evaluation: EvaluationBase) -> Iterator[str]:
        """Yield the same, and the comparison with the champion."""
        if blocks(settings):
            yield from self.quality(settings, task=evaluation.task)
            yield CHAMPION

    def measurement(self, _: PolicyBase, context: Context) -> Classes | None:
        """Return what is found of each class: pages show it, whatever the policy requires."""
        from penstock.gate.rules.classes.measure import measure_classes

        return measure_classes(
            context.holdout, context.metrics, context.comparisons, confidence=context.confidence
        )

    def measured_alike(self, settings: ClassesSpec, then: Sequence[ClassesSpec]) -> bool:  # noqa: ARG002
        """Return True: what is measured depends on no setting."""
        return True

    def judge(self, settings: ClassesSpec, case: Case) -> Iterator[RuleResult]:
        """Yield one result for each part."""
        evaluation, found = case.evaluation, self.measured(case.evaluation)
        if evaluation.task == "regression":
            return
        if found is None:
            yield not_measured(WHOLE, settings, "recall and precision by class")
            return
        if settings.better_than_guessing:
            yield _guessing(settings, found, evaluation.confidence)
        if settings.recall_at_least is not None:
            severity = _severity_of_recall(settings, case)
            yield _recall(settings, found, settings.recall_at_least, severity)
        if settings.margin is not None:
            yield _champion(settings, found, evaluation, settings.margin)

    def sentences(self, evaluation: EvaluationBase) -> tuple[str, ...]:
        """Return what is found of each class, and what another threshold would give."""
        found = self.measured(evaluation)
        return () if found is None else found.sentences()

    def progress(self, evaluation: EvaluationBase) -> str:
        """Return the recall of the class to name first."""
        found = self.measured(evaluation)
        if found is None or found.shown[0].recall is None:
            return ""
        return f"recall {found.shown[0].recall.value:.0%} of {found.named(found.shown[0].name)}"


def _severity_of_recall(settings: ClassesSpec, case: Case) -> Severity:
    """Return what happens if a class is found too seldom."""
    if settings.recall_severity != "auto":
        return settings.recall_severity
    if business_value.RULE.of(case.policy) is not None or case.evaluation.task != "binary":
        return "info" if settings.severity == "info" else "warn"
    return settings.severity


def _guessing(settings: ClassesSpec, found: Classes, confidence: float) -> RuleResult:
    figure, bound = found.balanced_accuracy, 1 / len(found.classes)
    passed = figure.low > bound
    return result(
        GUESSING,
        settings,
        passed=passed,
        value=figure.low,
        bound=bound,
        sentence=f"The mean recall of the {len(found.classes)} classes (balanced accuracy) is "
        f"{figure.value:.4g} ({confidence:.0%} interval {figure.low:.4g} to {figure.high:.4g}); "
        f"its lower end {'lies' if passed else 'does not lie'} above {bound:.4g}, which guessing "
        "gives.",
    )


def _recall(settings: ClassesSpec, found: Classes, bound: float, severity: Severity) -> RuleResult:
    own = settings.model_copy(update={"severity": severity})
    judged = [one for one in found.weakest if one.rows >= settings.min_rows]
    if not judged:
        sentence = f"No class has {settings.min_rows:,} rows in the holdout. Hold out more rows."
        return result(RECALL, own, passed=False, bound=bound, sentence=sentence)
    missed = [one for one in judged if _value(one) < bound]
    if missed:
        listed = "; ".join(_recall_text(one, found) for one in missed[:_NAMED])
        more = f" and {len(missed) - _NAMED} more" if len(missed) > _NAMED else ""
        sentence = f"Recall lies below {bound:.4g}: {listed}{more}."
        if found.positive in {one.name for one in missed}:
            sentence += " ".join(("", *found.sentences()[1:]))
            sentence += " Set training.threshold, or the value of decisions in gate.cost."
    else:
        sentence = (
            f"The lowest recall of a class: {_recall_text(judged[0], found)}; at least {bound:.4g}."
        )
    return result(
        RECALL,
        own,
        passed=not missed,
        value=_value(judged[0]),
        bound=bound,
        sentence=sentence + _skipped(settings, found),
    )


def _champion(
    settings: ClassesSpec, found: Classes, evaluation: EvaluationBase, margin: float
) -> RuleResult:
    if evaluation.champion_state == "none" and not evaluation.champion:
        sentence = "There is no champion yet to compare with."
        return result(CHAMPION, settings, passed=None, bound=-margin, sentence=sentence)
    advantage = found.advantage
    if advantage is None:
        what = "the champion's balanced accuracy on these rows"
        return not_measured(CHAMPION, settings, what, bound=-margin)
    passed = advantage.value >= -margin
    beside = [
        f"of {found.named(one.name)} {_value(one):.0%} (champion {one.champion:.0%})"
        for one in found.shown
        if one.recall is not None and one.champion is not None
    ]
    return result(
        CHAMPION,
        settings,
        passed=passed,
        value=advantage.value,
        bound=-margin,
        sentence=f"The balanced accuracy differs from the champion's by {advantage.value:+.4g}, "
        f"{'not below' if passed else 'below'} {-margin:+.4g}. Recall "
        f"{', '.join(beside) or 'not known'}.",
    )


def _skipped(settings: ClassesSpec, found: Classes) -> str:
    few = [one.name for one in found.classes if one.rows < settings.min_rows]
    if not few:
        return ""
    names = ", ".join(few[:_NAMED]) + (" and others" if len(few) > _NAMED else "")
    return f" Not judged, with fewer than {settings.min_rows:,} rows: {names}."


def _recall_text(one: ClassFigures, found: Classes) -> str:
    hits = round(_value(one) * one.rows)
    return f"{found.named(one.name)} {_value(one):.4g} ({hits:,} of {one.rows:,} rows)"


def _value(one: ClassFigures) -> float:
    return 0.0 if one.recall is None else one.recall.value


RULE = ClassesRule()
