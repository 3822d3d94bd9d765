"""A router of KServe on an emulated cluster, for tests."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from cluster_emulator import Cluster, Scripted

from penstock.kube import Kube
from penstock.rollout.kserve.gateway import GatewayRouter
from penstock.rollout.kserve.lease import ClusterLease
from penstock.rollout.kserve.native import NativeRouter
from penstock.rollout.kserve.service import KserveService
from penstock.rollout.kserve.users import Users
from penstock.rollout.router import Address, Release
from penstock.rollout.spec import KserveSpec

V2 = "/v2/models/adult"
BODIES = [b'{"instances": [{"age": 1}]}']


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
    kind: type[KserveService] = GatewayRouter

    def kube(self, *, patience: float = 5.0) -> Kube:
        return Kube(self.cluster.url, patience=patience)

    def router(
        self, *, seconds: int = 30, users: Users | None = None, **spec: Any
    ) -> KserveService:
        kube = self.kube()
        namespace = "penstock"
        return self.kind(
            kube,
            service="adult",
            spec=KserveSpec(**spec),
            tracking_uri="sqlite://",
            users=users,
            lease=ClusterLease(
                kube,
                namespace=namespace,
                service="adult",
                name="penstock-adult",
                seconds=seconds,
            ),
        )

    def server(self, version: int) -> Scripted:
        found = self.cluster.servers[f"adult-v{version}"]
        assert isinstance(found, Scripted)
        return found

    def ask(self, times: int = 1, **headers: str) -> Counter[str]:
        """Ask as users do, and count the versions that answer."""
        if self.kind is NativeRouter:
            headers["host"] = "adult-penstock.example.com"
        with httpx.Client(trust_env=False) as client:
            return Counter(
                client.get(self.cluster.gateway_url + V2, headers=headers).headers.get(
                    "x-penstock-version", "none"
                )
                for _ in range(times)
            )

    def at(self, address: Address) -> str:
        response = httpx.get(address.url + V2, headers=dict(address.headers), trust_env=False)
        return response.headers["x-penstock-version"]


def serve(router: KserveService, version: int) -> None:
    router.open()
    router.deploy(release(version), timeout=10)
    router.promote(version)
    router.clean_up()


def until(true: Callable[[], object], *, timeout: float = 15) -> None:
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
