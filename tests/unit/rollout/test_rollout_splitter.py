"""The front process, in front of small HTTP servers that show what reached them."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from penstock.errors import ServiceError
from penstock.rollout.routers import process
from penstock.rollout.routers.front import arms_of, set_arms, start_front
from penstock.rollout.routers.state import Front, ServiceFolder


async def _echo(request: web.BaseRequest) -> web.StreamResponse:
    if request.path == "/teapot":
        return web.Response(status=418, headers={"x-kettle": "on", "connection": "x-hop"})
    if request.path == "/gzip":
        body = gzip.compress(b"text")
        return web.Response(body=body, headers={"content-encoding": "gzip"})
    if request.path == "/stream":
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(30):
            await response.write(b"x" * 100_000)
        return response
    if request.path == "/broken":
        request.transport.close()  # type: ignore[union-attr]
        return web.Response()
    if request.path == "/slow":
        await asyncio.sleep(1)
    body = await request.content.read()
    return web.json_response(
        {
            "method": request.method,
            "path": request.raw_path,
            "headers": [[name.lower(), value] for name, value in request.headers.items()],
            "size": len(body),
            "hash": hashlib.sha256(body).hexdigest(),
        }
    )


@pytest.fixture(scope="module")
def backend() -> Iterator[str]:
    loop = asyncio.new_event_loop()
    port: list[int] = []

    async def start() -> None:
        runner = web.ServerRunner(web.Server(_echo))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port.append(runner.addresses[0][1])

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield f"http://127.0.0.1:{port[0]}"
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


@contextlib.contextmanager
def running_front(home: Path) -> Iterator[tuple[ServiceFolder, Front, httpx.Client]]:
    folder = ServiceFolder(home, "adult")
    folder.make()
    running = start_front(folder, port=0)
    url = f"http://127.0.0.1:{running.port}"
    with httpx.Client(base_url=url, trust_env=False, timeout=20) as client:
        yield folder, running, client
    process.stop(running.process, grace=5)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with running_front(tmp_path_factory.mktemp("front")) as parts:
        yield parts


@pytest.fixture
def front(shared: Any) -> Any:
    set_arms(shared[0], shared[1], [])
    return shared


def arm(url: str, *, version: int = 1, weight: int = 100) -> dict[str, Any]:
    return {"version": version, "url": url, "weight": weight}


@pytest.fixture
def client(front: Any, backend: str) -> httpx.Client:
    set_arms(front[0], front[1], [arm(backend)])
    passing: httpx.Client = front[2]
    return passing


def test_requests_arrive_as_they_were_sent(client: httpx.Client) -> None:
    headers = {"x-request-id": "7", "connection": "x-private", "x-private": "1", "accept": "a/b"}
    got = client.request("PATCH", "/a%20b//c?q=%2F&r", content=b"hello", headers=headers).json()
    assert (got["method"], got["path"], got["size"]) == ("PATCH", "/a%20b//c?q=%2F&r", 5)
    arrived = dict(got["headers"])
    assert (arrived["x-request-id"], arrived["accept"]) == ("7", "a/b")
    assert "x-private" not in arrived
    assert arrived["host"] == client.base_url.netloc.decode()
    assert "content-type" not in arrived


def test_answers_come_back_as_they_were_given(client: httpx.Client) -> None:
    teapot = client.get("/teapot")
    assert (teapot.status_code, teapot.headers["x-kettle"]) == (418, "on")
    zipped = client.get("/gzip")
    assert (zipped.headers["content-encoding"], zipped.text) == ("gzip", "text")
    assert len(client.get("/stream").content) == 3_000_000


@pytest.mark.parametrize("size", [0, 10, 3_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_of_any_size_pass_whole(client: httpx.Client, size: int, chunked: bool) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    content: Any = (body[i : i + 50_000] for i in range(0, size, 50_000)) if chunked else body
    got = client.post("/", content=content).json()
    assert (got["size"], got["hash"]) == (size, hashlib.sha256(body).hexdigest())


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused(client: httpx.Client, chunked: bool) -> None:
    block = b"x" * 1_000_000
    content: Any = (block for _ in range(17)) if chunked else block * 17
    response = client.post("/", content=content)
    assert response.status_code == 413
    assert "16,777,216 bytes" in response.json()["error"]
    assert client.get("/").status_code == 200


def test_a_failing_version_is_counted_and_named(front: Any, backend: str) -> None:
    folder, running, client = front
    assert client.get("/").status_code == 503
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
        set_arms(folder, running, [arm(nobody, version=4)])
        dead = client.get("/")
    assert dead.status_code == 502
    assert "version 4 cannot be reached" in dead.json()["error"]
    assert arms_of(folder, running)[0]["unreachable"] == 1
    set_arms(folder, running, [arm(backend, version=5)])
    broken = client.get("/broken")
    assert broken.status_code == 502
    assert "version 5 did not answer" in broken.json()["error"]
    client.get("/teapot")
    counts = arms_of(folder, running)[0]
    assert (counts["requests"], counts["server_errors"], counts["client_errors"]) == (2, 1, 1)


def test_weights_hold_from_the_next_request_on(front: Any, backend: str) -> None:
    folder, running, client = front
    other = backend.replace("127.0.0.1", "localhost")
    set_arms(folder, running, [arm(backend), arm(other, version=2, weight=0)])
    for _ in range(20):
        client.get("/")
    assert [counts["requests"] for counts in arms_of(folder, running)] == [20, 0]
    set_arms(folder, running, [arm(backend, weight=0), arm(other, version=2)])
    for _ in range(20):
        client.get("/")
    assert [counts["requests"] for counts in arms_of(folder, running)] == [20, 20]
    set_arms(folder, running, [arm(backend, weight=75), arm(other, version=2, weight=25)])
    for _ in range(400):
        client.get("/")
    split = [counts["requests"] - 20 for counts in arms_of(folder, running)]
    # Five standard deviations of a binomial draw around 100 of 400.
    assert sum(split) == 400
    assert 57 <= split[1] <= 143


def test_what_is_in_flight_is_known_and_answered_before_it_stops(
    tmp_path: Path, backend: str
) -> None:
    got: list[int] = []
    with running_front(tmp_path) as (folder, running, client):
        set_arms(folder, running, [arm(backend)])
        asking = threading.Thread(target=lambda: got.append(client.get("/slow").status_code))
        asking.start()
        _until(lambda: arms_of(folder, running)[0]["in_flight"] == 1)
        assert process.stop(running.process, grace=10)
        asking.join()
    assert got == [200]
    assert not process.is_alive(running.process)


def test_only_the_holder_of_the_token_steers(front: Any) -> None:
    folder, running, _ = front
    address = f"http://127.0.0.1:{running.admin_port}/arms"
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": b"Bearer \xff"}):
        assert httpx.get(address, headers=headers, trust_env=False).status_code == 403
    assert httpx.get(address, headers=folder.headers(), trust_env=False).status_code == 200
    assert folder.token.stat().st_mode & 0o077 == 0
    assert folder.path.stat().st_mode & 0o077 == 0


def test_a_port_in_use_is_named(tmp_path: Path, front: Any) -> None:
    other = ServiceFolder(tmp_path / "elsewhere", "wine")
    other.make()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=rf"port {port} on 127.0.0.1 is in use") as caught:
            start_front(other, port=port)
    assert "name another port" in str(caught.value)
    assert list(process.strays(other.path, known=[])) == []


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
