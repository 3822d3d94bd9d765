"""What the routers of KServe have in common: a state, an object that keeps it, and the actions.

How a version is brought up, and how users' requests are weighed, is a router's own.
"""

from __future__ import annotations

import contextlib
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from penstock.cluster.client import Kube, Manifest
from penstock.common import progress
from penstock.errors import InputError, PenstockError, ServiceError
from penstock.rollout.backends.kserve import detect, manifests, pods
from penstock.rollout.backends.kserve.inference import delete, of_service
from penstock.rollout.backends.kserve.lease import ClusterLease
from penstock.rollout.backends.kserve.measured import Measured, Steering
from penstock.rollout.backends.kserve.prober import Prober
from penstock.rollout.backends.kserve.state import Arm, ClusterState
from penstock.rollout.backends.kserve.state_store import EFFECT, Keeper
from penstock.rollout.backends.kserve.storage import storage_uri
from penstock.rollout.backends.kserve.users import Users
from penstock.rollout.router import Address, Health, Observation, Release, Routing
from penstock.rollout.routers.tally import Edges, edges_of
from penstock.rollout.spec import KserveSpec
from penstock.rollout.traffic import predict_url
from penstock.serving.marks import REPLAY, SMOKE, key_of


class KserveService(ABC):
    """One service of a cluster; see `penstock.rollout.router.Router` for the actions.

    Args:
        kube: The cluster.
        service: The service, which is the registered model.
        spec: Where it serves.
        tracking_uri: The MLflow store, which knows where a version's folder lies.
        lease: The right to drive it.
        ready_timeout: Seconds that a version which served before may take to come up again.
        users: Counts users' requests during a rollout; None: they are no evidence.
    """

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
    ) -> None:
        self._kube = kube
        self._service = service
        self._spec = spec
        self._tracking_uri = tracking_uri
        self._lease = lease
        self._ready_timeout = ready_timeout
        self._restarts = pods.Restarts()
        self._users_counted = users
        self._state_in = self._keeper()
        self._edges = Edges()
        self._gateway = ""
        self._opened: tuple[Prober, Measured] | None = None
        self._state = ClusterState(service=service, token=secrets.token_hex(8))

    @classmethod
    @abstractmethod
    def kept_at(cls, namespace: str, service: str) -> str:
        """Return the address of what keeps a service's state."""

    @abstractmethod
    def _keeper(self) -> Keeper:
        """Return what keeps the state."""

    @abstractmethod
    def _kept(self, state: ClusterState) -> Manifest:
        """Return the object in which it is kept."""

    @abstractmethod
    def _arm(self, release: Release, *, storage: str) -> Arm:
        """Return a release as it is served here."""

    @abstractmethod
    def _start(self, arm: Arm, *, timeout: float) -> None:
        """Bring a version up without traffic, which the state has passing; return when it is ready.

        Raises:
            ServiceError: If it does not become ready; it is left for the caller to stop.
        """

    @abstractmethod
    def _is_server(self, name: str) -> bool:
        """Return whether an InferenceService of this name and service is one of this router's."""

    @abstractmethod
    def _follow(self) -> None:
        """Make everything else as the state says, which was just written."""

    @abstractmethod
    def _missing(self) -> bool:
        """Return whether somebody has deleted a server that the state names."""

    @abstractmethod
    def _require_split(self, arm: Arm) -> None:
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
    def url(self) -> str:
        """Where users reach the service."""
        return self.url_at(self._gateway)

    def url_at(self, gateway: str) -> str:
        """Return where users reach the service, given the gateway's address."""
        host = self._users().get("host")
        return f"{gateway.partition('://')[0]}://{host}" if host else gateway

    @property
    def stable(self) -> int | None:
        """The version that the service falls back to."""
        return self._state.stable.version if self._state.stable else None

    @property
    def candidate(self) -> int | None:
        """The version that is brought up beside it."""
        return self._state.candidate.version if self._state.candidate else None

    @property
    def state(self) -> ClusterState:
        """What the service consists of, as it was read or written last."""
        return self._state

    def refresh(self) -> bool:
        """Read the service's state; return whether there is a service."""
        found = self._state_in.read()
        self._state = found or self._state
        return found is not None

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the service's lease, and first mend it and remove what nobody has finished."""
        with self._lease.held():
            self._gateway = self._require()
            if self.refresh():
                self._lease.outdo(self._state.term)
                self.mend()
                self._sweep()
            try:
                yield
            except (PenstockError, KeyboardInterrupt):
                self._forget_unused()
                raise
            finally:
                self._close()

    def open(self) -> None:
        """Make sure that what keeps the state is the service's own and has taken effect."""
        self._save()

    def deploy(self, release: Release, *, timeout: float) -> Address:
        """Bring `release` up as the candidate, without traffic; return where it alone answers."""
        self.mend()
        storage = storage_uri(
            self._service,
            release.version,
            tracking_uri=self._tracking_uri,
            replaced=self._spec.artifacts,
        )
        arm = self._arm(release, storage=storage)
        for role, found in self._state.roles().items():
            if role != "retired" and found.same(arm):
                return Address(self._gateway, self._marked(role, SMOKE))
        if self.stable == release.version:
            raise InputError(
                f"version {release.version} is the stable one, from other files or with a drill",
                where=f"service {self._service}",
                remedy="Register the model as a version of its own.",
            )
        self._remove_candidate()
        self._remove_retired()
        self._sweep()
        self._write_down(passing=(arm,))
        try:
            self._start(arm, timeout=timeout)
            self._save(candidate=arm, passing=(), baseline=self._baseline(arm), weight=0, mirror=0)
            self._probe.wait_for(arm.version, headers=self._headers("candidate"), timeout=EFFECT)
            if self._state.stable:
                self._require_split(arm)
        except BaseException:
            with contextlib.suppress(ServiceError):
                self.clean_up()
            raise
        return Address(self._gateway, self._marked("candidate", SMOKE))

    def route(self, routing: Routing) -> None:
        """Set mirroring and assignment."""
        if not 0 <= routing.mirror <= 1:
            raise InputError(f"a share of {routing.mirror} to mirror", remedy="Give 0 to 1.")
        edges = edges_of(routing.grids.model_dump())
        self._save(edges, mirror=routing.mirror, choice_header=routing.choice_header)

    def set_weight(self, version: int, percent: int) -> None:
        """Give the candidate `percent` of new requests."""
        if not 0 <= percent <= 100:
            raise InputError(f"a weight of {percent} %", remedy="Give 0 to 100.")
        self._require_candidate(version)
        self._save(weight=percent)
        self._wait_for_weight(version, percent=percent)

    def observe(self) -> Observation:
        """Return what came of the requests that were replayed, and of users' where they count."""
        self._lease.check()
        seen = self._measure.observe()
        if self._users_counted is None:
            return seen
        self._users_counted.look(self._ready_pods)
        return self._users_counted.added_to(seen)

    def health(self, version: int) -> Health:
        """Return how one version's servers are.

        Where users' requests are evidence, a candidate with traffic must answer through the
        gateway too: what the gateway answers in its stead is in no figure of the pods.
        """
        self._lease.check()
        arm = self._state.arm(version)
        if arm is None:
            return Health(ready=False, restarts=0, memory=None, reason="It is not up.")
        health = pods.health_of(
            self._kube,
            self._spec.namespace,
            arm,
            restarts=self._restarts,
            baseline=self._state.baseline,
        )
        if not (self._users_counted and health.ready and version == self.candidate):
            return health
        found = self._probe.version(self._headers("candidate"))
        if found == str(version):
            return health
        said = f"version {found}" if found.isdigit() else found
        return replace(health, ready=False, reason=f"The gateway answers for it with {said}.")

    def log(self, version: int) -> str:
        """Return the end of the log of one version's server."""
        arm = self._state.arm(version)
        return pods.log_of(self._kube, self._spec.namespace, arm) if arm else ""

    def replay(self, bodies: Sequence[bytes], *, rate: float) -> AbstractContextManager[None]:
        """Send requests through the gateway, each to the arm that the weights give it."""
        return self._measure.replay(bodies, rate=rate)

    def mend(self) -> None:
        """Write again what somebody else has deleted or altered.

        A server that died is KServe's and Kubernetes' to start again.
        """
        self._lease.check()
        again = f"{self._service} was altered from outside: writing it again"
        if self._missing():
            progress.say(again)
            # First, because a route to servers that are not there is not accepted.
            self._follow()
        if self._state_in.altered():
            progress.say(again)
            self._save()

    def promote(self, version: int) -> None:
        """Make the candidate the stable version, with all traffic."""
        state = self._state
        if not (state.candidate is None and self.stable == version):
            candidate = self._require_candidate(version)
            self._save(stable=candidate, candidate=None, retired=state.stable, weight=0, mirror=0.0)
        self._wait_for_weight(version, percent=100)

    def rollback(self, version: int) -> None:
        """Take all traffic from `version` and give it back to the one before."""
        self._lease.check()
        if self.candidate is None and self.stable == version:
            self._step_back()
        self._save(weight=0, mirror=0.0)
        if self.stable is not None and self.stable != version:
            self._wait_for_weight(version, percent=0)

    def clean_up(self) -> None:
        """Delete every version without traffic, and the route too where nothing is left."""
        self._lease.check()
        if self._state.weight == 0:
            self._remove_candidate()
        self._remove_retired()
        self._sweep()
        if not self._state.roles():
            self._state_in.delete()

    @property
    def _probe(self) -> Prober:
        return self._connected()[0]

    @property
    def _measure(self) -> Measured:
        return self._connected()[1]

    def _connected(self) -> tuple[Prober, Measured]:
        assert self._gateway, "exclusive() comes first"
        if self._opened is None:
            prober = Prober(self._gateway, service=self._service)
            self._opened = prober, Measured(predict_url(self._gateway, self._service))
        return self._opened

    def _headers(self, arm: str) -> dict[str, str]:
        return {**self._own(), manifests.ARM_HEADER: manifests.arm_value(self._state, arm)}

    def _marked(self, arm: str, mark: str) -> dict[str, str]:
        """Return the headers of a request to an arm that is the rollout's own, not a user's."""
        return {**self._headers(arm), mark: key_of(self._state.token)}

    def _wait_for_weight(self, version: int, *, percent: int) -> None:
        self._probe.wait_for_weight(version, percent=percent, headers=self._users(), timeout=EFFECT)

    def _save(self, edges: Edges | None = None, **changes: Any) -> None:
        """Write state and traffic, wait until they are in effect, and steer by them."""
        self._write_down(**changes)
        self._edges = edges or self._edges
        self._follow()
        self._steer()

    def _write_down(self, **changes: Any) -> None:
        """Write the state alone."""
        self._lease.check()
        state = self._state.model_copy(update={**changes, "term": self._lease.term})
        self._state_in.write(self._kept(state))
        # Written is what counts, whatever comes of waiting for it.
        self._state = state
        self._state_in.wait()

    def _steer(self) -> None:
        state = self._state
        steering = Steering(
            headers={
                arm.version: self._marked(role, REPLAY)
                for role, arm in state.roles().items()
                if role != "retired"
            },
            stable=self.stable,
            candidate=self.candidate,
            weight=state.weight,
            mirror=state.mirror,
            edges=self._edges,
        )
        self._measure.steer(steering)
        if self._users_counted is not None:
            self._users_counted.steer(steering)

    def _ready_pods(self, version: int) -> frozenset[str]:
        arm = self._state.arm(version)
        return pods.ready_names(self._kube, self._spec.namespace, arm) if arm else frozenset()

    def _step_back(self) -> None:
        """Swap the stable version with the one before it, which is brought up if it must be."""
        state = self._state
        before = state.retired or state.previous
        if before is not None:
            if before is not state.retired:
                self._write_down(passing=(before,))
            self._start(before, timeout=self._ready_timeout)
        self._save(
            stable=before,
            candidate=state.stable,
            retired=None,
            previous=None if before is state.previous else state.previous,
            passing=(),
            weight=0,
            mirror=0.0,
        )

    def _remove_candidate(self) -> None:
        candidate = self._state.candidate
        if candidate:
            self._remove(candidate, candidate=None, weight=0, mirror=0.0)

    def _remove_retired(self) -> None:
        retired = self._state.retired
        if retired:
            self._remove(retired, retired=None, previous=retired)

    def _remove(self, arm: Arm, **changes: Any) -> None:
        """Take a version out of the state's roles, then its servers away, then forget it."""
        self._save(passing=(*self._state.passing, arm), **changes)
        self._sweep()

    def _sweep(self) -> None:
        """Delete what bears the service's label and has no role in its state.

        What is deleted was found before the cluster was asked for the lease, and only that very
        object is: a later controller sweeps before it starts anything.
        """
        found = of_service(self._kube, self._spec.namespace, self._service)
        named = {arm.name for arm in self._state.roles().values()}
        idle = [one for one in found if self._is_idle(one["metadata"]["name"], named)]
        if idle:
            self._lease.confirm()
        for one in idle:
            delete(self._kube, self._spec.namespace, one, service=self._service)
        if self._state.passing:
            self._save(passing=())

    def _is_idle(self, name: str, named: set[str]) -> bool:
        return name not in named and self._is_server(name)

    def _baseline(self, arm: Arm) -> dict[str, int]:
        return pods.baseline_of(self._kube, self._spec.namespace, arm)

    def _forget_unused(self) -> None:
        """Delete a state, and a route, that were opened for what then did not come."""
        with contextlib.suppress(PenstockError):
            # As it is kept: a write may have come through although its answer was lost.
            found = self._state_in.read()
            if found and not (found.roles() or found.passing):
                self._state_in.delete()

    def _close(self) -> None:
        if self._opened is not None:
            self._opened[0].close()
            self._opened = None
        if self._users_counted is not None:
            self._users_counted.close()

    def _require_candidate(self, version: int) -> Arm:
        self._lease.check()
        candidate = self._state.candidate
        if candidate is None or candidate.version != version:
            raise InputError(
                f"version {version} is not the candidate",
                where=f"service {self._service}",
                remedy="Deploy it first.",
            )
        return candidate
