"""The command that serves a former champion again by way of the gate: `penstock recall`."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from penstock.errors import InputError, UsageError
from penstock.pipelines.located import Located, add_project_argument, add_settings, locate
from penstock.pipelines.outcomes import EXIT_CODES

if TYPE_CHECKING:
    from penstock.records.intervention import Comparison, Intervention


def add_recall_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `penstock`."""
    command = commands.add_parser(
        "recall",
        help="serve a former champion again, by way of gate and canary",
        description=_recall.__doc__,
        epilog="Exit codes: 0 released, or compared; 3 refused by a gate, or no version is better; "
        "4 rolled back, 1 failed, 2 usage.",
    )
    add_project_argument(command)
    command.add_argument(
        "version",
        type=int,
        nargs="?",
        help="the former champion (default: the one that is better on the rows since the change)",
    )
    command.add_argument(
        "--compare", action="store_true", help="only compare former champions with the champion"
    )
    command.add_argument(
        "--since",
        default="",
        metavar="TIME",
        help="rows from this time on count, for example 2026-11-29T12:00 (UTC, if no zone is "
        "given); default: since the change that the monitor found",
    )
    add_settings(command)
    command.set_defaults(command=_recall)


def _recall(options: argparse.Namespace) -> int:
    """Serve a former champion again: judged by the gate on labelled rows, then by the canary."""
    from penstock.pipelines.intervention_process import compare

    found = locate(options.project, settings=options.settings)
    order = _order(found, since=options.since)
    result = compare(found, order)
    for line in (*result.figures, result.reason):
        print(line)
    print(
        f"{result.labelled:,} labelled rows since {order.since:%Y-%m-%d %H:%M} UTC; "
        f"{result.gate:,} of them are in the half that the gate judges on."
    )
    if options.compare:
        return 0
    version = options.version or result.version
    if version is None:
        return EXIT_CODES["refused"]
    return _run(found, order, result, version=version)


def _run(found: Located, order: Intervention, result: Comparison, *, version: int) -> int:
    from penstock.monitoring.interventions.intervention import after_comparison
    from penstock.pipelines.intervention_process import carry_out
    from penstock.pipelines.interventions import Stage
    from penstock.pipelines.run_notice import notify_of

    now = datetime.now(UTC)
    # A person may have the gate judge it on few rows of a class: it says so itself.
    chosen = result.model_copy(update={"version": version, "rarest": None})
    order = after_comparison(order, chosen, spec=found.project.monitoring, now=now)
    if order.stage != "recall":
        least = found.project.monitoring.recall_rows
        raise InputError(
            f"the gate judges a recall on at least {least:,} labelled rows of its half, and "
            f"{result.gate:,} are there",
            where=f"version {version}",
            remedy="Send labels, name an earlier time with --since, or set "
            "monitoring.recall_rows. Without the gate: penstock rollback.",
        )
    stage = Stage(found.home / "monitor" / "recalls", order.run)
    ended = carry_out(found, order, stage, by=None)
    notify_of(ended, found=found)
    return EXIT_CODES[ended.outcome]


def _order(found: Located, *, since: str) -> Intervention:
    """Return a recall that a person asks for, of what serves now."""
    from penstock.monitoring.store.collect import reading_here
    from penstock.monitoring.store.state import MonitorFolder
    from penstock.records.intervention import Intervention

    name = found.project.name
    if found.project.deployment.router != "local":
        raise UsageError(
            "this command recalls for a service of this machine, and deployment.router is "
            f"{found.project.deployment.router}",
            where="deployment.router",
            remedy="On a cluster the monitor's runs recall, with monitoring.retrain: automatic "
            "(docs/monitoring.md). Without the gate: penstock rollback.",
        )
    reading = reading_here(found.home, name)
    if reading is None:
        raise UsageError(
            "nothing is being served of it", where=name, remedy="Serve it first: penstock run."
        )
    state = MonitorFolder(found.home).glance(service=name)
    return Intervention(
        identity="asked",
        number=state.number,
        version=reading.version,
        reason="A person asked for it.",
        since=_moment(since) if since else _change(found),
        began=datetime.now(UTC),
        look=state.number,
    )


def _moment(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is not a valid timestamp",
            where="--since",
            remedy="Write it like 2026-11-29T12:00.",
        ) from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _change(found: Located) -> datetime:
    """Return when the change began that the monitor's verdict is about."""
    from penstock.monitoring.interventions.intervention import change_of
    from penstock.monitoring.store.state import MonitorFolder

    state = MonitorFolder(found.home).glance(service=found.project.name)
    verdict = state.verdict
    if verdict is None or verdict.kind not in ("drifted", "degraded") or verdict.since is None:
        raise UsageError(
            "the monitor has found no change, so it is not known which rows count",
            where="--since",
            remedy="Name a time with --since.",
        )
    return change_of(verdict, state.last)
