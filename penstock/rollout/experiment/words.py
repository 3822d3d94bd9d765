"""An experiment in words: for a terminal, the record and the page."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.records.experiment import ExperimentPlan, ExperimentReading
from penstock.records.rollout import Finding
from penstock.rollout.words import duration, rule_title


def sentence_of(reading: ExperimentReading, plan: ExperimentPlan) -> str:
    """Return what a reading shows, in sentences."""
    if reading.verdict == "not trusted":
        return (
            f"The arms do not get the users that they should: {reading.champion.exposed:,} came to "
            f"the champion and {reading.challenger.exposed:,} to the challenger, which is not by "
            f"chance. Find out why before anything is concluded."
        )
    if reading.difference is None or reading.low is None or reading.high is None:
        return "Nothing can be said yet: no user's window is over in one of the arms."
    said = (
        f"The challenger's {kpi_name(plan)} is {number(reading.challenger.mean)}, the champion's "
        f"{number(reading.champion.mean)}: {number(reading.difference, sign=True)}, between "
        f"{number(reading.low, sign=True)} and {number(reading.high, sign=True)} "
        f"({plan.confidence:.0%}, at every look)."
    )
    ending = {
        "better": "The challenger is better.",
        "worse": "The challenger is worse.",
    }.get(reading.verdict, "That is not decided yet.")
    return f"{said} {ending}"


def lines(
    reading: ExperimentReading, plan: ExperimentPlan, *, guards: Sequence[Finding] = ()
) -> list[str]:
    """Return a reading for a terminal, and what the rules on errors, latency and loss find."""
    arms = (("Champion", reading.champion), ("Challenger", reading.challenger))
    found = [
        f"  {name:<11} {arm.users:,} users counted of {arm.exposed:,}; mean {number(arm.mean)}"
        for name, arm in arms
    ]
    counted = reading.champion.users + reading.challenger.users
    found.append(
        f"  Planned     {plan.users:,} users; {counted:,} are counted "
        f"({counted / plan.users:.0%}), {reading.waiting:,} wait for the end of their "
        f"{duration(plan.window)}"
    )
    found.append(f"  Reading     {reading.sentence}")
    if guards:
        said = "; ".join(f"{rule_title(one)}: {one.verdict}" for one in guards)
        found.append(f"  Guards      {said}")
    return [*found, *notes(reading, plan)]


def notes(reading: ExperimentReading, plan: ExperimentPlan) -> list[str]:
    """Return what was left out, one sentence each."""
    without = "count as 0" if plan.missing == "zero" else "are left out"
    every = (
        (reading.without, f"users whose window ended without a KPI {without}"),
        (reading.apart, f"requests had no header {plan.header}: the champion answered them"),
        (reading.clipped, f"users had a KPI outside of {plan.low:g} to {plan.high:g}; it was cut"),
        (reading.unknown, "labels or values came after their user's window, or are of nobody here"),
        (reading.repeated, "labels or values came again, and count once"),
        (reading.moved, "requests are of users whom a change of weight gave the other arm"),
        (reading.damaged, "lines of its events could not be read"),
        (reading.changing, "requests met a proxy that had not the new weight yet; none counts"),
        (reading.dropped, "events are lost: a spool was full, or a file is gone"),
        (reading.silent, "pods ended without a word: what they had not shipped is lost"),
    )
    found = [f"  Note        {count:,} {what}." for count, what in every if count]
    if reading.known_until is not None:
        known = reading.known_until.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        found.insert(0, f"  Note        Read up to {known}: later events are on their way.")
    return found


def kpi_name(plan: ExperimentPlan) -> str:
    """Return what is compared, with its unit."""
    name = "value of a decision" if plan.kpi == "cost" else f"{plan.per_user} of values"
    return f"{name} by user" + (f" in {plan.unit}" if plan.unit else "")


def number(value: float | None, *, sign: bool = False) -> str:
    """Return a figure with four digits that count."""
    if value is None:
        return "none"
    return f"{value:{'+' if sign else ''}.4g}".replace("-", "\N{MINUS SIGN}")
