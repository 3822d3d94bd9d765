"""The page of an experiment."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.records.experiment import ExperimentPlan, ExperimentReading, ended_by_reading
from penstock.records.rollout import Finding, Rollout
from penstock.reports.page import Cell, Section, Status, Tone, page, paragraph, table
from penstock.rollout.experiment import words
from penstock.rollout.experiment.words import number
from penstock.rollout.words import bound_text, clock, duration, figure_text, headline, rule_title


def render(
    rollout: Rollout,
    plan: ExperimentPlan,
    reading: ExperimentReading,
    *,
    guards: Sequence[Finding],
    by: str,
) -> str:
    """Return the page.

    Args:
        rollout: The experiment's rollout, ended or under way.
        plan: Its plan.
        reading: What it shows.
        guards: What the rules on errors, latency and loss find.
        by: Who started it.
    """
    word, status = _status(rollout)
    return page(
        title=f"{rollout.service}: version {rollout.candidate} against {rollout.stable}",
        kind="Experiment",
        status=status,
        word=word,
        verdict=headline(rollout) if rollout.outcome else reading.sentence,
        facts=_facts(rollout, plan, reading, by=by),
        sections=[
            Section("What it shows", _shown(rollout, plan, reading), lead=_lead(rollout, reading)),
            Section("Guards", _guarded(guards), "Harm ends the experiment at once."),
            Section("What happened", _happened(rollout)),
            Section("How it is read", _terms(plan)),
        ],
    )


def _lead(rollout: Rollout, reading: ExperimentReading) -> str:
    """Return the reading in words, where the head of the page does not have it."""
    return reading.sentence if rollout.outcome else ""


def _status(rollout: Rollout) -> tuple[str, Status]:
    if rollout.outcome is None:
        return "Under way", "plain"
    if rollout.outcome == "promoted":
        return "Promoted", "good"
    return ("Champion kept", "plain") if ended_by_reading(rollout) else ("Ended early", "bad")


def _facts(
    rollout: Rollout, plan: ExperimentPlan, reading: ExperimentReading, *, by: str
) -> list[tuple[str, str]]:
    return [
        ("Started", clock(rollout.started)),
        ("Started by", by),
        ("KPI", words.kpi_name(plan)),
        ("Better", plan.better),
        ("Users by", f"header {plan.header}"),
        ("Challenger's share", f"{reading.weight} % of users"),
        ("A user's window", duration(plan.window)),
        ("Planned users", f"{plan.users:,}"),
        ("Goes on for at most", duration(plan.seconds)),
        ("Rollout", rollout.identity),
        ("Date", clock(reading.time)),
    ]


def _shown(rollout: Rollout, plan: ExperimentPlan, reading: ExperimentReading) -> str:
    arms = (
        (f"Champion, version {rollout.stable}", reading.champion),
        (f"Challenger, version {rollout.candidate}", reading.challenger),
    )
    rows = [[name, f"{one.exposed:,}", f"{one.users:,}", number(one.mean)] for name, one in arms]
    tones: dict[str, tuple[str, Tone]] = {
        "better": ("better", "good"),
        "worse": ("worse", "bad"),
        "not trusted": ("not trusted", "bad"),
    }
    word, tone = tones.get(reading.verdict, ("not decided", "plain"))
    ends = [number(one, sign=True) for one in (reading.difference, reading.low, reading.high)]
    rest = "".join(
        paragraph(line.strip().removeprefix("Note").strip()) for line in words.notes(reading, plan)
    )
    return (
        table(["Arm", "Users", "Counted", "Mean"], rows, numeric=(1, 2, 3))
        + table(
            ["Reading", "Challenger less champion", "From", "To"],
            [[Cell(word, tone), *ends]],
            numeric=(1, 2, 3),
        )
        + paragraph(f"{reading.waiting:,} users wait for the end of their window.")
        + rest
    )


def _guarded(guards: Sequence[Finding]) -> str:
    if not guards:
        return paragraph("Nothing was seen by which they could be judged.")
    tones: dict[str, Tone] = {"fail": "bad", "pass": "good"}
    rows: list[list[str | Cell]] = [
        [
            rule_title(one),
            Cell(one.verdict, tones.get(one.verdict, "plain")),
            figure_text(one),
            bound_text(one),
            one.sentence,
        ]
        for one in guards
    ]
    return table(["Rule", "Verdict", "Figure", "Bound", "In words"], rows)


def _happened(rollout: Rollout) -> str:
    rows = [
        [clock(each.time), each.phase, f"{each.weight} %", each.reason]
        for each in rollout.transitions
    ]
    return table(["Time", "Phase", "Challenger", "Why"], rows, numeric=(2,))


def _terms(plan: ExperimentPlan) -> str:
    missing = (
        "One of whom nothing came counts as 0."
        if plan.missing == "zero"
        else "One of whom nothing came is left out."
    )
    return "".join(
        map(
            paragraph,
            (
                f"A user gets one version, by a hash of the header {plan.header}; raising the "
                "challenger's share moves some users to it, and none back.",
                f"A user counts once: the {plan.per_user} over the rows whose KPI came within "
                f"{duration(plan.window)} of the first request, between {plan.low:g} and "
                f"{plan.high:g}. {missing}",
                "The interval is a confidence sequence: with a probability of "
                f"{plan.confidence:.0%} it holds the true difference at every look of the whole "
                "experiment, so anybody may look at any time and stop when it is decided.",
            ),
        )
    )
