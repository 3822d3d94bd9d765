"""A Kubernetes API server, KServe and a gateway, as far as a router meets them, on loopback.

The API server keeps objects with their resource versions and generations, refuses conflicts, checks
what is written against the real resource definitions where they are here, and fails on demand.
KServe is a status that is worked out when it is read; the gateway is a real HTTP proxy that follows
the HTTPRoutes.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import json
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any, Protocol

import hpa_emulator
import jsonschema
import yaml
from aiohttp import ClientError, ClientSession, web
from deployment_emulator import Deployments, InProcess
from hpa_emulator import Autoscalers
from knative_emulator import Knative, is_knative
from needs import SHARED

CRDS = SHARED / "crds"
NAMESPACE = "penstock"
GATEWAY = {
    "metadata": {"name": "penstock", "namespace": NAMESPACE, "generation": 1},
    "spec": {"listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
    "status": {
        "addresses": [{"type": "IPAddress", "value": "127.0.0.1"}],
        "conditions": [
            {"type": kind, "status": "True", "message": ""} for kind in ("Accepted", "Programmed")
        ],
    },
}
RUNTIME: dict[str, Any] = {
    "metadata": {"name": "penstock"},
    "spec": {
        "containers": [
            {
                "name": "kserve-container",
                "image": "penstock/serving:1",
                "ports": [{"name": "http", "containerPort": 8080}],
                "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
            }
        ]
    },
}
KNATIVE_RUNTIME: dict[str, Any] = {
    "metadata": {"name": "penstock"},
    "spec": {
        "containers": [
            {"name": "kserve-container", "ports": [{"name": "http1", "containerPort": 8080}]}
        ]
    },
}
DISCOVERY = {
    "/apis/serving.kserve.io/v1beta1": ["inferenceservices"],
    "/apis/serving.kserve.io/v1alpha1": ["servingruntimes"],
    "/apis/gateway.networking.k8s.io/v1": ["httproutes", "gateways"],
}
_PATH = re.compile(
    r"/(api|apis/[^/]+)/(?P<version>[^/]+)/namespaces/(?P<namespace>[^/]+)"
    r"/(?P<plural>[^/]+)(/(?P<name>[^/]+))?(/(?P<sub>log))?"
)

Key = tuple[str, str, str]


class Server(Protocol):
    """What answers for one version."""

    ready: bool
    restarts: int
    reason: str

    async def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]: ...

    def stop(self) -> None: ...


@dataclass(kw_only=True)
class RealServer:
    """Answers at a port of this machine; a subclass says how it starts, gets ready and ends."""

    port: int
    restarts: int = 0
    reason: str = ""
    _up: bool = False

    async def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        kept = {name: value for name, value in headers.items() if name != "host"}
        address = f"http://127.0.0.1:{self.port}{path}"
        try:
            async with (
                ClientSession() as session,
                session.request(method, address, data=body, headers=kept) as response,
            ):
                said = await response.read()
                given = {
                    name: value
                    for name, value in response.headers.items()
                    if name.lower().startswith("x-") or name.lower() == "content-type"
                }
                return response.status, given, said
        except ClientError as error:
            return 503, {}, str(error).encode()


@dataclass
class Scripted:
    """Answers as it is told to, in this process."""

    version: str
    ready: bool = True
    restarts: int = 0
    reason: str = ""
    errors: float = 0.0
    delay: float = 0.0
    label: str = "yes"
    asked: int = 0
    chance: random.Random = field(default_factory=lambda: random.Random(7))

    async def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        mine = {"x-penstock-version": self.version, "content-type": "application/json"}
        if method == "GET":
            return 200, mine, b"{}"
        self.asked += 1
        await asyncio.sleep(self.delay)
        if self.chance.random() < self.errors:
            return 500, mine, b'{"error": "on purpose"}'
        score = 0.75 if self.label == "yes" else 0.25
        fields = {
            "predictions": [self.label],
            "classes": ["no", "yes"],
            "probabilities": [[1 - score, score]],
            "positive": "yes",
            "model_version": self.version,
        }
        return 200, mine, json.dumps(fields).encode()

    def stop(self) -> None:
        self.ready = False


@dataclass
class Fault:
    """What the API server does instead of obeying, `times` times.

    Attributes:
        method: Of the requests it meets.
        path: A part of their path.
        status: What is answered; 0: the request is done, and the connection ends without an answer.
        message: The Status object's.
        headers: Of the answer.
    """

    method: str
    path: str
    status: int
    message: str = "on purpose"
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Cluster:
    """The emulated cluster; `start` makes the server of a predictor of that name.

    `servers` are by name: `<service>` or, of a named predictor or canary, `<service>-<name>`.
    `lag` is the seconds until what is written is in effect and its status says so; `behind` those
    until the gateway follows a route whose status says so already.
    `native` is whether KServe knows `spec.canary`, and `splits` whether its route shares by it.
    `standard` is whether KServe takes every InferenceService for one of Standard mode.
    `key` is what the gateway asks of every request, as a SecurityPolicy has it do; empty: nothing.
    """

    start: Callable[[str, dict[str, Any]], Server]
    objects: dict[Key, dict[str, Any]] = field(default_factory=dict)
    servers: dict[str, Server] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    discovery: dict[str, list[str]] = field(default_factory=lambda: copy.deepcopy(DISCOVERY))
    lag: float = 0.0
    behind: float = 0.0
    ignore_weights: bool = False
    key: str = ""
    native: bool = True
    splits: bool = True
    standard: bool = False
    refusal: str = ""
    autoscalers: Autoscalers = field(default_factory=Autoscalers)
    url: str = ""
    gateway_url: str = ""
    _version: int = 100
    _written: dict[Key, float] = field(default_factory=dict)
    _effective: dict[str, dict[str, Any]] = field(default_factory=dict)
    _chance: random.Random = field(default_factory=lambda: random.Random(3))
    _owners: dict[str, str] = field(default_factory=dict)
    _copies: list[asyncio.Task[Any]] = field(default_factory=list)
    knative: Knative = field(init=False)
    deployments: Deployments = field(init=False)

    def __post_init__(self) -> None:
        self.deployments = Deployments(
            lambda _name, _number, template: InProcess.of(template, self.servers)
        )
        self.knative = Knative(lambda name, template: self.start(name, template), self.servers)

    def install_knative(self) -> None:
        """Have Knative Serving there, and a runtime that it takes."""
        self.discovery["/apis/serving.knative.dev/v1"] = ["services"]
        self.put("servingruntimes", KNATIVE_RUNTIME)

    def get(self, plural: str, name: str) -> dict[str, Any] | None:
        return self.objects.get((plural, NAMESPACE, name))

    def put(self, plural: str, manifest: dict[str, Any]) -> None:
        """Place an object there as somebody else would."""
        self._store((plural, NAMESPACE, manifest["metadata"]["name"]), copy.deepcopy(manifest))

    def delete(self, plural: str, name: str) -> None:
        self._drop((plural, NAMESPACE, name))

    # The API server.

    async def api(self, request: web.Request) -> web.StreamResponse:
        method, path = request.method, request.path
        self.calls.append((method, path))
        self.tokens.append(request.headers.get("authorization", ""))
        body = await request.json() if request.can_read_body else None
        fault = next((f for f in self.faults if f.method == method and f.path in path), None)
        if fault:
            fault.times -= 1
            if not fault.times:
                self.faults.remove(fault)
            if fault.status:
                return _status(fault.status, fault.message, headers=fault.headers)
            self._obey(method, path, body, request)
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        return self._obey(method, path, body, request)

    def _obey(
        self, method: str, path: str, body: dict[str, Any] | None, request: web.Request
    ) -> web.Response:
        if path in self.discovery:
            return web.json_response({"resources": [{"name": n} for n in self.discovery[path]]})
        match = _PATH.fullmatch(path)
        if match is None:
            return _status(404, f"the server could not find {path}")
        key = (match["plural"], match["namespace"], match["name"] or "")
        if match["sub"]:
            return web.Response(text="its log\n")
        if method == "GET":
            return self._list(key, request) if not match["name"] else self._read(key)
        if method == "POST":
            assert body is not None
            return self._create((key[0], key[1], body["metadata"]["name"]), body)
        if key not in self.objects:
            return _status(404, f"{key[0]} {key[2]!r} not found")
        if method == "DELETE":
            there, given = self.objects[key]["metadata"], (body or {}).get("preconditions", {})
            if any(there[name] != value for name, value in given.items()):
                return _status(409, "the preconditions do not hold", reason="Conflict")
            self._drop(key)
            return _status(200, "deleted")
        assert body is not None
        return self._change(key, body, merge=method == "PATCH")

    def _read(self, key: Key) -> web.Response:
        found = self.objects.get(key)
        if found is None:
            return _status(404, f"{key[0]} {key[2]!r} not found")
        return web.json_response(self._with_status(key, found))

    def _list(self, key: Key, request: web.Request) -> web.Response:
        terms = [one for one in request.query.get("labelSelector", "").split(",") if one]
        absent = {one[1:] for one in terms if one.startswith("!")}
        wanted = dict(one.split("=") for one in terms if not one.startswith("!"))
        if key[0] == "pods":
            items = self._pods()
        else:
            items = [
                self._with_status(k, found) for k, found in self.objects.items() if k[:2] == key[:2]
            ]
        items = [
            item
            for item in items
            if wanted.items() <= (item["metadata"].get("labels") or {}).items()
            and not absent & (item["metadata"].get("labels") or {}).keys()
        ]
        if "as=PartialObjectMetadataList" in request.headers.get("accept", ""):
            items = [{"metadata": item["metadata"]} for item in items]
            # As Kubernetes 1.34 does: null where there is none.
            kind = "PartialObjectMetadataList"
            return web.json_response({"kind": kind, "items": items or None})
        return web.json_response({"kind": "List", "items": items})

    def _create(self, key: Key, body: dict[str, Any]) -> web.Response:
        if key in self.objects:
            return _status(409, f"{key[0]} {key[2]!r} already exists", reason="AlreadyExists")
        refused = self._check(key, body)
        if refused:
            return refused
        return web.json_response(self._store(key, self._taken(body)), status=201)

    def _change(self, key: Key, body: dict[str, Any], *, merge: bool) -> web.Response:
        before = self.objects[key]
        new = _merged(before, body) if merge else body
        given = body["metadata"].get("resourceVersion") if "metadata" in body else None
        if given is not None and given != before["metadata"]["resourceVersion"]:
            return _status(409, "the object has been modified", reason="Conflict")
        refused = self._check(key, new)
        if refused:
            return refused
        return web.json_response(self._store(key, self._taken(new)))

    def _check(self, key: Key, body: dict[str, Any]) -> web.Response | None:
        if self.refusal and key[0] == "inferenceservices":
            said = f'admission webhook "inferenceservice.kserve" denied the request: {self.refusal}'
            return _status(403, said)
        if key[0] == "inferenceservices" and "name" in body["spec"]["predictor"]["model"]:
            return _status(403, "admission webhook denied the request: 'name' is not allowed")
        bounds = hpa_emulator.refusal(body) if key[0] == "inferenceservices" else ""
        if bounds:
            return _status(403, f"admission webhook denied the request: {bounds}")
        held = sum(len(base64.b64decode(v)) for v in (body.get("binaryData") or {}).values())
        if key[0] == "configmaps" and held > 2**20:
            return _status(422, "ConfigMap is invalid: Too long: must have at most 1048576 bytes")
        checked = schema(key[0])
        if checked is not None:
            whole = {k: v for k, v in body.items() if k != "status"}
            problem = next(iter(checked.iter_errors(whole)), None)
            if problem:
                return _status(422, f"{problem.json_path}: {problem.message:.300}")
        return None

    def _taken(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return an object as it is taken: without its status and what is not known."""
        taken = {name: value for name, value in body.items() if name != "status"}
        if not self.native and "canary" in taken.get("spec", {}):
            taken["spec"] = {k: v for k, v in taken["spec"].items() if k != "canary"}
        return taken

    def _store(self, key: Key, body: dict[str, Any]) -> dict[str, Any]:
        before = self.objects.get(key)
        self._version += 1
        changed = before is None or before.get("spec") != body.get("spec")
        generation = before["metadata"]["generation"] if before else 0
        metadata = {
            **body["metadata"],
            "namespace": key[1],
            "uid": before["metadata"]["uid"] if before else f"uid-{self._version}",
            "resourceVersion": str(self._version),
            "generation": generation + changed,
        }
        self.objects[key] = stored = {**body, "metadata": metadata}
        self._written[key] = time.monotonic()
        if key[0] == "inferenceservices":
            self._reconcile(key[2], stored)
        if key[0] == "deployments":
            self.deployments.reconcile(key[2], stored)
        return stored

    def _drop(self, key: Key) -> None:
        self.objects.pop(key, None)
        if key[0] == "inferenceservices":
            self._reconcile(key[2], None)
        if key[0] == "deployments":
            self.deployments.reconcile(key[2], None)

    # What controllers do and say.

    def _reconcile(self, name: str, service: dict[str, Any] | None) -> None:
        """Start and stop servers as an InferenceService says, and make its route."""
        if service is None:
            self.knative.drop(name)
        elif self._in_knative(service):
            if "/apis/serving.knative.dev/v1" in self.discovery:
                self.knative.reconcile(service)
            return
        predictors: dict[str, dict[str, Any]] = {}
        if service:
            spec = service["spec"]
            for each in (spec["predictor"], *(c["predictor"] for c in spec.get("canary", []))):
                predictors[f"{name}-{each['name']}" if each.get("name") else name] = each
        mine = {key for key, owner in self._owners.items() if owner == name}
        for gone in mine - predictors.keys():
            del self._owners[gone]
            self.servers.pop(gone).stop()
            self.autoscalers.forget(gone)
        for new in predictors.keys() - mine:
            self._owners[new] = name
            self.servers[new] = self.start(new, predictors[new])
        key = ("httproutes", NAMESPACE, name)
        if service and not _hidden(service) and service["spec"]["predictor"].get("name"):
            self._store(key, self._native_route(name, service))
        elif self.objects.get(key, {}).get("made") == "kserve":
            self.objects.pop(key)

    def _native_route(self, name: str, service: dict[str, Any]) -> dict[str, Any]:
        spec = service["spec"]
        weights = {
            f"{name}-{c['predictor']['name']}-predictor": c["trafficPercent"]
            for c in spec.get("canary", [])
            if self.splits
        }
        stable = f"{name}-{spec['predictor']['name']}-predictor"
        backends = {stable: 100 - sum(weights.values()), **weights}
        return {
            "made": "kserve",
            "metadata": {"name": name},
            "spec": {
                "parentRefs": [{"name": "penstock"}],
                "hostnames": [f"{name}-{NAMESPACE}.example.com"],
                "rules": [
                    {
                        "matches": [{"path": {"type": "PathPrefix", "value": ""}}],
                        "backendRefs": [
                            {"name": each, "weight": weight} for each, weight in backends.items()
                        ],
                    }
                ],
            },
        }

    def _in_knative(self, service: dict[str, Any]) -> bool:
        return is_knative(service) and not self.standard

    def _with_status(self, key: Key, found: dict[str, Any]) -> dict[str, Any]:
        # KServe's own controller is a Deployment too, and nothing here acts for it; nor for one
        # that somebody placed with its status.
        if key[0] == "deployments" and key[1] != "kserve" and "status" not in found:
            self.deployments.reconcile(key[2], found)
            return {**found, "status": self.deployments.status(key[2], found)}
        if key[0] == "inferenceservices" and self._in_knative(found):
            self._reconcile(key[2], found)
            return {**found, "status": self._knative_status(key[2])}
        if key[0] == "inferenceservices":
            mine = [
                server for each, server in self.servers.items() if self._owners.get(each) == key[2]
            ]
            ready = {"type": "Ready", "status": str(all(server.ready for server in mine))}
            host = f"{key[2]}-{NAMESPACE}.example.com"
            if _hidden(found):
                host = f"{key[2]}.{NAMESPACE}.svc.cluster.local"
            short = self.autoscalers.failure(key[2], found) if hpa_emulator.scales(found) else []
            status = {
                "conditions": [*short, ready],
                "url": f"http://{host}",
                "deploymentMode": "Standard",
            }
            return {**found, "status": status}
        if key[0] == "httproutes" and "status" not in found:
            return {**found, "status": {"parents": [self._parent(key, found)]}}
        return found

    def _knative_status(self, name: str) -> dict[str, Any]:
        status: dict[str, Any] = {"deploymentMode": "Knative", "conditions": []}
        ksvc = self.knative.services.get(name)
        if ksvc is None:
            return status
        up = ksvc.newest == ksvc.newest_ready
        status["conditions"] = [
            {
                "type": "Ready",
                "status": str(up),
                "message": "" if up else f"Revision {ksvc.newest} is not ready.",
            }
        ]
        status["components"] = {"predictor": ksvc.component()}
        if ksvc.newest_ready:
            status["url"] = f"http://{ksvc.host}"
        return status

    def _parent(self, key: Key, route: dict[str, Any]) -> dict[str, Any]:
        generation = route["metadata"]["generation"]
        if time.monotonic() < self._written[key] + self.lag:
            generation -= 1
        known = {f"{name}-predictor" for name in self.servers}
        known |= {each[2] for each in self.objects if each[0] == "services"}
        named = {
            backend["name"]
            for rule in route["spec"]["rules"]
            for backend in rule.get("backendRefs", [])
        }
        lost = ", ".join(sorted(named - known))
        return {
            "parentRef": route["spec"]["parentRefs"][0],
            "conditions": [
                {"type": "Accepted", "status": "True", "observedGeneration": generation},
                {
                    "type": "ResolvedRefs",
                    "status": str(not lost),
                    "message": f"no Service {lost}",
                    "observedGeneration": generation,
                },
            ],
        }

    def _pods(self) -> list[dict[str, Any]]:
        placed = [found for (kind, *_), found in list(self.objects.items()) if kind == "pods"]
        return [*placed, *(pod for name in list(self.servers) for pod in self._pods_of(name))]

    def _pods_of(self, name: str) -> Iterator[dict[str, Any]]:
        server = self.servers[name]
        labels = self.knative.labels.get(name, {"app": f"isvc.{name}-predictor"})
        scaled = self._scaled(name)
        if scaled is None:
            yield _pod(f"{name}-pod", labels, server, ready=server.ready)
            return
        for pod in self.autoscalers.sync(name, scaled, self._load(name)):
            told = self.autoscalers.scheduled(pod)
            yield _pod(pod.name, labels, server, ready=server.ready and pod.ready, told=told)

    def _scaled(self, name: str) -> dict[str, Any] | None:
        """Return the InferenceService of a server, where an autoscaler follows its load."""
        found = self.get("inferenceservices", self._owners.get(name, ""))
        return found if hpa_emulator.scales(found) else None

    def _load(self, name: str) -> float:
        service = self._owners[name].rpartition("-v")[0]
        rule = self._rule("POST", f"/v1/models/{service}:predict", {})
        return hpa_emulator.load_of(name, rule, self.autoscalers.users)

    def _overloaded(self, name: str) -> bool:
        scaled = self._scaled(name)
        if scaled is None:
            return False
        load = self._load(name)
        self.autoscalers.sync(name, scaled, load)
        return self.autoscalers.overloaded(name, load)

    # The gateway.

    async def gateway(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        if self.key and headers.pop("authorization", "").removeprefix("Bearer ") != self.key:
            return web.Response(status=401, text="Client authentication failed.")
        revision = self._revision(headers.get("host", "").partition(":")[0])
        if revision is not None:
            return await _answered(revision, request, headers, body)
        rule = self._rule(request.method, request.path, headers)
        if rule is None:
            return web.Response(status=404)
        for each in rule.get("filters", []):
            mirror = each["requestMirror"]
            if self._chance.random() * 1000 < mirror["fraction"]["numerator"]:
                name = mirror["backendRef"]["name"].removesuffix("-predictor")
                server = self.servers[name]
                answer = server.answer(request.method, request.path, headers, body)
                self._copies.append(asyncio.create_task(answer))
        backends = rule.get("backendRefs", [])
        weights = [1 if self.ignore_weights else backend["weight"] for backend in backends]
        if self.ignore_weights:
            weights = [1] + [0] * (len(weights) - 1)
        if not sum(weights):
            return web.Response(status=500)
        (chosen,) = self._chance.choices(backends, weights)
        name = chosen["name"].removesuffix("-predictor")
        server = self.servers.get(name)
        if server is not None and self._overloaded(name):
            return hpa_emulator.overload()
        if self.get("services", chosen["name"]):
            server = self.deployments.choose(chosen["name"])
        return await _answered(server, request, headers, body)

    def _revision(self, host: str) -> Any:
        self.knative.lag = self.lag
        for key, service in list(self.objects.items()):
            if key[0] == "inferenceservices" and self._in_knative(service):
                self._reconcile(key[2], service)
        return self.knative.server_at(host)

    def _rule(self, method: str, path: str, headers: dict[str, str]) -> dict[str, Any] | None:
        """Pick as the Gateway API orders: exact paths, longer ones, more headers."""
        found = []
        for key, route in self.objects.items():
            if key[0] != "httproutes":
                continue
            if time.monotonic() < self._written[key] + self.lag + self.behind:
                route = self._effective.get(key[2], route)
            else:
                self._effective[key[2]] = route
            hosts = route["spec"].get("hostnames", [])
            if hosts and headers.get("host", "").partition(":")[0] not in hosts:
                continue
            for number, rule in enumerate(route["spec"]["rules"]):
                for match in rule["matches"]:
                    wanted = match["path"]["value"]
                    exact = match["path"]["type"] == "Exact"
                    fits = path == wanted if exact else (path + "/").startswith(wanted + "/")
                    told = match.get("headers", [])
                    if fits and all(headers.get(h["name"].lower()) == h["value"] for h in told):
                        found.append(((exact, len(wanted), len(told), -number), rule))
        return max(found, key=lambda each: each[0])[1] if found else None


@contextlib.contextmanager
def running(
    start: Callable[[str, dict[str, Any]], Server] | None = None, *, host: str = "127.0.0.1"
) -> Iterator[Cluster]:
    """Yield a cluster on an address of this machine, with a gateway and a serving runtime in it."""
    cluster = Cluster(start or scripted)
    # It is long: read within a request it would use up a client's patience on a busy machine.
    schema("inferenceservices")
    loop = asyncio.new_event_loop()
    runners: list[web.AppRunner] = []

    async def serve(handler: Any) -> str:
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{rest:.*}", handler)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, host, 0).start()
        return f"http://{host}:{runner.addresses[0][1]}"

    async def stop() -> None:
        for runner in runners:
            await runner.cleanup()

    cluster.url = loop.run_until_complete(serve(cluster.api))
    cluster.gateway_url = loop.run_until_complete(serve(cluster.gateway))
    gateway = copy.deepcopy(GATEWAY)
    gateway["status"]["addresses"][0]["value"] = host
    gateway["spec"]["listeners"][0]["port"] = int(cluster.gateway_url.rpartition(":")[2])
    cluster.put("gateways", gateway)
    cluster.put("servingruntimes", RUNTIME)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield cluster
    finally:
        cluster.deployments.stop()
        for server in cluster.servers.values():
            server.stop()
        asyncio.run_coroutine_threadsafe(stop(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _answered(
    server: Any, request: web.Request, headers: dict[str, str], body: bytes
) -> web.Response:
    if server is None or not server.ready:
        return web.Response(status=503, text="no healthy upstream")
    status, given, said = await server.answer(request.method, request.path, headers, body)
    return web.Response(status=status, headers=given, body=said)


def scripted(name: str, predictor: dict[str, Any]) -> Server:
    """Return a server that answers at once."""
    told = dict(each.removeprefix("--").split("=") for each in predictor["model"]["args"])
    return Scripted(version=told["version"])


def _hidden(service: dict[str, Any]) -> bool:
    labels = service["metadata"]["labels"]
    return labels.get("networking.kserve.io/visibility") == "cluster-local"


@cache
def schema(plural: str) -> jsonschema.Draft202012Validator | None:
    """Return the strict schema of a kind, or None where it is not here or not a custom one."""
    found = list(CRDS.glob(f"*_{plural}.yaml")) if CRDS.is_dir() else []
    if not found:
        return None
    definition = yaml.load(found[0].read_text(), Loader=yaml.CSafeLoader)
    served = next(v for v in definition["spec"]["versions"] if v["served"])
    made = _strict(served["schema"]["openAPIV3Schema"])
    # Known of every kind; not every definition says so.
    made["properties"] |= {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object", "required": ["name"]},
    }
    return jsonschema.Draft202012Validator(made)


def _strict(part: Any) -> Any:
    """Return a schema in which a field that is not declared is an error."""
    if isinstance(part, list):
        return [_strict(each) for each in part]
    if not isinstance(part, dict):
        return part
    made = {key: _strict(value) for key, value in part.items()}
    if made.pop("x-kubernetes-int-or-string", None):
        made.pop("anyOf", None)
        made["type"] = ["integer", "string"]
    if "properties" in made and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


def _pod(
    name: str,
    labels: dict[str, str],
    server: Server,
    *,
    ready: bool,
    told: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "uid": f"{name}-{id(server)}", "labels": labels},
        "status": {
            "conditions": [*(told or []), {"type": "Ready", "status": str(ready)}],
            "containerStatuses": [_container(server)],
        },
    }


def _container(server: Server) -> dict[str, Any]:
    state: dict[str, Any] = {"running": {}}
    if not server.ready and server.reason:
        state = {"waiting": {"reason": server.reason, "message": "it does not start"}}
    return {"name": "kserve-container", "restartCount": server.restarts, "state": state}


def _merged(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    made = dict(old)
    for key, value in new.items():
        made[key] = _merged(made.get(key), value)
    return made


def _status(
    code: int, message: str, *, reason: str = "", headers: dict[str, str] | None = None
) -> web.Response:
    said = {
        "kind": "Status",
        "code": code,
        "message": message,
        "reason": reason,
        "at": datetime.now(UTC).isoformat(),
    }
    return web.json_response(said, status=code, headers=headers)


def kubeconfig_of(server: str) -> dict[str, Any]:
    """Return a kubeconfig that leads to an API server."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
