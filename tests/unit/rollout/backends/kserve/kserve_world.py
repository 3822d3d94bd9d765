"""A router of KServe on an emulated cluster, for tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from cluster_emulator import Cluster, Scripted

from penstock.cluster.client import ForbiddenError, Kube
from penstock.records.rollout import Rollout
from penstock.rollout.backends.kserve import storage
from penstock.rollout.backends.kserve.backend import KserveBackend, KserveService
from penstock.rollout.backends.kserve.gateway import GatewayBackend
from penstock.rollout.backends.kserve.knative import KnativeBackend
from penstock.rollout.backends.kserve.lease import ClusterLease
from penstock.rollout.backends.kserve.native import NativeBackend
from penstock.rollout.backends.kserve.users import Users
from penstock.rollout.router import Address, Release
from penstock.rollout.spec import KserveSpec

V2 = "/v2/models/adult"
BODIES = [b'{"instances": [{"age": 1}]}']


def planned(
    identity: str = "2-abc", *, service: str = "s", router: str = "kserve-gateway"
) -> Rollout:
    """Return the record of a rollout that has not begun."""
    return Rollout(
        identity=identity,
        service=service,
        router=router,
        url=f"http://{service}",
        candidate=2,
        stable=1,
        uri=f"models:/{service}/2",
        model="sha256:1",
        decision="sha256:2",
        started=datetime.now(UTC),
        plan={},
    )


def release(version: int, *, folder: Path = Path(), **changes: Any) -> Release:
    fields = {
        "version": version,
        "uri": f"models:/adult/{version}",
        "model": f"sha256:{version:064}",
        "folder": folder,
        "export": "sha256:ee",
    }
    return Release(**(fields | changes))


@dataclass
class Driver:
    """Whoever drives a service, and its users."""

    cluster: Cluster
    kind: type[KserveBackend] = GatewayBackend
    settings: dict[str, Any] = field(default_factory=dict)

    def kube(self, *, patience: float = 5.0) -> Kube:
        return Kube(self.cluster.url, verify=False, patience=patience)

    def router(
        self,
        *,
        service: str = "adult",
        seconds: int = 30,
        ready_timeout: float = 120,
        users: Users | None = None,
        **spec: Any,
    ) -> KserveService:
        kube = self.kube()
        namespace = "penstock"
        return self.kind(
            kube,
            service=service,
            spec=KserveSpec(**(self.spec_of() | spec)),
            tracking_uri="sqlite://",
            users=users,
            ready_timeout=ready_timeout,
            lease=ClusterLease(
                kube,
                namespace=namespace,
                service=service,
                name=f"penstock-{service}",
                seconds=seconds,
            ),
        ).as_service()

    def spec_of(self) -> dict[str, Any]:
        """Return what a router of this kind must be told of the cluster."""
        address = {"address": self.cluster.gateway_url} if self.kind is KnativeBackend else {}
        return address | self.settings

    def server(self, version: int) -> Scripted:
        """Return the server of a version; of its newest revision, where it has several."""
        found = self.cluster.servers.get(f"adult-v{version}")
        for name in sorted(self.cluster.servers):
            one = self.cluster.servers[name]
            if isinstance(one, Scripted) and one.version == str(version):
                found = one
        assert isinstance(found, Scripted)
        return found

    def break_start(self, version: int, *, reason: str = "") -> None:
        """Keep a version from ever coming up, for a reason that its pods give."""
        starts = self.cluster.start

        def start(name: str, predictor: dict[str, Any]) -> Any:
            if f"--version={version}" in predictor["model"]["args"]:
                return Scripted(str(version), ready=False, reason=reason)
            return starts(name, predictor)

        self.cluster.start = start

    def ask(self, times: int = 1, **headers: str) -> Counter[str]:
        """Ask as users do, and count the versions that answer."""
        if self.kind is NativeBackend:
            headers["host"] = "adult-penstock.example.com"
        if self.kind is KnativeBackend:
            headers["host"] = "adult.penstock.example.com"
        with httpx.Client(trust_env=False, verify=False) as client:
            return Counter(
                client.get(self.cluster.gateway_url + V2, headers=headers).headers.get(
                    "x-penstock-version", "none"
                )
                for _ in range(times)
            )

    def versions(self) -> set[str]:
        """Return the versions that have a server."""
        servers = self.cluster.servers.values()
        return {server.version for server in servers if isinstance(server, Scripted)}

    def at(self, address: Address) -> str:
        response = httpx.get(
            address.url + V2, headers=dict(address.headers), trust_env=False, verify=False
        )
        return response.headers["x-penstock-version"]


class KilledError(BaseException):
    """A controller that is no more: nothing of it may act on this."""


@dataclass
class Ending:
    """Ends a router at one of its writes, all but those of its lease.

    Attributes:
        router: The router.
        left: Writes before that one.
        how: `before`: it is killed and the write is not done; `after`: it is killed once it is;
            `refused`: this write alone is refused; `forbidden`: this and all after it are.
    """

    router: KserveService
    left: int
    how: str
    hit: bool = False

    def __post_init__(self) -> None:
        for name in ("create", "replace", "delete"):
            kube = self.router.backend._kube
            setattr(kube, name, self._ended(getattr(kube, name)))

    def _ended(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: str, *given: Any, **more: Any) -> Any:
            if "leases" in path:
                return write(path, *given, **more)
            self.left -= 1
            if self.left >= 0 or (self.hit and self.how == "refused"):
                return write(path, *given, **more)
            first, self.hit = not self.hit, True
            if self.how in ("refused", "forbidden"):
                raise ForbiddenError("on purpose", where=path)
            if self.how == "after" and first:
                write(path, *given, **more)
            raise KilledError

        return call


def serve(router: KserveService, version: int) -> None:
    router.open()
    router.deploy(release(version), timeout=10)
    router.promote(version)
    router.clean_up()


def storage_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have models lie where their names say.

    What MLflow says of an artifact is tested in test_kserve_release.py, on a real store.
    """
    monkeypatch.setattr(
        storage.versions,
        "artifacts_of",
        lambda name, version, **_: f"s3://models/{name}/{version}",
    )


def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often, and be content with few answers: the emulator says at once how it is."""
    for module in ("state_store", "inference", "experiment_proxy"):
        monkeypatch.setattr(f"penstock.rollout.backends.kserve.{module}.POLL", 0.01)
    probe_little(monkeypatch)


def probe_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be content with ten answers in a row for a weight of 0 or 100, and for a split with one each.

    One of twenty, that is. How many it takes on a gateway is in test_kserve_prober.py.
    """
    for name, value in (("_SURE", 0.6), ("_TRIES", 20), ("_LEAST", 1 / 20)):
        monkeypatch.setattr(f"penstock.rollout.backends.kserve.prober.{name}", value)
