"""What a look cannot see: a verdict is never healthy for lack of data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from penstock.monitoring.settings.monitoring import MonitoringSpec
from penstock.monitoring.verdict import words
from penstock.records.monitoring import Looked, MonitorState
from penstock.reports.words import percent

BLIND_AFTER = 2
"""Periods without rows after which the verdict is blind."""


@dataclass(frozen=True)
class Sight:
    """What cannot be seen, in sentences.

    Attributes:
        dark: Why nothing can be judged at all.
        dim: What cannot be watched, while the rest can.
        waiting: Why this look saw nothing, which is not yet blind.
    """

    dark: tuple[str, ...] = ()
    dim: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


def sight_of(looked: Looked, *, state: MonitorState, spec: MonitoringSpec) -> Sight:
    """Return what a look cannot see.

    Args:
        looked: What the look saw.
        state: As the look before left it.
        spec: The section `monitoring`.
    """
    same = state.version == looked.version
    dim = (
        *looked.missing,
        *_lost(looked, spec, was_blind=bool(same and state.verdict and state.verdict.blind)),
        *_stale(looked, spec),
        *(_overdue(looked, state, spec) if same else ()),
    )
    if not looked.rows:
        since = "since the last look" if state.number else "yet"
        why = looked.problem or f"No rows were captured {since}."
        if not same or state.judged is None:
            return Sight(dark=(why,), dim=dim)
        # After a clock was set back, the last rows would lie in the future.
        gone = (looked.time - min(state.judged, looked.time)).total_seconds()
        said = (f"{why} The last rows were seen at {words.moment(state.judged)}.",)
        if gone >= BLIND_AFTER * spec.seconds:
            return Sight(dark=said, dim=dim)
        return Sight(dark=_few(looked, state.seen, spec), dim=dim, waiting=said)
    return Sight(dark=_few(looked, state.seen if same else 0, spec), dim=dim)


def _few(looked: Looked, before: int, spec: MonitoringSpec) -> tuple[str, ...]:
    seen = before + looked.rows
    if seen >= spec.min_rows:
        return ()
    return (f"Only {seen:,} rows have been seen; a verdict needs {spec.min_rows:,}.",)


def _lost(looked: Looked, spec: MonitoringSpec, *, was_blind: bool) -> tuple[str, ...]:
    if looked.lost_share <= spec.lost * (spec.recovered if was_blind else 1.0):
        return ()
    return (
        f"{looked.lost:,} of {looked.rows + looked.lost:,} rows were lost before they were read; "
        f"{percent(spec.lost)} may be.",
    )


def _stale(looked: Looked, spec: MonitoringSpec) -> tuple[str, ...]:
    """Return that the rows of a look are too old to say anything of now."""
    if looked.until is None:
        return ()
    age = (looked.time - looked.until).total_seconds()
    limit = 3600 * spec.volume.newest_within or BLIND_AFTER * spec.seconds
    if age <= limit:
        return ()
    return (
        f"The newest row is {words.period(age)} old; it may be {words.period(limit)}. What is "
        "answered now is not seen.",
    )


def _overdue(looked: Looked, state: MonitorState, spec: MonitoringSpec) -> tuple[str, ...]:
    """Return that labels are due and have not come, of too many rows or of any."""
    within = timedelta(hours=spec.performance.labels_within)
    if not within:
        return ()
    due = looked.performance.due if looked.performance else None
    if due is not None and due.rows >= spec.min_rows:
        was_blind = bool(state.verdict and state.verdict.blind)
        allowed = (1 - spec.performance.labels_share) * (spec.recovered if was_blind else 1.0)
        if 1 - due.labelled / due.rows <= allowed:
            return ()
        return (
            f"Labels of {due.labelled:,} of the {due.rows:,} rows that were answered from "
            f"{words.moment(due.since)} to {words.moment(due.until)} have come; within "
            f"{words.period(within.total_seconds())} those of "
            f"{percent(spec.performance.labels_share)} are due.",
        )
    since = state.labelled or state.began
    if since is None or (looked.performance and looked.performance.labels):
        return ()
    if looked.time - since <= within:
        return ()
    return (
        f"No label has come since {words.moment(since)}; they are due within "
        f"{words.period(within.total_seconds())}.",
    )
