"""The backend of KServe in Standard mode: two InferenceServices, and our own HTTPRoute before them.

The route is the service: its annotations hold the state, its rules the traffic, and one write
changes both. It works on every KServe that has Standard mode. For the time of an experiment it
leads users to the experiment's proxy, which knows who they are.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from penstock.cluster.client import HTTP_ROUTES, INFERENCE_SERVICES, Manifest
from penstock.common import progress
from penstock.errors import CapacityError, LeaseLostError, ServiceError
from penstock.rollout.backends.kserve import manifests, pods, routes, scaling
from penstock.rollout.backends.kserve.backend import KserveBackend
from penstock.rollout.backends.kserve.experiment_proxy import ExperimentProxy
from penstock.rollout.backends.kserve.inference import (
    least_of,
    put,
    set_least,
    wait_until_staffed,
    wait_until_up,
)
from penstock.rollout.backends.kserve.route import RouteStore
from penstock.rollout.backends.kserve.state import ClusterArm, ClusterState
from penstock.rollout.backends.kserve.state_store import EFFECT, ObjectStore
from penstock.rollout.proxy.experiment import User
from penstock.rollout.router import Health, Meanwhile, Observation, Release, nothing


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

    def floors(self, *, percent: int, mirror: float, returns: bool) -> Mapping[str, ClusterArm]:
        """Return the versions whose least number of servers must rise for a share."""
        state = self._state
        if state.stable is None or not any(arm.scales for arm in state.arms()):
            return {}
        return scaling.floors(
            state,
            servers=self._servers_of_stable(),
            percent=percent,
            mirror=mirror,
            returns=returns,
        )

    def larger_stable(self) -> Mapping[str, ClusterArm]:
        """Return the stable version by its role, if a rollback would leave it too few servers."""
        if not self._scaled():
            return {}
        try:
            return scaling.larger_stable(self._state, servers=self._servers_of_stable())
        except LeaseLostError:
            raise
        except ServiceError as error:
            progress.say(f"how many servers the rollback takes is not known: {error}")
            return {}

    def brought_back(self, arm: ClusterArm) -> ClusterArm:
        """Return a version with the servers that it had, or those of the one it replaces."""
        return scaling.brought_back(self._state, arm, servers=self._servers_of_stable())

    def settle(self) -> None:
        """Wait until the autoscalers have seen what load each version has now.

        They judge by the load of the last minutes, which the rollout has moved since: one that is
        left to itself at once ends servers that its users need.
        """
        seconds = scaling.settling(self._state)
        deadline = time.monotonic() + seconds
        if seconds:
            progress.say(f"the autoscalers get {seconds:g} s to see the load that they now have")
        while (left := deadline - time.monotonic()) > 0:
            self._lease.check()
            time.sleep(min(left, 1.0))

    def without_floors(self) -> Mapping[str, ClusterArm]:
        """Return the versions that may be left to their autoscaler again."""
        return scaling.without_floors(self._state)

    def wait_for_servers(self, *, timeout: float, insist: bool, meanwhile: Meanwhile) -> None:
        """Return once the candidate has as many servers as the state says."""
        candidate = self._state.candidate
        # Whoever had no version before has no requests yet that would need them.
        if candidate is None or not candidate.scales or self._state.stable is None:
            return
        self._wait_for_servers(candidate, timeout=timeout, insist=insist, meanwhile=meanwhile)

    def _wait_for_servers(
        self,
        arm: ClusterArm,
        *,
        timeout: float,
        insist: bool,
        meanwhile: Meanwhile = nothing,
    ) -> None:
        def check() -> None:
            self._lease.check()
            meanwhile()

        try:
            wait_until_staffed(self._kube, self._spec.namespace, arm, timeout=timeout, check=check)
        except CapacityError as error:
            if insist:
                raise
            progress.say(f"going on with fewer servers than its requests take: {error}")

    def apply(self) -> None:
        """Wait until the state is in effect; in an experiment, lead users to its proxy."""
        super().apply()
        if self._experiments:
            self._lead()

    def mend(self) -> None:
        """Write again what somebody else has deleted or altered.

        Nobody waits for the pods: who takes over to end an experiment must not need them.
        """
        super().mend()
        leads = self._experiments and self._state.proxy == "leads"
        if leads and not self._proxy.as_wanted(self._state):
            progress.say(f"the experiment's proxy of {self._service} was altered: writing it again")
            self._proxy.write(self._state)

    def sweep(self) -> None:
        """Delete what has no role in the state, and the proxy of an experiment that is over."""
        super().sweep()
        if self._state.proxy and not self._experiments:
            # Nobody may be led to it any more.
            self.store.wait()
            self._proxy.remove()
            self.store.save(proxy="")

    def wait_for_weight(self, version: int, *, percent: int) -> None:
        """Return once users' requests are shared so; in an experiment, by who the users are."""
        state, users = self._state, self._state.assignment.experiment
        if users is None or state.proxy != "leads" or not 0 < percent < 100:
            super().wait_for_weight(version, percent=percent)
            return
        assert state.stable is not None
        for arm, chosen in ((version, True), (state.stable.version, False)):
            user = _somebody(users.salt, weight=percent, chosen=chosen)
            headers = {**self._users(), users.header: user}
            self._probe.wait_for(arm, headers=headers, timeout=EFFECT)

    def observe(self) -> Observation:
        """Return what came of requests; in an experiment, what its proxies have counted."""
        users = self._state.assignment.experiment
        if users is None or self._events is None:
            return super().observe()
        events = self._events(users.identity)
        events.look()
        counted = replace(self._measure.observe(), epoch=users.identity, arms=events.counts())
        return replace(
            counted, blind=_blind(events.failed, since=events.quiet_since, most=events.patience)
        )

    def health(self, arm: ClusterArm) -> Health:
        """Return how one version's servers are; a candidate is not reached without the proxy."""
        health = super().health(arm)
        leads = self._experiments and self._state.proxy == "leads"
        if leads and health.ready and arm == self._state.candidate and not self._proxy.answers():
            return replace(health, ready=False, reason="No pod of the experiment's proxy is ready.")
        return health

    @property
    def _experiments(self) -> bool:
        """Whether an experiment assigns users."""
        state = self._state
        return bool(state.assignment.experiment and state.stable and state.candidate)

    @property
    def _proxy(self) -> ExperimentProxy:
        return ExperimentProxy(
            self._kube,
            spec=self._spec,
            service=self._service,
            lease=self._lease,
            timeout=self._ready_timeout,
        )

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

    def _lead(self) -> None:
        """Bring the proxy up with the state's table, and only then lead users to it."""
        if not self._state.proxy:
            # First, so that whoever comes after a kill knows that there may be something to remove.
            self.store.save(proxy="begun")
        self._proxy.write(self._state)
        self._proxy.wait()
        if self._state.proxy != "leads":
            self.store.save(proxy="leads")
            self.store.wait()

    def _missing(self) -> bool:
        if any(self._kube.get(self._path_of(arm)) is None for arm in self._lasting()):
            return True
        found = ((arm, self._kube.get(self._path_of(arm))) for arm in self._scaled())
        return any(there is not None and least_of(there) != arm.least for arm, there in found)

    def _servers_of_stable(self) -> int:
        """Return how many servers the stable version has, and is about to have."""
        stable = self._state.stable
        return pods.coming_and_ready(self._kube, self._spec.namespace, stable) if stable else 0

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


def _somebody(salt: str, *, weight: int, chosen: bool) -> str:
    """Return the id of a user who has the challenger, or one who has not."""
    names = (f"penstock-probe-{number}" for number in range(10_000))
    return next(name for name in names if (User.of(name, salt=salt).point < weight) == chosen)


def _blind(failed: str, *, since: float, most: float) -> str:
    if failed:
        return f"What the experiment's proxies have counted is not read: {failed}"
    silent = time.time() - since
    if silent > most:
        return f"Nothing has come from the experiment's proxies for {silent:.0f} s."
    return ""


def _model(service: Manifest) -> tuple[object, ...]:
    """Return what makes a version's InferenceService what it is."""
    model = service["spec"]["predictor"]["model"]
    return model.get("storageUri"), model.get("args"), model.get("command")
