"""The backend of KServe's own canary: one InferenceService with `spec.canary[]`, KServe >= 0.20.

KServe weighs users' requests in a route that it makes. A second route of ours, on the same gateway
and another host, holds the state and leads the rollout's own requests to each version. KServe
0.20.0 makes the pods of a canary without the split, and older releases drop the field, so the
split is looked for before any user meets it.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from penstock.cluster.client import HTTP_ROUTES, INFERENCE_SERVICES, Manifest
from penstock.errors import ServiceError
from penstock.rollout.backends.kserve import manifests, routes
from penstock.rollout.backends.kserve.backend import KserveBackend
from penstock.rollout.backends.kserve.inference import put, wait_until_up
from penstock.rollout.backends.kserve.route import RouteStore
from penstock.rollout.backends.kserve.state import ClusterArm, ClusterState
from penstock.rollout.backends.kserve.state_store import EFFECT, ObjectStore, poll
from penstock.rollout.router import Release

_LOCAL = ".svc.cluster.local"


class NativeBackend(KserveBackend):
    """One service of a cluster, weighed by KServe."""

    @classmethod
    def kept_at(cls, namespace: str, service: str) -> str:
        """Return the address of what keeps a service's state."""
        return HTTP_ROUTES.path(namespace, f"{service}-arms")

    def require_address(self) -> None:
        """Return unless there is an InferenceService whose state is gone.

        Raises:
            ServiceError: If there is one.
        """
        self._require_state()

    def _state_store(self) -> ObjectStore:
        return RouteStore(
            self._kube,
            spec=self._spec,
            name=self._name,
            service=self._service,
            lease=self._lease,
            manifest=self._kept,
        )

    def _kept(self, state: ClusterState) -> Manifest:
        return routes.arms_route(state, name=self._name, host=self._own()["host"], spec=self._spec)

    def _own(self) -> dict[str, str]:
        return {"host": f"{self._name}.{self._spec.namespace}.penstock.internal"}

    def _users(self) -> dict[str, str]:
        found = self._kube.get(self._path)
        url = (found or {}).get("status", {}).get("url", "")
        host = urlsplit(url).hostname or ""
        return {"host": host} if host and not host.endswith(_LOCAL) else {}

    def _arm(self, release: Release, *, storage: str) -> ClusterArm:
        backend = f"{self._service}-v{release.version}-predictor"
        token = self._state.token
        return ClusterArm.of(
            release, name=self._service, backend=backend, storage=storage, token=token
        )

    def _start(self, arm: ClusterArm, *, timeout: float) -> None:
        if arm not in self._state.roles().values():
            self._apply(self._state.model_copy(update={"candidate": arm, "weight": 0}))
        wait_until_up(
            self._kube, self._spec.namespace, arm, timeout=timeout, check=self._lease.check
        )

    def _is_server(self, name: str) -> bool:
        return name == self._service

    def _follow(self) -> None:
        # Where nothing has a role any more, the sweep removes it.
        if self._state.roles():
            self._apply(self._state)

    def _missing(self) -> bool:
        if not self._state.roles():
            return False
        found = self._kube.get(self._path)
        expected = manifests.native_service(self._state, spec=self._spec)
        return found is None or _view(found) != _view(expected)

    def _require_split(self, arm: ClusterArm) -> None:
        path = HTTP_ROUTES.path(self._spec.namespace, self._service)
        if any(_splits(self._kube.get(path), arm) for _ in poll()):
            return
        raise ServiceError(
            f"KServe made the servers of version {arm.version} but no split within "
            f"{EFFECT:g} s: its HTTPRoute does not name them",
            where=f"InferenceService {self._spec.namespace}/{self._service}",
            remedy="KServe 0.20.0 does so: take a newer one, or router: kserve-gateway.",
        )

    def wait_for_weight(self, version: int, *, percent: int) -> None:
        """Return once users' requests are shared so, as far as a few can show."""
        if not any(self._users() for _ in poll()):
            raise ServiceError(
                f"KServe gives it no address outside of the cluster within {EFFECT:g} s",
                where=f"InferenceService {self._spec.namespace}/{self._service}",
                remedy="Is enableGatewayApi set in ConfigMap kserve/inferenceservice-config?",
            )
        super().wait_for_weight(version, percent=percent)

    @property
    def _name(self) -> str:
        return f"{self._service}-arms"

    @property
    def _path(self) -> str:
        return INFERENCE_SERVICES.path(self._spec.namespace, self._service)

    def _apply(self, state: ClusterState) -> None:
        manifest = manifests.native_service(state, spec=self._spec)
        taken = put(
            self._kube,
            self._spec.namespace,
            manifest,
            service=self._service,
            view=_view,
            confirm=self._lease.confirm,
        )
        if "canary" in manifest["spec"] and not taken["spec"].get("canary"):
            raise ServiceError(
                "this KServe does not know spec.canary and has dropped it",
                where=f"InferenceService {self._spec.namespace}/{self._service}",
                remedy="Take KServe 0.20 or newer, or router: kserve-gateway.",
            )


def _view(service: Manifest) -> tuple[object, ...]:
    """Return what the router decides about an InferenceService; KServe fills in the rest."""
    spec, labels = service["spec"], service["metadata"].get("labels") or {}
    canaries = [(one["trafficPercent"], *_of(one["predictor"])) for one in spec.get("canary") or []]
    return labels.get(manifests.VISIBILITY, ""), _of(spec["predictor"]), canaries


def _of(predictor: dict[str, Any]) -> tuple[object, ...]:
    model = predictor["model"]
    return (
        predictor.get("name"),
        model.get("storageUri"),
        model.get("args"),
        model.get("command"),
    )


def _splits(route: Manifest | None, arm: ClusterArm) -> bool:
    rules = route["spec"].get("rules", []) if route else []
    named = [{backend["name"] for backend in rule.get("backendRefs", [])} for rule in rules]
    return bool(named) and all(arm.backend in names for names in named)
