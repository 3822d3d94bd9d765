"""What follows from a verdict: what is done, and what people are told.

Each action is a kind of `records.monitoring.Action`. Today the monitor suggests; whatever acts on
its own belongs here too: after the verdict is written, and counted in the state with it.
"""

from __future__ import annotations

from penstock.monitoring import words
from penstock.records.monitoring import ALARMS, Action, Notice, Verdict


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
    """Return what people are told of a look: each change once, and each suggestion.

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
