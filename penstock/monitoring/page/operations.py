"""Operations on the monitor's page: how the service answered, held against its plain limits."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.monitoring.page.pictures import picture, time_axis
from penstock.monitoring.settings.monitoring import OperationsSpec
from penstock.monitoring.verdict import words
from penstock.monitoring.verdict.reasons import broken_limits
from penstock.records.figures import ServiceFigures
from penstock.records.monitoring import Looked
from penstock.reports.page import Cell, Section, paragraph, table, warning
from penstock.reports.plots import Reference, Series
from penstock.reports.words import percent

_SHOWN = 20
_FEWEST = 2


def operations(windows: Sequence[Looked], *, spec: OperationsSpec) -> Section:
    """Return how the service answered in the last looks.

    Args:
        windows: Of the version that is watched, the oldest first.
        spec: The section `monitoring.operations`.
    """
    known = [(one, one.operations) for one in windows if one.operations is not None]
    if not known:
        body = paragraph(
            "It is not known how the service answered: no look could read the proxy's counters."
        )
        return Section("Operations", body, lead=_limits(spec))
    newest = known[-1][1]
    body = "".join(map(warning, broken_limits(newest, spec)))
    body += paragraph(
        f"In the last look {words.answered(newest)}"
        if newest.requests
        else "There was no request in the last look."
    )
    if known[-1][0] is not windows[-1]:
        body += paragraph(
            f"That was at {words.moment(known[-1][0].time)}; later looks could not read the "
            "proxy's counters."
        )
    body += _errors(known, spec)
    rows = [_row(looked, seen) for looked, seen in reversed(known[-_SHOWN:])]
    headers = ["Look", "Requests", "Server errors", "Share", "Refused", "99 % took up to"]
    return Section(
        "Operations", body + table(headers, rows, numeric=range(1, 6)), lead=_limits(spec)
    )


def _limits(spec: OperationsSpec) -> str:
    p99 = (
        f"99 % of the answers may take {spec.p99:.3g} s"
        if spec.p99
        else "how long answers take has no limit (monitoring.operations.p99)"
    )
    return (
        f"In a look of at least {spec.min_requests:,} requests the server may fail "
        f"{percent(spec.errors)} of them, and {p99}. These are plain limits on what was seen, and "
        "carry no bound on false alarms."
    )


def _row(looked: Looked, seen: ServiceFigures) -> list[str | Cell]:
    return [
        words.moment(looked.time),
        f"{seen.requests:,}",
        f"{seen.server_errors:,}",
        percent(seen.error_share) if seen.requests else "-",
        f"{seen.client_errors:,}",
        f"{1000 * seen.p99:.3g} ms" if seen.p99 is not None else "-",
    ]


def _errors(known: Sequence[tuple[Looked, ServiceFigures]], spec: OperationsSpec) -> str:
    looks = [(looked, seen) for looked, seen in known if seen.requests]
    if len(looks) < _FEWEST:
        return ""
    windows = [looked for looked, _ in looks]
    seconds, name = time_axis(windows)
    x = [(one.time - windows[0].time).total_seconds() / seconds for one in windows]
    y = [100 * seen.error_share for _, seen in looks]
    return picture(
        [Series(x, y, "Server errors", points=True)],
        title="Share of the requests that the server failed, over time",
        x=name,
        y="Server errors, %",
        end=x[-1],
        values=[*y, 0.0, 100 * spec.errors],
        references=[Reference("horizontal", 100 * spec.errors, "Limit", colour="bad")],
        caption="Each point is a look, whatever number of requests it had.",
    )
