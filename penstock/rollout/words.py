"""A rollout in words: for a terminal, a run's summary and the report."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from penstock.records.experiment import KPI
from penstock.records.rollout import ArmSummary, Finding, Rollout, Transition, Verdict, total
from penstock.rollout.spec import CanarySpec

FAULTS = {
    "errors": "one in twenty requests fails with a 500",
    "slow": "its responses take three times as long",
    "crash-at-start": "its server dies before it is ready",
    "crash-later": "its server dies after a while",
    "leak": "its server takes more and more memory until it is killed",
    "shifted-scores": "its scores are too high",
    "constant-scores": "it gives every row the same score",
    "refuses-a-category": "it refuses requests with the commonest value of a text column",
    "wrong-later": "half of its rows get another row's score, which only true labels show",
}
"""What each injected fault does to the candidate's server."""


@dataclass(frozen=True)
class RuleWords:
    """How a rule and its figures are written.

    Attributes:
        title: What people call it.
        scale: What its figures are multiplied with.
        unit: The unit they have then.
        digits: Decimals that are worth reading.
        side: Where the figure must be, beside its bound.
    """

    title: str
    scale: int
    unit: str
    digits: int
    side: str = "\N{LESS-THAN OR EQUAL TO}"


RULES = {
    "errors": RuleWords("server errors", 100, " points", 1),
    "refusals": RuleWords("refusals", 100, " points", 1),
    "latency": RuleWords("latency", 1, "\N{MULTIPLICATION SIGN}", 2),
    "agreement": RuleWords("agreement", 100, " %", 1, side="\N{GREATER-THAN OR EQUAL TO}"),
    "scores": RuleWords("scores", 1, "", 2),
    "labels": RuleWords("labels", 1, "", 3),
    "error burst": RuleWords("error burst", 100, " %", 0),
}

_KPI = RuleWords("business KPI", 1, "", 4, side="against")
_ORDER: tuple[Verdict, ...] = ("fail", "inconclusive", "pass", "not judged")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])")
_LONGEST_REASON = 240
_LABEL = 13


def headline(record: Rollout) -> str:
    """Return which version was promoted or rolled back and why, or where its rollout is."""
    sentence = state(record)
    return f"Fault injection ({record.fault}): {sentence}" if record.fault else sentence


def state(record: Rollout) -> str:
    """Return the headline without the injected fault."""
    name = f"Version {record.candidate} of {record.service}"
    why = first_sentence(record.reason)
    because = f". {why}." if why else "."
    if record.outcome == "promoted":
        if record.direct and record.stable is not None:
            return f"{name} replaced version {record.stable}{because}"
        over = "" if record.stable is None else f" over version {record.stable}"
        return f"{name} was promoted{over}{because}"
    if record.outcome == "rolled_back":
        left = (
            "no version serves"
            if record.stable is None
            else f"version {record.stable} still serves"
        )
        if record.purpose == "experiment":
            return f"The experiment with {name[0].lower()}{name[1:]} ended; {left}{because}"
        return f"{name} was rolled back; {left}{because}"
    return f"{name} {_under_way(record)}"


def status_lines(record: Rollout, *, findings: Sequence[Finding] = ()) -> list[str]:
    """Return a rollout for a terminal: its state, its requests, and what each rule says.

    The lines are indented, to stand below one that names the service.

    Args:
        record: The rollout, finished or under way.
        findings: The present findings; empty takes those of the last transition that had any.
    """
    lines = [
        _entry("Rollout", headline(record)),
        _entry(
            "Ended" if record.outcome else "Since", f"{clock(_entered(record))}, {_ago(record)}"
        ),
    ]
    for name, arm in _arms(record):
        lines.append(_entry("Requests" if len(lines) == 2 else "", f"{name}: {_answered(arm)}"))
    blind = record.intervals[-1].blind if record.intervals and not record.outcome else ""
    if blind:
        lines.append(_entry("", _line(blind)))
    judged = in_order(findings or last_findings(record))
    for number, finding in enumerate(judged):
        verdict = f"{finding.verdict:<12} {rule_title(finding)}: {_line(finding.sentence)}"
        lines.append(_entry("" if number else "Rules", verdict))
    commands = next_commands(record)
    lines += [
        _entry("" if number else "Next", f"{command}   {meaning}")
        for number, (command, meaning) in enumerate(commands)
    ]
    return lines


def next_commands(record: Rollout) -> list[tuple[str, str]]:
    """Return the commands that can be used now, each with what it does."""
    if record.outcome == "promoted":
        if record.stable is None or record.purpose == "return":
            return []
        return [("penstock rollback", f"serves version {record.stable} again")]
    if record.outcome == "rolled_back":
        return []
    if record.purpose == "experiment":
        return [
            ("penstock experiment stop", "ends it: the winner stays"),
            ("penstock experiment start", "continues it if its controller was stopped"),
        ]
    commands = [
        ("penstock rollout abort", "rolls it back now"),
        ("penstock rollout resume", "continues it if its controller was stopped"),
    ]
    here = last(record)
    steps = plan_of(record).steps
    if here and here.phase == "step" and here.step < len(steps) and steps[here.step].hold:
        commands.insert(0, ("penstock rollout approve", "lets it continue after this step"))
    return commands


def plan_of(record: Rollout) -> CanarySpec:
    """Return the plan that the record carries.

    Raises:
        InputError: If it is not one that this release understands.
    """
    return CanarySpec.parse(record.plan, where=f"rollout {record.identity}: plan")


def last(record: Rollout) -> Transition | None:
    """Return the newest transition, or None before the first."""
    return record.transitions[-1] if record.transitions else None


def last_findings(record: Rollout) -> tuple[Finding, ...]:
    """Return the evidence of the last transition that was made on evidence."""
    return next((t.findings for t in reversed(record.transitions) if t.findings), ())


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings with what decides first: failed, inconclusive, passed, not judged."""
    return sorted(findings, key=lambda finding: _ORDER.index(finding.verdict))


def target_of(transition: Transition, *, steps: int) -> str:
    """Return what a phase is called, for example `step 1 of 2`.

    Args:
        transition: One that goes there.
        steps: Steps of the plan.
    """
    if transition.phase == "step":
        return f"step {transition.step + 1} of {steps}"
    return transition.phase


def first_sentence(reason: str) -> str:
    """Return the first sentence of a reason, on one line, without its stop."""
    sentence = _SENTENCE_END.split(_line(reason.strip().partition("\n")[0]))[0].rstrip(". ")
    return (
        sentence
        if len(sentence) <= _LONGEST_REASON
        else sentence[: _LONGEST_REASON - 1].rstrip() + "…"
    )


def rule_title(finding: Finding) -> str:
    """Return a rule's name as people write it."""
    return _rule(finding).title


def figure_text(finding: Finding) -> str:
    """Return a finding's figure in its unit, with its interval: `5.1 points (3.2 to 7.4)`."""
    if finding.value is None:
        return "none"
    rule = _rule(finding)
    text = _number(finding.value, rule) + rule.unit
    if finding.low is None and finding.high is None:
        return text
    low = None if finding.low is None else _number(finding.low, rule)
    high = None if finding.high is None else _number(finding.high, rule)
    if high is None:
        return f"{text} (from {low})"
    return f"{text} (up to {high})" if low is None else f"{text} ({low} to {high})"


def bound_text(finding: Finding) -> str:
    """Return the bound of a finding's figure: `\N{LESS-THAN OR EQUAL TO} 2 points`."""
    if finding.bound is None:
        return "none"
    rule = _rule(finding)
    return f"{rule.side} {_number(finding.bound, rule)}{rule.unit}"


def duration(seconds: float) -> str:
    """Return a length of time in its two largest units: `1 h 5 min`, `2 min 3 s`, `4.2 s`."""
    if seconds < 10:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return _two(whole, 60, "min", "s")
    if whole < 86_400:
        return _two(whole // 60, 60, "h", "min")
    return _two(whole // 3600, 24, "d", "h")


def clock(moment: datetime) -> str:
    """Return a moment as `2026-11-21 05:24:31 UTC`."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def ended(record: Rollout) -> datetime:
    """Return the time of the rollout's last record."""
    moments = [transition.time for transition in record.transitions[-1:]]
    moments += [i.started + timedelta(seconds=i.seconds) for i in record.intervals[-1:]]
    if record.outcome is not None:
        moments = moments[:1]
    return max([record.started, *moments])


def percent(share: float) -> str:
    """Return a share as a percentage with as many decimals as are worth reading."""
    value = 100 * share
    digits = 0 if value in (0, 100) else 1 if 1 <= value <= 99 else 2
    return f"{value:.{digits}f} %"


def _rule(finding: Finding) -> RuleWords:
    if finding.rule == KPI:
        return _KPI
    return RULES.get(finding.rule, RuleWords(finding.rule, 1, "", 3))


def _number(value: float, rule: RuleWords) -> str:
    text = f"{value * rule.scale:,.{rule.digits}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text.replace("-", "\N{MINUS SIGN}")


def _two(whole: int, base: int, large: str, small: str) -> str:
    rest = f" {whole % base} {small}" if whole % base else ""
    return f"{whole // base} {large}{rest}"


def _under_way(record: Rollout) -> str:
    here = last(record)
    beside = "as the first version" if record.stable is None else f"beside version {record.stable}"
    if here is None or here.phase == "deploy":
        return f"is being started {beside}, without traffic yet."
    if here.phase == "shadow":
        return f"gets mirrored requests of version {record.stable}; its responses are not used."
    if here.phase == "step" and record.purpose == "experiment":
        return (
            f"is in an experiment with {here.weight} % of users; version {record.stable} has the "
            "rest."
        )
    if here.phase == "step":
        place = target_of(here, steps=len(plan_of(record).steps))
        return (
            f"is at {place} with {here.weight} % of new requests; "
            f"version {record.stable} has the rest."
        )
    doing = "promoted" if here.phase == "promote" else "rolled back"
    return f"is being {doing}. {first_sentence(here.reason)}."


def _entered(record: Rollout) -> datetime:
    here = last(record)
    return record.started if here is None else here.time


def _ago(record: Rollout) -> str:
    spent = (ended(record) - record.started).total_seconds()
    if record.outcome is not None:
        return f"after {duration(spent)}"
    return f"{duration(spent)} after its start, at its last record"


def _arms(record: Rollout) -> list[tuple[str, ArmSummary]]:
    """Return what both versions answered in the phase that a rollout under way is in."""
    here = last(record)
    if here is None or here.phase not in ("shadow", "step"):
        return []
    seen = [i for i in record.intervals if (i.phase, i.step) == (here.phase, here.step)]
    shadow = here.phase == "shadow"
    return [
        (f"version {record.stable}", total(i.pairs.stable if shadow else i.stable for i in seen)),
        (
            f"version {record.candidate}",
            total(i.pairs.candidate if shadow else i.candidate for i in seen),
        ),
    ]


def _answered(arm: ArmSummary) -> str:
    if not arm.requests:
        return "no request in this phase"
    return (
        f"{arm.requests:,} requests in this phase, "
        f"{percent(arm.server_errors / arm.requests)} 5xx, "
        f"{percent(arm.client_errors / arm.requests)} 4xx"
    )


def _line(text: str) -> str:
    return " ".join(text.split())


def _entry(label: str, text: str) -> str:
    return f"  {label:<{_LABEL}} {text}"
