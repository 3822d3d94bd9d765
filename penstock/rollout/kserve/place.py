"""A service on a Kubernetes cluster."""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
from functools import cached_property
from pathlib import Path

from penstock import kube
from penstock.errors import InputError, ServiceError
from penstock.kube import CONFIG_MAPS
from penstock.rollout.kserve import detect, pods
from penstock.rollout.kserve.gateway import GatewayRouter
from penstock.rollout.kserve.lease import ClusterLease
from penstock.rollout.kserve.native import NativeRouter
from penstock.rollout.kserve.state import Arm, ClusterState, Role
from penstock.rollout.kserve.store import LONGEST, ConfigMapStore, identity_of
from penstock.rollout.kserve.users import Source, Users
from penstock.rollout.router import Router, ServiceStatus, VersionStatus
from penstock.rollout.spec import DeploymentSpec
from penstock.rollout.store import Store

_ROUTERS = {"kserve-gateway": GatewayRouter, "kserve-native": NativeRouter}
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")


class ClusterPlace:
    """See `penstock.rollout.place.Place`.

    Args:
        spec: How the service is deployed.
        service: The service.
        tracking_uri: The MLflow store.

    Raises:
        InputError: If the name cannot be one of Kubernetes, or the plan asks for what this router
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
        _require_feasible(spec)
        self._spec = spec.kserve
        self._service = service
        self._kube = kube.connect(spec.kserve.context)
        self._lease = ClusterLease(
            self._kube,
            namespace=self._spec.namespace,
            service=service,
            name=f"penstock-{service}",
        )
        self._router = _ROUTERS[spec.router](
            self._kube,
            service=service,
            spec=self._spec,
            tracking_uri=tracking_uri,
            lease=self._lease,
            users=_users(spec, service),
        )

    @property
    def service(self) -> str:
        """Its name."""
        return self._service

    @property
    def router(self) -> Router:
        """What weighs its versions."""
        return self._router

    @cached_property
    def models(self) -> Path:
        """A folder for as long as this process lives: the cluster fetches its own."""
        folder = tempfile.mkdtemp(prefix="penstock-models-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    def store(self, identity: str) -> Store:
        """Return the ConfigMap of a rollout."""
        return ConfigMapStore(
            self._kube,
            namespace=self._spec.namespace,
            service=self._service,
            identity=identity,
            lost=self._lease.lost,
        )

    def stores(self) -> list[Store]:
        """Return the ConfigMaps of those that have begun."""
        path = CONFIG_MAPS.path(self._spec.namespace)
        found = self._kube.items(path, labelSelector=ConfigMapStore.selector(self._service))
        return [self.store(identity_of(each)) for each in found]

    def driven(self) -> bool:
        """Return whether a controller holds the lease and has renewed it lately."""
        return self._lease.driven()

    def standing(self) -> list[ServiceStatus]:
        """Return what the service does; none if there is no such service."""
        if not self._router.refresh():
            return []
        state = self._router.state
        try:
            address = detect.gateway_address(self._kube, self._spec)
        except ServiceError as error:
            # What serves can be told all the same.
            address = f"(not reached: {error})"
        versions = tuple(
            self._version(state, role, arm, address) for role, arm in state.roles().items()
        )
        return [
            ServiceStatus(
                service=self._service,
                url=self._router.url_at(address),
                running=any(each.role == "stable" and each.health.ready for each in versions),
                stable=self._router.stable,
                weights={arm.version: state.weight_of(role) for role, arm in state.roles().items()},
                versions=versions,
                logs=f"kubectl -n {self._spec.namespace} logs "
                f"-l penstock/service={self._service} -c kserve-container",
            )
        ]

    def _version(self, state: ClusterState, role: Role, arm: Arm, url: str) -> VersionStatus:
        return VersionStatus(
            version=arm.version,
            role=role,
            weight=state.weight_of(role),
            url=url,
            health=pods.health_of(self._kube, self._spec.namespace, arm),
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


def _require_live(spec: DeploymentSpec, *, where: str) -> None:
    """Refuse a plan that users' requests alone can never fulfil."""
    plan = spec.canary
    if not spec.kserve.prometheus.url:
        raise InputError(
            "a gateway does not tell which version answered a user, so live traffic alone shows "
            "nothing",
            where=f"{where}.traffic.source",
            remedy="Set it to replay or to both, or name a Prometheus that scrapes the pods in "
            "deployment.kserve.prometheus.url.",
        )
    if plan.shadow.share and spec.router == "kserve-native":
        raise InputError(
            "KServe's own canary copies no requests, so live traffic alone shows nothing of a "
            "shadow phase",
            where=f"{where}.shadow.share",
            remedy="Set it to 0, or traffic.source to both.",
        )
    if plan.shadow.share and plan.rules.agreement:
        raise InputError(
            "answers to copies of live traffic are counted, not compared row by row",
            where=f"{where}.rules.agreement",
            remedy="Set it to 0, or shadow.share to 0, or traffic.source to both.",
        )


def _joins_labels(spec: DeploymentSpec) -> bool:
    """Return whether a label finds the pod that answered its row, and is counted there."""
    prometheus = spec.kserve.prometheus
    return (
        spec.router == "kserve-gateway"
        and spec.canary.traffic.source != "replay"
        and bool(prometheus.url and prometheus.queries.labelled_rows)
    )


def _require_feasible(spec: DeploymentSpec) -> None:
    """Refuse what a router cannot do, instead of leaving it out in silence."""
    plan, where = spec.canary, "deployment.canary"
    if plan.choice_header and spec.router == "kserve-native":
        raise InputError(
            "KServe's own canary has no choice of a version by a header",
            where=f"{where}.choice_header",
            remedy="Leave it out, or take router: kserve-gateway.",
        )
    if plan.traffic.source == "live":
        _require_live(spec, where=where)
    if plan.sticky_header:
        raise InputError(
            "the Gateway API has no assignment by the value of a header",
            where=f"{where}.sticky_header",
            remedy="Leave it out, or choose versions by choice_header.",
        )
    if plan.rules.labels == "required" and not _joins_labels(spec):
        raise InputError(
            "labels that come during a rollout are not counted here",
            where=f"{where}.rules.labels",
            remedy="Set it to optional, or take router: kserve-gateway, traffic.source: both and "
            "kserve.prometheus.",
        )
    if plan.deadline / plan.interval > LONGEST:
        raise InputError(
            f"{plan.deadline / plan.interval:,.0f} intervals do not fit into a ConfigMap; it holds "
            f"{LONGEST:,}",
            where=f"{where}.interval",
            remedy=f"Look every {plan.deadline / LONGEST:.0f} s, or sooner reach the deadline.",
        )
