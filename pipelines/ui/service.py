"""The project's page on what serves now: versions, weights, and which had which share when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import pairwise

from penstock.pipelines.ui.parts import Row, clock
from penstock.pipelines.ui.seen import Seen
from penstock.records.rollout import Rollout
from penstock.reports.page import (
    Cell,
    Section,
    Status,
    by_width,
    figure,
    preformatted,
    table,
    warning,
)
from penstock.reports.plots import Series
from penstock.reports.timeline import Span, over_time
from penstock.rollout.router import ServiceStatus, VersionStatus

_UNITS = ((3 * 86_400, 86_400, "Days"), (3 * 3600, 3600, "Hours"), (180, 60, "Minutes"))
_ROOM = 0.04
"""Share of the picture's width that follows its end."""

_UNKNOWN = "(unknown: "
"""How the address of a service begins whose state cannot be read."""

_At = Callable[[datetime], float]


def verdict(seen: Seen) -> tuple[Status, str]:
    """Return what serves, in a sentence for the head of the page."""
    serving = seen.serving.value
    if seen.serving.problems:
        return "plain", "It is not known what serves: see below."
    if serving is None:
        return "plain", "It serves on a cluster: see penstock status."
    if not serving:
        return "plain", "Nothing is being served. Release a version with: penstock run."
    return "plain", " ".join(_sentence(each) for each in serving)


def _sentence(service: ServiceStatus) -> str:
    if _unknown(service):
        return f"It is not known what {service.service} serves: see below."
    if not service.running:
        return f"{service.service} is not running. Start it again with: penstock run."
    shares = [f"version {v} {weight} %" for v, weight in service.weights.items() if weight]
    if len(shares) == 1:
        return f"Version {service.stable} serves all requests at {service.url}."
    return f"Shares of the requests at {service.url}: {' and '.join(shares)}."


def _unknown(service: ServiceStatus) -> bool:
    return service.url.startswith(_UNKNOWN)


def weights(seen: Seen) -> dict[int, int] | None:
    """Return the share of the requests that each version has now; None: that is not known."""
    serving = seen.serving.value
    if serving is None or seen.serving.problems or any(_unknown(each) for each in serving):
        return None
    up = [each for each in serving if each.running]
    return {version: weight for each in up for version, weight in each.weights.items()}


def section(seen: Seen, *, live: bool) -> Section:
    """Return what serves, at which weight, and the commands that change it."""
    rows = [
        _row(service, version)
        for service in seen.serving.value or ()
        for version in service.versions
    ]
    unknown = [
        f"The state of {each.service} cannot be read: {each.url.removeprefix(_UNKNOWN)[:-1]}"
        for each in seen.serving.value or ()
        if _unknown(each)
    ]
    commands = preformatted(
        "penstock status      # what serves, at which weight, what the rules find\n"
        "penstock rollback    # serve the previous version again\n"
        "penstock stop        # stop serving"
    )
    problems = "".join(map(warning, (*seen.serving.problems, *unknown)))
    shown = table(["Version", "Role", "Weight", "Server", "Address"], rows) if rows else ""
    return Section("Service", problems + shown + _traffic(seen) + commands, lead=_when(live))


def _when(live: bool) -> str:
    if live:
        return "Read at the date above, as all of this page."
    return "As of the date above. How it is now is shown by: penstock ui."


def _row(service: ServiceStatus, version: VersionStatus) -> Row:
    health = version.health
    down = health.reason.splitlines()[0] if health.reason else "down"
    return [
        Cell(str(version.version), strong=True),
        version.role,
        f"{version.weight} %",
        Cell("ready", "good") if health.ready else Cell(down, "bad"),
        service.url,
    ]


def _traffic(seen: Seen) -> str:
    """Return which version had the requests when, as a picture of the rollouts."""
    rollouts = [one for one in reversed(seen.rollouts.value) if one.transitions]
    if not rollouts:
        return ""
    begin = rollouts[0].started
    serves = any(each.running for each in seen.serving.value or ())
    end = max(*(one.last.time for one in rollouts), *([seen.at] if serves else []), begin)
    seconds, unit = _axis((end - begin).total_seconds())
    name = f"{unit} since {clock(begin)}"

    def at(time: datetime) -> float:
        return max(0.0, (time - begin).total_seconds()) / seconds

    last = at(end) * (1 + _ROOM) or 1.0
    lines = [
        _candidate(one, at, end=at(end), label=number == 0) for number, one in enumerate(rollouts)
    ]
    spans = _champions(rollouts, at, end=last)
    sizes = {
        wide: over_time(
            lines,
            spans=spans,
            title="Share of the requests that candidates had, and which version was stable",
            x=name,
            y="Candidate, %",
            xlim=(0.0, last),
            ylim=(-3.0, 125.0),
            wide=wide,
            named=True,
        )
        for wide in (True, False)
    }
    caption = (
        "Each line is a canary: the share of the requests that its candidate had. Above it stands "
        "the version that had the rest; times at which nothing served are not kept."
    )
    return by_width(
        wide=figure(sizes[True], caption=caption), narrow=figure(sizes[False], caption=caption)
    )


def _axis(length: float) -> tuple[float, str]:
    for least, unit, name in _UNITS:
        if length >= least:
            return unit, name
    return 1.0, "Seconds"


def _candidate(rollout: Rollout, at: _At, *, end: float, label: bool) -> Series:
    # Where it is promoted it becomes the stable version, and to be done changes no weight.
    shares = [(at(each.time), each.weight) for each in rollout.transitions if each.phase != "done"]
    if rollout.outcome is None and shares:
        shares.append((end, shares[-1][1]))
    x = [time for time, _ in shares]
    y = [float(weight) for _, weight in shares]
    name = "Candidate's share" if label else ""
    return Series(x, y, name, steps=True)


def _champions(rollouts: Sequence[Rollout], at: _At, *, end: float) -> list[Span]:
    """Return the stretches in which one version was stable, every second of them shaded."""
    changes: list[tuple[float, int]] = []
    for rollout in rollouts:
        if not changes and rollout.stable is not None:
            changes.append((at(rollout.started), rollout.stable))
        changes += [
            (at(each.time), rollout.candidate)
            for each in rollout.transitions
            if each.phase == "promote" and rollout.outcome == "promoted"
        ]
    bounds = [*changes, (end, 0)]
    return [
        Span(start, stop, (f"version {version}", f"v{version}", str(version)), number % 2 == 0)
        for number, ((start, version), (stop, _)) in enumerate(pairwise(bounds))
        if stop > start
    ]
