"""Parts of the holdout on which a model must not be bad, or worse than the champion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from penstock.gate.rule import Case, PolicyBase, Rule, blocks, not_measured, result
from penstock.gate.rules.slices.page import slices_part, slices_section
from penstock.gate.rules.slices.spec import Slice, Slices, SlicesSpec
from penstock.metrics.bounds import beyond_guessing
from penstock.records.decision import RuleResult
from penstock.records.evaluation import EvaluationBase
from penstock.records.model import Task
from penstock.records.operations import Operations
from penstock.reports.blocks import Part
from penstock.reports.page import Section

if TYPE_CHECKING:
    from penstock.gate.holdout import Context

NAME = "slices"

_NAMED = 3
"""Slices that the sentence names; the evaluation's page has all."""


class SlicesRule(Rule[SlicesSpec, Slices]):
    """No slice is shown to miss the floor, or to be worse than the champion beyond the margin."""

    name = NAME
    order = 60
    field = (
        SlicesSpec | None,
        Field(default=SlicesSpec(severity="warn"), description="Parts of the holdout"),
    )
    record = (Slices | None, None)

    def describe(self, settings: SlicesSpec) -> Iterator[tuple[str, str]]:
        """Yield its requirement."""
        sentences = ["The model must not fail a part of the rows while it does well on the whole."]
        if settings.at_least is not None:
            sentences.append(f"No part may be shown to lie below {settings.at_least:g}.")
        if settings.at_most is not None:
            sentences.append(f"No part may be shown to lie above {settings.at_most:g}.")
        if settings.margin is not None:
            sentences.append(
                "None may be shown to be worse than under the champion by more than "
                f"{settings.margin:g}."
            )
        sentences.append(
            f"Parts of fewer than {settings.min_rows:,} rows are skipped. However many are tested, "
            f"the probability of any false alarm is {settings.alpha:.0%}."
        )
        yield NAME, " ".join(sentences)

    def columns(self, settings: SlicesSpec) -> Iterator[tuple[str, str]]:
        """Yield those that are cut, and those that are crossed."""
        for one in settings.columns:
            for name in (one,) if isinstance(one, str) else one:
                yield "gate.slices.columns", name

    def quality(self, settings: SlicesSpec, *, task: Task | None) -> Iterator[str]:
        """Yield the result, if the slices have a floor that guessing may miss."""
        if beyond_guessing(
            settings.metric, at_least=settings.at_least, at_most=settings.at_most, task=task
        ):
            yield NAME

    def quality_shown(self, settings: SlicesSpec, evaluation: EvaluationBase) -> Iterator[str]:
        """Yield the result too where slices were compared with the champion's."""
        found = self.measured(evaluation)
        if blocks(settings):
            yield from self.quality(settings, task=evaluation.task)
            if found is not None and found.compared:
                yield NAME

    def measure(self, settings: SlicesSpec, context: Context) -> Slices:
        """Measure the named slices, and look for the weakest."""
        from penstock.gate.rules.slices.measure import measure_slices

        return measure_slices(context.holdout, settings, confidence=context.confidence)

    def judge(self, settings: SlicesSpec, case: Case) -> Iterator[RuleResult]:
        """Yield whether any slice is shown to be bad."""
        found = self.measured(case.evaluation)
        if found is None:
            yield not_measured(NAME, settings, "slices")
        else:
            yield _judge(settings, found, case.evaluation)

    def section(self, evaluation: EvaluationBase) -> Section | None:
        """Return the slices, the weakest first."""
        found = self.measured(evaluation)
        return None if found is None else slices_section(found, confidence=evaluation.confidence)

    def card(self, evaluation: EvaluationBase | None, _: Operations | None) -> Part:
        """Return the same for the model card."""
        return slices_part(None if evaluation is None else self.measured(evaluation))

    def metrics(self, _: PolicyBase, evaluation: EvaluationBase) -> Iterator[str]:
        """Yield the one that slices are judged by."""
        found = self.measured(evaluation)
        if found is not None:
            yield found.metric


def _judge(settings: SlicesSpec, found: Slices, evaluation: EvaluationBase) -> RuleResult:
    judged = [one for one in found.slices if one.estimate is not None]
    if not judged:
        return result(
            NAME,
            settings,
            passed=False,
            sentence=f"No slice could be judged: none has the {settings.min_rows:,} rows, or rows "
            "of either class, that it takes.",
        )
    bound = settings.at_least if settings.at_least is not None else settings.at_most
    lost = evaluation.champion_state not in ("none", "compared") or (
        bool(evaluation.champion) and not found.compared
    )
    if settings.margin is not None and lost:
        return not_measured(NAME, settings, "slices against the champion", bound=bound)
    held = []
    if bound is not None:
        held.append(f"{_side(found)} {bound:.4g}")
    if found.compared:
        held.append(f"worse than the champion by more than {settings.margin:.4g}")
    weakest = judged[0]
    if not held:
        return result(
            NAME,
            settings,
            passed=None,
            value=_value(weakest),
            sentence="The policy gives no floor, and there is no champion to compare slices with. "
            + _weakest(judged, found, evaluation.confidence),
        )
    measured = all(
        (bound is None or one.p_floor is not None)
        and (not found.compared or one.p_worse is not None)
        for one in judged
    )
    if not measured:
        return not_measured(NAME, settings, "every slice that it lists", bound=bound)
    flagged = [one for one in judged if one.flagged(alpha=settings.alpha)]
    if found.unjudged and not flagged:
        return result(
            NAME,
            settings,
            passed=False,
            bound=bound,
            sentence=f"The policy names {', '.join(found.unjudged)}, of which no slice has the "
            f"{settings.min_rows:,} rows, or rows of either class, that it takes to judge one, so "
            "the rule cannot pass. Hold out more rows, or lower min_rows.",
        )
    if flagged:
        return result(
            NAME,
            settings,
            passed=False,
            value=_value(flagged[0]),
            bound=bound,
            sentence=_flagged(flagged, found, settings, bound),
        )
    return result(
        NAME,
        settings,
        passed=True,
        value=_value(weakest),
        bound=bound,
        sentence=f"None of {found.looked_at:,} slices is shown to be {' or '.join(held)}, at a "
        f"{settings.alpha:.0%} probability of any false alarm. "
        + _weakest(judged, found, evaluation.confidence),
    )


def _flagged(flagged: list[Slice], found: Slices, settings: SlicesSpec, bound: float | None) -> str:
    count = len(flagged) + found.omitted
    # What the policy names comes before what was found.
    first = sorted(flagged, key=lambda one: one.found)[:_NAMED]
    reasons = [_reasons(one, found, settings, bound) for one in first]
    more = f" and {count - len(reasons):,} more" if count > len(reasons) else ""
    return (
        f"{count:,} of {found.looked_at:,} slices {'is' if count == 1 else 'are'} shown to be bad: "
        f"{'; '.join(reasons)}{more}. The probability of any false alarm is {settings.alpha:.0%}."
    )


def _reasons(one: Slice, found: Slices, settings: SlicesSpec, bound: float | None) -> str:
    estimate, advantage = one.estimate, one.advantage
    assert estimate is not None
    reasons = [f"{one.name} ({one.rows:,} rows): {found.metric} is {estimate.value:.4g}"]
    if bound is not None and one.p_floor is not None and one.p_floor <= settings.alpha:
        reasons.append(f"{_side(found)} {bound:.4g}")
    if advantage is not None and one.p_worse is not None and one.p_worse <= settings.alpha:
        reasons.append(
            f"worse than the champion's by {-advantage.value:.4g}, more than the margin "
            f"{settings.margin:.4g}"
        )
    return ", ".join(reasons)


def _weakest(judged: list[Slice], found: Slices, confidence: float) -> str:
    listed = []
    for one in judged[:_NAMED]:
        estimate = one.estimate
        assert estimate is not None
        listed.append(
            f"{one.name} ({found.metric} {estimate.value:.4g}, {confidence:.0%} interval "
            f"{estimate.low:.4g} to {estimate.high:.4g}, {one.rows:,} rows)"
        )
    return f"The weakest: {'; '.join(listed)}."


def _value(one: Slice) -> float | None:
    return None if one.estimate is None else one.estimate.value


def _side(found: Slices) -> str:
    return "below the floor" if found.higher_is_better else "above the limit"


RULE = SlicesRule()
