"""What people are notified of: how a release ended that events started, and that none starts."""

from __future__ import annotations

from datetime import UTC, datetime

from penstock.notification import Message
from penstock.records.run_end import IN_WORDS
from penstock.triggers.releases import REFUSALS
from penstock.triggers.store import Release, TriggerStore


def ended(release: Release, *, service: str, identity: str) -> Message:
    """Return the message on a release that ended.

    Args:
        release: The release.
        service: The project.
        identity: The store's.
    """
    outcome = release.outcome or "failed"
    link = f" Page: {release.link}" if release.link else ""
    return Message(
        identity=f"{service}-trigger-{identity}-{release.number}-{outcome}",
        event=outcome,
        service=service,
        text=f"{service}: {IN_WORDS[outcome]}. {release.reason.rstrip('.')}. Started by "
        f"{cause(release)}.{link}",
        time=_time(release.ended),
        data={
            "release": release.number,
            "events": release.events,
            "types": release.types,
            "exit_code": release.exit_code,
        },
        origin="trigger",
    )


def stopped(store: TriggerStore, *, service: str, now: float) -> Message:
    """Return the message that no release is started any more until a person has decided."""
    newest = store.recent(most=1)[0]
    return Message(
        identity=f"{service}-trigger-{store.identity}-{newest.number}-waiting",
        event="waiting",
        service=service,
        text=f"{service}: {stop_reason(store)}",
        time=_time(now),
        data={"release": newest.number, "waiting": store.waiting().count},
        origin="trigger",
    )


def stop_reason(store: TriggerStore) -> str:
    """Return why no release is started any more, and what to do."""
    reason = store.recent(most=1)[0].reason.rstrip(".")
    return (
        f"{max(REFUSALS, store.refusals())} releases in a row were refused or rolled back, so none "
        f"is started any more; events are still written down. The newest: {reason}. Read their "
        "decisions: the gate, the data or the features need a person. Then: penstock trigger "
        "--resume."
    )


def cause(release: Release) -> str:
    """Return what started a release, in words."""
    events = "1 event" if release.events == 1 else f"{release.events:,} events"
    return f"{events}: {release.types}"


def _time(seconds: float | None) -> datetime:
    return datetime.fromtimestamp(seconds or 0.0, UTC)
