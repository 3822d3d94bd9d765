"""The monitor's page: what changed, since when, how large, what it does to predictions, what to do.

It is made of records alone, and drawn without Matplotlib.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.monitoring.page.guardian import actions_table, guardian
from penstock.monitoring.page.operations import operations
from penstock.monitoring.page.pictures import picture, time_axis
from penstock.monitoring.settings.monitoring import MonitoringSpec
from penstock.monitoring.verdict import words
from penstock.monitoring.verdict.judge import WATCH
from penstock.records.estimate import Estimate
from penstock.records.figures import Detected, SignalFigure
from penstock.records.monitoring import Looked, MonitorState, Verdict, VerdictKind
from penstock.reports.page import (
    Cell,
    Section,
    Status,
    heading,
    muted,
    page,
    paragraph,
    table,
)
from penstock.reports.plots import Colour, Dashes, Reference, Series
from penstock.reports.words import figure_text, percent, plain

_STATUS: dict[VerdictKind, Status] = {
    "healthy": "good",
    "watch": "plain",
    "drifted": "bad",
    "degraded": "bad",
    "blind": "bad",
}
_FEWEST = 2
"""Looks from which a picture of them says something."""

_CHANGES = 50


def monitor_page(
    state: MonitorState,
    *,
    windows: Sequence[Looked],
    verdicts: Sequence[Verdict],
    spec: MonitoringSpec,
) -> str:
    """Return the page of a monitor, as HTML.

    Args:
        state: As the last look left it; it has a verdict.
        windows: The newest windows, the oldest first.
        verdicts: The newest verdicts, the oldest first.
        spec: How the service is watched.
    """
    verdict = state.verdict
    assert verdict is not None
    same = [one for one in windows if one.version == state.version]
    return page(
        title=state.service,
        kind="Monitor",
        status=_STATUS[verdict.kind],
        word=words.WORDS[verdict.kind],
        verdict=verdict.headline,
        facts=_facts(state, verdict, every=spec.seconds),
        sections=[
            _why(verdict),
            *_changes(verdict),
            _performance(state, same),
            _to_do(verdict, state),
            *_pictures(same),
            *_columns(state.last),
            *_attributions(state.last),
            operations(same, spec=spec.operations),
            guardian(state, spec=spec.guardian),
            _seen(state, same),
            _history(verdicts),
        ],
    )


def _facts(state: MonitorState, verdict: Verdict, *, every: float) -> list[tuple[str, str]]:
    return [
        ("Version", str(verdict.version or "none")),
        ("Since", words.moment(verdict.since)),
        ("Last look", words.moment(verdict.time)),
        ("Looks every", words.period(every)),
        ("Rows seen", f"{state.seen:,}"),
        ("Date", f"{verdict.time:%Y-%m-%d %H:%M:%S} UTC"),
    ]


def _why(verdict: Verdict) -> Section:
    body = "".join(map(paragraph, verdict.reasons)) + muted(verdict.bound)
    return Section("Why", body)


def _changes(verdict: Verdict) -> list[Section]:
    alarm = verdict.drift
    if alarm is None or not alarm.guilty:
        return []
    rows = [
        _change_row(one, first=number == 0)
        for signals in alarm.by_column.values()
        for number, one in enumerate(signals)
    ]
    body = table(
        ["Column", "What", "Seen (interval)", "Expected", "No drift", "Since (UTC)"],
        rows,
    )
    lead = (
        f"Alarm at {words.moment(alarm.time)}. The column with the strongest evidence comes first; "
        "this order is no test, and carries no bound. No drift is what lies within the tolerance "
        "and the sampling error of the reference itself."
    )
    return [Section("What changed", body, lead=lead)]


def _change_row(one: SignalFigure, *, first: bool) -> list[str | Cell]:
    name = one.name.removeprefix(f"{one.column}: ") if one.column else one.name
    return [
        Cell((one.column or "(predictions)") if first else "", strong=True),
        name,
        words.interval(one),
        words.size(one, one.expected),
        f"{words.size(one, one.least)} to {words.size(one, one.greatest)}",
        words.moment(one.since).removesuffix(" UTC") if one.since else "-",
    ]


def _performance(state: MonitorState, windows: Sequence[Looked]) -> Section:
    seen = (state.last.performance if state.last else None) or state.labelled_performance
    said = words.effect(seen, state.labelled_performance, when=state.labelled)
    if not said:
        said = ["The performance is not watched: nothing says what it was on the holdout."]
    value = state.last.kpi if state.last else None
    if value is not None:
        said += words.effect(value, value if value.realized else None, when=state.labelled)
    body = "".join(map(paragraph, said))
    if seen is not None:
        body += _over_time(windows, seen.metric, known=seen.reference, width=seen.tolerance)
    return Section("Effect on performance", body)


def _over_time(
    windows: Sequence[Looked], metric: str, *, known: Estimate | None, width: float
) -> str:
    judged = [one for one in windows if one.performance and one.performance.metric == metric]
    if len(judged) < _FEWEST:
        return ""
    seconds, axis = time_axis(judged)
    begin = judged[0].time
    series: list[Series] = []
    values: list[float] = []
    colours: tuple[tuple[str, str, Colour], ...] = (
        ("With labels", "realized", "accent"),
        ("Estimated", "estimated", "accent-2"),
    )
    for label, field, colour in colours:
        found: list[tuple[float, Estimate]] = [
            ((one.time - begin).total_seconds() / seconds, estimate)
            for one in judged
            if (estimate := getattr(one.performance, field)) is not None
        ]
        x = [at for at, _ in found]
        for end, name in (("value", label), ("low", ""), ("high", "")):
            y = [getattr(estimate, end) for _, estimate in found]
            dashes: Dashes = "solid" if name else "dotted"
            if found:
                series.append(Series(x, y, name, colour, dashes, points=bool(name)))
            values += y
    if not series:
        return ""
    lines = []
    if known is not None:
        lines = [
            Reference("horizontal", known.value, "Holdout"),
            *(Reference("horizontal", known.value + sign * width) for sign in (-1, 1)),
        ]
        values += [known.value - width, known.value + width]
    return picture(
        series,
        title=f"{metric} over time",
        x=axis,
        y=metric,
        end=(judged[-1].time - begin).total_seconds() / seconds,
        values=values,
        references=lines,
        caption="Each point is a look, dotted its 95 % interval; straight lines are the holdout's "
        "figure and its tolerance.",
    )


def _to_do(verdict: Verdict, state: MonitorState) -> Section:
    body = heading("What to do") + "".join(
        map(paragraph, verdict.advice or ("Nothing has to be done.",))
    )
    if state.intervention is not None:
        body += heading("Under way") + paragraph(words.under_way(state.intervention))
    body += heading("What was done") + (
        actions_table(state.actions) or paragraph("Nothing in the last 31 days.")
    )
    if state.totals.undelivered:
        body += paragraph(
            f"{state.totals.undelivered:,} deliveries of messages failed since the monitor began."
        )
    return Section("What was done, what to do", body)


def _pictures(windows: Sequence[Looked]) -> list[Section]:
    tested = [(one, one.drift) for one in windows if one.drift is not None]
    if len(tested) < _FEWEST:
        return []
    lead = (
        "The logarithm of what the test has gathered of all signals together. An alarm is raised "
        "at the threshold; from a tenth of it the verdict is watch."
    )
    return [Section("Evidence over time", _evidence(tested), lead=lead)]


def _evidence(tested: Sequence[tuple[Looked, Detected]]) -> str:
    windows = [one for one, _ in tested]
    seconds, axis = time_axis(windows)
    begin = windows[0].time
    x = [(one.time - begin).total_seconds() / seconds for one in windows]
    y = [max(test.log_evidence, 0.0) for _, test in tested]
    threshold = tested[-1][1].threshold
    return picture(
        [Series(x, y, "Evidence", points=True)],
        title="Evidence over time",
        x=axis,
        y="Logarithm",
        end=x[-1],
        values=[*y, 0.0, threshold * 1.1],
        references=[
            Reference("horizontal", threshold, "Alarm", colour="bad"),
            Reference("horizontal", threshold + WATCH, "Watch"),
        ],
        caption=f"{len(tested)} looks; what is below 1 is drawn at 0.",
    )


_FIGURES: tuple[tuple[str, str], ...] = (
    ("psi", "PSI"),
    ("ks", "KS"),
    ("wasserstein", "Wasserstein"),
    ("jensen_shannon", "Jensen-Shannon"),
    ("chi_squared", "Chi-squared"),
)


def _columns(last: Looked | None) -> list[Section]:
    if last is None or not last.distances:
        return []
    rows: list[list[str | Cell]] = [
        [
            Cell(one.column, strong=True),
            *(
                plain(value) if (value := getattr(one, field)) is not None else "-"
                for field, _ in _FIGURES
            ),
        ]
        for one in sorted(last.distances, key=lambda one: -(one.psi or 0.0))
    ]
    body = table(
        ["Column", *(name for _, name in _FIGURES)], rows, numeric=range(1, 1 + len(_FIGURES))
    )
    lead = (
        f"Distances of the last window, {last.rows:,} rows, from the rows that the model learned "
        "from. They describe; no alarm rests on them."
    )
    return [Section("Columns", body, lead=lead)]


def _attributions(last: Looked | None) -> list[Section]:
    if last is None or not last.attributions:
        return []
    rows: list[list[str | Cell]] = [
        [Cell(one.column, strong=True), percent(one.holdout), percent(one.window)]
        for one in last.attributions
    ]
    body = table(["Column", "Holdout", "Window"], rows, numeric=(1, 2))
    lead = (
        "What answers rest on: each column's share of all SHAP values, of some rows of the last "
        "window. The alarm rests on how they are distributed, not on these shares."
    )
    return [Section("Attributions", body, lead=lead)]


def _seen(state: MonitorState, windows: Sequence[Looked]) -> Section:
    verdict, last = state.verdict, state.last
    body = ""
    if verdict and verdict.blind:
        body += heading("What cannot be watched") + "".join(map(paragraph, verdict.blind))
    for note in last.notes if last else ():
        body += paragraph(note)
    if state.volume:
        body += paragraph(words.volume(state.volume))
    if last and last.until and verdict:
        age = max(0.0, (verdict.time - last.until).total_seconds())
        body += paragraph(f"The last row is {words.period(age)} older than the last look.")
    rows: list[list[str | Cell]] = [
        [
            words.moment(one.time),
            f"{one.rows:,}",
            f"{one.lost:,}",
            f"{one.performance.labels:,}" if one.performance else "-",
            _performance_text(one),
        ]
        for one in reversed(windows[-20:])
    ]
    headers = ["Look", "Rows", "Lost", "Labels", "Performance"]
    return Section("What was seen", body + table(headers, rows, numeric=(1, 2, 3)))


def _performance_text(looked: Looked) -> str:
    seen = looked.performance
    if seen is None:
        return "-"
    if seen.realized is not None:
        return f"{seen.metric} {figure_text(seen.realized)} with labels"
    if seen.estimated is not None:
        return f"{seen.metric} {figure_text(seen.estimated)} estimated"
    return "not estimated"


def _history(verdicts: Sequence[Verdict]) -> Section:
    changes = [one for one in verdicts if one.changed or one.done][-_CHANGES:]
    rows: list[list[str | Cell]] = [
        [
            words.moment(one.time),
            Cell(words.WORDS[one.kind].lower(), words.TONES[one.kind]),
            str(one.version or "none"),
            one.headline,
            " ".join(one.done) or "-",
        ]
        for one in reversed(changes)
    ]
    lead = "Every change of the verdict, the newest first."
    return Section(
        "Verdicts", table(["Time", "Verdict", "Version", "Why", "Done"], rows), lead=lead
    )


def console_lines(verdict: Verdict) -> list[str]:
    """Return a verdict for a terminal: the word, the reasons, what to do."""
    lines = [f"{words.WORDS[verdict.kind].upper():<9} {verdict.headline}"]
    lines += [f"  {one}" for one in verdict.reasons if one not in verdict.headline]
    lines += [f"  Done: {one}" for one in verdict.done]
    lines += [f"  To do: {one}" for one in verdict.advice]
    if verdict.kind in ("drifted", "degraded"):
        lines.append(f"  {verdict.bound}")
    return lines
