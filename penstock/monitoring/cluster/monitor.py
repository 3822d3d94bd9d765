"""The monitor of a service on a cluster, and its guardian: two processes, each with its own state.

A look runs once an hour, as a run of Kubeflow; the guardian reads once a minute, as a pod of its
own, with the right to serve another version. Each holds a lease, and each writes below
`monitoring.state` where the other only reads.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.captures.places import place_at
from penstock.common.claims import reached
from penstock.common.progress import say
from penstock.errors import InputError, IntegrityError, PenstockError
from penstock.monitoring.cluster.interventions import ClusterExecutor
from penstock.monitoring.cluster.pipeline_runs import Releases
from penstock.monitoring.cluster.run_files import RunFiles
from penstock.monitoring.cluster.service import ClusterService
from penstock.monitoring.guardian.guarding import Guardian
from penstock.monitoring.interventions.comparing import compared, concept_of
from penstock.monitoring.interventions.intervening import Interventions
from penstock.monitoring.look import Monitor
from penstock.monitoring.settings.monitoring import MonitoringSpec
from penstock.monitoring.store.collect import Watched, registry_of
from penstock.monitoring.store.holding import LeaseHold
from penstock.monitoring.store.state import PAGE, MonitorStore
from penstock.monitoring.store.storage import Storage, nobody_else
from penstock.monitoring.verdict.sight import BLIND_AFTER
from penstock.notification import NotifySpec
from penstock.records.intervention import Comparison, Intervention
from penstock.records.monitoring import MonitorState, VerdictKind
from penstock.redaction import redact_address
from penstock.rollout.spec import DeploymentSpec

if TYPE_CHECKING:
    from penstock.rollout.backends.kserve.lease import ClusterLease
    from penstock.rollout.backends.kserve.target import ClusterTarget

_STATE = "monitoring.state"


@dataclass(frozen=True)
class ClusterMonitor:
    """What watches one service on a cluster.

    Attributes:
        service: Its name.
        deployment: The section `deployment`.
        spec: The section `monitoring`.
        notify: Who is notified.
        tracking_uri: The MLflow store.
        beside: What the path of a file in `notify` is relative to.
    """

    service: str
    deployment: DeploymentSpec
    spec: MonitoringSpec
    notify: NotifySpec
    tracking_uri: str
    beside: Path = Path()

    def monitor(self, *, compare: bool = False) -> Monitor:
        """Return what looks; a guardian beside it is another process.

        Args:
            compare: Compare former champions where a look has asked for that, which takes a while;
                else it is left to the task of the run that does.

        Raises:
            InputError: If it is not said where the state is kept, or batches are to be watched.
            ServiceError: If no cluster is known here, or the store cannot be reached.
        """
        if self.spec.source == "batch":
            raise InputError(
                "batches are watched by penstock monitor where it runs, not by its pipeline yet",
                where="monitoring.source: batch",
                remedy="Run penstock monitor where it reaches the captures and the registry.",
            )
        lease = self._watching()
        folder = MonitorStore(
            self._storage("monitor", confirm=lease.confirm), hold=LeaseHold(lease)
        )
        service, guarding = self._watched_service(folder), self._reader("guardian")
        executor = ClusterExecutor(
            self.run_files(confirm=lease.confirm),
            releases=self.releases,
            compare=partial(self._compared, folder, service) if compare else None,
        )
        return Monitor(
            folder=folder,
            service=self.service,
            spec=self.spec,
            notify=self.notify,
            beside=self.beside,
            watched=lambda: self._watched(service),
            # What was begun is gone on with, whatever the project says by now.
            interventions=Interventions(self.spec, executor),
            shown=lambda state: together(state, guarding.glance(service=self.service)),
        )

    def run_files(self, *, confirm: Callable[[], None] = nobody_else) -> RunFiles:
        """Return what is kept of recalls and retrainings.

        Args:
            confirm: Called before whatever changes it; by default it is a run's own result.

        Raises:
            InputError: If it is not said where the state is kept.
            ServiceError: If the store cannot be reached.
        """
        return RunFiles(self._storage("monitor/interventions", confirm=confirm))

    @property
    def releases(self) -> Releases:
        """What became of registered versions."""
        return Releases(self.service, self.deployment, self.tracking_uri)

    def captures(self) -> str:
        """Return where captured rows are.

        Raises:
            InputError: If they are shipped nowhere, or this process does not reach them.
        """
        return self._watched_service(self._reader("monitor")).captures(self.spec.captures)

    def guardian(self) -> Monitor:
        """Return what guards the champion, and looks at nothing else.

        Raises:
            InputError: If it is not said where the state is kept, or where the counters are read,
                or nothing is to be guarded.
            ServiceError: If no cluster is known here, or the store cannot be reached.
        """
        if self.spec.guardian.mode == "never":
            raise InputError(
                "nothing is to be guarded",
                where="monitoring.guardian.mode: never",
                remedy="Set it to automatic or suggest, or do not run the guardian.",
            )
        if not self.deployment.kserve.prometheus.url:
            raise InputError(
                "the guardian of a service on a cluster reads what its pods have counted from "
                "Prometheus, and none is named",
                where="deployment.kserve.prometheus.url",
                remedy="Name the Prometheus that scrapes them (docs/evidence-from-prometheus.md).",
            )
        lease = self.target().lease(
            "guardian",
            doing="is guarding it",
            remedy="One guardian is enough: end that one first, or leave it.",
        )
        folder = MonitorStore(
            self._storage("guardian", confirm=lease.confirm), hold=LeaseHold(lease)
        )
        service = self._watched_service(folder)
        watching = self._reader("monitor")
        guardian = Guardian(
            spec=self.spec.guardian,
            deployment=self.deployment,
            target=self.target,
            read=service.reading,
            tracking_uri=lambda: self.tracking_uri,
            drifted=lambda _: drifted(watching, service=self.service, seconds=self.spec.seconds),
        )
        return Monitor(
            folder=folder,
            service=self.service,
            spec=self.spec,
            notify=self.notify,
            beside=self.beside,
            watched=lambda: service.watched(known_of=lambda _: None, require=False),
            guardian=guardian,
            link=watching.link,
        )

    def figures(self) -> Callable[[], MonitorState]:
        """Return a function that reads what monitor and guardian know, for Prometheus.

        While the store does not answer it is what was read last: what is shown then stands still,
        which the alert on a monitor that stopped is about.
        """
        readers = [self._reader(name) for name in ("monitor", "guardian")]
        last = MonitorState(service=self.service)

        def read() -> MonitorState:
            nonlocal last
            try:
                watching, guarding = (one.read_only(service=self.service) for one in readers)
                last = together(watching, guarding)
            except (OSError, PenstockError):
                pass
            return last

        return read

    def target(self) -> ClusterTarget:
        """Return where the service lives."""
        from penstock.rollout.backends.kserve.target import ClusterTarget

        return ClusterTarget(self.deployment, service=self.service, tracking_uri=self.tracking_uri)

    def _watched_service(self, folder: MonitorStore) -> ClusterService:
        return ClusterService(
            service=self.service,
            deployment=self.deployment,
            tracking_uri=self.tracking_uri,
            storage=folder.storage,
            target=self.target,
        )

    def _watching(self) -> ClusterLease:
        return self.target().lease(
            "monitor",
            doing="is watching it",
            remedy="One monitor is enough: wait until that look has ended.",
        )

    def _watched(self, service: ClusterService) -> Watched:
        return service.watched(
            captures=self.spec.captures,
            known_of=registry_of(self.service, tracking_uri=lambda: self.tracking_uri),
            require=self.spec.performance.require_baseline,
        )

    def _compared(
        self, folder: MonitorStore, service: ClusterService, order: Intervention
    ) -> Comparison:
        with tempfile.TemporaryDirectory() as former:
            return compared(
                order,
                watched=self._watched(service),
                source=self.captures(),
                tracking_uri=self.tracking_uri,
                folder=Path(former),
                spec=self.spec,
                concept=concept_of(folder.glance(service=self.service), order.version),
            )

    def _reader(self, name: str) -> MonitorStore:
        """Return the state of the other process, which is not written."""
        return MonitorStore(self._storage(name, confirm=_refuse))

    def _storage(self, name: str, *, confirm: Callable[[], None]) -> Storage:
        state = self.spec.state
        if not state:
            raise InputError(
                f"it is not said where the monitor of {self.service} keeps what it knows: a pod's "
                "own disk goes with it",
                where=_STATE,
                remedy="Name a store or a claim, for example s3://bucket/monitor.",
            )
        address = f"{reached(state, where=_STATE).rstrip('/')}/{self.service}/{name}"
        return Storage(place_at(address), where=redact_address(address), confirm=confirm)


def watcher_of(
    name: str,
    *,
    deployment: Mapping[str, Any],
    monitoring: Mapping[str, Any],
    notify: Mapping[str, Any],
    tracking_uri: str,
) -> ClusterMonitor:
    """Return what watches a service, from what a task of Kubeflow is given.

    Args:
        name: The service.
        deployment: Fields of the section `deployment`.
        monitoring: Fields of the section `monitoring`.
        notify: Fields of the section `notify`.
        tracking_uri: The MLflow store; empty takes MLFLOW_TRACKING_URI.

    Raises:
        InputError: If a field is wrong, or the service is not on a cluster.
    """
    spec = DeploymentSpec.parse(dict(deployment), where="deployment")
    if spec.router == "local":
        raise InputError(
            "a task of Kubeflow watches a service on a cluster, and deployment.router is local",
            where="deployment.router",
            remedy="On this machine: penstock monitor.",
        )
    return ClusterMonitor(
        service=name,
        deployment=spec,
        spec=MonitoringSpec.parse(dict(monitoring), where="monitoring"),
        notify=NotifySpec.parse(dict(notify), where="notify"),
        tracking_uri=tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", ""),
    )


def look_once(watcher: ClusterMonitor, *, verdict: Path, report: Path) -> VerdictKind:
    """Look once at a service on a cluster, as a task of Kubeflow does; return the verdict's kind.

    Args:
        watcher: What watches it.
        verdict: Where the verdict is written to.
        report: Where the page is written to.

    Raises:
        InputError: If it is not said where the state is kept.
        ServiceError: If another process watches it, or the cluster or a store does not answer.
    """
    monitor = watcher.monitor()
    with monitor.held():
        found, notes = monitor.look()
        page = monitor.folder.storage.read(".", PAGE)
    found.write(verdict)
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_bytes(page)
    for note in notes:
        print(f"Note: {note}")  # noqa: T201
    say(f"{found.kind}: {found.headline}")
    return found.kind


def drifted(watching: MonitorStore, *, service: str, seconds: float) -> bool | None:
    """Return whether the monitor has an alarm on the data; None: that is not known.

    Args:
        watching: What the monitor keeps.
        service: The service.
        seconds: Between two looks: an alarm of which nobody has looked for long is not known.
    """
    try:
        state = watching.read_only(service=service)
    except (OSError, PenstockError):
        return None
    if state.verdict is None or state.time is None:
        return None
    if state.verdict.drift is not None:
        return True
    age = (datetime.now(UTC) - state.time).total_seconds()
    return None if age > BLIND_AFTER * seconds or state.verdict.kind == "blind" else False


def together(watching: MonitorState, guarding: MonitorState) -> MonitorState:
    """Return what a monitor knows, with what the guardian beside it knows and has done."""
    done = {kind: count for kind, count in guarding.totals.actions.items() if kind == "returned"}
    actions = sorted((*watching.actions, *guarding.actions), key=lambda one: one.time)
    totals = watching.totals.model_copy(
        update={
            "actions": {**watching.totals.actions, **done},
            "undelivered": watching.totals.undelivered + guarding.totals.undelivered,
        }
    )
    return watching.model_copy(
        update={"guard": guarding.guard, "actions": tuple(actions), "totals": totals}
    )


def _refuse() -> None:
    raise IntegrityError("the state of another process is not written", where=_STATE)
