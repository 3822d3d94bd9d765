"""What follows from a verdict: what is suggested or done, and what people are notified of.

Each action is a kind of `records.monitoring.Action`. Today the monitor suggests; whatever acts on
its own belongs here too: after the verdict is written, and counted in the state with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from penstock.monitoring import words
from penstock.monitoring.spec import MonitoringSpec
from penstock.records.monitoring import (
    ALARMS,
    Action,
    Alarm,
    Cause,
    Looked,
    MonitorState,
    Notice,
    Verdict,
    VerdictKind,
)

REFUSALS = 3
"""Runs refused in a row after which nothing more is suggested."""

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
    newest = max(one.number for one in alarms)
    if any(one.kind == "suggested" and one.number >= newest for one in state.actions):
        return False, ""
    bar = _bar(looked, state=state, spec=spec)
    return not bar, bar


def _bar(looked: Looked, *, state: MonitorState, spec: MonitoringSpec) -> str:
    """Return why nothing is done now, although an alarm asks for it; empty: nothing bars it."""
    if looked.refused >= REFUSALS:
        return (
            f"The last {looked.refused} runs were refused, so training again is not suggested any "
            "more. Read their decisions: the gate, the data or the features need a person."
        )
    recent = [one for one in state.actions if looked.time - one.time < _MONTH]
    if len(recent) >= spec.actions_per_month:
        return (
            f"Nothing more is suggested: {len(recent)} actions were taken within 30 days, and "
            f"monitoring.actions_per_month allows {spec.actions_per_month}."
        )
    rest = timedelta(hours=spec.cooldown)
    # An action in the future was noted before a clock was set back.
    last = min(max(one.time for one in recent), looked.time) if recent else None
    if last is not None and looked.time - last < rest:
        return (
            f"Nothing more is suggested before {words.moment(last + rest)}: the last action was at "
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
