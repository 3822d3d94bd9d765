"""The router of KServe in Standard mode: two InferenceServices, and our own HTTPRoute before them.

The route is the service: its annotations hold the state, its rules the traffic, and one write
changes both. What was written is waited for where it counts, at the gateway.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from penstock import progress
from penstock.errors import InputError, ServiceError
from penstock.kube import HTTP_ROUTES, INFERENCE_SERVICES, ConflictError, Kube, Manifest
from penstock.records.rollout import Grids
from penstock.rollout.kserve import detect, manifests, pods
from penstock.rollout.kserve.lease import ClusterLease
from penstock.rollout.kserve.measured import Measured, Steering
from penstock.rollout.kserve.prober import Prober
from penstock.rollout.kserve.state import Arm, ClusterState
from penstock.rollout.kserve.storage import storage_uri
from penstock.rollout.router import Address, Health, Observation, Release, Routing
from penstock.rollout.routers.tally import Edges, edges_of
from penstock.rollout.spec import KserveSpec
from penstock.rollout.traffic import predict_url

_EFFECT = 60.0
"""Seconds within which a change of the route must be in effect at the gateway."""
_RESTORE = 300.0
"""Seconds that a version which was removed may take to come up again for a rollback."""
_POLL = 0.5
_ATTEMPTS = 20


class GatewayRouter:
    """One service of a cluster; see `penstock.rollout.router.Router` for the actions.

    Args:
        kube: The cluster.
        service: The service, which is the registered model.
        spec: Where it serves.
        tracking_uri: The MLflow store, which knows where a version's folder lies.
        lease: The right to drive it.
    """

    def __init__(
        self,
        kube: Kube,
        *,
        service: str,
        spec: KserveSpec,
        tracking_uri: str,
        lease: ClusterLease,
    ) -> None:
        self._kube = kube
        self._service = service
        self._spec = spec
        self._tracking_uri = tracking_uri
        self._lease = lease
        self._path = HTTP_ROUTES.path(spec.namespace, service)
        self._edges = Edges()
        self._gateway = ""
        self._open: tuple[Prober, Measured] | None = None
        self._state = ClusterState(service=service, token=secrets.token_hex(8))
        self._written: Manifest | None = None

    @property
    def url(self) -> str:
        """Where users reach the service."""
        if self._spec.hostname:
            scheme = self._gateway.partition("://")[0] or "http"
            return f"{scheme}://{self._spec.hostname}"
        return self._gateway

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
        found = self._kube.get(self._path)
        if found is not None:
            self._state, self._written = _state_of(found), found
        return found is not None

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the service's lease, and first mend it."""
        with self._lease.held():
            self._gateway = detect.require(self._kube, self._spec)
            if self.refresh():
                self._connect()
                self.mend()
            yield

    def open(self) -> None:
        """Make sure that the service's route is its own and that the gateway has taken it."""
        self._lease.check()
        self._connect()
        self._save()

    def deploy(self, release: Release, *, timeout: float) -> Address:
        """Bring `release` up as the candidate, without traffic; return where it alone answers."""
        self.mend()
        arm = self._arm(release)
        for role, found in self._state.roles().items():
            if role != "retired" and found == arm:
                return Address(self._gateway, self._headers(role))
        if self.stable == release.version:
            raise InputError(
                f"version {release.version} is the stable one, from other files or with a drill",
                where=f"service {self._service}",
                remedy="Register the model as a version of its own.",
            )
        self._remove_candidate()
        self._remove_retired()
        try:
            self._bring_up(arm, timeout=timeout)
            self._save(candidate=arm, weight=0, mirror=0.0)
            self._probe.wait_for(arm.version, headers=self._headers("candidate"), timeout=_EFFECT)
            if self._state.stable:
                split = self._headers(manifests.SPLIT)
                self._probe.require_split(self._state.stable.version, arm.version, headers=split)
        except BaseException:
            with contextlib.suppress(ServiceError):
                self.clean_up()
                self._delete(arm)
            raise
        return Address(self._gateway, self._headers("candidate"))

    def route(self, routing: Routing) -> None:
        """Set mirroring and assignment."""
        if not 0 <= routing.mirror <= 1:
            raise InputError(f"a share of {routing.mirror} to mirror", remedy="Give 0 to 1.")
        self._edges = _edges(routing.grids)
        self._save(mirror=routing.mirror, choice_header=routing.choice_header)

    def set_weight(self, version: int, percent: int) -> None:
        """Give the candidate `percent` of new requests."""
        if not 0 <= percent <= 100:
            raise InputError(f"a weight of {percent} %", remedy="Give 0 to 100.")
        self._require_candidate(version)
        self._save(weight=percent)
        self._probe.wait_for_weight(version, percent=percent, timeout=_EFFECT)

    def observe(self) -> Observation:
        """Return what came of the requests that were replayed."""
        self._lease.check()
        return self._measure.observe()

    def health(self, version: int) -> Health:
        """Return how one version's servers are."""
        self._lease.check()
        arm = self._state.arm(version)
        if arm is None:
            return Health(ready=False, restarts=0, memory=None, reason="It is not up.")
        return pods.health_of(self._kube, self._spec.namespace, arm)

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
        for arm in self._state.roles().values():
            found = self._kube.get(self._isvc(arm))
            if found is None and arm != self._state.candidate:
                progress.say(f"InferenceService {arm.name} was deleted: creating it again")
                self._create(arm)
        if self._altered():
            progress.say(f"HTTPRoute {self._service} was altered: writing it again")
            self._save()

    def promote(self, version: int) -> None:
        """Make the candidate the stable version, with all traffic."""
        state = self._state
        if not (state.candidate is None and self.stable == version):
            candidate = self._require_candidate(version)
            self._save(stable=candidate, candidate=None, retired=state.stable, weight=0, mirror=0.0)
        self._probe.wait_for_weight(version, percent=100, timeout=_EFFECT)

    def rollback(self, version: int) -> None:
        """Take all traffic from `version` and give it back to the one before."""
        self._lease.check()
        if self.candidate is None and self.stable == version:
            self._step_back()
        self._save(weight=0, mirror=0.0)
        if self.stable is not None and self.stable != version:
            self._probe.wait_for_weight(version, percent=0, timeout=_EFFECT)

    def clean_up(self) -> None:
        """Delete every version without traffic, and the route too where nothing is left."""
        self._lease.check()
        if self._state.weight == 0:
            self._remove_candidate()
        self._remove_retired()
        if not self._state.roles():
            self._kube.delete(self._path)
            self._written = None

    @property
    def _probe(self) -> Prober:
        return self._connected()[0]

    @property
    def _measure(self) -> Measured:
        return self._connected()[1]

    def _connected(self) -> tuple[Prober, Measured]:
        assert self._open is not None, "exclusive() and open() come first"
        return self._open

    def _connect(self) -> None:
        if self._open is None:
            host = self._host()
            prober = Prober(self._gateway, service=self._service, headers=host)
            self._open = prober, Measured(predict_url(self._gateway, self._service))

    def _host(self) -> dict[str, str]:
        return {"host": self._spec.hostname} if self._spec.hostname else {}

    def _headers(self, arm: str) -> dict[str, str]:
        return {
            **self._host(),
            manifests.ARM_HEADER: manifests.arm_value(self._state, arm),
        }

    def _arm(self, release: Release) -> Arm:
        storage = storage_uri(
            self._service,
            release.version,
            tracking_uri=self._tracking_uri,
            replaced=self._spec.artifacts,
        )
        return Arm.of(release, service=self._service, storage=storage)

    def _bring_up(self, arm: Arm, *, timeout: float) -> None:
        """Create an InferenceService and return when it is ready.

        Raises:
            ServiceError: If it does not become ready; it is left for the caller to delete.
        """
        deadline = time.monotonic() + timeout
        self._create(arm)
        while not pods.is_up(self._kube, self._spec.namespace, arm):
            why = pods.hopeless(self._kube, self._spec.namespace, arm)
            if why or time.monotonic() > deadline:
                health = pods.health_of(self._kube, self._spec.namespace, arm)
                raise ServiceError(
                    f"version {arm.version} did not become ready"
                    + ("" if why else f" within {timeout:g} s")
                    + f": {health.reason}",
                    where=f"InferenceService {self._spec.namespace}/{arm.name}",
                    remedy=f"kubectl -n {self._spec.namespace} describe isvc {arm.name}",
                )
            self._lease.check()
            time.sleep(_POLL)

    def _create(self, arm: Arm) -> None:
        wanted = manifests.inference_service(arm, service=self._service, spec=self._spec)
        try:
            self._kube.create(INFERENCE_SERVICES.path(self._spec.namespace), wanted)
        except ConflictError:
            found = self._kube.get(self._isvc(arm))
            if found and _model(found) != _model(wanted):
                # Left by a rollout of other files under the same number.
                self._delete(arm)
                self._create(arm)

    def _delete(self, arm: Arm) -> None:
        """Delete an InferenceService and return when it is gone."""
        self._kube.delete(self._isvc(arm))
        deadline = time.monotonic() + _EFFECT
        while self._kube.get(self._isvc(arm)) is not None:
            if time.monotonic() > deadline:
                raise ServiceError(
                    "it is not deleted: a finalizer holds it",
                    where=f"InferenceService {self._spec.namespace}/{arm.name}",
                    remedy="Look whether KServe's controller runs.",
                )
            time.sleep(_POLL)

    def _isvc(self, arm: Arm) -> str:
        return INFERENCE_SERVICES.path(self._spec.namespace, arm.name)

    def _save(self, **changes: Any) -> None:
        """Write state and traffic, wait until the gateway has taken them, and steer by them.

        Raises:
            LeaseLostError: If another controller has written since; nothing is written.
            RefusedError: If the API server or a webhook refuses it.
            ServiceError: If the gateway does not take it.
        """
        self._lease.check()
        state = self._state.model_copy(update={**changes, "term": self._lease.term})
        wanted = manifests.http_route(state, spec=self._spec)
        self._written = self._put(wanted)
        self._state = state
        self._await_accepted()
        self._steer()

    def _put(self, wanted: Manifest) -> Manifest:
        for _ in range(_ATTEMPTS):
            found = self._kube.get(self._path)
            with contextlib.suppress(ConflictError):
                if found is None:
                    return self._kube.create(HTTP_ROUTES.path(self._spec.namespace), wanted)
                self._require_mine(found)
                metadata = {**found["metadata"], **wanted["metadata"]}
                for key in ("labels", "annotations"):
                    metadata[key] = {
                        **(found["metadata"].get(key) or {}),
                        **wanted["metadata"][key],
                    }
                return self._kube.replace(self._path, {**found, **wanted, "metadata": metadata})
        raise ServiceError(
            "somebody else writes it all the time",
            where=f"HTTPRoute {self._spec.namespace}/{self._service}",
            remedy="Let only Penstock write it: keep it out of GitOps tools.",
        )

    def _require_mine(self, found: Manifest) -> None:
        if manifests.STATE not in (found["metadata"].get("annotations") or {}):
            raise ServiceError(
                "it was not made by Penstock",
                where=f"HTTPRoute {self._spec.namespace}/{self._service}",
                remedy="Delete or rename it, or give the project another name.",
            )
        if _state_of(found).term > self._lease.term:
            raise self._lease.lost("a later controller has steered it")

    def _await_accepted(self) -> None:
        deadline = time.monotonic() + _EFFECT
        while True:
            found = self._kube.get(self._path)
            why = detect.accepted(found, self._spec) if found else "it was deleted"
            if not why:
                return
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"the gateway does not take it: {why}",
                    where=f"HTTPRoute {self._spec.namespace}/{self._service}",
                    remedy="Do the Gateway's listeners allow routes of this namespace?",
                )
            time.sleep(_POLL)

    def _steer(self) -> None:
        state = self._state
        headers: Mapping[int, Mapping[str, str]] = {
            arm.version: self._headers(role)
            for role, arm in state.roles().items()
            if role != "retired"
        }
        self._measure.steer(
            Steering(
                headers=headers,
                stable=self.stable,
                candidate=self.candidate,
                weight=state.weight,
                mirror=state.mirror,
                edges=self._edges,
            )
        )

    def _altered(self) -> bool:
        """Return whether somebody has changed or deleted the route since it was written."""
        if self._written is None:
            return False
        found = self._kube.get(self._path)
        if found is None:
            return True
        self._require_mine(found)
        return bool(found["spec"] != self._written["spec"])

    def _step_back(self) -> None:
        """Swap the stable version with the one before it, which is brought up if it must be."""
        state = self._state
        before = state.retired or state.previous
        if before is not None:
            self._bring_up(before, timeout=_RESTORE)
        self._save(
            stable=before,
            candidate=state.stable,
            retired=None,
            previous=None if before is state.previous else state.previous,
            weight=0,
            mirror=0.0,
        )

    def _remove_candidate(self) -> None:
        candidate = self._state.candidate
        if candidate:
            self._save(candidate=None, weight=0, mirror=0.0)
            self._delete(candidate)

    def _remove_retired(self) -> None:
        retired = self._state.retired
        if retired:
            self._save(retired=None, previous=retired)
            self._delete(retired)

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


def _state_of(route: Manifest) -> ClusterState:
    where = f"HTTPRoute {route['metadata']['namespace']}/{route['metadata']['name']}"
    text = (route["metadata"].get("annotations") or {}).get(manifests.STATE)
    if text is None:
        raise ServiceError(
            "it was not made by Penstock",
            where=where,
            remedy="Delete or rename it, or give the project another name.",
        )
    return ClusterState.parse(json.loads(text), where=where)


def _model(service: Manifest) -> tuple[object, ...]:
    """Return what makes a version's InferenceService what it is."""
    model = service["spec"]["predictor"]["model"]
    return model.get("storageUri"), model.get("args"), model.get("command")


def _edges(grids: Grids) -> Edges:
    return edges_of(grids.model_dump())


if TYPE_CHECKING:
    from penstock.rollout.router import Router

    def _is_a_router(router: GatewayRouter) -> Router:
        return router
