"""A service on a Kubernetes cluster."""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.captures.places import place_at
from penstock.captures.segments import EXPERIMENTS
from penstock.cluster import client as kube
from penstock.common import progress
from penstock.common.claims import CLAIM
from penstock.errors import InputError, ServiceError
from penstock.rollout.backends.kserve import pods
from penstock.rollout.backends.kserve.backend import KserveBackend, KserveService
from penstock.rollout.backends.kserve.choice import (
    OPEN,
    ROUTERS,
    fitting,
    require_feasible,
    settled_kind,
)
from penstock.rollout.backends.kserve.lease import ClusterLease
from penstock.rollout.backends.kserve.pod_counters import Source
from penstock.rollout.backends.kserve.state import ClusterArm, ClusterState
from penstock.rollout.backends.kserve.store import ConfigMapStore
from penstock.rollout.backends.kserve.users import Users
from penstock.rollout.journal import unfinished
from penstock.rollout.router import Router, ServiceStatus, VersionStatus
from penstock.rollout.spec import DeploymentSpec
from penstock.rollout.state import Role
from penstock.rollout.store import Store

if TYPE_CHECKING:
    from penstock.rollout.experiment.shipped import ShippedEvents

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")


class ClusterTarget:
    """See `penstock.rollout.target.Target`.

    Args:
        spec: How the service is deployed.
        service: The service.
        tracking_uri: The MLflow store.

    Raises:
        InputError: If the name cannot be one of Kubernetes, or the plan needs what this router
            cannot do.
        ServiceError: If no cluster is known here.
    """

    def __init__(self, spec: DeploymentSpec, *, service: str, tracking_uri: str) -> None:
        if not _NAME.fullmatch(service):
            raise InputError(
                f"{service!r} cannot be the name of a service on Kubernetes",
                where="name",
                remedy="Use small letters, digits and dashes, beginning with a letter, at most 40.",
            )
        require_feasible(spec, spec.router)
        self._deployment = spec
        self._spec = spec.kserve
        self._service = service
        self._tracking_uri = tracking_uri
        self._shipped: dict[str, ShippedEvents] = {}
        self._kube = kube.connect(spec.kserve.context)
        self._lease = ClusterLease(
            self._kube,
            namespace=self._spec.namespace,
            service=service,
            name=f"penstock-{service}",
        )

    @property
    def service(self) -> str:
        """Its name."""
        return self._service

    @cached_property
    def kind(self) -> str:
        """The router that is named, or that the service has, or that fits the cluster."""
        found = self._settled
        if not found:
            found, why = fitting(self._kube, self._deployment)
            progress.say(f"router {found} ({why})")
        require_feasible(self._deployment, found)
        return found

    @property
    def router(self) -> Router:
        """What weighs its versions."""
        return self._router

    @cached_property
    def _router(self) -> KserveService:
        return self._backend.as_service()

    @cached_property
    def _backend(self) -> KserveBackend:
        return ROUTERS[self.kind](
            self._kube,
            service=self._service,
            spec=self._spec,
            tracking_uri=self._tracking_uri,
            lease=self._lease,
            ready_timeout=self._deployment.ready_timeout,
            users=_users(self._deployment, self._service),
            events=self.events,
        )

    @cached_property
    def _settled(self) -> str:
        """The router that is settled; empty: none is, and nothing serves."""
        if self._deployment.router != OPEN:
            return self._deployment.router
        return settled_kind(self._kube, self._spec, service=self._service, begun=self._begun)

    def _begun(self) -> list[str]:
        return [journal.rollout.router for journal in unfinished(self.stores())]

    @cached_property
    def models(self) -> Path:
        """A folder for as long as this process lives: the cluster fetches its own."""
        try:
            folder = tempfile.mkdtemp(prefix="penstock-models-")
        except OSError as error:
            raise ServiceError(
                f"no folder can be made to fetch the model into: {error.strerror}",
                where=tempfile.gettempdir(),
                remedy="Make room there, or set TMPDIR to another folder.",
            ) from error
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    def store(self, identity: str) -> Store:
        """Return the ConfigMap of a rollout."""
        return ConfigMapStore(
            self._kube,
            namespace=self._spec.namespace,
            service=self._service,
            identity=identity,
            lease=self._lease,
        )

    def stores(self) -> list[Store]:
        """Return the ConfigMaps of those that have begun, the oldest first; none is read."""
        return list(
            ConfigMapStore.all_of(
                self._kube,
                namespace=self._spec.namespace,
                service=self._service,
                lease=self._lease,
            )
        )

    def require_experiments(self) -> None:
        """Return if users can be led to a proxy, and what it ships can be read from here.

        Raises:
            InputError: If the router is another one, or no store is named that is reached from
                here.
            ServiceError: If the store does not answer.
        """
        if self.kind != "kserve-gateway":
            raise InputError(
                f"an experiment leads users to a proxy by our HTTPRoute; {self.kind} has none",
                where="deployment.router",
                remedy="Take router: kserve-gateway, or local.",
            )
        destination = self._spec.captures.destination
        if not destination or destination.startswith(CLAIM):
            raise InputError(
                "an experiment's proxies ship what users did to a store that is read from here, "
                + ("and none is named" if not destination else "and a claim is not"),
                where="deployment.kserve.captures.destination",
                remedy="Name a bucket, for example s3://bucket/captures.",
            )
        try:
            place_at(self._events_at("")).names(".")
        except OSError as error:
            raise ServiceError(
                f"the captures store cannot be read: {error.strerror}", where=destination
            ) from error

    def events(self, identity: str) -> ShippedEvents:
        """Return what the proxies of an experiment have shipped."""
        from penstock.rollout.experiment.shipped import ShippedEvents

        if identity not in self._shipped:
            seconds = self._spec.captures.segment_seconds
            address = self._events_at(identity)
            self._shipped[identity] = ShippedEvents(address, segment_seconds=seconds)
        return self._shipped[identity]

    def forget_events(self, identity: str) -> None:
        """Delete what the proxies of an experiment have shipped, where the store is reached."""
        destination = self._spec.captures.destination
        if "-experiment-" not in identity or not destination or destination.startswith(CLAIM):
            return
        place = place_at(self._events_at(identity))
        for folder, names in place.folders().items():
            for name in names:
                place.remove(folder, name)

    def _events_at(self, identity: str) -> str:
        root = self._spec.captures.destination.rstrip("/")
        return f"{root}/{self._service}/{EXPERIMENTS}/{identity}".rstrip("/")

    def forget_all_but(self, versions: Collection[int]) -> None:
        """Do nothing: what pods captured and logged goes with them."""

    def driven(self) -> bool:
        """Return whether a controller holds the lease and has renewed it lately."""
        return self._lease.driven()

    def status(self) -> list[ServiceStatus]:
        """Return what the service does; none if there is no such service."""
        if not self._settled or not self._router.refresh():
            return []
        state = self._router.state
        try:
            address = self._backend.reach()
        except ServiceError as error:
            # What serves is known all the same.
            address = f"(not reached: {error})"
        versions = tuple(
            self._version(state, role, arm, address) for role, arm in state.roles().items()
        )
        return [
            ServiceStatus(
                service=self._service,
                url=self._backend.url_at(address),
                running=any(each.role == "stable" and each.health.ready for each in versions),
                stable=self._router.stable,
                weights={arm.version: state.weight_of(role) for role, arm in state.roles().items()},
                versions=versions,
                logs=f"kubectl -n {self._spec.namespace} logs "
                f"-l penstock/service={self._service} -c kserve-container",
            )
        ]

    def serving(self) -> ClusterArm | None:
        """Return the version that takes the requests, from the state alone; None: none does.

        It changes nothing, and needs no right but to read.

        Raises:
            ServiceError: If the cluster does not answer, or the state cannot be read.
        """
        if not self._settled or not self._router.refresh():
            return None
        return self._router.state.stable

    def ready_pods(self, arm: ClusterArm) -> frozenset[str]:
        """Return the names of the pods that serve a version now.

        Raises:
            ServiceError: If the cluster does not answer.
        """
        return pods.ready_names(self._kube, self._spec.namespace, arm)

    def lease(self, name: str, *, doing: str, remedy: str) -> ClusterLease:
        """Return a lease of the service's namespace beside that of its rollouts.

        Args:
            name: What is held, for example `monitor`.
            doing: What its holder does, for the message to another: "watches it".
            remedy: What that one should do.
        """
        return ClusterLease(
            self._kube,
            namespace=self._spec.namespace,
            service=self._service,
            name=f"penstock-{name}-{self._service}",
            doing=doing,
            remedy=remedy,
        )

    def _version(self, state: ClusterState, role: Role, arm: ClusterArm, url: str) -> VersionStatus:
        return VersionStatus(
            version=arm.version,
            role=role,
            weight=state.weight_of(role),
            url=url,
            health=pods.health_of(self._kube, self._spec.namespace, arm, baseline=arm.baseline),
        )


def _users(spec: DeploymentSpec, service: str) -> Users | None:
    """Return what counts users' requests, where they are to count."""
    source = spec.canary.traffic.source
    if not spec.kserve.prometheus.url or source == "replay":
        return None
    return Users(
        Source(
            spec=spec.kserve.prometheus,
            namespace=spec.kserve.namespace,
            service=service,
            alone=source == "live",
        )
    )
