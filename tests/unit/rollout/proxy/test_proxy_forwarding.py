"""The proxy, in front of small HTTP servers that show what reached them."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import socket
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from router_parts import PREDICT, Backend, Steered, running_proxy, serving
from running_process import until

from penstock.errors import LeaseLostError, ServiceError
from penstock.processes import supervisor as process
from penstock.rollout.backends.local import strays
from penstock.rollout.backends.local.state import ServiceFolder
from penstock.rollout.proxy import control
from penstock.serving import request_headers
from penstock.serving.request_headers import digest_of


async def _echo(_: Backend, request: web.BaseRequest) -> web.StreamResponse:
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
        request.transport.close()
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
def backend() -> Iterator[Backend]:
    with serving(_echo) as (one,):
        yield one


@pytest.fixture(scope="module")
def steered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steered]:
    with running_proxy(tmp_path_factory.mktemp("proxy")) as parts:
        yield parts


@pytest.fixture
def client(steered: Steered, backend: Backend) -> httpx.Client:
    steered.arms(backend.port)
    return steered.client


def test_requests_arrive_as_they_were_sent(client: httpx.Client) -> None:
    headers = {"x-request-id": "7", "connection": "x-private", "x-private": "1", "accept": "a/b"}
    got = client.request("PATCH", "/a%20b//c?q=%2F&r", content=b"hello", headers=headers).json()
    assert (got["method"], got["path"], got["size"]) == ("PATCH", "/a%20b//c?q=%2F&r", 5)
    arrived = dict(got["headers"])
    assert (arrived["x-request-id"], arrived["accept"]) == ("7", "a/b")
    assert "x-private" not in arrived
    assert arrived["host"] == client.base_url.netloc.decode()
    assert "content-type" not in arrived


def test_a_request_id_is_made_and_only_genuine_marks_are_passed_on(
    client: httpx.Client, steered: Steered
) -> None:
    def arrived(value: str) -> dict[str, str]:
        headers = [(name, value) for name in request_headers.ROLLOUT] + [("x-penstock-replay", "0")]
        return dict(client.post("/", headers=headers).json()["headers"])

    key = steered.folder.key()
    forged = [arrived(value) for value in ("1", key[:-1], key.upper(), digest_of(key))]
    assert not any(name in headers for headers in forged for name in request_headers.ROLLOUT)
    genuine = arrived(key)
    assert request_headers.MIRROR not in genuine, "the proxy alone makes copies"
    assert (genuine[request_headers.REPLAY], genuine[request_headers.SMOKE]) == (key, key)
    ids = {headers["x-request-id"] for headers in [*forged, genuine]}
    assert len(ids) == 5
    assert {len(each) for each in ids} == {32}


@pytest.mark.parametrize(
    ("given", "passed"),
    [(["a"], "a"), (["a", "b"], "a"), (["x" * 129], None), (["\u00e9"], None)],
)
def test_an_id_that_a_version_would_not_take_is_replaced(
    client: httpx.Client, given: list[str], passed: str | None
) -> None:
    headers = [(b"x-request-id", each.encode()) for each in given]
    sent = client.post("/", headers=headers).json()["headers"]
    (arrived,) = [value for name, value in sent if name == "x-request-id"]
    assert arrived == passed if passed else len(arrived) == 32


def test_answers_come_back_as_they_were_given(client: httpx.Client) -> None:
    teapot = client.get("/teapot")
    assert (teapot.status_code, teapot.headers["x-kettle"]) == (418, "on")
    zipped = client.get("/gzip")
    assert (zipped.headers["content-encoding"], zipped.text) == ("gzip", "text")
    assert len(client.get("/stream").content) == 3_000_000
    head = client.head("/")
    assert (head.status_code, head.content) == (200, b"")
    assert client.get("/").status_code == 200


@pytest.mark.parametrize("size", [0, 10, 3_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_of_any_size_pass_whole(client: httpx.Client, size: int, chunked: bool) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    content: Any = (body[i : i + 50_000] for i in range(0, size, 50_000)) if chunked else body
    got = client.post("/", content=content).json()
    assert (got["size"], got["hash"]) == (size, hashlib.sha256(body).hexdigest())


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_body_is_passed_on_compressed(client: httpx.Client, encoding: str) -> None:
    body = b"text" * 1000
    sent = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    # The server behind undoes what the header names, and fails where that was undone already.
    got = client.post("/", content=sent, headers={"content-encoding": encoding}).json()
    assert (got["size"], got["hash"]) == (4000, hashlib.sha256(body).hexdigest())
    arrived = dict(got["headers"])
    assert (arrived["content-encoding"], arrived["content-length"]) == (encoding, str(len(sent)))


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused(client: httpx.Client, chunked: bool) -> None:
    block = b"x" * 1_000_000
    content: Any = (block for _ in range(17)) if chunked else block * 17
    response = client.post("/", content=content)
    assert response.status_code == 413
    assert "16,777,216 bytes" in response.json()["error"]
    assert client.get("/").status_code == 200


def test_a_client_that_leaves_is_nobodys_error(steered: Steered, backend: Backend) -> None:
    steered.arms(backend.port, fresh="left")
    for size in (1000, 2_000_000):
        with socket.create_connection(("127.0.0.1", steered.running.port)) as leaving:
            head = f"POST {PREDICT} HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n"
            leaving.sendall(head.encode() + b"x" * 100)
    assert steered.post().status_code == 200
    until(lambda: steered.arm().requests >= 1)
    assert steered.arm().server_errors == 0
    found = control.read(steered.folder, steered.running)
    assert [arm["in_flight"] for arm in found["arms"]] == [0]


def test_weights_hold_from_the_next_request_on(steered: Steered, backend: Backend) -> None:
    with serving(_echo) as (other,):
        steered.arms(backend.port, other.port, weight=0, fresh="w")
        for weight, expected in ((0, 0), (100, 20)):
            steered.arms(backend.port, other.port, weight=weight, fresh="w")
            for _ in range(20):
                steered.post()
            assert steered.arm(2).requests == expected
        assert steered.arm(1).requests == 20
        steered.arms(backend.port, other.port, weight=25, fresh="w")
        for _ in range(400):
            steered.post()
        split = [steered.arm(version).requests - 20 for version in (1, 2)]
    # Five standard deviations of a binomial draw around 100 of 400.
    assert sum(split) == 400
    assert 57 <= split[1] <= 143


def test_what_is_in_flight_is_known_and_answered_before_it_stops(
    tmp_path: Path, backend: Backend
) -> None:
    got: list[int] = []
    with running_proxy(tmp_path) as own:
        own.arms(backend.port)
        asking = threading.Thread(target=lambda: got.append(own.client.get("/slow").status_code))
        asking.start()
        until(lambda: control.read(own.folder, own.running)["arms"][0]["in_flight"] == 1)
        assert process.stop(own.running.process, grace=10)
        asking.join()
    assert got == [200]
    assert not process.is_alive(own.running.process)


def test_nobody_is_answered_before_the_first_table(tmp_path: Path, backend: Backend) -> None:
    with running_proxy(tmp_path) as own:
        with pytest.raises(httpx.ConnectError):
            own.client.get("/")
        own.arms()
        empty = own.client.get("/")
        assert (empty.status_code, "no version" in empty.json()["error"]) == (503, True)
        own.arms(backend.port)
        assert own.client.get("/").status_code == 200


def test_only_the_holder_of_the_token_steers(steered: Steered, backend: Backend) -> None:
    address = f"http://127.0.0.1:{steered.running.admin_port}/table"
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": b"Bearer \xff"}):
        assert httpx.get(address, headers=headers, trust_env=False, verify=False).status_code == 403
    right = steered.folder.headers()
    assert httpx.get(address, headers=right, trust_env=False, verify=False).status_code == 200
    for damaged in (b"{", b"[]", b'{"term": 1}', b'{"term": 1, "arms": [], "routing": {}}'):
        refused = httpx.put(address, content=damaged, headers=right, trust_env=False, verify=False)
        assert (refused.status_code, "not a valid routing table" in refused.text) == (400, True)
    steered.arms(backend.port)
    assert steered.folder.token.stat().st_mode & 0o077 == 0
    assert steered.folder.path.stat().st_mode & 0o077 == 0


def test_an_earlier_controller_is_refused(tmp_path: Path, backend: Backend) -> None:
    with running_proxy(tmp_path) as own:
        own.term = 7
        own.arms(backend.port)
        own.term = 6
        with pytest.raises(LeaseLostError, match="another controller has updated it"):
            own.arms()
        assert own.client.get("/").status_code == 200


def _table(own: Steered, backend: Backend, **changes: Any) -> dict[str, Any]:
    """A table that any field of can be changed; `arm__port=1` is the stable version's port."""
    table: dict[str, Any] = {
        "term": 7,
        "weight": 40,
        "arms": [
            {"role": "stable", "version": 1, "identity": "one", "port": backend.port},
            {"role": "candidate", "version": 2, "identity": "two", "port": backend.port},
        ],
        "routing": {
            "mirror": 0.5,
            "sticky_header": "x-user",
            "choice_header": "x-choice",
            "grids": {"latency": [0.1, 1.0], "scores": [0.5]},
        },
    }
    for name, value in changes.items():
        place, _, field = name.rpartition("__")
        {"": table, "arm": table["arms"][0], "other": table["arms"][1]}.get(
            place, table["routing"]
        )[field] = value
    return table


_CHANGES: list[tuple[str, Any, list[Any]]] = [
    ("arm__role", "retired", ["", None, "king", "candidate"]),
    ("arm__version", 9, [None, "1", 1.5, -1, True]),
    ("arm__identity", "anew", [None, 3, "two"]),
    ("arm__port", 1, [0, 70_000, "80", None]),
    ("arms", [], [None, 3, [{}], ["arm"]]),
    ("weight", 90, [-1, 101, "40", None, True, 0.5]),
    ("routing__mirror", 0.0, [-0.1, 1.5, "1", None]),
    ("routing__sticky_header", "", [None, 1]),
    ("routing__choice_header", "", [None, 1]),
    ("routing__grids", {"latency": [0.2], "scores": []}, [None, {}, {"latency": ["a"]}]),
    ("term", 6, [None, "7", 7.5, True]),
]


def test_a_table_that_is_refused_changes_nothing(tmp_path: Path, backend: Backend) -> None:
    with running_proxy(tmp_path) as own:
        address = f"http://127.0.0.1:{own.running.admin_port}/table"
        headers = own.folder.headers()

        def put(**changes: Any) -> httpx.Response:
            table = _table(own, backend, **changes)
            return httpx.put(address, json=table, headers=headers, trust_env=False, verify=False)

        before = put()
        assert before.status_code == 200
        assert put(term=5).status_code == 409
        for field, other, damaged in _CHANGES:
            stale = put(**{"term": 6, field: other})
            assert (field, stale.status_code) == (field, 409)
            for value in damaged:
                refused = put(**{field: value})
                assert (field, value, refused.status_code) == (field, value, 400)
            now = httpx.get(address, headers=headers, trust_env=False, verify=False)
            assert (field, now.json()) == (field, before.json())
        for choice in ("stable", "candidate"):
            assert own.client.get("/", headers={"x-choice": choice}).status_code == 200
        # What is changed by who may is in effect.
        assert put(arm__port=1).json()["arms"][0]["port"] == 1


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    other = ServiceFolder(tmp_path / "elsewhere", "wine")
    other.make()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=rf"port {port} on 127.0.0.1 is in use") as caught:
            control.start(other, port=port)
    assert "choose another port" in str(caught.value)
    assert list(strays.strays(other.path, known=[])) == []
