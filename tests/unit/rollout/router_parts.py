"""What the tests of the local router share: small real HTTP servers, and fronts before them."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from aiohttp import web
from running_process import modules_running, until

from penstock.processes import supervisor as process
from penstock.records.rollout import ArmSummary, HistogramBuckets, Pairs
from penstock.rollout.backends.local import servers, strays
from penstock.rollout.backends.local.backend import local_service
from penstock.rollout.backends.local.state import (
    LocalState,
    ProxyProcess,
    ServerArm,
    ServiceFolder,
)
from penstock.rollout.proxy import control
from penstock.rollout.router import Observation, Release
from penstock.rollout.service import Service
from penstock.rollout.state import Assignment

PREDICT = "/v1/models/adult:predict"
FEEDBACK = "/v1/models/adult:feedback"

Handler = Callable[["Backend", web.BaseRequest], Awaitable[web.StreamResponse]]


def binary(label: str = "yes", *, score: float = 0.75, rows: int = 1, **more: Any) -> bytes:
    """The answer of a binary model to a v1 request."""
    body = {
        "predictions": [label] * rows,
        "classes": ["no", "yes"],
        "probabilities": [[1 - score, score]] * rows,
        "positive": "yes",
    }
    return json.dumps(body | more).encode()


@dataclass
class Backend:
    """One real HTTP server in a thread of this process.

    `answer` is what it answers with; `seen` holds the headers of what reached it.
    """

    answer: Handler
    port: int = 0
    seen: list[dict[str, str]] = field(default_factory=list)
    said: bytes = b""
    status: int = 200
    delay: float = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append({name.lower(): value for name, value in request.headers.items()})
        return await self.answer(self, request)


async def says(backend: Backend, request: web.BaseRequest) -> web.StreamResponse:
    """Answer `said` with `status` after `delay`."""
    await request.content.read()
    await asyncio.sleep(backend.delay)
    return web.Response(
        status=backend.status, body=backend.said or binary(), content_type="application/json"
    )


@contextlib.contextmanager
def serving(*handlers: Handler) -> Iterator[list[Backend]]:
    loop = asyncio.new_event_loop()
    backends = [Backend(handler) for handler in handlers]
    runners: list[web.ServerRunner] = []

    async def start() -> None:
        for backend in backends:
            server = web.Server(backend.handle, access_log=None)
            runner = web.ServerRunner(server, shutdown_timeout=0.1)
            runners.append(runner)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            backend.port = runner.addresses[0][1]

    async def stop() -> None:
        for runner in runners:
            await runner.cleanup()

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield backends
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


@dataclass
class Steered:
    """A real proxy process and what steers it."""

    folder: ServiceFolder
    running: ProxyProcess
    client: httpx.Client
    term: int = 1

    def arms(
        self,
        stable: int | None = None,
        candidate: int | None = None,
        *,
        weight: int = 0,
        fresh: str = "",
        retired: int | None = None,
        **assignment: Any,
    ) -> None:
        """Give it arms by their ports; version 1 is stable, 2 the candidate, 3 the retired one."""
        roles = {"stable": stable, "candidate": candidate, "retired": retired}
        arms = {
            role: ServerArm(
                identity=f"{role}-{port}-{fresh}",
                version=version,
                uri="",
                model="",
                folder="",
                port=port,
                process=process.this(),
            )
            for version, (role, port) in enumerate(roles.items(), start=1)
            if port
        }
        state = LocalState(
            service="adult",
            port=self.running.port,
            weight=weight,
            assignment=Assignment(**assignment),
            **arms,
        )
        control.apply(self.folder, self.running, state, term=self.term)

    def observe(self) -> Observation:
        return control.observe(self.folder, self.running)

    def arm(self, version: int = 1) -> ArmSummary:
        return self.observe().arms[version]

    def pairs_of(self, requests: int) -> Pairs:
        """Return the pairs once so many have ended."""
        until(lambda: self.observe().pairs.candidate.requests >= requests)
        return self.observe().pairs

    def post(self, path: str = PREDICT, **given: Any) -> httpx.Response:
        return self.client.post(path, **({"json": {"instances": [{"a": 1}]}} | given))


@contextlib.contextmanager
def running_proxy(home: Path) -> Iterator[Steered]:
    folder = ServiceFolder(home, "adult")
    folder.make()
    running = control.start(folder, port=0)
    url = f"http://127.0.0.1:{running.port}"
    try:
        with httpx.Client(base_url=url, trust_env=False, timeout=20, verify=False) as client:
            yield Steered(folder, running, client)
    finally:
        process.stop(running.process, grace=5)


def clocks_set(monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    """Do as a clock that is set: no test may set the machine's."""
    now, born = time.time, psutil.Process.create_time
    monkeypatch.setattr(time, "time", lambda: now() + hours * 3600)
    # Of a time since boot it makes one since 1970 by the clock of now.
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: born(self) + hours * 3600)


def bin_of(edges: tuple[float, ...], value: float) -> int:
    """The bin that a value belongs to, as `records.rollout.Counts` defines it."""
    return sum(edge <= value for edge in edges)


GRIDS = HistogramBuckets()


def stub_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the local router start stubs in the place of model servers: see router_stub."""
    command = servers._command

    def stubbed(*args: Any, **kwargs: Any) -> tuple[str, dict[str, str]]:
        return "router_stub", command(*args, **kwargs)[1]

    monkeypatch.setattr(servers, "_command", stubbed)
    monkeypatch.setattr(strays, "MODULES", (*strays.MODULES, "router_stub"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)


@dataclass
class StubbedService:
    """A service of this machine whose model servers are stubs, see `stub_servers`."""

    home: Path

    @property
    def folder(self) -> ServiceFolder:
        return ServiceFolder(self.home, "adult")

    def router(self, **options: Any) -> Service[ServerArm, LocalState]:
        return local_service(self.home, service="adult", port=0, drain=5, **options)

    def release(self, version: int, *, fault: str = "") -> Release:
        folder = self.folder.models / str(version)
        if not folder.exists():
            folder.mkdir(parents=True)
            (folder / "model").write_text(str(version))
        uri = f"models:/adult/{version}"
        return Release(
            version=version, uri=uri, model=f"sha256:{version}", folder=folder, fault=fault
        )

    def bring(self, router: Service[ServerArm, LocalState], version: int) -> str:
        return router.deploy(self.release(version), timeout=20).url

    def serve(self, router: Service[ServerArm, LocalState], version: int) -> None:
        """Bring a version up, and give it all requests."""
        self.bring(router, version)
        router.promote(version)

    def state(self) -> LocalState:
        state = self.folder.read()
        assert state is not None
        return state

    def processes(self) -> int:
        return len(modules_running(self.home))

    def ask(self, url: str, times: int = 1) -> Counter[str]:
        """Ask so often, and count the versions that answer, or what is said instead."""
        with httpx.Client(trust_env=False, timeout=20, verify=False) as client:
            answers = [client.post(url + PREDICT, json={}) for _ in range(times)]
        return Counter(answer.json().get("model_version") or answer.text for answer in answers)


@contextlib.contextmanager
def load_on(url: str, rows: Sequence[Mapping[str, Any]] = ()) -> Iterator[Counter[str]]:
    """Ask without a pause over kept connections and fresh ones, and count the answers."""
    answers: Counter[str] = Counter()
    over = threading.Event()
    port = int(url.rpartition(":")[2])
    body = json.dumps({"instances": list(rows)})
    headers = {"content-type": "application/json"}

    def ask(keep: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while not over.is_set():
            try:
                connection.request("POST", PREDICT, body=body, headers=headers)
                response = connection.getresponse()
                said = json.loads(response.read())
                said = said.get("model_version", said)
                answers[f"{response.status} version {said}"] += 1
                if not keep:
                    connection.close()
                # What is tested is what happens meanwhile, and needs the processor too.
                time.sleep(0.01)
            except (OSError, http.client.HTTPException) as error:
                answers[repr(error)] += 1
                connection.close()
        connection.close()

    threads = [threading.Thread(target=ask, args=(keep,)) for keep in (True, False)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        over.set()
        for thread in threads:
            thread.join()
