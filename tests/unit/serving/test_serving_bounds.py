"""What no client can do: end a thread, hold memory or a connection, pass for the rollout itself."""

from __future__ import annotations

import asyncio
import gzip
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from running_process import until
from serving_process import KEY, ROW, Server, Start

from penstock.captures import lines as kept_lines
from penstock.captures.files import Bounds
from penstock.processes import logs
from penstock.processes.supervised import PATIENCE, Supervised
from penstock.serving import request_headers
from penstock.serving.capture import Capture, Rows
from penstock.serving.connection_limits import Connections, ConnectionTimer
from penstock.serving.feedback_access import FeedbackAccess, is_loopback
from penstock.serving.request_body import FREE, Budget
from penstock.serving.request_errors import RequestError
from penstock.serving.request_log import RequestLog

FEEDBACK = "/v1/models/adult:feedback"
PREDICT = "/v1/models/adult:predict"


def _label(request_id: str, **more: Any) -> dict[str, Any]:
    return {"labels": [{"request_id": request_id, "label": "no"} | more]}


@pytest.fixture(scope="module")
def tight(start_onnx: Start, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server with narrow bounds that captures what it answers."""
    folder = tmp_path_factory.mktemp("tight")
    options = {
        "--max-seconds": "1.5",
        "--max-bodies": str(4 << 20),
        "--max-connections": "40",
        "--capture": str(folder),
        "--log": str(folder / "server.log"),
    }
    return start_onnx(*[word for pair in options.items() for word in pair])


def _threads(server: Server) -> dict[str, float]:
    names = ("penstock_thread_restarts_total", "penstock_thread_up")
    return {name: server.metric(name, thread="capture") for name in names}


def test_no_label_ends_the_capture(tight: Server) -> None:
    tight.predict(ROW, x_request_id="first")
    for row in (1e20, 1e308, 2**31, 2**63, -1):
        refused = tight.client.post(FEEDBACK, json=_label("first", row=row))
        assert (refused.status_code, "row" in refused.json()["error"]) == (400, True)
    assert tight.client.post(FEEDBACK, json=_label("first")).json()["joined"] == 1
    written = tight.metric("penstock_captured_rows_total")
    tight.predict(ROW, x_request_id="second")
    until(
        lambda: tight.metric("penstock_captured_rows_total") > written,
        seconds=10,
        what="nothing is captured any more",
    )
    assert _threads(tight) == {"penstock_thread_restarts_total": 0, "penstock_thread_up": 1}
    assert tight.metric("penstock_thread_up") == 2, "the log's thread and the capture's"


def test_a_forged_mark_changes_nothing(tight: Server) -> None:
    def count(origin: str) -> float:
        return tight.metric("penstock_requests_total", origin=origin, protocol="v1")

    before = {origin: count(origin) for origin in ("live", "mirror", "replay", "smoke")}
    digest = request_headers.digest_of(KEY)
    for value in ("1", "true", digest, digest.removeprefix("sha256:"), KEY.upper()):
        forged = {name.replace("-", "_"): value for name in request_headers.ROLLOUT}
        answer = tight.predict(ROW, x_request_id=f"f{value}", user_agent="penstock-smoke", **forged)
        assert answer.status_code == 200
        assert tight.client.post(FEEDBACK, json=_label(f"f{value}")).json()["live"]["requests"] == 1
    assert count("live") == before["live"] + 5
    assert {origin: count(origin) for origin in before} == before | {"live": count("live")}
    assert tight.predict(ROW, x_penstock_smoke=KEY).status_code == 200
    assert count("smoke") == before["smoke"] + 1


def _head(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "host: x", *lines, "", ""]).encode()


def _all_of(connection: socket.socket, *, seconds: float = 10) -> bytes:
    """Everything that comes until the server ends the connection."""
    connection.settimeout(seconds)
    found = b""
    try:
        while block := connection.recv(65536):
            found += block
    except ConnectionResetError:
        pass
    return found


def _connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port))


def test_a_client_has_only_so_long(tight: Server) -> None:
    with ExitStack() as stack:
        silent, head, body = (stack.enter_context(_connect(tight)) for _ in range(3))
        head.sendall(b"POST / HTTP/1.1\r\nhost:")
        body.sendall(_head(PREDICT, "content-length: 1000") + b"{")
        started = time.monotonic()
        drip = threading.Thread(target=_drip, args=([head, body], 4.0))
        drip.start()
        slow = _all_of(body)
        assert slow.startswith(b"HTTP/1.1 408 ")
        assert b"did not arrive within 1.5 s" in slow
        assert b"connection: close" in slow.lower()
        assert _all_of(head) == _all_of(silent) == b""
        assert time.monotonic() - started < 4
        drip.join()
    assert tight.predict(ROW).status_code == 200


def _drip(connections: list[socket.socket], seconds: float) -> None:
    """Send a byte now and then, so that no silence ever is long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for connection in connections:
            try:
                connection.sendall(b"x")
            except OSError:
                return
        time.sleep(0.2)


def test_half_sent_bodies_hold_no_more_than_was_set(tight: Server) -> None:
    process = psutil.Process(tight.process.pid)
    before = process.memory_info().rss
    half = b"x" * (7 << 20)
    answers: list[bytes] = []
    with ExitStack() as stack:
        sending = []
        for _ in range(20):
            connection = stack.enter_context(_connect(tight))
            sending.append(threading.Thread(target=_send_half, args=(connection, half, answers)))
            sending[-1].start()
        time.sleep(0.7)
        assert process.memory_info().rss - before < 60 << 20
        assert tight.predict(ROW).status_code == 200, "a small request has its place"
        for thread in sending:
            thread.join()
    refused = [answer for answer in answers if answer.startswith(b"HTTP/1.1 503 ")]
    assert refused
    assert all(b"retry-after: 2" in answer for answer in refused)
    large = b'{"instances": []}' + b" " * (3 << 20)
    assert tight.client.post(PREDICT, content=large).status_code == 400, "all was given back"


def _send_half(connection: socket.socket, half: bytes, answers: list[bytes]) -> None:
    with suppress(OSError):
        connection.sendall(_head(PREDICT, f"content-length: {2 * len(half)}") + half)
    answers.append(_all_of(connection))


def test_what_a_small_body_may_unpack_to_counts(tight: Server) -> None:
    packed = gzip.compress(b" " * (15 << 20))
    answer = tight.client.post(PREDICT, content=packed, headers={"content-encoding": "gzip"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    packed = gzip.compress(b'{"instances": []}' + os.urandom(1000).hex().encode() * 10)
    answer = tight.client.post(PREDICT, content=packed, headers={"content-encoding": "gzip"})
    assert answer.status_code == 400


def test_heads_and_connections_are_bounded(tight: Server) -> None:
    with _connect(tight) as large:
        large.sendall(b"GET /ping HTTP/1.1\r\nhost: x\r\n")
        for number in range(3):
            large.sendall(b"x-%d: " % number + b"y" * 40_000 + b"\r\n")
            time.sleep(0.05)
        assert _all_of(large).startswith(b"HTTP/1.1 431 ")
    with ExitStack() as stack:
        held = [stack.enter_context(_connect(tight)) for _ in range(45)]
        answers = [_all_of(connection) for connection in held]
    refused = [answer for answer in answers if answer]
    assert 5 <= len(refused) <= 10, "the tests' own connections are some of the forty"
    assert all(answer.startswith(b"HTTP/1.1 503 ") for answer in refused)
    assert tight.predict(ROW).status_code == 200


def test_labels_are_taken_with_the_token_alone_where_others_reach_the_server(
    start_onnx: Start, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    server = start_onnx("--host", "0.0.0.0", "--feedback-token-file", str(token))
    server.predict(ROW, x_request_id="a")

    def send(**headers: str) -> int:
        return server.client.post(FEEDBACK, json=_label("a"), headers=headers).status_code

    assert send() == send(authorization="Bearer") == 403, "there is no token yet"
    token.write_text("short\n")
    assert send(authorization="Bearer short") == 403, "a token that could be guessed is none"
    token.write_text("a token of some length\n")
    for wrong in ("", "Bearer", "Basic a", "Bearer a token of some", "a token of some length"):
        assert send(authorization=wrong) == 401
    assert send(authorization="bearer a token of some length") == 200
    assert send(**{"x-penstock-feedback-token": "a token of another length"}) == 401
    # The gateway's key is in the other one.
    own = {"x-penstock-feedback-token": "a token of some length"}
    assert send(authorization="Bearer the key", **own) == 200
    assert server.metric("penstock_labelled_requests_total", origin="live") == 1


def test_without_a_token_labels_are_off_but_on_loopback() -> None:
    FeedbackAccess().check({})
    with pytest.raises(RequestError, match="start it with --feedback-token-file") as caught:
        FeedbackAccess(loopback=False).check({b"authorization": b"Bearer x"})
    assert caught.value.status == 403
    missing = FeedbackAccess(token_file=Path("missing"), loopback=False)
    with pytest.raises(RequestError, match=r"is missing, or .* the Secret penstock-feedback"):
        missing.check({b"authorization": b"Bearer x"})
    found = {host: is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::")}
    assert [host for host, loopback in found.items() if loopback] == [
        "127.0.0.1",
        "::1",
        "localhost",
    ]


def test_a_thread_that_fails_is_started_again_until_it_fails_for_good(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing = [ValueError("one"), SystemExit(2), MemoryError()]

    def work() -> None:
        if failing:
            raise failing.pop()

    thread = Supervised("some", work, pause=0.001)
    thread.start()
    thread.join(10)
    assert (thread.restarts, thread.down) == (3, False)
    assert caplog.text.count("the thread some failed") == 3

    def never() -> None:
        raise OSError("always")

    lost = Supervised("lost", never, pause=0.001)
    lost.start()
    lost.join(10)
    assert (lost.restarts, lost.down) == (PATIENCE, True)


class _Poison(Rows):
    """Rows that cannot be written as JSON."""

    def lines(self) -> Iterator[dict[str, Any]]:
        yield {"row": 2**70}


def _rows(request_id: str, kind: type[Rows] = Rows) -> Rows:
    return kind(request_id, 1.5e9, "3", False, False, {"a": [1]}, [0.25], ["no"])


def test_what_cannot_be_written_costs_itself_alone(tmp_path: Path) -> None:
    dropped: list[int] = []
    writer = Capture(tmp_path, bounds=Bounds(), written=lambda _: None, dropped=dropped.append)
    writer.rows(_rows("a"), size=1)
    writer.rows(_rows("b", _Poison), size=1)
    writer.rows(_rows("c"), size=1)
    writer.close()
    found = kept_lines.read(tmp_path)
    assert [line["request_id"] for line in found] == ["a", "c"]
    assert (found.torn, dropped, writer.thread.restarts, writer.thread.down) == (0, [1], 1, False)


def test_a_thread_that_is_lost_makes_a_server_unready(
    models: Callable[..., Path], tmp_path: Path
) -> None:
    from penstock.model import load
    from penstock.serving.app import InferenceApp
    from penstock.serving.feedback import Memory
    from penstock.serving.metrics import ServingMetrics
    from penstock.serving.service import Service

    scorer = load(models())
    metrics = ServingMetrics(name="a", version="1", record=scorer.record, runtime="x", digest="d")
    dropped: list[int] = []
    writer = Capture(tmp_path, bounds=Bounds(), written=lambda _: None, dropped=dropped.append)
    request_log = RequestLog(metrics=metrics, memory=Memory(scorer.record), capture=writer)
    request_log.watch(writer.thread)
    app = InferenceApp(Service(scorer=scorer, name="a", version="1"), request_log)

    def ready() -> int:
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        async def receive() -> dict[str, Any]:
            return {"type": "http.request"}

        scope = {"type": "http", "method": "GET", "path": "/v2/models/a/ready", "headers": []}
        asyncio.run(app(scope, receive, send))
        return int(sent[0]["status"])

    assert ready() == 200
    for number in range(PATIENCE + 1):
        writer.rows(_rows(str(number), _Poison), size=1)
    writer.thread.join(20)
    assert ready() == 503
    assert 'thread_up{model="a",model_version="1",thread="capture"} 0.0' in (
        metrics.exposition("")[0].decode()
    )
    writer.rows(_rows("z"), size=1)
    assert sum(dropped) == PATIENCE + 2, "what nobody would write is not kept waiting"


def test_a_reader_outlives_files_that_are_rotated_away(tmp_path: Path) -> None:
    writer = Capture(
        tmp_path, bounds=Bounds(file_bytes=300), written=lambda _: None, dropped=lambda _: None
    )
    for number in range(6):
        writer.rows(_rows(str(number)), size=1)
    writer.close()
    found = iter(kept_lines.read(tmp_path))
    first = next(found)
    paths = sorted(tmp_path.iterdir())
    assert len(paths) > 3
    for path in paths[:3]:
        path.unlink()
    rest = [line["request_id"] for line in found]
    assert (first["request_id"], rest[-1]) == ("0", "5")


def test_a_budget_is_given_back_whatever_happens() -> None:
    budget = Budget(1000)
    with budget.share() as one, budget.share() as other:
        one.grow_to(FREE + 600)
        other.grow_to(FREE)
        with pytest.raises(RequestError) as caught:
            other.grow_to(FREE + 401)
        assert caught.value.status == 503
        other.grow_to(FREE + 400)
        one.shrink_to(FREE + 100)
        one.shrink_to(FREE + 900)
        assert budget.held == 500
    assert budget.held == 0


class _Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


def test_a_connection_without_a_request_gives_way_to_a_new_one() -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        everybody = Connections(3)
        bounds, transports = [], []
        for _ in range(3):
            transports.append(_Transport())
            bounds.append(ConnectionTimer(loop, transports[-1], body_seconds=60))
            assert everybody.admit(bounds[-1])
        late = ConnectionTimer(loop, _Transport(), body_seconds=60)
        assert not everybody.admit(late), "all are new"
        bounds[0].request_begins()
        for bound in bounds[1:]:
            bound.idle_since = time.monotonic() - 10
        bounds[2].idle_since = time.monotonic() - 20
        assert everybody.admit(late)
        assert [transport.aborted for transport in transports] == [False, False, True]

    asyncio.run(scene())


def test_a_client_that_takes_no_answer_is_left() -> None:
    async def scene() -> None:
        gone, slow = _Transport(), _Transport()
        bounds = [
            ConnectionTimer(asyncio.get_running_loop(), transport, body_seconds=0.05)
            for transport in (gone, slow)
        ]
        for bound in bounds:
            bound.request_begins()
            bound.pause_writing()
        bounds[1].resume_writing()
        await asyncio.sleep(0.15)
        assert (gone.aborted, slow.aborted) == (True, False)

    asyncio.run(scene())


_LOUD = """
import logging, sys, time
from pathlib import Path
from penstock.processes import logs
logs.bound(Path(sys.argv[1]), size=100_000)
for number in range(400):
    print("x" * 1000, flush=True)
    sys.stderr.write("y" * 1000 + "\\n")
    time.sleep(0.005)
print("the last line")
"""


def test_a_log_is_rotated_by_whoever_writes_it(tmp_path: Path) -> None:
    log = tmp_path / "some.log"
    with log.open("ab") as output:
        subprocess.run(
            [sys.executable, "-c", _LOUD, str(log)], stdout=output, stderr=output, check=True
        )
    kept = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert kept.keys() == {"some.log", "some.log.1"}
    assert sum(kept.values()) < 600_000
    assert logs.tail(log, lines=1) == "the last line"


def test_only_the_end_of_a_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "some.log"
    with log.open("wb") as stream:
        stream.seek(3 << 30)
        stream.write(b"\nfirst\n\n second \nlast\n")
    started = time.monotonic()
    assert logs.tail(log, lines=3) == "first | second | last"
    assert time.monotonic() - started < 1
    assert logs.tail(tmp_path / "none") == "(no log)"
    (tmp_path / "empty").touch()
    assert logs.tail(tmp_path / "empty") == "(empty)"


def test_a_line_does_not_repeat_for_ever() -> None:
    sparing = logs.Sparing()

    def passes(text: str) -> list[bool]:
        records = [
            logging.LogRecord("a", logging.WARNING, "", 0, text, (number,), None)
            for number in range(1000)
        ]
        return [sparing.filter(record) for record in records]

    assert sum(passes("request %s failed")) == sum(passes("another %s")) == 20


def test_malformed_requests_leave_no_tracebacks_and_few_lines(tight: Server) -> None:
    for _ in range(60):
        with _connect(tight) as connection:
            connection.sendall(b"\x16\x03\x01 not http\r\n\r\n")
            assert _all_of(connection).startswith(b"HTTP/1.1 400 ")
    assert tight.log().count("Invalid HTTP request received") <= 20
    assert "Traceback" not in tight.log()
