"""The page of a project on this machine: service, versions, decisions, canaries, reports."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.common import files
from penstock.errors import PenstockError
from penstock.pipelines.located import Located
from penstock.pipelines.outputs import INDEX, PAGES, PastRun, past_runs
from penstock.records.rollout import Rollout
from penstock.redaction import redact, redact_address
from penstock.reports.page import (
    Cell,
    Section,
    Status,
    Tone,
    page,
    paragraph,
    preformatted,
    table,
)
from penstock.rollout.router import ServiceStatus

if TYPE_CHECKING:
    from penstock.rollout.target import Target

Row = list[str | Cell]

_SHOWN = 100
"""Runs that are looked at; older ones are counted."""

_OUTCOMES: dict[str, tuple[str, Tone]] = {
    "released": ("released", "good"),
    "refused": ("refused", "bad"),
    "rolled_back": ("rolled back", "bad"),
    "failed": ("failed", "bad"),
    "": ("unfinished", "warn"),
}
_ROLLOUTS: dict[str | None, tuple[str, Tone]] = {
    "promoted": ("promoted", "good"),
    "rolled_back": ("rolled back", "bad"),
    None: ("under way", "warn"),
}
_OF_A_VERSION = ("decision", "evaluation", "explanation", "card")
"""The pages of a version, besides those of its rollout."""


def refresh_index(project: Located) -> Path | None:
    """Write the project's page again, if there is anything to show.

    It is read from the folders of its runs and the state of its service, not from the registry:
    changes that were made there directly are not on it.

    Returns:
        The page; None if the project never ran here, or if it cannot be written. That is reported,
        and does not fail the command.
    """
    path = project.home / INDEX
    try:
        runs, older = past_runs(project.home, newest=_SHOWN)
        if not runs:
            return None
        files.write_text(path, _text(project, runs, older=older))
    except (OSError, PenstockError) as error:
        print(f"penstock: the page {path} was not written: {error}", file=sys.stderr)
        return None
    return path


def _text(project: Located, runs: Sequence[PastRun], *, older: int) -> str:
    serving, rollouts = _service(project, runs)
    status, verdict = _verdict(serving)
    return page(
        title=project.project.name,
        kind="Project",
        status=status,
        verdict=verdict,
        facts=[
            ("Target", project.project.target),
            ("Table", redact_address(project.project.source.uri)),
            ("Runs", f"{len(runs) + older:,}"),
            ("Date", time.strftime("%Y-%m-%d %H:%M:%S %Z")),
            ("MLflow store", redact(project.tracking_uri)),
        ],
        sections=[
            _service_section(serving),
            _versions(runs, rollouts, serving, home=project.home),
            _decisions(runs, home=project.home),
            _canaries(runs, rollouts, home=project.home),
            _runs(runs, older=older, home=project.home),
        ],
    )


def _service(
    project: Located, runs: Sequence[PastRun]
) -> tuple[list[ServiceStatus] | None, list[Rollout]]:
    """Return what serves (None: that is not known here) and the rollouts, the newest first."""
    recorded = [run.rollout for run in runs if run.rollout is not None]
    if project.project.deployment.router != "local":
        return None, recorded
    from penstock.rollout.target import history, target_of

    target: Target = target_of(
        project.project.deployment, service=project.project.name, home=project.home, tracking_uri=""
    )
    try:
        journals = [journal.rollout for journal in history(target)]
    except PenstockError:
        journals = list(reversed(recorded))  # Another release of Penstock wrote them.
    return target.status(), journals[::-1]


def _verdict(serving: Sequence[ServiceStatus] | None) -> tuple[Status, str]:
    if serving is None:
        return "plain", "It serves on a cluster: see penstock status."
    if not serving:
        return "plain", "Nothing is being served. Release a version with: penstock run."
    return "plain", " ".join(_sentence(each) for each in serving)


def _sentence(service: ServiceStatus) -> str:
    if not service.running:
        return f"{service.service} is not running. Start it again with: penstock run."
    shares = [f"version {v} {weight} %" for v, weight in service.weights.items() if weight]
    if len(shares) == 1:
        return f"Version {service.stable} serves all requests at {service.url}."
    return f"Shares of the requests at {service.url}: {' and '.join(shares)}."


def _service_section(serving: Sequence[ServiceStatus] | None) -> Section:
    rows: list[Row] = [
        [
            Cell(str(version.version), strong=True),
            version.role,
            f"{version.weight} %",
            Cell("ready", "good")
            if version.health.ready
            else Cell(version.health.reason.splitlines()[0] if version.health.reason else "down",
                      "bad"),
            service.url,
        ]
        for service in serving or ()
        for version in service.versions
    ]  # fmt: skip
    commands = preformatted(
        "penstock status      # what serves, at which weight, what the rules find\n"
        "penstock rollback    # serve the previous version again\n"
        "penstock stop        # stop serving"
    )
    shown = table(["Version", "Role", "Requests", "Server", "Address"], rows) if rows else ""
    return Section("Service", shown + commands, lead="As of the date above.")


def _versions(
    runs: Sequence[PastRun],
    rollouts: Sequence[Rollout],
    serving: Sequence[ServiceStatus] | None,
    *,
    home: Path,
) -> Section:
    made: dict[int, PastRun] = {}
    for run in runs:
        if run.registration is not None:
            made.setdefault(run.registration.version, run)
    newest: dict[int, Rollout] = {}
    for rollout in rollouts:
        newest.setdefault(rollout.candidate, rollout)
    weights = {v: weight for service in serving or () for v, weight in service.weights.items()}
    rows: list[Row] = [
        [
            Cell(str(version), strong=True),
            _status(weights.get(version, 0), newest.get(version)),
            run.began,
            run.data_version,
            Cell("", links=_links(run, *_OF_A_VERSION, "rollout", home=home)),
        ]
        for version, run in sorted(made.items(), reverse=True)
    ]
    return _section(
        "Versions",
        ["Version", "Status", "Registered by run", "Data", "Pages"],
        rows,
        none="No version has been registered yet.",
    )


def _status(weight: int, rollout: Rollout | None) -> Cell:
    if weight:
        return Cell(f"serves {weight} %", "good")
    if rollout is None:
        return Cell("never served")
    if rollout.outcome == "promoted":
        return Cell("served before")
    return Cell(*_ROLLOUTS[rollout.outcome])


def _decisions(runs: Sequence[PastRun], *, home: Path) -> Section:
    rows: list[Row] = [
        [
            run.began,
            Cell("approved", "good") if decision.approved else Cell("refused", "bad"),
            str(run.registration.version) if run.registration else "none",
            decision.grounds(),
            Cell("", links=_links(run, "decision", home=home)),
        ]
        for run in runs
        if (decision := run.decision) is not None
    ]
    return _section(
        "Decisions",
        ["Run", "Gate", "Version", "Reason", "Pages"],
        rows,
        none="The gate has not decided yet.",
    )


def _canaries(runs: Sequence[PastRun], rollouts: Sequence[Rollout], *, home: Path) -> Section:
    recorded = {run.rollout.identity: run for run in reversed(runs) if run.rollout is not None}
    rows: list[Row] = [
        [
            f"{rollout.started.astimezone():%Y-%m-%d %H:%M:%S}",
            Cell(str(rollout.candidate), strong=True),
            str(rollout.stable or "none"),
            Cell(*_ROLLOUTS[rollout.outcome]),
            f"Fault injection ({rollout.fault}): {rollout.reason}"
            if rollout.fault
            else rollout.reason,
            Cell("", links=_links(recorded[rollout.identity], "rollout", "card", home=home))
            if rollout.identity in recorded
            else "",
        ]
        for rollout in rollouts
    ]
    return _section(
        "Canaries",
        ["Started", "Version", "Stable", "Outcome", "Reason", "Pages"],
        rows,
        none="No version has been rolled out yet.",
    )


def _runs(runs: Sequence[PastRun], *, older: int, home: Path) -> Section:
    rows: list[Row] = [
        [
            run.began,
            Cell(*_OUTCOMES.get(run.outcome, (run.outcome, "plain"))),
            " ".join(_reason(run)),
            Cell("", links=(*_links(run, *PAGES, home=home), *_log(run, home=home))),
        ]
        for run in runs
    ]
    lead = f"{older:,} older runs are not shown." if older else ""
    shown = table(["Started", "Outcome", "Reason", "Pages"], rows)
    return Section("Runs and reports", shown, lead=lead)


def _reason(run: PastRun) -> Iterator[str]:
    if run.reason:
        yield run.reason
    if run.settings:
        yield f"Settings: {', '.join(run.settings)}."


def _links(run: PastRun, *names: str, home: Path) -> tuple[tuple[str, str], ...]:
    return tuple(
        (PAGES[name], _address(run.pages[name], home=home)) for name in names if name in run.pages
    )


def _log(run: PastRun, *, home: Path) -> tuple[tuple[str, str], ...]:
    log = run.folder / "kfp.log"
    return (("Log", _address(log, home=home)),) if log.is_file() else ()


def _address(path: Path, *, home: Path) -> str:
    """Return where a page is, seen from the index: the home can be moved as a whole."""
    return path.relative_to(home).as_posix()


def _section(title: str, headers: Sequence[str], rows: Sequence[Row], *, none: str) -> Section:
    return Section(title, table(headers, rows) if rows else paragraph(none))
