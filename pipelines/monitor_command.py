"""The command that watches what serves: `penstock monitor`."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.errors import LeaseLostError, ServiceError, UsageError
from penstock.pipelines.located import Located, add_project_argument, add_settings, locate
from penstock.pipelines.outcomes import MONITOR_CODES
from penstock.processes.ending import Ending, heeded

if TYPE_CHECKING:
    from penstock.monitoring.cluster.monitor import ClusterMonitor
    from penstock.monitoring.look import Monitor
    from penstock.monitoring.settings.monitoring import MonitoringSpec
    from penstock.records.monitoring import MonitorState, Verdict

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
        "--guard-only",
        action="store_true",
        help="guard the champion and look at nothing else: the guardian of a service on a cluster, "
        "whose looks are runs of Kubeflow",
    )
    command.add_argument(
        "--metrics-port",
        type=int,
        metavar="PORT",
        help="serve the figures to Prometheus there; 0 takes a free port",
    )
    command.add_argument(
        "--metrics-host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="the address that it listens on (%(default)s)",
    )
    command.set_defaults(command=_monitor)


def _monitor(options: argparse.Namespace) -> int:
    """Watch what serves: look at what came, judge it, tell people, until it is asked to end.

    Ctrl-C ends it at once; at SIGTERM it ends what it is doing first, and leaves its pages as they
    should be.
    """
    found = locate(options.project, settings=options.settings)
    spec = _spec(found, every=options.every)
    if found.project.deployment.router != "local" and spec.source == "served":
        on_cluster = cluster_monitor(found, spec)
        monitor = on_cluster.guardian() if options.guard_only else on_cluster.monitor()
        figures = on_cluster.figures()
    else:
        monitor = monitor_of(found, spec, file=options.project, settings=options.settings)
        figures = partial(monitor.folder.glance, service=monitor.service)
    with (
        heeded(signal.SIGTERM) as ending,
        monitor.held(),
        _metrics(figures, spec, options, found),
    ):
        if options.guard_only:
            return _only_guard(monitor, found, spec, ending=ending, once=options.once)
        if options.once:
            return MONITOR_CODES[_look(monitor, found).kind]
        print(
            f"Watching {monitor.service} every {spec.every}. Its page: {_page(monitor)}. End it "
            "with Ctrl-C.",
            flush=True,
        )
        while not ending.asked:
            began = time.monotonic()
            try:
                _look(monitor, found)
            except LeaseLostError:
                raise
            except ServiceError as error:
                # A full disk or a lost share may be well again at the next look.
                print(f"penstock: {error}", file=sys.stderr, flush=True)
            _between(monitor, found, spec, ending=ending, until=began + spec.seconds)
        return 0


def _between(
    monitor: Monitor, found: Located, spec: MonitoringSpec, *, ending: Ending, until: float
) -> None:
    """Let the guardian look, and go on with what was begun, until the next look is due."""
    guarded = spec.guardian.mode != "never" and monitor.guardian is not None
    watched = guarded or spec.retrain == "automatic"
    while (left := until - time.monotonic()) > 0:
        if ending.wait(min(left, spec.guardian.seconds) if watched else left):
            return
        if watched and time.monotonic() < until:
            _guard_once(monitor, found)


def _guard_once(monitor: Monitor, found: Located) -> None:
    try:
        said = [f"Guardian: {line}" for line in monitor.guard()]
        said += [f"Action: {line}" for line in monitor.go_on()]
    except LeaseLostError:
        raise
    except ServiceError as error:
        print(f"penstock: {error}", file=sys.stderr, flush=True)
        return
    for line in said:
        print(f"  {line}", flush=True)
    if said:
        _refresh(found)


def _only_guard(
    monitor: Monitor, found: Located, spec: MonitoringSpec, *, ending: Ending, once: bool
) -> int:
    if not once:
        print(
            f"Guarding {monitor.service} every {spec.guardian.every}. End it with Ctrl-C.",
            flush=True,
        )
    while not ending.asked:
        began = time.monotonic()
        _guard_once(monitor, found)
        if once:
            return 0
        ending.wait(began + spec.guardian.seconds - time.monotonic())
    return 0


def _page(monitor: Monitor) -> str:
    from penstock.monitoring.store.state import MonitorFolder

    folder = monitor.folder
    return str(folder.page) if isinstance(folder, MonitorFolder) else folder.link


def _refresh(found: Located) -> None:
    """Bring the project's page up to date, where the service is of this machine."""
    from penstock.pipelines.index import refresh_index

    if found.project.deployment.router == "local":
        refresh_index(found)


def _look(monitor: Monitor, found: Located) -> Verdict:
    from penstock.monitoring.page.page import console_lines
    from penstock.monitoring.verdict.words import under_way

    verdict, notes = monitor.look()
    print(f"{verdict.time.astimezone():%Y-%m-%d %H:%M:%S}  look {verdict.number}")
    print("\n".join(console_lines(verdict)))
    for note in notes:
        print(f"  Note: {note}")
    intervention = monitor.folder.glance(service=monitor.service).intervention
    if intervention is not None:
        print(f"  Under way: {under_way(intervention)}")
    print(f"  Page: {_page(monitor)}", flush=True)
    _refresh(found)
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
    from penstock.monitoring.guardian.guarding import Guardian
    from penstock.monitoring.interventions.intervening import Interventions
    from penstock.monitoring.look import Monitor
    from penstock.monitoring.store.batch import watched_batch
    from penstock.monitoring.store.collect import reading_here, registry_of, watched_here
    from penstock.monitoring.store.state import MonitorFolder
    from penstock.pipelines.interventions import LocalExecutor
    from penstock.pipelines.outputs import INDEX
    from penstock.rollout.target import Target

    project = found.project

    def target() -> Target:
        return found.target(tracking_uri=found.registry)

    known_of = registry_of(project.name, tracking_uri=lambda: found.registry)
    require = spec.performance.require_baseline
    watched = partial(
        watched_here,
        found.home,
        project.name,
        captures=spec.captures,
        known_of=known_of,
        require=require,
    )
    if spec.source == "batch":
        watched = partial(
            watched_batch,
            found.home,
            project.name,
            captures=found.beside(spec.captures),
            known_of=known_of,
            tracking_uri=lambda: found.registry,
            require=require,
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
        watched=watched,
        refused=lambda: _refused(found),
        # It takes traffic back, of which batches have none.
        guardian=guardian if spec.source == "served" else None,
        # What was begun is gone on with, whatever the project says by now.
        interventions=Interventions(spec, executor),
    )


def cluster_monitor(found: Located, spec: MonitoringSpec) -> ClusterMonitor:
    """Return what watches a service of a project on a cluster.

    Args:
        found: The project.
        spec: Its section `monitoring`, as it holds for this time.
    """
    from penstock.monitoring.cluster.monitor import ClusterMonitor

    project = found.project
    return ClusterMonitor(
        service=project.name,
        deployment=project.deployment,
        spec=spec,
        notify=project.notify,
        tracking_uri=found.registry,
        beside=found.folder,
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
def _metrics(
    read: Callable[[], MonitorState],
    spec: MonitoringSpec,
    options: argparse.Namespace,
    found: Located,
) -> Iterator[None]:
    port, host = options.metrics_port, options.metrics_host
    if port is None:
        yield
        return
    from penstock.monitoring.exporter import served
    from penstock.pipelines.service_figures import further_figures

    further = further_figures(found)
    with contextlib.ExitStack() as stack:
        try:
            bound = stack.enter_context(
                served(port, read=read, spec=spec, host=host, further=further)
            )
        except OSError as error:
            raise UsageError(
                f"port {port} cannot be taken: {error.strerror}",
                where="--metrics-port",
                remedy="Name another, or 0 for a free one.",
            ) from error
        print(f"Figures for Prometheus: http://{host}:{bound}/metrics", flush=True)
        yield
