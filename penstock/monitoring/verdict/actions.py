"""What follows from a verdict: what is suggested or begun, and what people are notified of.

Each action is a kind of `records.monitoring.Action`. What is begun goes on between looks, and
becomes an action when it has ended: `intervention`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from penstock.monitoring.settings.monitoring import MonitoringSpec
from penstock.monitoring.verdict import words
from penstock.records.monitoring import (
    ALARMS,
    Action,
    ActionKind,
    Alarm,
    Cause,
    Looked,
    MonitorState,
    Notice,
    Verdict,
    VerdictKind,
)

REFUSALS = 3
"""Runs refused in a row after which nothing more is suggested or begun."""

BEGUN = "A recall, or else a retraining, was begun."
"""What a look did that begins one."""

_TRIED: tuple[ActionKind, ...] = ("returned", "recalled", "retrained", "refused", "failed")
"""What changed the champion, or was to: a suggestion keeps from none of it."""

_MONTH = timedelta(days=30)


def suggestion(
    looked: Looked,
    *,
    kind: VerdictKind,
    cause: Cause,
    alarms: Sequence[Alarm],
    state: MonitorState,
    spec: MonitoringSpec,
) -> tuple[bool, str]:
    """Return whether a look suggests to train again, and else what bars it, in a sentence.

    It is suggested once for each alarm, and once more where an alarm on the loss follows. A fault
    of the data's quality never suggests it.

    Args:
        looked: What the look saw.
        kind: The verdict on it.
        cause: What that is about.
        alarms: Those that stand.
        state: As the look before left it.
        spec: The section `monitoring`.
    """
    wanted = kind in ("drifted", "degraded") and cause in ("data drift", "performance")
    if spec.retrain == "never" or not wanted or not alarms:
        return False, ""
    if _acts(cause, spec=spec):
        return False, ""
    newest = max(one.number for one in alarms)
    if any(one.kind == "suggested" and one.number >= newest for one in state.actions):
        return False, ""
    bar = _bar(looked, state.actions, refused=looked.refused, spec=spec, verb="suggested")
    return not bar, bar


def beginning(
    looked: Looked, *, kind: VerdictKind, cause: Cause, state: MonitorState, spec: MonitoringSpec
) -> tuple[bool, str]:
    """Return whether a look begins a recall or a retraining, and else what bars it, in a sentence.

    Degraded performance alone does, where `monitoring.retrain` is automatic, and while no other one
    is under way. Where it is as bad after the cool-down, it does again.

    Args:
        looked: What the look saw.
        kind: The verdict on it.
        cause: What that is about.
        state: As the look before left it.
        spec: The section `monitoring`.
    """
    if kind != "degraded" or not _acts(cause, spec=spec) or looked.version is None:
        return False, ""
    if state.intervention is not None:
        return False, ""
    tried = [one for one in state.actions if one.kind in _TRIED]
    refused = max(looked.refused, refused_in_a_row(tried))
    bar = _bar(looked, tried, refused=refused, spec=spec, verb="begun")
    return not bar, bar


def refused_in_a_row(actions: Sequence[Action]) -> int:
    """Return how many recalls and retrainings were refused one after the other, up to now."""
    count = 0
    for action in reversed(actions):
        if action.kind in ("recalled", "retrained"):
            break
        count += action.kind == "refused"
    return count


def stopped(actions: Sequence[Action], *, spec: MonitoringSpec) -> str:
    """Return why no further run follows the last action; empty: one may.

    Args:
        actions: Of the last 31 days, the newest last.
        spec: The section `monitoring`.
    """
    if said := _asks(refused_in_a_row(actions)):
        return said
    tried = sum(one.kind in _TRIED for one in actions)
    if tried < spec.actions_per_month or actions[-1].kind in ("recalled", "retrained"):
        return ""
    return (
        f"{tried} actions were taken within 30 days, and monitoring.actions_per_month allows no "
        "more."
    )


def _asks(refused: int) -> str:
    """Return what people are to do after so many refusals in a row; empty: nothing yet."""
    if refused < REFUSALS:
        return ""
    return (
        f"The last {refused} runs were refused, so nothing more is done until one is released. "
        "Read their decisions: the gate, the data or the features need a person."
    )


def _acts(cause: Cause, *, spec: MonitoringSpec) -> bool:
    return spec.retrain == "automatic" and cause == "performance"


def _bar(
    looked: Looked,
    actions: Sequence[Action],
    *,
    refused: int,
    spec: MonitoringSpec,
    verb: str,
) -> str:
    """Return why nothing is done now, although an alarm asks for it; empty: nothing bars it."""
    if refused >= REFUSALS:
        if verb == "begun":
            return _asks(refused)
        return (
            f"The last {refused} runs were refused, so training again is not suggested any "
            "more. Read their decisions: the gate, the data or the features need a person."
        )
    recent = [one for one in actions if looked.time - one.time < _MONTH]
    if len(recent) >= spec.actions_per_month:
        return (
            f"Nothing more is {verb}: {len(recent)} actions were taken within 30 days, and "
            f"monitoring.actions_per_month allows {spec.actions_per_month}."
        )
    rest = timedelta(hours=spec.cooldown)
    # An action in the future was noted before a clock was set back.
    last = min(max(one.time for one in recent), looked.time) if recent else None
    if last is not None and looked.time - last < rest:
        return (
            f"Nothing more is {verb} before {words.moment(last + rest)}: the last action was at "
            f"{words.moment(last)}."
        )
    return ""


def actions_of(verdict: Verdict) -> tuple[Action, ...]:
    """Return what is done because of a verdict."""
    if verdict.suggests != "retrain":
        return ()
    return (
        Action(
            kind="suggested",
            time=verdict.time,
            number=verdict.number,
            reason=f"Train again: {verdict.headline}",
        ),
    )


def done_in_words(actions: tuple[Action, ...]) -> tuple[str, ...]:
    """Return what was done, in sentences."""
    return tuple(
        "It was suggested to train again." for action in actions if action.kind == "suggested"
    )


def notices_of(verdict: Verdict, actions: tuple[Action, ...], *, link: str) -> tuple[Notice, ...]:
    """Return what people are notified of a look: each change once, and each suggestion.

    Args:
        verdict: What was concluded.
        actions: What was done because of it.
        link: Where the page is.
    """
    events: list[str] = []
    if verdict.changed and verdict.kind in ALARMS:
        events.append(verdict.kind)
    elif verdict.recovered:
        events.append("recovered")
    events += [action.kind for action in actions]
    return tuple(
        Notice(
            identity=f"{verdict.service}-{verdict.number}-{event}-{verdict.time:%Y%m%dT%H%M%S}",
            event=event,
            text=_text(verdict, event, link=link),
            time=verdict.time,
        )
        for event in events
    )


def _text(verdict: Verdict, event: str, *, link: str) -> str:
    if event == "recovered":
        was = words.WORDS[verdict.before].lower() if verdict.before else "not judged"
        parts = [f"{verdict.service}: recovered. It was {was} before.", verdict.headline]
    elif event == "suggested":
        parts = [f"{verdict.service}: it is suggested to train again.", verdict.headline]
        parts += verdict.advice
    else:
        parts = [f"{verdict.service}: {event}.", verdict.headline, *verdict.reasons[:3]]
        parts += verdict.advice
    if verdict.kind in ("drifted", "degraded"):
        parts.append(verdict.bound)
    return " ".join([*dict.fromkeys(parts), f"Page: {link}"])
