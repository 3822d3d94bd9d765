"""What the backends of KServe have in common: a state store, a gateway, and what is measured there.

How a version is brought up, and how users' requests are weighed, is a backend's own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

from penstock.cluster.client import Kube, Manifest
from penstock.common import progress
from penstock.records.rollout import HistogramBuckets
from penstock.rollout.access import with_access
from penstock.rollout.backend import Backend
from penstock.rollout.backends.kserve import admitted, detect, pods, routes
from penstock.rollout.backends.kserve.attendance import Attendance
from penstock.rollout.backends.kserve.inference import delete, of_service, require_kept
from penstock.rollout.backends.kserve.lease import ClusterLease
from penstock.rollout.backends.kserve.measured import Measured, Steering
from penstock.rollout.backends.kserve.prober import Prober
from penstock.rollout.backends.kserve.state import ClusterArm, ClusterState
from penstock.rollout.backends.kserve.state_store import EFFECT, ObjectStore
from penstock.rollout.backends.kserve.storage import storage_uri
from penstock.rollout.backends.kserve.users import Users
from penstock.rollout.proxy.stats import buckets_of
from penstock.rollout.router import Address, Health, Observation, Release, ServerCount
from penstock.rollout.service import Service
from penstock.rollout.spec import KserveSpec
from penstock.rollout.state import Role
from penstock.rollout.traffic import predict_url
from penstock.serving.request_headers import REPLAY, SMOKE, key_of

if TYPE_CHECKING:
    from penstock.rollout.experiment.shipped import ShippedEvents

KserveService = Service[ClusterArm, ClusterState]


class KserveBackend(Backend[ClusterArm]):
    """See `penstock.rollout.backend.Backend`.

    A server that died is KServe's and Kubernetes' to start again.

    Args:
        kube: The cluster.
        service: The service, which is the registered model.
        spec: Where it serves.
        tracking_uri: The MLflow store, which knows where a version's folder lies.
        lease: The right to drive it.
        ready_timeout: Seconds that a version which served before may take to come up again.
        users: Counts users' requests during a rollout; None: they are no evidence.
        events: Returns what the proxies of an experiment have shipped.
    """

    # Without a state it is not known whether users are served there: it is left alone.
    owns_unnamed = False
    # State and traffic are written to one API server, if not in one object: it takes both or none.
    applies_unwritten = False
    keeps_beside = True

    def __init__(
        self,
        kube: Kube,
        *,
        service: str,
        spec: KserveSpec,
        tracking_uri: str,
        lease: ClusterLease,
        ready_timeout: float,
        users: Users | None = None,
        events: Callable[[str], ShippedEvents] | None = None,
    ) -> None:
        self._events = events
        self._kube = kube
        self._service = service
        self._spec = spec
        self._tracking_uri = tracking_uri
        self._lease = lease
        self._ready_timeout = ready_timeout
        self._restarts = pods.Restarts()
        self._attendance = Attendance()
        self._users_counted = users
        self._gateway = ""
        self._opened: tuple[Prober, Measured] | None = None
        self.store = self._state_store()

    @classmethod
    @abstractmethod
    def kept_at(cls, namespace: str, service: str) -> str:
        """Return the address of what keeps a service's state."""

    @abstractmethod
    def _state_store(self) -> ObjectStore:
        """Return what keeps the state."""

    @abstractmethod
    def _kept(self, state: ClusterState) -> Manifest:
        """Return the object in which it is kept."""

    @abstractmethod
    def _arm(self, release: Release, *, storage: str) -> ClusterArm:
        """Return a release as it is served here."""

    @abstractmethod
    def _start(self, arm: ClusterArm, *, timeout: float) -> None:
        """Bring a version up without traffic, which the state has passing; return when it is ready.

        Raises:
            ServiceError: If it does not become ready; it is left for the caller to stop.
        """

    @abstractmethod
    def _is_server(self, name: str) -> bool:
        """Return whether an InferenceService of this name and service is one of this backend's."""

    @abstractmethod
    def _follow(self) -> None:
        """Make everything else as the state says, which was just written."""

    @abstractmethod
    def _missing(self) -> bool:
        """Return whether somebody has deleted a server that the state names."""

    @abstractmethod
    def _require_split(self, arm: ClusterArm) -> None:
        """Return if weights between the stable version and this candidate would have effect.

        Raises:
            ServiceError: If they would not.
        """

    @abstractmethod
    def _users(self) -> dict[str, str]:
        """Return the headers of a user's request."""

    @abstractmethod
    def _own(self) -> dict[str, str]:
        """Return the headers by which the rollout's own requests reach the route's rules."""

    def as_service(self) -> KserveService:
        """Return the service that is carried by it."""
        return Service(
            self._service,
            store=self.store,
            lease=self._lease,
            backend=self,
            ready_timeout=self._ready_timeout,
        )

    def reach(self) -> str:
        """Return the gateway's address.

        Raises:
            ServiceError: If the gateway is not there, or its status names no address.
        """
        return detect.gateway_address(self._kube, self._spec)

    def _require(self) -> str:
        """Return the gateway's address, after seeing that the cluster has what a release needs."""
        return detect.require(self._kube, self._spec)

    @property
    def _state(self) -> ClusterState:
        return self.store.state

    @property
    def url(self) -> str:
        """Where users reach the service."""
        return self.url_at(self._gateway)

    def url_at(self, gateway: str) -> str:
        """Return where users reach the service, given the gateway's address."""
        host = self._users().get("host")
        return f"{gateway.partition('://')[0]}://{host}" if host else gateway

    def _require_state(self) -> None:
        """Return unless there is an InferenceService of the service's name whose state is gone.

        Raises:
            ServiceError: If there is one.
        """
        if not self.store.load():
            state_store = self.kept_at(self._spec.namespace, self._service)
            require_kept(self._kube, self._spec.namespace, self._service, state_store=state_store)

    def connect(self) -> None:
        """See that the cluster has what a release needs, and where its gateway is."""
        self._gateway = self._require()

    def disconnect(self) -> None:
        """Give the connections back."""
        if self._opened is not None:
            self._opened[0].close()
            self._opened = None
        if self._users_counted is not None:
            self._users_counted.close()

    def arm_of(self, release: Release) -> ClusterArm:
        """Return a release as it would be served here.

        Raises:
            InputError: If KServe cannot read its files from where they lie.
            ServiceError: If the registry does not answer.
        """
        storage = storage_uri(
            self._service,
            release.version,
            tracking_uri=self._tracking_uri,
            replaced=self._spec.artifacts,
        )
        return self._arm(release, storage=storage)

    def start(self, arm: ClusterArm, *, timeout: float) -> ClusterArm:
        """Bring a version up without traffic, unless it is up; return it once it is ready."""
        if self._spec.trusted_keys:
            # What serves already is written again by some routers.
            arms = (arm, *self._state.arms())
            admitted.admit(self._kube, arms, namespace=self._spec.namespace)
        self._start(arm, timeout=timeout)
        baseline = pods.baseline_of(self._kube, self._spec.namespace, arm)
        return arm.model_copy(update={"baseline": baseline})

    def apply(self) -> None:
        """Wait until what was written is in effect, make the rest follow, and steer by it."""
        self.store.wait()
        self._follow()
        self._steer()

    def prove(self) -> None:
        """Return once the candidate is reached, and weights between it and the stable one work."""
        candidate = self._state.candidate
        assert candidate is not None
        headers = self._headers("candidate")
        self._probe.wait_for(candidate.version, headers=headers, timeout=EFFECT)
        # With traffic of its own it was proved before it got any.
        if self._state.stable and not self._state.weight:
            self._require_split(candidate)

    def wait_for_weight(self, version: int, *, percent: int) -> None:
        """Return once users' requests are shared so, as far as a few can show."""
        self._probe.wait_for_weight(version, percent=percent, headers=self._users(), timeout=EFFECT)

    def sweep(self) -> None:
        """Delete what bears the service's label and has no role in its state.

        What is deleted was found before the lease was requested, and only that very
        object is: a later controller sweeps before it starts anything.
        """
        found = of_service(self._kube, self._spec.namespace, self._service)
        named = {arm.name for arm in self._state.arms()}
        idle = [one for one in found if self._is_idle(one["metadata"]["name"], named)]
        if idle:
            self._lease.confirm()
        for one in idle:
            delete(self._kube, self._spec.namespace, one, service=self._service)
        if self._state.passing:
            # It may be a part of an InferenceService that stays.
            self._follow()

    def mend(self) -> None:
        """Write again what somebody else has deleted or altered."""
        again = f"{self._service} was altered from outside: writing it again"
        if self._missing():
            progress.say(again)
            # First, because a route to servers that are not there is not accepted.
            self._follow()
        if self.store.altered():
            progress.say(again)
            self.store.save()
            self.apply()

    def address(self, role: Role) -> Address:
        """Return where a role's version alone answers."""
        access = self._spec.access
        headers = with_access(self._marked(role, SMOKE), access)
        return Address(self._gateway, headers, ca_file=access.ca_file)

    def observe(self) -> Observation:
        """Return what came of the requests that were replayed, and of users' where they count."""
        seen = replace(self._measure.observe(), servers=self._servers())
        if self._users_counted is None:
            return seen
        self._users_counted.look(self._ready_pods)
        return self._users_counted.added_to(seen)

    def health(self, arm: ClusterArm) -> Health:
        """Return how one version's servers are.

        Where users' requests are evidence, a candidate with traffic must answer through the
        gateway too: what the gateway answers in its stead is in no figure of the pods. And where
        the rollout's own requests are not let in, nothing is known of it.
        """
        health = pods.health_of(
            self._kube,
            self._spec.namespace,
            arm,
            restarts=self._restarts,
            baseline=arm.baseline,
        )
        if not (health.ready and arm == self._state.candidate):
            return health
        if shut_out := self._measure.shut_out:
            return replace(health, ready=False, reason=shut_out)
        if not self._users_counted:
            return health
        found = self._probe.version(self._headers("candidate"))
        if found == str(arm.version):
            return health
        answer = f"version {found}" if found.isdigit() else found
        return replace(health, ready=False, reason=f"The gateway answers for it with {answer}.")

    def log(self, version: int) -> str:
        """Return the end of the log of one version's server."""
        arm = self._state.arm(version)
        return pods.log_of(self._kube, self._spec.namespace, arm) if arm else ""

    def replay(self, bodies: Sequence[bytes], *, rate: float) -> AbstractContextManager[None]:
        """Send requests through the gateway, each to the arm that the weights give it."""
        return self._measure.replay(bodies, rate=rate)

    @property
    def _probe(self) -> Prober:
        return self._connected()[0]

    @property
    def _measure(self) -> Measured:
        return self._connected()[1]

    def _connected(self) -> tuple[Prober, Measured]:
        assert self._gateway, "exclusive() comes first"
        if self._opened is None:
            access = self._spec.access
            prober = Prober(self._gateway, service=self._service, access=access)
            measured = Measured(predict_url(self._gateway, self._service), access=access)
            self._opened = prober, measured
        return self._opened

    def _headers(self, arm: str) -> dict[str, str]:
        return {**self._own(), routes.ARM_HEADER: routes.arm_value(self._state, arm)}

    def _marked(self, arm: str, mark: str) -> dict[str, str]:
        """Return the headers of a request to an arm that is the rollout's own, not a user's."""
        return {**self._headers(arm), mark: key_of(self._state.token)}

    def _steer(self) -> None:
        state = self._state
        grids = state.assignment.grids or HistogramBuckets()
        steering = Steering(
            headers={
                arm.version: self._marked(role, REPLAY)
                for role, arm in state.roles().items()
                if role != "retired"
            },
            stable=state.stable.version if state.stable else None,
            candidate=state.candidate.version if state.candidate else None,
            weight=state.weight,
            mirror=state.assignment.mirror,
            edges=buckets_of(grids.model_dump()),
        )
        self._measure.steer(steering)
        if self._users_counted is not None:
            self._users_counted.steer(steering)

    def _servers(self) -> dict[int, ServerCount]:
        """Return how many servers each version has, where somebody scales them."""
        arms = self._state.arms()
        if not any(arm.autoscaling for arm in arms):
            return {}
        return self._attendance.look([arm.version for arm in arms], self._ready_pods)

    def _ready_pods(self, version: int) -> frozenset[str]:
        arm = self._state.arm(version)
        return pods.ready_names(self._kube, self._spec.namespace, arm) if arm else frozenset()

    def _is_idle(self, name: str, named: set[str]) -> bool:
        return name not in named and self._is_server(name)
