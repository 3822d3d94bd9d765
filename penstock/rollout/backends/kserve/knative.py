"""The backend of KServe in Knative mode: one InferenceService, whose versions are its revisions.

KServe gives `canaryTrafficPercent` of users' requests to the newest revision that is ready and the
rest to the one that had all of them last. It passes an InferenceService's annotations on to each
revision, so the state is kept in a ConfigMap beside it (docs/adr/0013), written first, and the
InferenceService follows. A version leaves in two steps, because the newest *ready* revision gets
what no percentage withholds from it: the other version's files first, at 0 %, and only once their
own revision is ready all requests.
"""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import urlsplit

from penstock.cluster.client import CONFIG_MAPS, INFERENCE_SERVICES, Manifest
from penstock.errors import InputError, ServiceError
from penstock.rollout.backends.kserve import detect, manifests
from penstock.rollout.backends.kserve.backend import KserveBackend
from penstock.rollout.backends.kserve.inference import put, wait_until_up
from penstock.rollout.backends.kserve.state import ClusterArm, ClusterState
from penstock.rollout.backends.kserve.state_store import EFFECT, ObjectStore, poll
from penstock.rollout.router import Release

_NEWEST, _BEFORE = "latest", "prev"
"""Tags of KServe's routes to single revisions."""
_MODES = ("", "Knative", "Serverless")


class KnativeBackend(KserveBackend):
    """One service of a cluster, weighed by Knative."""

    # Its newest revision is of the version that is gone back to.
    keeps_beside = False

    @classmethod
    def kept_at(cls, namespace: str, service: str) -> str:
        """Return the address of what keeps a service's state."""
        return CONFIG_MAPS.path(namespace, _kept_name(service))

    def reach(self) -> str:
        """Return where requests are sent: the configured address, or the service's own."""
        return self._spec.address.rstrip("/") or self._status().get("url", "")

    def url_at(self, gateway: str) -> str:
        """Return where users reach the service."""
        return self._status().get("url", "") or gateway

    def require_address(self) -> None:
        """Return unless there is an InferenceService whose state is gone.

        Raises:
            ServiceError: If there is one.
        """
        self._require_state()

    def require_weight(self, percent: int) -> None:
        """Refuse a share of 100 %.

        Raises:
            InputError: If it is one.
        """
        if percent == 100:
            raise InputError(
                "at 100 % KServe keeps no way back to the version before",
                where="deployment.canary.steps",
                remedy="End below 100: the promotion gives it the rest.",
            )

    def _require(self) -> str:
        detect.require_knative(self._kube, self._spec)
        return self.reach()

    def _state_store(self) -> ObjectStore:
        return ObjectStore(
            self._kube,
            resource=CONFIG_MAPS,
            kind="ConfigMap",
            namespace=self._spec.namespace,
            name=_kept_name(self._service),
            service=self._service,
            lease=self._lease,
            manifest=self._kept,
        )

    def _kept(self, state: ClusterState) -> Manifest:
        return manifests.state_map(state, name=_kept_name(self._service), spec=self._spec)

    def _arm(self, release: Release, *, storage: str) -> ClusterArm:
        token = self._state.token
        return ClusterArm.of(release, name=self._service, backend="", storage=storage, token=token)

    def _users(self) -> dict[str, str]:
        return _host(self._status().get("url", ""))

    def _own(self) -> dict[str, str]:
        return {}

    def _headers(self, arm: str) -> dict[str, str]:
        beside = self._state.stable is not None and self._state.candidate is not None
        tag = _BEFORE if beside and arm == "stable" else _NEWEST
        for _ in poll():
            if found := _host(self._tagged(tag).get("url", "")):
                return found
        raise ServiceError(
            f"KServe names no address of the {arm} version alone (tag {tag}) within {EFFECT:g} s",
            where=self._where,
            remedy="Look at its status.components.predictor.traffic.",
        )

    def _start(self, arm: ClusterArm, *, timeout: float) -> None:
        if self._state.stable is None:
            self._write(arm, percent=None)
            self._wait_for(arm, timeout=timeout)
            return
        before = self._require_revisions()
        self._write(arm, percent=0)
        self._wait_for(arm, newer_than=before, kept=before, timeout=timeout)

    def _is_server(self, name: str) -> bool:
        return name == self._service

    def _follow(self) -> None:
        stable, candidate = self._state.stable, self._state.candidate
        alone = stable or candidate
        if alone is None:
            # The sweep removes it.
            return
        if self._found() is None:
            self._write(alone, percent=None)
            self._wait_for(alone, timeout=self._ready_timeout)
        if stable is not None and candidate is not None:
            if _files(self._found()) != self._files_of(candidate):
                self._require_revisions()
            self._write(candidate, percent=self._state.weight)
        else:
            self._give_all_to(alone)

    def _give_all_to(self, arm: ClusterArm) -> None:
        """Serve one version alone, without a moment in which another one gets its requests."""
        found = self._found()
        before = ""
        if _files(found) != self._files_of(arm):
            before = self._rolled_out()
            self._write(arm, percent=0)
        elif _percent(found) is None:
            return
        self._wait_for(arm, newer_than=before, timeout=self._ready_timeout)
        self._write(arm, percent=None)
        self._wait_until_rolled_out()

    def _missing(self) -> bool:
        if not self._state.roles():
            return False
        found, newest = self._found(), self._state.candidate or self._state.stable
        assert newest is not None
        return _files(found) != self._files_of(newest) or _percent(found) != self._percent()

    def _require_split(self, arm: ClusterArm) -> None:
        assert self._state.stable is not None
        stable = self._state.stable.version
        self._probe.wait_for(stable, headers=self._headers("stable"), timeout=EFFECT)
        self.wait_for_weight(arm.version, percent=0)

    def _steer(self) -> None:
        if self._state.roles():
            self._gateway = self._gateway or self.reach()
            super()._steer()

    @property
    def _where(self) -> str:
        return f"InferenceService {self._spec.namespace}/{self._service}"

    def _found(self) -> Manifest | None:
        return self._kube.get(INFERENCE_SERVICES.path(self._spec.namespace, self._service))

    def _status(self) -> dict[str, Any]:
        status: dict[str, Any] = (self._found() or {}).get("status") or {}
        return status

    def _predictor(self) -> dict[str, Any]:
        return _predictor_of(self._status())

    def _rolled_out(self) -> str:
        return str(self._predictor().get("latestRolledoutRevision", ""))

    def _tagged(self, tag: str) -> dict[str, Any]:
        targets = self._predictor().get("traffic", [])
        return next((one for one in targets if one.get("tag") == tag), {})

    def _percent(self) -> int | None:
        both = self._state.stable is not None and self._state.candidate is not None
        return self._state.weight if both else None

    def _files_of(self, arm: ClusterArm) -> tuple[object, ...]:
        return _files(self._manifest(arm, percent=None, revision=""))

    def _manifest(self, arm: ClusterArm, *, percent: int | None, revision: str) -> Manifest:
        return manifests.knative_service(
            arm, percent=percent, revision=revision, service=self._service, spec=self._spec
        )

    def _write(self, arm: ClusterArm, *, percent: int | None) -> None:
        """Write a version and its share; one that is there already stays the revision it is."""
        found = self._found()
        revision = secrets.token_hex(4)
        if found and _files(found) == self._files_of(arm):
            marks = found["spec"]["predictor"].get("annotations") or {}
            revision = marks.get(manifests.REVISION, revision)
        manifest = self._manifest(arm, percent=percent, revision=revision)
        put(
            self._kube,
            self._spec.namespace,
            manifest,
            service=self._service,
            view=lambda one: (_files(one), _percent(one)),
            confirm=self._lease.confirm,
        )

    def _require_revisions(self) -> str:
        """Return the revision that users get, which KServe leaves them while another comes up.

        Raises:
            ServiceError: If there is none: then a new version would get all requests at once.
        """
        self._require_mode(self._status())
        revision = self._rolled_out()
        if not revision:
            raise self._not_knative("has no revision that users get")
        return revision

    def _require_mode(self, status: dict[str, Any]) -> None:
        mode = status.get("deploymentMode", "")
        if mode not in _MODES:
            raise self._not_knative(f"is in {mode} mode")

    def _not_knative(self, what: str) -> ServiceError:
        return ServiceError(
            f"it {what}, where KServe ignores canaryTrafficPercent and gives users' requests to a "
            "new version at once",
            where=self._where,
            remedy="Take router: kserve-gateway; or install Knative Serving, start KServe's "
            "controller again, and release to a service of another name.",
        )

    def _wait_for(
        self, arm: ClusterArm, *, timeout: float, newer_than: str = "", kept: str = ""
    ) -> None:
        """Return when the newest revision is ready and answers as a version.

        Args:
            arm: The version.
            timeout: Seconds.
            newer_than: The revision that must not be taken for it.
            kept: The revision that must not lose users' requests meanwhile; empty: any may.
        """
        wait_until_up(
            self._kube,
            self._spec.namespace,
            arm,
            timeout=timeout,
            check=self._lease.check,
            ready=lambda: self._is_ready(arm, newer_than=newer_than, kept=kept),
        )

    def _is_ready(self, arm: ClusterArm, *, newer_than: str, kept: str) -> bool:
        status = self._status()
        self._require_mode(status)
        predictor = _predictor_of(status)
        rolled_out = predictor.get("latestRolledoutRevision", "")
        if kept and rolled_out != kept:
            raise ServiceError(
                f"KServe gives users' requests to revision {rolled_out}, not to {kept}",
                where=self._where,
                remedy="KServe does so, rarely, if it looks at Knative between two of its steps. "
                "The version before gets them back; then release again.",
            )
        newest = predictor.get("latestReadyRevision", "")
        if not newest:
            up = detect.condition(status.get("conditions", []), "Ready")
            if up.get("status") == "True":
                raise self._not_knative("is ready without a revision")
            return False
        if newest == newer_than or newest != predictor.get("latestCreatedRevision"):
            return False
        host = _host(self._tagged(_NEWEST).get("url", ""))
        self._gateway = self._gateway or self.reach()
        return bool(host and self._gateway) and self._probe.version(host) == str(arm.version)

    def _wait_until_rolled_out(self) -> None:
        newest = ""
        for _ in poll():
            found = self._predictor()
            newest = found.get("latestReadyRevision", "")
            if newest == found.get("latestRolledoutRevision", ""):
                return
        raise ServiceError(
            f"KServe does not give all requests to revision {newest} within {EFFECT:g} s",
            where=self._where,
            remedy="Look at status.components.predictor.traffic of it.",
        )


def _kept_name(service: str) -> str:
    return f"penstock-service-{service}"


def _predictor_of(status: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (status.get("components") or {}).get("predictor") or {}
    return found


def _host(url: str) -> dict[str, str]:
    host = urlsplit(url).netloc
    return {"host": host} if host else {}


def _files(service: Manifest | None) -> tuple[object, ...]:
    """Return what makes a revision of an InferenceService what it is."""
    if service is None:
        return ()
    model = service["spec"]["predictor"].get("model") or {}
    return model.get("storageUri"), model.get("args"), model.get("command")


def _percent(service: Manifest | None) -> int | None:
    found: int | None = (service or {"spec": {"predictor": {}}})["spec"]["predictor"].get(
        "canaryTrafficPercent"
    )
    return found
