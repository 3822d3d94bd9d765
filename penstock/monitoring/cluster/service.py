"""What is watched of a service on a cluster: its state there, its captures, its pods' counters."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.common.claims import CLAIM, reached
from penstock.errors import InputError, IntegrityError, PenstockError
from penstock.monitoring.store.collect import Reading, Watched, known_version
from penstock.monitoring.store.pod_totals import PodTotals
from penstock.monitoring.store.storage import Storage
from penstock.records.model import FILE_NAME as MODEL
from penstock.records.model import Model
from penstock.records.monitoring import Known
from penstock.records.reference import FILE_NAME as REFERENCE
from penstock.records.reference import Reference
from penstock.rollout.captures import captures_of
from penstock.rollout.spec import DeploymentSpec

if TYPE_CHECKING:
    from penstock.rollout.backends.kserve.state import ClusterArm
    from penstock.rollout.backends.kserve.target import ClusterTarget

UNWATCHED = (
    "Errors and latency of the server are not watched: deployment.kserve.prometheus.url names no "
    "Prometheus that scrapes its pods."
)


@dataclass(frozen=True)
class ClusterService:
    """A service on a cluster, for who watches it.

    Attributes:
        service: Its name.
        deployment: How it is deployed.
        tracking_uri: The MLflow store.
        storage: Where the watcher keeps what it has fetched, and how far it has counted.
        target: Returns where the service lives.
    """

    service: str
    deployment: DeploymentSpec
    tracking_uri: str
    storage: Storage
    target: Callable[[], ClusterTarget]

    def watched(
        self,
        *,
        captures: str = "",
        known_of: Callable[[int], Known | None],
        require: bool = True,
    ) -> Watched:
        """Return what is to be watched now.

        Whatever cannot be read is said and not raised: the rest is watched all the same.

        Args:
            captures: Where captured rows are; empty: where its model servers ship them to.
            known_of: Returns what the registry keeps of a version; None: nothing.
            require: Whether it is missed where it is not there.
        """
        try:
            target = self.target()
            arm = target.serving()
        except PenstockError as error:
            return Watched(self.service, problem=f"What serves cannot be read: {error}")
        if arm is None:
            return Watched(
                self.service, problem="Nothing is being served. Release a version: penstock submit."
            )
        missing: list[str] = []
        model, reference = self._described(arm, missing)
        found = Watched(
            service=self.service,
            version=arm.version,
            model=model,
            reference=reference,
            known=known_version(self.storage, arm, known_of, missing=missing if require else []),
        )
        try:
            found = replace(found, captures=self.captures(captures))
        except InputError as error:
            found = replace(found, problem=f"Its rows cannot be watched: {error}")
        if not self.deployment.kserve.prometheus.url:
            return replace(found, missing=tuple(missing), unwatched=(UNWATCHED,))
        try:
            found = replace(
                found, counted=self._totals.counted(arm.version, pods=target.ready_pods(arm))
            )
        except PenstockError as error:
            missing.append(f"Errors and latency of the server cannot be watched: {error}")
        return replace(found, missing=tuple(missing))

    def reading(self) -> Reading | None:
        """Return what its pods have counted; None: nothing serves.

        Raises:
            ServiceError: If that cannot be known now.
        """
        target = self.target()
        arm = target.serving()
        if arm is None:
            return None
        return Reading(arm.version, self._totals.counted(arm.version, pods=target.ready_pods(arm)))

    @property
    def _totals(self) -> PodTotals:
        kserve = self.deployment.kserve
        return PodTotals(
            storage=self.storage,
            prometheus=kserve.prometheus,
            namespace=kserve.namespace,
            service=self.service,
        )

    def captures(self, given: str = "") -> str:
        """Return where captured rows are.

        Args:
            given: Where the project says; empty: where its model servers ship them to.

        Raises:
            InputError: If they are shipped nowhere, or this process does not reach them.
        """
        if given:
            return reached(given, where="monitoring.captures")
        destination = self.deployment.kserve.captures.destination
        if destination.startswith(CLAIM):
            address = f"{destination.rstrip('/')}/{self.service}"
            return reached(address, where="deployment.kserve.captures.destination")
        return str(captures_of(self.deployment, service=self.service, home=Path()))

    def _described(
        self, arm: ClusterArm, missing: list[str]
    ) -> tuple[Model | None, Reference | None]:
        """Return what a version takes and what it learned from, as they were registered.

        Once its folder was fetched and checked, they come from beside the monitor's state.
        """
        short = arm.model.removeprefix("sha256:")[:12]
        names = (f"model-{arm.version}-{short}.json", f"reference-{arm.version}-{short}.json")
        try:
            model, reference = (self.storage.read(".", name).decode() for name in names)
            return Model.loads(model, where=names[0]), Reference.loads(reference, where=names[1])
        except (OSError, UnicodeDecodeError, InputError, IntegrityError):
            pass
        try:
            fetched = self._fetched(arm)
        except PenstockError as error:
            missing.append(
                f"It is not known what version {arm.version} takes and what it learned from: "
                f"{error}"
            )
            return None, None
        for name, record in zip(names, fetched, strict=True):
            self.storage.write(".", name, record.dumps().encode())
        return fetched

    def _fetched(self, arm: ClusterArm) -> tuple[Model, Reference]:
        from penstock.registry import versions
        from penstock.rollout.fetching import fetch

        found = versions.registered(arm.uri, tracking_uri=self.tracking_uri)
        if found.model != arm.model:
            raise IntegrityError(
                f"the registry has {found.model} of it, and {arm.model} serves",
                where=arm.uri,
                remedy="Release a version again.",
            )
        with tempfile.TemporaryDirectory() as place:
            folder = fetch(found, into=Path(place), tracking_uri=self.tracking_uri).folder
            return Model.read(folder / MODEL), Reference.read(folder / REFERENCE)
