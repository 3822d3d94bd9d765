"""What no client of the proxy can do: hold it up, fill it, or have an arm read another request."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web
from router_parts import PREDICT, Backend, Steered, running_proxy, says, serving
from running_process import until

from penstock.rollout.proxy.forward import Proxy
from penstock.rollout.proxy.requests import Limits
from penstock.rollout.proxy.routing_table import RoutingTable
from penstock.rollout.proxy.server import Server
from penstock.rollout.proxy.upstream import Upstream
from penstock.rollout.proxy.upstream_connection import WHOLE

_ANSWER = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steered]:
    with running_proxy(tmp_path_factory.mktemp("proxy")) as parts:
        yield parts


@pytest.fixture(scope="module")
def arrived(proxy: Steered) -> Iterator[list[bytes]]:
    """What came to the arm, byte by byte, one entry a connection."""
    found: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def take() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(0.15)
                    said = b""
                    with suppress(TimeoutError):
                        while block := connection.recv(1 << 20):
                            said += block
                    found.append(said)
                    connection.sendall(_ANSWER)

    taking = threading.Thread(target=take)
    taking.start()
    proxy.arms(listener.getsockname()[1])
    yield found
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    taking.join()


def _said(port: int, raw: bytes, *, seconds: float = 10, answers: int = 1) -> bytes:
    """What a server says to some bytes: until it ends, or `answers` of them are there."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as wire:
        found = b""
        with suppress(ConnectionResetError, BrokenPipeError):
            wire.sendall(raw)
            while block := wire.recv(65536):
                found += block
                if found.count(b"ok") >= answers:
                    break
        return found


_POST = f"POST {PREDICT} HTTP/1.1\r\nhost: x\r\n".encode()
_CHUNKS = b"\r\n\r\n2\r\n{}\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        _POST + b"content-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nG",
        _POST + b"transfer-encoding: chunked\r\ncontent-length: 6\r\n\r\n0\r\n\r\nG",
        _POST + b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}",
        _POST + b"content-length: 2\r\ncontent-length: 5\r\n\r\n{}GET",
        _POST + b"content-length: 2, 2\r\n\r\n{}",
        _POST + b"content-length: +2\r\n\r\n{}",
        _POST + b"content-length : 2\r\n\r\n{}",
        _POST + b"content-length: 9" + b"9" * 30 + b"\r\n\r\n{}",
        _POST + b"x-a: b\r\n content-length: 2\r\n\r\n{}",
        _POST + b"transfer-encoding:\r\n chunked" + _CHUNKS,
        _POST.replace(b"\r\n", b"\n") + b"content-length: 2\n\n{}",
        _POST + b"x-a: b\ncontent-length: 2\r\n\r\n{}",
        _POST + b"x-a: b\rcontent-length: 2\r\n\r\n{}",
        _POST + b"x-a: b\0c\r\ncontent-length: 2\r\n\r\n{}",
        _POST + b"transfer-encoding: xchunked" + _CHUNKS,
        _POST + b"transfer-encoding: gzip, chunked" + _CHUNKS,
        _POST + b"transfer-encoding: chunked, gzip" + _CHUNKS,
        _POST + b"transfer-encoding: identity\r\ncontent-length: 2\r\n\r\n{}",
        _POST + b"transfer-encoding: chunked\r\ntransfer-encoding: identity" + _CHUNKS,
        _POST + b"transfer-encoding: \x0bchunked\r\ncontent-length: 2\r\n\r\n{}",
        _POST + b"transfer-encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
        _POST + b"transfer-encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
        _POST + b"host: y\r\ncontent-length: 2\r\n\r\n{}",
        _POST + b"expect: something\r\ncontent-length: 2\r\n\r\n{}",
        _POST + b"x-a: " + b"y" * 20_000 + b"\r\n\r\n",
        _POST + b"x-a: 1\r\n" * 500 + b"\r\n",
        b"GET /a b HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET http://x/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"GET / HTTP/2.0\r\nhost: x\r\n\r\n",
        b"GET /\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
def test_what_could_be_read_two_ways_reaches_no_arm(
    proxy: Steered, arrived: list[bytes], raw: bytes
) -> None:
    arrived.clear()
    with socket.create_connection(("127.0.0.1", proxy.running.port), timeout=5) as wire:
        wire.sendall(raw)
        answer = wire.recv(65536)
    assert answer.split(b" ")[1] in (b"400", b"417", b"501", b"505"), answer
    assert arrived == []


@pytest.mark.parametrize(
    ("raw", "head", "body"),
    [
        (b"connection: content-length\r\ncontent-length: 2\r\n\r\n{}", b"content-length: 2", b"{}"),
        (
            b"connection: a\r\nconnection: b\r\na: 1\r\nb: 2\r\ncontent-length: 2\r\n\r\n{}",
            b"content-length: 2",
            b"{}",
        ),
        (
            b"transfer-encoding: chunked\r\ntrailer: x-penstock-smoke\r\n\r\n2;a=b\r\n{}\r\n0\r\n"
            b"x-penstock-smoke: 1\r\n\r\n",
            b"transfer-encoding: chunked",
            b"2\r\n{}\r\n0\r\n\r\n",
        ),
        (
            b"connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AA\r\ncontent-length: 2"
            b"\r\n\r\n{}",
            b"http2-settings: AA\r\ncontent-length: 2",
            b"{}",
        ),
    ],
)
def test_an_arm_gets_one_request_framed_anew(
    proxy: Steered, arrived: list[bytes], raw: bytes, head: bytes, body: bytes
) -> None:
    arrived.clear()
    assert _said(proxy.running.port, _POST + raw).startswith(b"HTTP/1.1 200 ")
    (one,) = arrived
    got, _, rest = one.partition(b"\r\n\r\n")
    lines = b"\r\n".join(line for line in got.split(b"\r\n")[2:] if b"x-request-id" not in line)
    assert (lines, rest) == (head, body)


async def _unpacks(_: Backend, request: web.BaseRequest) -> web.StreamResponse:
    body = await request.content.read()
    return web.json_response(
        {"hash": hashlib.sha256(body).hexdigest(), "length": request.headers.get("content-length")}
    )


_CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "identity": bytes,
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
}


@pytest.mark.parametrize("coding", _CODINGS)
def test_bodies_pass_as_they_came_whatever_their_form(proxy: Steered, coding: str) -> None:
    with serving(_unpacks) as (arm,):
        proxy.arms(arm.port, fresh=coding)
        for size in (1, WHOLE - 100, WHOLE + 100, 3 * WHOLE):
            sent = _CODINGS[coding](os.urandom(size))
            # An arm of aiohttp's undoes gzip and deflate; the other names it does not know.
            wanted = sent
            if coding == "gzip":
                wanted = gzip.decompress(sent)
            elif coding == "deflate":
                wanted = zlib.decompress(sent)
            for chunked in (False, True):
                for expects in (False, True):
                    got = _exchange(proxy.running.port, sent, coding, chunked, expects)
                    assert got["hash"] == hashlib.sha256(wanted).hexdigest()
                    assert got["length"] == (None if chunked else str(len(sent)))
    proxy.arms()


def _exchange(
    port: int, body: bytes, coding: str, chunked: bool, expects: bool
) -> dict[str, str | None]:
    """Send a body as a strict client does, which waits for the leave that it asks for."""
    lines = ["POST / HTTP/1.1", "host: x", "connection: close"]
    lines += [f"content-encoding: {coding}"] if coding else []
    lines += ["transfer-encoding: chunked"] if chunked else [f"content-length: {len(body)}"]
    lines += ["Expect: 100-Continue"] if expects else []
    framed = body
    if chunked:
        blocks = (body[place : place + 60_000] for place in range(0, len(body), 60_000))
        framed = b"".join(b"%x\r\n%s\r\n" % (len(block), block) for block in blocks)
        framed += b"0\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=5) as wire:
        wire.sendall("\r\n".join([*lines, "", ""]).encode())
        if expects:
            leave = b"HTTP/1.1 100 Continue\r\n\r\n"
            assert wire.recv(len(leave), socket.MSG_WAITALL) == leave
        wire.sendall(framed)
        said = b""
        while block := wire.recv(65536):
            said += block
    head, _, answer = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), said
    found: dict[str, str | None] = json.loads(answer)
    return found


def test_leave_is_not_given_where_nothing_is_to_come(proxy: Steered) -> None:
    with serving(says) as (arm,):
        proxy.arms(arm.port, fresh="leave")
        asks = b"expect: 100-continue\r\nconnection: close\r\n"
        for raw, status in (
            (_POST + asks + b"\r\n", b"200"),
            (_POST + asks + b"content-length: 0\r\n\r\n", b"200"),
            (_POST + asks + b"content-length: 99999999\r\n\r\n", b"413"),
            (_POST.replace(b"1.1", b"1.0") + asks + b"content-length: 2\r\n\r\n{}", b"200"),
        ):
            assert _first(proxy.running.port, raw).split(b" ")[1] == status
    proxy.arms()


def _first(port: int, raw: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as wire:
        wire.sendall(raw)
        return wire.recv(65536)


def test_malformed_requests_leave_no_traceback(proxy: Steered) -> None:
    log = proxy.folder.log("proxy")
    before = log.stat().st_size
    for _ in range(50):
        assert b" 400 " in _first(proxy.running.port, b"nothing of HTTP\r\n\r\n")
    assert log.stat().st_size == before


def test_a_path_counts_as_an_arm_reads_it(proxy: Steered) -> None:
    with serving(says) as (arm,):
        proxy.arms(arm.port, fresh="path")
        for path in ("/v1/models/adult%3Apredict", "/v2/models/adult/inf%65r?x=:feedback"):
            assert proxy.post(path).status_code == 200
        until(lambda: proxy.arm().requests >= 2, seconds=5, what="they are not evidence")
    proxy.arms()


@contextmanager
def _narrow(arm: int, limits: Limits) -> Iterator[int]:
    """A proxy of narrow limits, in a thread of this process; yields its port."""
    loop = asyncio.new_event_loop()
    ports: list[int] = []
    runners: list[web.ServerRunner] = []

    async def start() -> None:
        proxy = Proxy(Upstream(), key="k", limits=limits)
        arms = [{"role": "stable", "version": 1, "identity": "i", "port": arm}]
        routing = {"mirror": 0, "sticky_header": "", "choice_header": ""}
        grids = {"latency": [1.0], "scores": [0.5]}
        table = {"arms": arms, "weight": 0, "routing": {**routing, "grids": grids}}
        proxy.table = RoutingTable().replaced(table)
        server = Server(proxy.handle, connections=limits.connections, body_seconds=limits.seconds)
        runners.append(web.ServerRunner(server, shutdown_timeout=0.1))
        await runners[0].setup()
        await web.TCPSite(runners[0], "127.0.0.1", 0).start()
        ports.append(runners[0].addresses[0][1])

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield ports[0]
    finally:
        asyncio.run_coroutine_threadsafe(runners[0].cleanup(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def test_a_client_of_the_proxy_has_only_so_long() -> None:
    with (
        serving(says) as (arm,),
        _narrow(arm.port, Limits(seconds=0.6)) as port,
        ExitStack() as stack,
    ):
        wires = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            for _ in range(4)
        ]
        silent, head, whole, streamed = wires
        head.sendall(b"POST / HTTP/1.1\r\nhost:")
        whole.sendall(_POST + b"content-length: 1000\r\n\r\n{")
        streamed.sendall(_POST + b"content-length: 2000000\r\n\r\n{")
        started = time.monotonic()
        dripping = threading.Thread(target=_drip, args=(wires[1:],))
        dripping.start()
        for wire in (whole, streamed):
            assert wire.recv(100).startswith(b"HTTP/1.1 408 ")
        for wire in (silent, head):
            with suppress(ConnectionResetError):
                assert wire.recv(100) == b""
        assert time.monotonic() - started < 2
        dripping.join()
        assert len(arm.seen) <= 1, "of the streamed one it may have seen the head"
        assert b" 200 " in _first(port, _POST + b"content-length: 2\r\n\r\n{}")


def _drip(wires: list[socket.socket]) -> None:
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        for wire in wires:
            with suppress(OSError):
                wire.sendall(b"x")
        time.sleep(0.1)


def test_bodies_and_connections_of_the_proxy_are_bounded_together() -> None:
    limits = Limits(bodies=3 << 20, seconds=20, connections=12)
    with (
        serving(says) as (arm,),
        _narrow(arm.port, limits) as port,
        ExitStack() as stack,
    ):
        answers = []
        for _ in range(6):
            wire = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            wire.sendall(_POST + b"content-length: 1000000\r\n\r\n" + b"x" * 900_000)
            wire.settimeout(0.3)
            with suppress(TimeoutError):
                answers.append(wire.recv(65536))
        assert len(answers) == 3, "three and a bit have room"
        assert all(answer.startswith(b"HTTP/1.1 503 ") for answer in answers)
        assert all(b"retry-after: 2" in answer.lower() for answer in answers)
        small = _POST + b"connection: close\r\ncontent-length: 2\r\n\r\n{}"
        assert b" 200 " in _first(port, small), "a small request has its place"
        held = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            for _ in range(12)
        ]
        assert held[-1].recv(100).startswith(b"HTTP/1.1 503 ")
    assert arm.seen


def test_the_logs_and_the_proxys_start_stay_small(tmp_path: Path) -> None:
    with running_proxy(tmp_path) as own:
        log = own.folder.log("proxy")
        with log.open("ab") as stream:
            stream.write(b"x" * (5 << 20))
        until(lambda: not log.stat().st_size, seconds=10, what="the log was not begun anew")
        assert log.with_suffix(".log.1").stat().st_size >= 5 << 20
        # Records and their checks take as long to import as all that it needs besides.
        libraries = Path(f"/proc/{own.running.process.pid}/maps").read_text()
        assert "uvloop" in libraries
        assert "pydantic" not in libraries
