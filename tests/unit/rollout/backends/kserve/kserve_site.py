"""A registry of this machine, and a cluster whose model servers are real processes, for tests."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml
from cluster_emulator import Cluster, RealServer, kubeconfig_of, running
from rollout_world import World

from penstock.records.rollout import Rollout
from penstock.rollout.spec import DeploymentSpec
from penstock.rollout.target import Target, history, target_of


@dataclass(kw_only=True)
class Process(RealServer):
    """A pod: a real model server, started again when it dies, as a kubelet does."""

    command: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self._start()

    def _start(self) -> None:
        with self.log.open("ab") as stream:
            self.process = subprocess.Popen(self.command, stdout=stream, stderr=stream)

    @property
    def ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            self.restarts += 1
            self._up = False
            self._start()
        if not self._up:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                self._up = True
        return self._up

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


@dataclass
class Site:
    """A world whose services live on a cluster."""

    world: World
    cluster: Cluster
    spec: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        artifacts = {f"file://{self.world.home}": "pvc://models"}
        self.spec = {"router": "kserve-gateway", "kserve": {"artifacts": artifacts}}

    def in_knative(self, router: str) -> None:
        """Have Knative there and no gateway, and steer by this router."""
        self.cluster.install_knative()
        self.cluster.delete("gateways", "penstock")
        self.spec["router"] = router
        self.spec["kserve"] |= {"address": self.cluster.gateway_url}

    def release(self, depth: int, *, canary: dict[str, Any] | None = None, **spec: Any) -> Rollout:
        changes = {"deadline": 400} | (canary or {})
        return self.world.release(depth, spec=self.spec | spec, canary=changes)

    def has_served(self) -> None:
        """Release a first version, if no other test has."""
        if not self.place().status():
            assert self.release(2).outcome == "promoted"

    def place(self) -> Target:
        spec = DeploymentSpec.model_validate(self.spec)
        uri = self.world.uri
        return target_of(spec, service="adult", home=self.world.home, tracking_uri=uri)

    def ask(self) -> str:
        """Return the version that answers a user."""
        body = {"instances": self.world.rows[:1]}
        hosts = [ksvc.host for ksvc in self.cluster.knative.services.values()]
        answer = httpx.post(
            f"{self.cluster.gateway_url}/v1/models/adult:predict",
            json=body,
            headers={"host": hosts[0]} if hosts else {},
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["model_version"])

    def at(self, phase: str) -> bool:
        """Return whether a rollout is under way and has come to a phase."""
        under_way = [j.rollout for j in history(self.place()) if j.rollout.outcome is None]
        return bool(under_way) and under_way[-1].last.phase == phase

    def write_script(self, depth: int, *, canary: dict[str, Any]) -> str:
        """Return a script that releases, for a process that can be killed."""
        order = self.world.order(depth, spec=self.spec, canary={"deadline": 400} | canary)
        order.write(self.world.home / "order.json")
        return f"""
from pathlib import Path
from penstock.records.rollout import Order
from penstock.rollout.release import Outputs, deploy
home = Path({str(self.world.home)!r})
outputs = Outputs(home / "d.json", home / "r.json", home / "r.html")
deploy(Order.read(home / "order.json"), home=home, run="killed", outputs=outputs)
"""


@contextlib.contextmanager
def site_in(world: World) -> Iterator[Site]:
    """Yield a site of a world, with KUBECONFIG naming its cluster."""
    home = world.home
    kubeconfig = home / "kubeconfig"

    def start(name: str, predictor: dict[str, Any]) -> Process:
        model = predictor["model"]
        folder = model["storageUri"].replace("pvc://models", str(home))
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            port = held.getsockname()[1]
        command = model.get("command", ["python", "-m", "penstock.serving"])
        return Process(
            command=[
                sys.executable,
                *command[1:],
                "--model",
                folder,
                *model["args"],
                "--port",
                str(port),
            ],
            port=port,
            log=home / f"{name}.log",
        )

    with running(start) as cluster:
        kubeconfig.write_text(yaml.safe_dump(kubeconfig_of(cluster.url)))
        before = os.environ.get("KUBECONFIG")
        os.environ["KUBECONFIG"] = str(kubeconfig)
        try:
            yield Site(world, cluster)
        finally:
            os.environ.pop("KUBECONFIG")
            if before is not None:
                os.environ["KUBECONFIG"] = before
