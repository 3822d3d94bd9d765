"""The project's page on the monitor: its verdict now and over time, the guardian, what was done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from penstock.monitoring.page.guardian import actions_table, guardian
from penstock.monitoring.store.state import MonitorFolder
from penstock.monitoring.verdict import words
from penstock.pipelines.ui.parts import Row, address, clock
from penstock.pipelines.ui.seen import Seen, Watched
from penstock.records.monitoring import MonitorState, Verdict
from penstock.reports.page import Cell, Section, heading, paragraph, table, warning

_LATE = 2
"""Periods without a look after which the page says that none was made."""

_CHANGES = 20


def monitor(seen: Seen) -> Section:
    """Return the newest verdict, those before it, and what was done because of them."""
    watched = seen.watched.value
    body = "".join(map(warning, seen.watched.problems))
    verdict = _newest(watched)
    if verdict is None:
        if not seen.watched.problems:
            body += paragraph(_nothing(seen))
        return Section("Monitor", body)
    body += warning(_late(seen, verdict)) + table(
        ["Verdict", "Last look", "Version", "Why", "Pages"], [_row(seen, verdict)]
    )
    if verdict.advice:
        body += heading("What to do") + "".join(map(paragraph, verdict.advice))
    body += _over_time(watched.verdicts)
    if watched.state is not None:
        body += _done(watched.state)
    return Section("Monitor", body, lead=_when(watched))


def headline(seen: Seen) -> str:
    """Return the newest verdict for the head of the page; empty: there is none, or it is old."""
    verdict = _newest(seen.watched.value)
    if verdict is None or _late(seen, verdict):
        return ""
    return f"The monitor's verdict is {words.WORDS[verdict.kind].lower()}: {verdict.headline}"


def _newest(watched: Watched) -> Verdict | None:
    if watched.state is not None and watched.state.verdict is not None:
        return watched.state.verdict
    return watched.verdicts[-1] if watched.verdicts else None


def _nothing(seen: Seen) -> str:
    if seen.watched.value.state is not None:
        return "The monitor has not looked yet."
    if seen.here:
        return "Nobody watches it yet. Watch it with: penstock monitor."
    return "It serves on a cluster; what is watched there is not read here."


def _when(watched: Watched) -> str:
    if watched.state is None:
        return "The monitor's state was not read; this is the newest verdict that is kept."
    return f"From the monitor's state, which was written at {clock(watched.written)}."


def _late(seen: Seen, verdict: Verdict) -> str:
    """Return that no look was made where one was due; empty: it was."""
    every = seen.project.project.monitoring.seconds
    age = seen.at - verdict.time
    if age <= timedelta(seconds=_LATE * every):
        return ""
    return (
        f"The last look is {words.period(age.total_seconds())} old, and one is due every "
        f"{words.period(every)}: this verdict is not of now. Does penstock monitor run?"
    )


def _row(seen: Seen, verdict: Verdict) -> Row:
    page = MonitorFolder(seen.home).page
    links = (("Monitor", address(page, home=seen.home)),) if page.is_file() else ()
    return [
        Cell(words.WORDS[verdict.kind].lower(), words.TONES[verdict.kind]),
        clock(verdict.time),
        str(verdict.version or "none"),
        verdict.headline,
        Cell("", links=links),
    ]


def _over_time(verdicts: Sequence[Verdict]) -> str:
    """Return each change of the verdict that is kept, the newest first."""
    changes = [one for one in verdicts if one.changed or one.done]
    rows: list[Row] = [
        [
            clock(one.time),
            Cell(words.WORDS[one.kind].lower(), words.TONES[one.kind]),
            str(one.version or "none"),
            one.headline,
            " ".join(one.done) or "-",
        ]
        for one in reversed(changes[-_CHANGES:])
    ]
    if not rows:
        return ""
    older = len(changes) - len(rows)
    more = f"{older:,} older changes are on the monitor's page." if older else ""
    return (
        heading("Verdicts over time")
        + table(["Since", "Verdict", "Version", "Why", "Done"], rows)
        + (paragraph(more) if more else "")
    )


def _done(state: MonitorState) -> str:
    body = ""
    if state.intervention is not None:
        body += heading("Under way") + paragraph(words.under_way(state.intervention))
    body += heading("What was done in the last 31 days")
    body += actions_table(state.actions) or paragraph("Nothing.")
    if state.totals.undelivered:
        body += paragraph(
            f"{state.totals.undelivered:,} deliveries of messages failed since the monitor began."
        )
    return body


def guarded(seen: Seen) -> Section | None:
    """Return what the guardian holds the champion to; None where nobody watches."""
    state = seen.watched.value.state
    if state is None:
        return None
    section = guardian(state, spec=seen.project.project.monitoring.guardian)
    return replace(section, lead=_when(seen.watched.value))
