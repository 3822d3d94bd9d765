"""The backend of KServe in Standard mode: two InferenceServices, and our own HTTPRoute before them.

The route is the service: its annotations hold the state, its rules the traffic, and one write
changes both. It works on every KServe that has Standard mode.
"""

from __future__ import annotations

from penstock.cluster.client import HTTP_ROUTES, INFERENCE_SERVICES, Manifest
from penstock.rollout.backends.kserve import manifests, routes
from penstock.rollout.backends.kserve.backend import KserveBackend
from penstock.rollout.backends.kserve.inference import put, wait_until_up
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
            release, name=name, backend=f"{name}-predictor", storage=storage, token=token
        )

    def _start(self, arm: ClusterArm, *, timeout: float) -> None:
        self._create(arm)
        wait_until_up(
            self._kube, self._spec.namespace, arm, timeout=timeout, check=self._lease.check
        )

    def _is_server(self, name: str) -> bool:
        # The service's own name is that of an InferenceService of the other routers.
        return name != self._service

    def _follow(self) -> None:
        for arm in self._lasting():
            if self._kube.get(self._path_of(arm)) is None:
                self._create(arm)

    def _missing(self) -> bool:
        return any(self._kube.get(self._path_of(arm)) is None for arm in self._lasting())

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
