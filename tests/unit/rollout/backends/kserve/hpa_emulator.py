"""The HorizontalPodAutoscalers that KServe makes, and pods that carry only so many requests.

How many requests users send is declared, not measured: a busy machine changes nothing. A version's
load follows from the weights and the copies of the route that users meet. A pod carries `capacity`
requests a second; of what is more, the gateway answers that share with 503 by itself.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

OVERLOADED = "more requests than its pods carry"
CLASS = "serving.kserve.io/autoscalerClass"


@dataclass
class Pod:
    """One pod; `ready_at` is by the monotonic clock, and None where no node takes it."""

    name: str
    ready_at: float | None

    @property
    def ready(self) -> bool:
        return self.ready_at is not None and time.monotonic() >= self.ready_at


@dataclass
class Autoscalers:
    """All of a cluster.

    Attributes:
        users: Requests that users send, a second.
        capacity: Requests that a pod carries, a second.
        starts_in: Seconds until a new pod is ready.
        keeps: Seconds for which fewer pods must do before some are ended.
        lags: Seconds by which the load that the autoscalers see is old.
        room: Pods that the namespace takes, and what there is no more of.
        pods: By server.
        refused: Requests of all kinds that were more than a server's pods carry, by server.
    """

    users: float = 0.0
    capacity: float = 10.0
    starts_in: float = 0.05
    keeps: float = 5.0
    lags: float = 0.0
    room: int = 1_000
    short_of: Literal["nodes", "quota"] = "nodes"
    pods: dict[str, list[Pod]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    _numbers: Iterator[int] = field(default_factory=lambda: iter(range(10**9)))
    _loads: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    _enough: dict[str, float] = field(default_factory=dict)
    _chance: random.Random = field(default_factory=lambda: random.Random(5))

    def forget(self, name: str) -> None:
        self.pods.pop(name, None)
        self._loads.pop(name, None)

    def _seen(self, name: str, load: float) -> float:
        """Return the load that a server's autoscaler sees."""
        now, loads = time.monotonic(), self._loads.setdefault(name, [])
        loads.append((now, load))
        while len(loads) > 1 and loads[1][0] <= now - self.lags:
            del loads[0]
        return loads[0][1]

    def sync(self, name: str, service: dict[str, Any], load: float) -> list[Pod]:
        """Scale a server as its bounds and its load say, and return its pods."""
        predictor = service["spec"]["predictor"]
        pods = self.pods.setdefault(name, [])
        target = predictor.get("scaleTarget", 80) / 100
        wanted = math.ceil(round(self._seen(name, load) / (self.capacity * target), 6))
        wanted = max(predictor["minReplicas"], min(wanted, predictor["maxReplicas"]))
        while len(pods) < wanted and self._add(name, pods):
            pass
        now = time.monotonic()
        if wanted >= len(pods):
            self._enough[name] = now
        elif now > self._enough.get(name, now) + self.keeps:
            # Those that are not ready first, then the newest.
            pods.sort(key=lambda pod: not pod.ready)
            del pods[wanted:]
        return pods

    def _add(self, name: str, pods: list[Pod]) -> bool:
        taken = sum(pod.ready_at is not None for each in self.pods.values() for pod in each)
        fits = taken < self.room
        if fits or self.short_of == "nodes":
            ready_at = time.monotonic() + self.starts_in if fits else None
            pods.append(Pod(f"{name}-{next(self._numbers)}", ready_at))
        return fits or self.short_of == "nodes"

    def overloaded(self, name: str, load: float) -> bool:
        """Return whether the next request is one of those that a server's pods do not carry."""
        carried = self.capacity * sum(pod.ready for pod in self.pods[name])
        refused = load > carried and self._chance.random() > carried / load
        self.refused[name] += refused
        return refused

    def scheduled(self, pod: Pod) -> list[dict[str, Any]]:
        """Return what the scheduler says of a pod."""
        if pod.ready_at is not None:
            return [{"type": "PodScheduled", "status": "True"}]
        said = "0/3 nodes are available: 3 Insufficient cpu."
        return [{"type": "PodScheduled", "status": "False", "message": said}]

    def failure(self, name: str, service: dict[str, Any]) -> list[dict[str, Any]]:
        """Return what KServe says of pods that a quota forbids."""
        least = service["spec"]["predictor"]["minReplicas"]
        if self.short_of != "quota" or len(self.pods.get(name, [])) >= least:
            return []
        said = 'pods "p" is forbidden: exceeded quota: pods, requested: pods=1'
        return [{"type": "PredictorReady", "status": "False", "message": said}]


def scales(service: dict[str, Any] | None) -> bool:
    """Return whether KServe makes an autoscaler for an InferenceService."""
    return _class(service or {"metadata": {}}) in ("hpa", "keda")


def load_of(server: str, rule: dict[str, Any] | None, users: float) -> float:
    """Return the requests a second that a server gets of those that meet a rule."""
    backends = (rule or {}).get("backendRefs", [])
    everything = sum(backend["weight"] for backend in backends) or 1
    name = f"{server}-predictor"
    share = sum(one["weight"] for one in backends if one["name"] == name) / everything
    for each in (rule or {}).get("filters", []):
        mirror = each["requestMirror"]
        if mirror["backendRef"]["name"] == name:
            share += mirror["fraction"]["numerator"] / 1000
    return users * share


def refusal(service: dict[str, Any]) -> str:
    """Return why KServe's webhook refuses the bounds of an InferenceService, or nothing."""
    predictor = service["spec"]["predictor"]
    if predictor.get("minReplicas", 1) > predictor.get("maxReplicas", 10**9):
        return "'MinReplicas' cannot be greater than MaxReplicas"
    if _class(service) == "keda":
        return "ScaleMetric is not supported for KEDA" if "scaleMetric" in predictor else ""
    for canary in service["spec"].get("canary", []):
        if {"maxReplicas", "scaleTarget", "scaleMetric", "autoScaling"} & canary[
            "predictor"
        ].keys():
            return "canary must not set autoscaling (canary uses fixed replicas)"
    return ""


def _class(service: dict[str, Any]) -> str:
    return str((service["metadata"].get("annotations") or {}).get(CLASS, ""))


def overload() -> web.Response:
    return web.Response(status=503, text=OVERLOADED)
