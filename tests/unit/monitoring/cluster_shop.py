"""The simulated shop of `watched_shop`, served on an emulated cluster and watched there."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cluster_emulator import Cluster, kubeconfig_of, running
from kserve_world import Driver, look_often, release, storage_by_name
from prometheus_server import Labels, SmallPrometheus
from watched_shop import BEGIN, COLUMNS, Shop

from penstock.captures.places import place_at
from penstock.captures.shipping import ship
from penstock.monitoring.cluster.monitor import ClusterMonitor
from penstock.monitoring.look import Monitor
from penstock.monitoring.settings.monitoring import MonitoringSpec
from penstock.notification import NotifySpec
from penstock.records.model import Model
from penstock.records.monitoring import MonitorState, Verdict
from penstock.records.rollout import SERVED_LATENCY
from penstock.rollout.spec import DeploymentSpec

LOOPBACK = "127.0.0.1"


@contextlib.contextmanager
def s3_bucket(name: str) -> Iterator[str]:
    """Yield the address of a bucket of an S3 server, which the environment names."""
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://{LOOPBACK}:{port}"
    try:
        with (
            pytest.MonkeyPatch.context() as patch,
            httpx.Client(trust_env=False, verify=False) as client,
        ):
            patch.setenv("AWS_ENDPOINT_URL", url)
            patch.setenv("AWS_ACCESS_KEY_ID", "key")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
            patch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                with contextlib.suppress(httpx.TransportError):
                    client.put(f"{url}/{name}").raise_for_status()
                    break
                time.sleep(0.1)
            yield f"s3://{name}"
    finally:
        server.kill()
        server.wait()


@dataclass
class ClusterShop:
    """The shop on a cluster.

    Attributes:
        shop: Its rows.
        cluster: Where version 1 serves.
        store: Where captures are shipped to and the monitor keeps its state.
        spec: Fields of `monitoring`.
        kserve: Fields of `deployment.kserve`.
        notify: Who is notified.
    """

    shop: Shop
    cluster: Cluster
    store: str
    spec: dict[str, Any] = field(default_factory=dict)
    kserve: dict[str, Any] = field(default_factory=dict)
    notify: NotifySpec = field(default_factory=lambda: NotifySpec(file="told.jsonl"))

    def __post_init__(self) -> None:
        self.kserve = {"captures": {"destination": f"{self.store}/rows"}} | self.kserve

    def release(self, version: int = 1) -> None:
        """Serve a version at once, of which the monitor knows what it would fetch."""
        driver = Driver(self.cluster)
        service = driver.router(service="shop")
        with service.exclusive():
            service.open()
            service.deploy(self.arm(version), timeout=20)
            service.promote(version)
            service.clean_up()

    def arm(self, version: int) -> Any:
        return release(version, uri=f"models:/shop/{version}", model=self.model(version))

    def model(self, version: int) -> str:
        return f"sha256:{version:064}"

    def fetched(self, version: int = 1) -> None:
        """Lay down what a monitor fetches of a version from the registry, once."""
        place = place_at(f"{self.store}/state/shop/monitor")
        short = self.model(version).removeprefix("sha256:")[:12]
        model = Model(
            name="m", task="binary", target="buys", classes=("no", "yes"), positive="yes",
            threshold=0.5, columns=COLUMNS, metric="accuracy", score=0.9, parameters={},
            seed=1, dataset="xxh3:0", libraries={}, trusted_types=(),
        )  # fmt: skip
        known = self.shop.known.model_copy(update={"model": self.model(version)})
        for name, record in (
            (f"model-{version}-{short}.json", model),
            (f"reference-{version}-{short}.json", self.shop.reference),
            (f"known-{version}.json", known),
        ):
            place.write(".", name, record.dumps().encode())

    def serve(self, rows: int = 2000, **changes: Any) -> None:
        """Answer rows in an hour, and ship them; the shop's own folder keeps them too."""
        self.shop.serve(rows, **changes)
        spool = self.shop.folder / "spool"
        copied(self.shop.captures, spool)
        ship(spool, place_at(f"{self.store}/rows"), pod="pod")

    @property
    def watcher(self) -> ClusterMonitor:
        return ClusterMonitor(
            service="shop",
            deployment=DeploymentSpec.parse(
                {"router": "kserve-gateway", "kserve": self.kserve}, where="deployment"
            ),
            spec=MonitoringSpec.parse(
                {"state": f"{self.store}/state"} | self.spec, where="monitoring"
            ),
            notify=self.notify,
            tracking_uri="http://127.0.0.1:9",
            beside=self.shop.folder,
        )

    @property
    def monitor(self) -> Monitor:
        """The monitor at the shop's clock."""
        made = self.watcher.monitor()
        return replace(made, now=lambda: BEGIN + timedelta(hours=self.shop.hours))

    def look(self, *, hours: float = 1.0) -> Verdict:
        """Look once, an hour later."""
        self.shop.hours += hours
        monitor = self.monitor
        with monitor.held():
            return monitor.look()[0]

    @property
    def state(self) -> MonitorState:
        return self.monitor.folder.read(service="shop")[0]

    @property
    def told(self) -> list[str]:
        path = self.shop.folder / "told.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line)["state"] for line in lines]


@contextlib.contextmanager
def cluster_shop(
    folder: Path, *, store: str = "", released: bool = True, **fields: Any
) -> Iterator[ClusterShop]:
    """Yield the shop with version 1 served, its store a folder or what is given."""
    with running() as cluster, pytest.MonkeyPatch.context() as patch:
        look_often(patch)
        storage_by_name(patch)
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(json.dumps(kubeconfig_of(cluster.url)))
        patch.setenv("KUBECONFIG", str(kubeconfig))
        made = ClusterShop(Shop(folder), cluster, store or f"file://{folder / 'store'}", **fields)
        if released:
            made.release()
        made.fetched()
        yield made


def copied(source: Path, target: Path) -> None:
    """Bring a folder to what another one is."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


@dataclass
class PodFigures:
    """What the pods of a version have counted, as a Prometheus scrapes it."""

    prometheus: SmallPrometheus
    service: str = "shop"
    namespace: str = "penstock"
    figures: dict[tuple[str, int], dict[Labels, float]] = field(default_factory=dict)

    def answers(
        self, pod: str, version: int, requests: int, *, errors: int = 0, seconds: float = 0.01
    ) -> None:
        """Add requests of users, of which some failed; the rest took so many seconds."""
        mine = {"model": self.service, "model_version": str(version)}
        live = {**mine, "origin": "live", "protocol": "v1"}
        kept = self.figures.setdefault((pod, version), {})
        kept[frozenset({"__name__": "penstock_model_info", **mine}.items())] = 1

        def add(name: str, value: float, **labels: str) -> None:
            key = frozenset({"__name__": name, **live, **labels}.items())
            kept[key] = kept.get(key, 0.0) + value

        add("penstock_requests_total", requests - errors, code="200")
        add("penstock_requests_total", errors, code="500")
        for edge in (*SERVED_LATENCY, float("inf")):
            place = "+Inf" if edge == float("inf") else f"{edge:g}"
            count = requests if seconds <= edge else 0
            add("penstock_request_duration_seconds_bucket", count, le=place)

    def scrape(self) -> None:
        for (pod, _), figures in self.figures.items():
            target = frozenset({"namespace": self.namespace, "pod": pod}.items())
            self.prometheus.lay_down(target, figures)
