"""A registry of this machine, and a cluster whose model servers are real processes, for tests."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from cluster_emulator import Cluster, RealServer, kubeconfig_of, running
from deployment_emulator import options
from kserve_world import probe_little
from rollout_world import World
from running_process import RunningProcess, free_port, listens

from penstock.records.rollout import Rollout
from penstock.registry.versions import ROLLED_BACK
from penstock.rollout.notices import Tell, nobody
from penstock.rollout.spec import DeploymentSpec
from penstock.rollout.target import Target, history, target_of


@dataclass(kw_only=True)
class Process(RealServer):
    """A pod: a real model server, started again when it dies, as a kubelet does."""

    command: list[str]
    log: Path
    process: RunningProcess = field(init=False)

    def __post_init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self.process = RunningProcess(self.command, log=self.log)

    @property
    def ready(self) -> bool:
        if self.process.poll() is not None:
            self.restarts += 1
            self._up = False
            self._start()
        self._up = self._up or listens(self.port)
        return self._up

    def stop(self) -> None:
        self.process.stop()


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

    def release(
        self,
        depth: int,
        *,
        canary: dict[str, Any] | None = None,
        tell: Tell = nobody,
        **spec: Any,
    ) -> Rollout:
        changes = {"deadline": 400} | (canary or {})
        return self.world.release(depth, spec=self.spec | spec, canary=changes, tell=tell)

    def good_then_bad(
        self, router: str, *, kept: Callable[[], Any]
    ) -> tuple[Rollout, Rollout, Any]:
        """Release a first version, a good one and a bad one; return the two rollouts after it.

        The bad one changes nothing for users, and nothing of what `kept` tells, which is returned.
        """
        first = self.release(2)
        assert (first.outcome, first.router) == ("promoted", router), first.reason
        assert self.ask() == str(first.candidate)
        assert self.world.deployed(2).router == router

        good = self.release(3)
        version = good.candidate
        assert (good.outcome, good.stable) == ("promoted", first.candidate), good.reason
        phases = [move.phase for move in good.transitions]
        assert phases == ["deploy", "shadow", "step", "step", "promote", "done"]
        assert all(interval.candidate.replayed for interval in good.of_phase("step")[2:-1])
        assert (self.ask(), self.world.champion()) == (str(version), version)
        before = kept()

        bad = self.release(4, fault_injection="errors")
        assert bad.outcome == "rolled_back"
        assert "server errors" in bad.reason or "failed" in bad.reason
        assert (self.ask(), self.world.champion()) == (str(version), version)
        assert self.world.tags(bad.candidate)[ROLLED_BACK] == bad.reason
        assert kept() == before
        return good, bad, before

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
            verify=False,
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["model_version"])

    def at(self, phase: str) -> bool:
        """Return whether a rollout is under way and has come to a phase."""
        under_way = [j.rollout for j in history(self.place()) if j.rollout.outcome is None]
        return bool(under_way) and under_way[-1].last.phase == phase

    @contextlib.contextmanager
    def held_in_a_step(self, depth: int) -> Iterator[RunningProcess]:
        """Yield a release that waits for people in its step; it is killed with the block."""
        canary = {"deadline": 400, "steps": [{"weight": 50, "hold": True}]}
        with self.world.controller(depth, run="killed", spec=self.spec, canary=canary) as process:
            process.wait_until(lambda: self.at("step"), every=0.2)
            yield process


@contextlib.contextmanager
def site_in(world: World) -> Iterator[Site]:
    """Yield a site of a world, with KUBECONFIG naming its cluster."""
    home = world.home
    kubeconfig = home / "kubeconfig"

    def start(name: str, predictor: dict[str, Any]) -> Process:
        model = predictor["model"]
        folder = model["storageUri"].replace("pvc://models", str(home))
        port = free_port()
        shipped = [f"--capture={home / 'spool' / name}"] if _captures(model["args"]) else []
        command = model.get("command", ["python", "-m", "penstock.serving"])
        return Process(
            command=[
                sys.executable,
                *command[1:],
                "--model",
                folder,
                *model["args"],
                *shipped,
                "--port",
                str(port),
            ],
            port=port,
            log=home / f"{name}.log",
        )

    def proxy(name: str, number: int, template: dict[str, Any]) -> Process:
        port, spool = free_port(), home / "spool" / f"{name}-{number}"
        table = json.loads(options(template)["table"])
        for arm in table["arms"]:
            # What a cluster's name server and its Services do.
            server = cluster.servers[arm["host"].removesuffix("-predictor")]
            assert isinstance(server, Process)
            arm["host"], arm["port"] = "127.0.0.1", server.port
        (container,) = template["spec"]["containers"]
        mine = [f"--table={json.dumps(table)}", f"--spool={spool}", f"--port={port}"]
        mine += ["--host=127.0.0.1", f"--health-port={free_port()}"]
        command = [sys.executable, *container["command"][1:], *container["args"], *mine]
        return Process(command=command, port=port, log=home / f"{name}-{number}.log")

    with running(start) as cluster:
        cluster.deployments.start = proxy
        kubeconfig.write_text(yaml.safe_dump(kubeconfig_of(cluster.url)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KUBECONFIG", str(kubeconfig))
            probe_little(patch)
            yield Site(world, cluster)


def _captures(arguments: list[str]) -> bool:
    return any(argument.startswith("--capture=") for argument in arguments)
