"""The Deployments of an emulated cluster: pods that are replaced one by one, and their Services."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from multidict import CIMultiDict

from penstock.rollout.proxy.routing_table import RoutingTable


class Pod(Protocol):
    """What answers for one pod."""

    ready: bool

    async def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]: ...

    def stop(self) -> None: ...


@dataclass
class Replica:
    """A pod, and the template that it was made from."""

    template: str
    pod: Pod


def options(template: dict[str, Any]) -> dict[str, str]:
    """Return the arguments of a template's container by name."""
    (container,) = template["spec"]["containers"]
    return dict(one.removeprefix("--").split("=", 1) for one in container["args"])


class Nothing:
    """Takes events and keeps none."""

    def write(self, event: dict[str, Any]) -> None:
        pass


@dataclass
class InProcess:
    """A proxy in this process: it assigns users as the real one does, and writes nothing down."""

    table: RoutingTable
    servers: dict[str, Any]
    ready: bool = True

    @classmethod
    def of(cls, template: dict[str, Any], servers: dict[str, Any]) -> InProcess:
        given = json.loads(options(template)["table"])
        return cls(RoutingTable().replaced(given, events=Nothing()), servers)

    async def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        arm = self.table.choose(CIMultiDict(headers))
        assert arm is not None
        server = self.servers.get(arm.host.removesuffix("-predictor"))
        if server is None:
            return 502, {}, b"not reached"
        found: tuple[int, dict[str, str], bytes] = await server.answer(method, path, headers, body)
        return found

    def stop(self) -> None:
        self.ready = False


@dataclass
class Deployments:
    """The controller of Deployments. `start` makes the pod of a template, the how manieth it is.

    Pods are replaced one by one, each once its successor is ready: meanwhile users meet both.
    """

    start: Callable[[str, int, dict[str, Any]], Pod]
    held: bool = False
    pods: dict[str, list[Replica]] = field(default_factory=dict)
    made: int = 0
    _ending: list[threading.Thread] = field(default_factory=list)
    _chance: random.Random = field(default_factory=lambda: random.Random(5))

    def reconcile(self, name: str, deployment: dict[str, Any] | None) -> None:
        """Take one step towards what a Deployment says; None: it was deleted."""
        mine = self.pods.setdefault(name, [])
        if deployment is None:
            while mine:
                self._end(mine.pop())
            return
        template = json.dumps(deployment["spec"]["template"], sort_keys=True)
        wanted = deployment["spec"]["replicas"]
        new = [one for one in mine if one.template == template]
        old = [one for one in mine if one.template != template]
        if not all(one.pod.ready for one in new) or self.held:
            return
        if old and len(new) + len(old) > wanted:
            mine.remove(old[0])
            self._end(old[0])
        elif len(new) < wanted:
            self.made += 1
            pod = self.start(name, self.made, deployment["spec"]["template"])
            mine.append(Replica(template, pod))

    def status(self, name: str, deployment: dict[str, Any]) -> dict[str, Any]:
        """Return a Deployment's status."""
        template = json.dumps(deployment["spec"]["template"], sort_keys=True)
        mine = self.pods.get(name, [])
        return {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": len(mine),
            "updatedReplicas": sum(one.template == template for one in mine),
            "availableReplicas": sum(one.pod.ready for one in mine),
        }

    def choose(self, name: str) -> Pod | None:
        """Return a pod that is ready, as a Service does."""
        ready = [one.pod for one in self.pods.get(name, []) if one.pod.ready]
        return self._chance.choice(ready) if ready else None

    def stop(self) -> None:
        """End all pods, and wait until they have ended."""
        for name in list(self.pods):
            self.reconcile(name, None)
        for thread in self._ending:
            thread.join()

    def _end(self, replica: Replica) -> None:
        thread = threading.Thread(target=replica.pod.stop)
        thread.start()
        self._ending.append(thread)
