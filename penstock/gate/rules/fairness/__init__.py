"""How far a figure lies apart between groups of people: one result for each rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from penstock.gate.rule import Case, PolicyBase, Rule, not_measured, result
from penstock.gate.rules.fairness.spec import Fairness, FairnessSpec, Group
from penstock.records.decision import RuleResult
from penstock.records.evaluation import EvaluationBase
from penstock.records.operations import Operations
from penstock.reports.blocks import Block, Grid, Part, Text, figure, notes_of, number
from penstock.reports.page import Cell, Section, heading, paragraph, table
from penstock.reports.words import figure_text, plain

if TYPE_CHECKING:
    from penstock.gate.holdout import Context


class FairnessRule(Rule[FairnessSpec, tuple[Fairness, ...]]):
    """The spread of a figure over groups keeps its bounds."""

    name = "fairness"
    order = 70
    field = (
        tuple[FairnessSpec, ...],
        Field(default=(), description="Bounds on the spread between groups of people"),
    )
    record = (tuple[Fairness, ...], ())
    judge_only = frozenset({"difference_at_most", "ratio_at_least"})

    def describe(self, settings: FairnessSpec) -> Iterator[tuple[str, str]]:
        """Yield its requirement."""
        bounds = []
        if settings.difference_at_most is not None:
            bounds.append(f"may differ by at most {settings.difference_at_most:g}")
        if settings.ratio_at_least is not None:
            bounds.append(f"the lowest must be at least {settings.ratio_at_least:g} of the highest")
        yield (
            _name(settings),
            "The model must treat groups of people alike, within bounds. Their "
            f"{settings.metric.replace('_', ' ')}: {', and '.join(bounds)}.",
        )

    def columns(self, settings: FairnessSpec) -> Iterator[tuple[str, str]]:
        """Yield the sensitive ones."""
        for name in settings.columns:
            yield "gate.fairness.columns", name

    def measurement(self, policy: PolicyBase, context: Context) -> tuple[Fairness, ...]:
        """Return the groups of each rule."""
        from penstock.gate.rules.fairness.measure import measure_fairness

        return tuple(
            measure_fairness(
                context.holdout,
                settings,
                confidence=context.confidence,
                resamples=context.resamples,
                seed=context.seed,
            )
            for settings in self.settings(policy)
        )

    def judge(self, settings: FairnessSpec, case: Case) -> Iterator[RuleResult]:
        """Yield whether the spread keeps its bounds."""
        yield _judge(settings, case.evaluation, self.measured(case.evaluation) or ())

    def section(self, evaluation: EvaluationBase) -> Section | None:
        """Return the figures of every group."""
        found = self.measured(evaluation)
        if not found:
            return None
        body = "".join(_groups(one, evaluation.confidence) for one in found)
        lead = "The same figure in each group of people, and how far the groups lie apart."
        return Section("Groups", body, lead)

    def card(self, evaluation: EvaluationBase | None, _: Operations | None) -> Part:
        """Return the same for the model card."""
        found = () if evaluation is None else self.measured(evaluation) or ()
        if not found:
            absent = "Not measured: no sensitive columns were named."
            return Part("Groups of people", [Text(f"{absent} That says nothing about fairness.")])
        return Part("Groups of people", [block for one in found for block in _blocks(one)])


def _name(settings: FairnessSpec) -> str:
    return f"fairness {settings.metric} by {' and '.join(settings.columns)}"


def _judge(
    settings: FairnessSpec, evaluation: EvaluationBase, measured: tuple[Fairness, ...]
) -> RuleResult:
    name = _name(settings)
    found = next(
        (
            one
            for one in measured
            if (one.columns, one.metric, one.min_rows)
            == (settings.columns, settings.metric, settings.min_rows)
        ),
        None,
    )
    if found is None:
        return not_measured(name, settings, "these groups")
    words = settings.metric.replace("_", " ")
    judged = [group for group in found.groups if not group.small]
    if found.difference is None or (settings.ratio_at_least is not None and found.ratio is None):
        return result(
            name,
            settings,
            passed=False,
            bound=_bound(settings),
            sentence=f"{len(judged)} of {len(found.groups)} groups have {settings.min_rows:,} rows "
            f"that bear on the {words}: nothing can be compared, so the rule cannot pass.",
        )
    sentences: list[str] = []
    failed, checked = [], []
    for label, spread, limit, must in (
        ("difference", found.difference, settings.difference_at_most, "at most"),
        ("ratio", found.ratio, settings.ratio_at_least, "at least"),
    ):
        if limit is None or spread is None:
            continue
        holds = spread.value <= limit if must == "at most" else spread.value >= limit
        checked.append((spread.value, limit))
        if not holds:
            failed.append((spread.value, limit))
        sentences.append(
            f"The {label} of the {words} between groups is {spread.value:.3g} "
            f"({evaluation.confidence:.0%} interval {spread.low:.3g} to {spread.high:.3g}); it "
            f"must be {must} {limit:.3g}{'' if holds else ', and is not'}."
        )
    sentences.append(_ends(judged))
    small = len(found.groups) - len(judged)
    if small:
        sentences.append(f"{small} small {'group is' if small == 1 else 'groups are'} left out.")
    value, bound = (failed or checked)[0]
    return result(
        name, settings, passed=not failed, value=value, bound=bound, sentence=" ".join(sentences)
    )


def _bound(settings: FairnessSpec) -> float | None:
    return (
        settings.difference_at_most
        if settings.difference_at_most is not None
        else settings.ratio_at_least
    )


def _ends(groups: list[Group]) -> str:
    """Return which groups lie furthest apart, by each figure."""
    extremes = []
    for metric in groups[0].figures:
        defined = [
            (value, group.name) for group in groups if (value := group.figures[metric]) is not None
        ]
        (least, lowest), (most, highest) = min(defined), max(defined)
        words = metric.replace("_", " ")
        extremes.append(
            f"{words}: lowest {least:.3g} for {lowest}, highest {most:.3g} for {highest}"
        )
    return f"By group, {'; '.join(extremes)}."


def _groups(found: Fairness, confidence: float) -> str:
    words = found.metric.replace("_", " ")
    figures = list(found.groups[0].figures)
    rows: list[list[str | Cell]] = [
        [
            group.name,
            f"{group.rows:,}",
            *(_figure(group.figures[name]) for name in figures),
            "small, left out" if group.small else "",
        ]
        for group in found.groups
    ]
    headers = ["Group", "Rows", *(name.replace("_", " ") for name in figures), ""]
    body = heading(f"{words.capitalize()} by {' and '.join(found.columns)}")
    body += table(headers, rows, numeric=range(1, 2 + len(figures)))
    if found.difference is None:
        return body + paragraph("Fewer than two groups are large enough: there is no spread.")
    text = f"Largest minus smallest: {figure_text(found.difference)}."
    if found.ratio is not None:
        text += f" Smallest over largest: {figure_text(found.ratio)}."
    text += (
        f" Each with its {confidence:.0%} interval; one that reaches to "
        f"0{' or 1' if found.ratio is not None else ''} allows that the groups do not differ."
    )
    return body + "".join(map(paragraph, [text, *found.notes]))


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}" if abs(value) < 100 else plain(value)


def _blocks(one: Fairness) -> Iterator[Block]:
    names = list(dict.fromkeys(name for group in one.groups for name in group.figures))
    rows = [
        [
            group.name + (" (too few rows to judge)" if group.small else ""),
            f"{group.rows:,}",
            *(number(group.figures.get(name)) for name in names),
        ]
        for group in one.groups
    ]
    title = f"{one.metric.replace('_', ' ')} by {', '.join(one.columns)}"
    headers = ["Group", "Rows", *(name.replace("_", " ") for name in names)]
    yield Grid(headers, rows, range(1, len(headers)), title=title)
    yield Text(
        f"Largest minus smallest group: {figure(one.difference)}. Smallest over largest: "
        f"{figure(one.ratio)}."
    )
    yield from notes_of(one.notes)


RULE = FairnessRule()
