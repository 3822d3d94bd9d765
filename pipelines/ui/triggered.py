"""The project's page on its trigger: what waits, and how the releases ended that it started."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

from penstock.errors import PenstockError
from penstock.pipelines.ui.parts import Row, clock, section
from penstock.pipelines.ui.seen import Seen
from penstock.processes.lock import holder_of
from penstock.records.run_end import Outcome
from penstock.reports.page import Cell, Section, Tone, paragraph, warning
from penstock.triggers import notices
from penstock.triggers.releases import REFUSALS
from penstock.triggers.store import Release, TriggerStore, Waiting
from penstock.triggers.trigger import TriggerFolder

_TITLE = "Trigger"
_SHOWN = 10
_OUTCOMES: dict[Outcome | None, tuple[str, Tone]] = {
    "released": ("released", "good"),
    "refused": ("refused", "bad"),
    "rolled_back": ("rolled back", "bad"),
    "failed": ("failed", "bad"),
    None: ("under way", "warn"),
}


def triggered(seen: Seen) -> Section | None:
    """Return what events have started; None where there never was a trigger."""
    folder = TriggerFolder(seen.home, seen.project.project.name)
    if not folder.store.is_file():
        return None
    try:
        with contextlib.closing(TriggerStore(folder.store)) as store:
            return _section(store, runs=holder_of(folder.lock) is not None)
    except PenstockError as error:
        return Section(_TITLE, warning(f"What the trigger remembers cannot be read: {error}"))


def _section(store: TriggerStore, *, runs: bool) -> Section:
    waiting = store.waiting()
    before = paragraph(_waits(waiting))
    if store.refusals() >= REFUSALS:
        before += warning(notices.stop_reason(store))
    elif waiting.count and not runs:
        before += warning("Events wait and no trigger runs. Start it with: penstock trigger.")
    return section(
        _TITLE,
        ["Began", "Ended", "Outcome", "Started by", "Reason"],
        [_row(release) for release in store.recent(most=_SHOWN)],
        none="It has started no release yet.",
        lead="A trigger runs." if runs else "No trigger runs.",
        before=before,
    )


def _waits(waiting: Waiting) -> str:
    if waiting.count == 1:
        return f"1 event waits for a release, since {clock(_time(waiting.first))}."
    since = f", the first since {clock(_time(waiting.first))}" if waiting.count else ""
    return f"{waiting.count:,} events wait for a release{since}."


def _row(release: Release) -> Row:
    return [
        clock(_time(release.begun)),
        clock(_time(release.ended)) if release.ended is not None else "-",
        Cell(*_OUTCOMES[release.outcome]),
        notices.cause(release),
        release.reason or "-",
    ]


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
