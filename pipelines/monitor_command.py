"""The command that watches what serves: `penstock monitor`."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.errors import ServiceError, UsageError
from penstock.pipelines.located import Located, add_project_argument, add_settings, locate
from penstock.pipelines.outcomes import MONITOR_CODES

if TYPE_CHECKING:
    from penstock.monitoring.look import Monitor
    from penstock.monitoring.spec import MonitoringSpec
    from penstock.records.monitoring import Verdict

_RUNS = 20
"""Runs that are looked at for refusals in a row."""


def add_monitor_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `penstock`."""
    command = commands.add_parser(
        "monitor",
        help="watch the served model: data, predictions, performance",
        description=_monitor.__doc__,
        epilog="Exit codes with --once: 0 healthy or watch, 5 drifted or degraded, 6 blind, "
        "1 failed, 2 usage.",
    )
    add_project_argument(command)
    add_settings(command)
    command.add_argument(
        "--every", default="", metavar="PERIOD", help="instead of monitoring.every: 90s, 15m, 1h"
    )
    command.add_argument("--once", action="store_true", help="look once and end")
    command.add_argument(
        "--metrics-port",
        type=int,
        metavar="PORT",
        help="serve the figures to Prometheus there, on loopback; 0 takes a free port",
    )
    command.set_defaults(command=_monitor)


def _monitor(options: argparse.Namespace) -> int:
    """Watch what serves: look at what came, judge it, tell people, until it is interrupted."""
    found = locate(options.project, settings=options.settings)
    spec = _spec(found, every=options.every)
    monitor = monitor_of(found, spec, file=options.project, settings=options.settings)
    with monitor.held(), _metrics(monitor, options.metrics_port):
        if options.once:
            return MONITOR_CODES[_look(monitor, found).kind]
        print(
            f"Watching {monitor.service} every {spec.every}. Its page: {monitor.folder.page}. End "
            "it with Ctrl-C.",
            flush=True,
        )
        while True:
            began = time.monotonic()
            try:
                _look(monitor, found)
            except ServiceError as error:
                # A full disk or a lost share may be well again at the next look.
                print(f"penstock: {error}", file=sys.stderr, flush=True)
            _between(monitor, found, spec, until=began + spec.seconds)


def _between(monitor: Monitor, found: Located, spec: MonitoringSpec, *, until: float) -> None:
    """Let the guardian look, and go on with what was begun, until the next look is due."""
    from penstock.pipelines.index import refresh_index

    watched = spec.guardian.mode != "never" or spec.retrain == "automatic"
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, spec.guardian.seconds) if watched else left)
        if not watched or time.monotonic() >= until:
            continue
        try:
            said = [f"Guardian: {line}" for line in monitor.guard()]
            said += [f"Action: {line}" for line in monitor.go_on()]
        except ServiceError as error:
            print(f"penstock: {error}", file=sys.stderr, flush=True)
            continue
        for line in said:
            print(f"  {line}", flush=True)
        if said:
            refresh_index(found)


def _look(monitor: Monitor, found: Located) -> Verdict:
    from penstock.monitoring.page import console_lines
    from penstock.monitoring.words import under_way
    from penstock.pipelines.index import refresh_index

    verdict, notes = monitor.look()
    print(f"{verdict.time.astimezone():%Y-%m-%d %H:%M:%S}  look {verdict.number}")
    print("\n".join(console_lines(verdict)))
    for note in notes:
        print(f"  Note: {note}")
    intervention = monitor.folder.glance(service=monitor.service).intervention
    if intervention is not None:
        print(f"  Under way: {under_way(intervention)}")
    print(f"  Page: {monitor.folder.page}", flush=True)
    refresh_index(found)
    return verdict


def _spec(found: Located, *, every: str) -> MonitoringSpec:
    from penstock.common.durations import seconds_of

    spec = found.project.monitoring
    if not every:
        return spec
    try:
        seconds_of(every)
    except ValueError as error:
        raise UsageError(str(error), where="--every") from error
    return spec.model_copy(update={"every": every})


def monitor_of(
    found: Located, spec: MonitoringSpec, *, file: Path, settings: Sequence[str]
) -> Monitor:
    """Return the monitor of a project's service on this machine.

    Args:
        found: The project.
        spec: Its section `monitoring`, as it holds for this time.
        file: The project's file.
        settings: What was changed of the project for this time.

    Raises:
        UsageError: If its service is on a cluster.
    """
    from penstock.monitoring.collect import reading_here, registry_of, watched_here
    from penstock.monitoring.guarding import Guardian
    from penstock.monitoring.intervening import Interventions
    from penstock.monitoring.look import Monitor
    from penstock.monitoring.state import MonitorFolder
    from penstock.pipelines.interventions import LocalExecutor
    from penstock.pipelines.outputs import INDEX
    from penstock.rollout.target import Target, target_of

    project = found.project
    if project.deployment.router != "local":
        raise UsageError(
            "this command watches a service of this machine, and deployment.router is "
            f"{project.deployment.router}",
            where="deployment.router",
            remedy="On a cluster Prometheus has the server's own figures: docs/serving.md.",
        )

    def target() -> Target:
        return target_of(
            project.deployment,
            service=project.name,
            home=found.home,
            tracking_uri=found.registry,
            keep_port=True,
        )

    guardian = Guardian(
        spec=spec.guardian,
        deployment=project.deployment,
        target=target,
        read=lambda: reading_here(found.home, project.name),
        tracking_uri=lambda: found.registry,
    )
    executor = LocalExecutor(found, file=file, settings=settings)
    return Monitor(
        folder=MonitorFolder(found.home),
        service=project.name,
        spec=spec,
        notify=project.notify,
        index=f"../{INDEX}",
        beside=found.folder,
        watched=lambda: watched_here(
            found.home,
            project.name,
            captures=spec.captures,
            known_of=registry_of(project.name, tracking_uri=lambda: found.registry),
            require=spec.performance.require_baseline,
        ),
        refused=lambda: _refused(found),
        guardian=guardian,
        # What was begun is gone on with, whatever the project says by now.
        interventions=Interventions(spec, executor),
    )


def _refused(found: Located) -> int:
    """Return how many runs in a row were refused or rolled back, up to the newest."""
    from penstock.pipelines.outputs import past_runs

    runs, _ = past_runs(found.home, newest=_RUNS)
    count = 0
    for run in runs:
        if run.outcome == "released":
            break
        count += run.outcome in ("refused", "rolled_back")
    return count


@contextlib.contextmanager
def _metrics(monitor: Monitor, port: int | None) -> Iterator[None]:
    if port is None:
        yield
        return
    from penstock.monitoring.exporter import served

    with contextlib.ExitStack() as stack:
        try:
            bound = stack.enter_context(
                served(
                    port,
                    read=lambda: monitor.folder.glance(service=monitor.service),
                    spec=monitor.spec,
                )
            )
        except OSError as error:
            raise UsageError(
                f"port {port} cannot be taken: {error.strerror}",
                where="--metrics-port",
                remedy="Name another, or 0 for a free one.",
            ) from error
        print(f"Figures for Prometheus: http://127.0.0.1:{bound}/metrics", flush=True)
        yield
