"""The backend of KServe in Standard mode: two InferenceServices, and our own HTTPRoute before them.

The route is the service: its annotations hold the state, its rules the traffic, and one write
changes both. It works on every KServe that has Standard mode.
"""

from __future__ import annotations

from collections.abc import Mapping

from penstock.cluster.client import HTTP_ROUTES, INFERENCE_SERVICES, Manifest
from penstock.common import progress
from penstock.errors import CapacityError
from penstock.rollout.backends.kserve import manifests, routes, scaling
from penstock.rollout.backends.kserve.backend import KserveBackend
from penstock.rollout.backends.kserve.inference import (
    least_of,
    put,
    set_least,
    wait_until_staffed,
    wait_until_up,
)
from penstock.rollout.backends.kserve.route import RouteStore
from penstock.rollout.backends.kserve.state import ClusterArm, ClusterState
from penstock.rollout.backends.kserve.state_store import ObjectStore
from penstock.rollout.router import Release


class GatewayBackend(KserveBackend):
    """One service of a cluster, weighed by an HTTPRoute of ours."""

    @classmethod
    def kept_at(cls, namespace: str, service: str) -> str:
        """Return the address of what keeps a service's state."""
        return HTTP_ROUTES.path(namespace, service)

    def _state_store(self) -> ObjectStore:
        return RouteStore(
            self._kube,
            spec=self._spec,
            name=self._service,
            service=self._service,
            lease=self._lease,
            manifest=self._kept,
        )

    def _kept(self, state: ClusterState) -> Manifest:
        return routes.http_route(state, spec=self._spec)

    def _users(self) -> dict[str, str]:
        return {"host": self._spec.hostname} if self._spec.hostname else {}

    def _own(self) -> dict[str, str]:
        return self._users()

    def _arm(self, release: Release, *, storage: str) -> ClusterArm:
        name = f"{self._service}-v{release.version}"
        token = self._state.token
        return ClusterArm.of(
            release,
            name=name,
            backend=f"{name}-predictor",
            storage=storage,
            token=token,
            autoscaling=self._spec.autoscaling,
        )

    def _start(self, arm: ClusterArm, *, timeout: float) -> None:
        self._create(arm)
        wait_until_up(
            self._kube, self._spec.namespace, arm, timeout=timeout, check=self._lease.check
        )
        if arm.floor:
            # It is gone back to: that does not wait for a quota.
            self._wait_for_servers(arm, timeout=timeout, insist=False)

    def _is_server(self, name: str) -> bool:
        # The service's own name is that of an InferenceService of the other routers.
        return name != self._service

    def floors(self, *, percent: int, mirror: float) -> Mapping[str, ClusterArm]:
        """Return the versions whose least number of servers must rise for a share."""
        state = self._state
        if state.stable is None or not any(arm.scales for arm in state.arms()):
            return {}
        return scaling.floors(state, ready=self._ready(), percent=percent, mirror=mirror)

    def as_large(self, arm: ClusterArm) -> ClusterArm:
        """Return a version with no fewer servers than the stable one has, whose place it takes."""
        return scaling.with_floor(arm, self._ready()) if arm.scales else arm

    def without_floors(self) -> Mapping[str, ClusterArm]:
        """Return the versions that may be left to their autoscaler again."""
        return scaling.without_floors(self._state)

    def wait_for_servers(self, *, timeout: float, insist: bool) -> None:
        """Return once the candidate has as many servers as the state says."""
        candidate = self._state.candidate
        # Whoever had no version before has no requests yet that would need them.
        if candidate is None or not candidate.scales or self._state.stable is None:
            return
        self._wait_for_servers(candidate, timeout=timeout, insist=insist)

    def _wait_for_servers(self, arm: ClusterArm, *, timeout: float, insist: bool) -> None:
        try:
            wait_until_staffed(
                self._kube, self._spec.namespace, arm, timeout=timeout, check=self._lease.check
            )
        except CapacityError as error:
            if insist:
                raise
            progress.say(f"going on with fewer servers than its requests take: {error}")

    def _follow(self) -> None:
        for arm in self._lasting():
            if self._kube.get(self._path_of(arm)) is None:
                self._create(arm)
        for arm in self._scaled():
            set_least(
                self._kube,
                self._spec.namespace,
                arm,
                service=self._service,
                confirm=self._lease.confirm,
            )

    def _missing(self) -> bool:
        if any(self._kube.get(self._path_of(arm)) is None for arm in self._lasting()):
            return True
        found = ((arm, self._kube.get(self._path_of(arm))) for arm in self._scaled())
        return any(there is not None and least_of(there) != arm.least for arm, there in found)

    def _ready(self) -> int:
        """Return how many servers of the stable version are ready."""
        stable = self._state.stable
        return len(self._ready_pods(stable.version)) if stable else 0

    def _scaled(self) -> list[ClusterArm]:
        """Return the versions that load scales, between bounds that are set here."""
        return [arm for arm in self._state.arms() if arm.scales]

    def _lasting(self) -> list[ClusterArm]:
        """Return all versions but the candidate: one that is deleted ends its rollout."""
        return [arm for role, arm in self._state.roles().items() if role != "candidate"]

    def _require_split(self, arm: ClusterArm) -> None:
        assert self._state.stable is not None
        self._probe.require_split(
            self._state.stable.version, arm.version, headers=self._headers(routes.SPLIT)
        )

    def _create(self, arm: ClusterArm) -> None:
        manifest = manifests.inference_service(arm, service=self._service, spec=self._spec)
        put(
            self._kube,
            self._spec.namespace,
            manifest,
            service=self._service,
            view=_model,
            confirm=self._lease.confirm,
        )

    def _path_of(self, arm: ClusterArm) -> str:
        return INFERENCE_SERVICES.path(self._spec.namespace, arm.name)


def _model(service: Manifest) -> tuple[object, ...]:
    """Return what makes a version's InferenceService what it is."""
    model = service["spec"]["predictor"]["model"]
    return model.get("storageUri"), model.get("args"), model.get("command")
