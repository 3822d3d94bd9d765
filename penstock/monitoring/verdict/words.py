"""How the monitor's figures are said: in plain sentences, each with its interval and tolerance."""

from __future__ import annotations

from datetime import datetime

from penstock.records.estimate import Estimate
from penstock.records.figures import Performance, ServiceFigures, SignalFigure, Volume
from penstock.records.intervention import Intervention
from penstock.records.monitoring import VerdictKind
from penstock.reports.page import Tone
from penstock.reports.words import figure_text, percent, plain

WORDS: dict[VerdictKind, str] = {
    "healthy": "Healthy",
    "watch": "Watch",
    "drifted": "Drifted",
    "degraded": "Degraded",
    "blind": "Blind",
}
"""What people read for each verdict."""

TONES: dict[VerdictKind, Tone] = {
    "healthy": "good",
    "watch": "warn",
    "drifted": "bad",
    "degraded": "bad",
    "blind": "warn",
}
"""How a page colours it."""

_ROWS = ("missing", "unseen", "decile", "level", "score")
"""Kinds of signals that are shares of the rows; their names end with which."""

_SHARES = (*_ROWS, "gap", "volume", "attribution")


def moment(time: datetime | None) -> str:
    """Return a time to the minute in UTC, or that it is not known.

    Example:
        >>> from datetime import UTC
        >>> moment(datetime(2026, 11, 29, 11, 15, 42, tzinfo=UTC))
        '2026-11-29 11:15 UTC'
    """
    return f"{time:%Y-%m-%d %H:%M} UTC" if time else "an unknown time"


def period(seconds: float) -> str:
    """Return a length of time in its largest fitting unit.

    Example:
        >>> period(5400), period(40)
        ('1.5 hours', '40 seconds')
    """
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = seconds / length
            return f"{count:.3g} {unit}{'' if count == 1 else 's'}"
    return f"{seconds:.3g} second{'' if seconds == 1 else 's'}"


def size(figure: SignalFigure, value: float) -> str:
    """Return a value of a signal in its unit: a share in percent, a mean as a number."""
    return percent(value) if figure.kind in _SHARES else plain(value)


def interval(figure: SignalFigure) -> str:
    """Return what was seen with its interval, for example `7.1 % (6.0 % to 8.2 %)`."""
    return (
        f"{size(figure, figure.value)} ({size(figure, figure.low)} to {size(figure, figure.high)})"
    )


def change(figure: SignalFigure) -> str:
    """Return how large a change is, and what would be none, in two sentences."""
    whose, _, what = figure.name.partition(": ")
    since = f", since about {moment(figure.since)}" if figure.since else ""
    if figure.kind in (*_ROWS, "attribution") and what:
        said = f"{whose}: {interval(figure)} of the rows are {what}{since}."
    else:
        said = f"{figure.name} is {interval(figure)}{since}."
    return (
        f"{said} Expected are {size(figure, figure.expected)}; {size(figure, figure.least)} to "
        f"{size(figure, figure.greatest)} are no drift."
    )


def volume_change(figure: SignalFigure, seen: Volume | None) -> str:
    """Return that too few or too many rows come: how often in a look, and how many came last."""
    _, _, what = figure.name.partition(": ")
    since = f", since about {moment(figure.since)}" if figure.since else ""
    said = (
        f"In {percent(figure.value)} of the periods of this look {what} rows came{since}; "
        f"{percent(figure.greatest)} of them may be such."
    )
    return f"{said} {volume(seen)}" if seen else said


def volume(seen: Volume) -> str:
    """Return how many rows came in the newest whole period, and how many are usual."""
    said = f"From {moment(seen.since)} to {moment(seen.until)} {seen.rows:,} rows came"
    if seen.usual is None or seen.low is None or seen.high is None:
        until = f" before {moment(seen.learned)}" if seen.learned else ""
        return f"{said}; how many are usual is not known{until}."
    return (
        f"{said}; {seen.usual:,.0f} are usual {seen.by}, and {seen.low:,.0f} to {seen.high:,.0f} "
        "are no drift."
    )


def effect(
    performance: Performance | None, labelled: Performance | None, *, when: datetime | None
) -> list[str]:
    """Return the performance: estimated, and with labels.

    Args:
        performance: Of the last look that had rows.
        labelled: Of the last one that had labels.
        when: The time of that one.
    """
    performance = performance or labelled
    if performance is None:
        return []
    known, name = performance.reference, performance.metric
    said = [f"On the holdout {name} was {figure_text(known)}."] if known else []
    if performance.estimated is not None:
        said.append(
            f"Without labels {name} is estimated at {figure_text(performance.estimated)}"
            f"{f' by {performance.method}' if performance.method else ''}."
        )
    elif performance.not_estimated:
        said.append(f"{name} is not estimated: {performance.not_estimated.rstrip('.')}.")
    if labelled is not None and labelled.realized is not None:
        said.append(
            f"On {labelled.labels:,} rows whose labels came by {moment(when)} {labelled.metric} is "
            f"{figure_text(labelled.realized)}."
        )
    return said


def worse_by(performance: Performance, figure: Estimate) -> str:
    """Return a figure beside the holdout's, for example `accuracy 0.81 (...), 0.88 on ...`."""
    reference = performance.reference
    known = f", where {plain(reference.value)} was measured on the holdout" if reference else ""
    return (
        f"{performance.metric} is {figure_text(figure)}{known} and {plain(performance.tolerance)} "
        "less is tolerated"
        if performance.higher_is_better
        else f"{performance.metric} is {figure_text(figure)}{known} and "
        f"{plain(performance.tolerance)} more is tolerated"
    )


def answered(figures: ServiceFigures) -> str:
    """Return how the service answered, in one sentence."""
    p99 = f"; 99 % took less than {1000 * figures.p99:.3g} ms" if figures.p99 is not None else ""
    return (
        f"{figures.requests:,} requests: {figures.server_errors:,} were answered with an error of "
        f"the server, {figures.client_errors:,} were refused{p99}."
    )


def under_way(intervention: Intervention) -> str:
    """Return how far a recall or a retraining is, in sentences."""
    begun = f"Begun by look {intervention.number}, {moment(intervention.began)}."
    if intervention.stage == "compare":
        return (
            f"Former champions and labels since {moment(intervention.since)} are being looked at. "
            f"{begun}"
        )
    if intervention.stage == "wait":
        return f"{intervention.waits} {begun}"
    what = (
        f"Version {intervention.recall} is being recalled"
        if intervention.stage == "recall"
        else f"A version is being trained on the rows since {moment(intervention.since)}"
    )
    parts = (f"{what}: run {intervention.run}.", intervention.grounds, intervention.waits, begun)
    return " ".join(filter(None, parts))
