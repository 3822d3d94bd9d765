"""What no client should send, and what some do: nothing of it may shake the server."""

from __future__ import annotations

import copy
import gzip
import json
import random
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from serving_process import ROW, Server, Start, v2_body

PREDICT, INFER = "/v1/models/adult:predict", "/v2/models/adult/infer"
LEAKS = re.compile(rb'Traceback|File "|site-packages|/penstock/|\.py\b|0x[0-9a-f]{8}|/tmp/')

FEEDBACK = {"labels": [{"request_id": "a", "row": 0, "label": "yes"}]}
SPLIT = {"dataframe_split": {"columns": list(ROW), "data": [list(ROW.values())]}}
BODIES: list[tuple[str, dict[str, Any]]] = [
    (PREDICT, {"instances": [ROW, ROW]}),
    (INFER, v2_body([ROW], id="x", parameters={"content_type": "pd"}, outputs=[])),
    (INFER, v2_body([ROW, ROW], outputs=[{"name": "predictions"}])),
    (INFER, v2_body([ROW], id=None, model_name="a", parameters={"binary_data_output": True})),
    (INFER, {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 5], "data": [1] * 5}]}),
    (PREDICT, {"inputs": {name: [value] for name, value in ROW.items()}}),
    (PREDICT, {"instances": [list(ROW.values())], "signature_name": None}),
    ("/invocations", SPLIT),
    ("/invocations", {"dataframe_records": [ROW], "params": {}}),
    ("/v1/models/adult:feedback", FEEDBACK),
    ("/v1/models/adult:explain", {"instances": [ROW]}),
]
READS = ["/", "/v2", "/v2/models", "/v2/models/adult", "/v2/health/ready", "/metrics"]
READS += ["/openapi.json", "/v1/models/adult", "/v2/models/adult/versions/3/ready"]
PATHS = [path for path, _ in BODIES] + READS
PATHS += ["/v1/models/%2e%2e/etc:predict", "/v2/models/adult/versions/9/infer", "*", "//", "/%ff"]
PATHS += [
    "/v1/models/adult%3Apredict",
    "/v2/models/adult/infer/",
    "/" + "a" * 5000,
    "/?a=b",
    "/\x7f",
]
METHODS = ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "BREW", "get"]
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1.5, -0.0, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 2**64, 1e308),
    *(
        5e-324,
        "",
        "NaN",
        "1",
        "null",
        "\0",
        "\ufeff",
        "\u202e",
        "é" * 300,
        "💧",
        "a\nb",
        "' OR 1=1",
    ),
    *("2026-13-01", "9999-12-31T23:59:59-23:59", "0001-01-01", "2026-01-01T00:00:00+99:99"),
    *("${jndi:ldap://x}", "../../etc/passwd", "' OR 1=1", "x" * 5000),
    *([], {}, [[]], [None], {"a": {"b": []}}),
]
TOKENS = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" * 400, "01", "+1", ".5", "1."]
TOKENS += [
    "0x10",
    "True",
    "None",
    "'a'",
    '"\\ud800"',
    '"\\u0000"',
    '"\\x"',
    "[" * 3000,
    '{"a":' * 600,
]
HEADERS = [
    *("content-encoding: deflate", "inference-header-content-length: 0"),
    *("content-type: text/csv", "content-type: ", "content-type: application/json; charset=utf-16"),
    *("content-encoding: gzip", "content-encoding: br", "inference-header-content-length: 5"),
    *("accept: */*;q=x", "accept: application/openmetrics-text; version=999", "te: trailers"),
    *("x-request-id: " + "r" * 200, "x-request-id: é", "x-penstock-mirror: 1"),
    *("x-penstock-replay: 1", "x-penstock-smoke: 1", "expect: 100-continue", "a:b"),
    *("upgrade: websocket\r\nconnection: upgrade", "x: " + "y" * 8000, "range: bytes=0-"),
    "ce-id: 1\r\nce-type: a\r\nce-source: b\r\nce-specversion: 1.0",
]


class Wire:
    """One connection at a time, kept as long as the server keeps it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None
        self.connections = 0

    def ask(self, request: bytes, *, head: bool = False, last: bool = False) -> tuple[int, bytes]:
        """Return status and body; 0 where the server ended the connection without an answer."""
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=20)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
        try:
            self._socket.sendall(request)
            if last:
                self._socket.shutdown(socket.SHUT_WR)
            status, headers, body = self._answer(self._socket, head=head)
        except (ConnectionError, EOFError):
            self.close()
            return 0, b""
        if last or re.search(rb"(?mi)^connection: *close", headers):
            self.close()
        return status, headers + body

    def close(self) -> None:
        """End the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @staticmethod
    def _answer(wire: socket.socket, *, head: bool) -> tuple[int, bytes, bytes]:
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                data += _more(wire)
            headers, _, data = data.partition(b"\r\n\r\n")
            status = int(headers.split(b" ", 2)[1])
            if status >= 200:
                break
        found = re.search(rb"(?mi)^content-length: *(\d+)", headers)
        size = 0 if head or found is None else int(found[1])
        while len(data) < size:
            data += _more(wire)
        return status, headers, data[:size]


def _more(wire: socket.socket) -> bytes:
    block = wire.recv(1 << 16)
    if not block:
        raise EOFError
    return block


def _request(method: str, path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: x", *headers, f"content-length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Fuzzer:
    """Requests out of a seed: mostly right, wrong in one to three places."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def __iter__(self) -> Iterator[tuple[bytes, bool, bool]]:
        """Yield request, whether it is a HEAD, and whether the connection ends with it."""
        makers = [self._values] * 8 + [self._bytes] * 3 + [self._tokens] * 2
        makers += [self._method, self._headers, self._headers, self._lie, self._chunks]
        makers += [self._tensors] * 3
        while True:
            yield self._chance.choice(makers)()

    def _body(self) -> tuple[str, dict[str, Any]]:
        path, body = self._chance.choice(BODIES)
        # To explain takes hundreds of rows each, so less often.
        if path.endswith("explain") and self._chance.random() < 0.8:
            path, body = BODIES[0]
        return path, copy.deepcopy(body)

    def _values(self) -> tuple[bytes, bool, bool]:
        path, body = self._body()
        for _ in range(self._chance.randint(1, 3)):
            self._mutate(body)
        return _request("POST", path, json.dumps(body).encode()), False, False

    def _mutate(self, body: Any) -> None:
        holders = [body]
        for holder in holders:
            parts = holder.values() if isinstance(holder, dict) else holder
            holders += [part for part in parts if isinstance(part, dict | list) and part]
        holder = self._chance.choice(holders)
        value = copy.deepcopy(self._chance.choice(VALUES))
        if isinstance(holder, dict) and holder:
            key = self._chance.choice(list(holder))
            action = self._chance.randrange(4)
            if action == 0:
                del holder[key]
            elif action == 1:
                holder[self._chance.choice(["", "age", "💧", "__class__", "a" * 300])] = value
            else:
                holder[key] = value
        elif isinstance(holder, list) and holder:
            action = self._chance.randrange(3)
            if action == 0:
                holder.append(copy.deepcopy(self._chance.choice(holder)))
            else:
                holder[self._chance.randrange(len(holder))] = value

    def _bytes(self) -> tuple[bytes, bool, bool]:
        path, body = self._body()
        encoding = self._chance.choice(["utf-8"] * 6 + ["utf-16", "utf-32", "latin-1", "utf-7"])
        data = bytearray(json.dumps(body).encode(encoding))
        for _ in range(self._chance.randint(0, 4)):
            place = self._chance.randrange(len(data))
            action = self._chance.randrange(3)
            if action == 0:
                data[place] = self._chance.randrange(256)
            elif action == 1:
                del data[place : place + self._chance.randint(1, 30)]
            else:
                data[place:place] = self._chance.randbytes(self._chance.randint(1, 5))
            if not data:
                break
        return _request("POST", path, bytes(data)), False, False

    def _tokens(self) -> tuple[bytes, bool, bool]:
        """Tokens that Python's own writer of JSON would not write, and keys given twice."""
        path, body = self._body()
        text = json.dumps(body)
        token = self._chance.choice(TOKENS)
        if self._chance.random() < 0.3:
            text = text.replace("{", '{"age": 1, "instances": [], ', self._chance.randint(1, 2))
        else:
            found = list(re.finditer(r'(?<=: )("[^"]*"|[\d.]+|true|false|null)', text))
            if found:
                place = self._chance.choice(found)
                text = text[: place.start()] + token + text[place.end() :]
        return _request("POST", path, text.encode()), False, False

    def _tensors(self) -> tuple[bytes, bool, bool]:
        """Binary tensors, with other bytes, sizes or lengths than they should have."""
        body = v2_body([ROW, ROW])
        blocks = [b"\1\0\0\0\0\0\0\0" * 2] * 2 + [b"\1\0"] + [b"\5\0\0\0pilot" * 2]
        blocks += [b"\x0a\0\0\x002026-01-01" * 2]
        for tensor, block in zip(body["inputs"], blocks, strict=True):
            del tensor["data"]
            tensor["parameters"] = {"binary_data_size": len(block)}
        if self._chance.random() < 0.4:
            self._mutate(body)
        head, rest = json.dumps(body).encode(), bytearray(b"".join(blocks))
        for _ in range(self._chance.randint(0, 2)):
            rest[self._chance.randrange(len(rest))] = self._chance.choice([0, 1, 127, 240, 255])
        length = len(head) + self._chance.choice([0] * 9 + [-1, 1, len(rest), 10**6])
        whole, headers = head + bytes(rest), [f"inference-header-content-length: {length}"]
        if self._chance.random() < 0.3:
            whole = gzip.compress(whole)[: self._chance.choice([None, None, -4])]
            headers.append("content-encoding: gzip")
        return _request("POST", INFER, whole, *headers), False, False

    def _method(self) -> tuple[bytes, bool, bool]:
        method = self._chance.choice(METHODS)
        body = self._chance.choice([b"", b"{}", b"\0"])
        path = self._chance.choice(PATHS)
        return _request(method, path, body), method == "HEAD", False

    def _headers(self) -> tuple[bytes, bool, bool]:
        headers = self._chance.sample(HEADERS, self._chance.randint(1, 3))
        if self._chance.random() < 0.5:
            return _request("GET", self._chance.choice(READS), b"", *headers), False, False
        path, body = self._body()
        return _request("POST", path, json.dumps(body).encode(), *headers), False, False

    def _lie(self) -> tuple[bytes, bool, bool]:
        """A content-length that is not the body's, or is no number at all."""
        path, body = self._body()
        data = json.dumps(body).encode()
        right = f"content-length: {len(data)}".encode()
        wrong = [0, 1, len(data) - 1, len(data) + 1, 10**9, 10**30, -1, "x", "5, 5", ""]
        lie = f"content-length: {self._chance.choice(wrong)}".encode()
        if self._chance.random() < 0.2:
            lie = right + b"\r\n" + lie
        return _request("POST", path, data).replace(right, lie, 1), False, True

    def _chunks(self) -> tuple[bytes, bool, bool]:
        path, body = self._body()
        data = json.dumps(body).encode()
        size = self._chance.choice([f"{len(data):x}", "0", "fffffffffffffffff", "-1", "x", ""])
        chunks = size.encode() + b"\r\n" + data + b"\r\n0\r\n\r\n"
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode()
        return head + chunks, False, True


@pytest.fixture(scope="module")
def server(exported: Callable[..., Any], start: Start) -> Server:
    made = exported()
    return start(made.folder, *made.options, "--max-body", "100000")


@pytest.mark.slow
@pytest.mark.parametrize("inputs", [1_000, pytest.param(10_000, marks=pytest.mark.long)])
def test_odd_requests_do_no_harm(server: Server, inputs: int) -> None:
    wire = Wire(server.port)
    statuses: Counter[int] = Counter()
    for number, (request, head, last) in zip(range(inputs), Fuzzer(20), strict=False):
        if last:
            wire.close()
        try:
            status, answer = wire.ask(request, head=head, last=last)
        except TimeoutError:
            pytest.fail(f"input {number} was not answered: {request[:3000]!r}")
        statuses[status] += 1
        assert status < 500, (number, request[:3000], answer)
        assert status or last, (number, request[:3000], "no answer")
        assert not LEAKS.search(answer), (number, request[:3000], answer)
    wire.close()
    print(dict(statuses), "connections", wire.connections)
    assert statuses[200] > inputs / 20
    assert statuses[400] > inputs / 3
    assert server.process.poll() is None
    assert server.predict(ROW).status_code == 200
    assert server.metric("penstock_requests_in_flight") == 0
    assert server.metric("penstock_requests_total", code="500") == 0
    assert "Traceback" not in server.log()


@pytest.mark.slow
@pytest.mark.parametrize("examples", [3, pytest.param(30, marks=pytest.mark.long)])
def test_what_the_openapi_document_describes_is_what_is_served(
    server: Server, examples: int
) -> None:
    import schemathesis
    from hypothesis import HealthCheck, given, settings
    from schemathesis import GenerationMode
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import status_code_conformance

    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) == 17, "all but the document itself"
    quiet = settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    checks = [not_a_server_error, status_code_conformance]

    def right(case: Any) -> None:
        status = case.call_and_validate(checks=checks).status_code
        # A schema cannot say what bytes and tables are.
        if case.media_type in ("application/octet-stream", "text/csv"):
            return
        # This model has nothing to explain against; and a time may be right in its own zone, yet
        # outside the years 1 to 9999 in UTC, or a leap second, which Python has no value for.
        beyond = re.search(r"0001-01-01T|9999-12-31T|:60", json.dumps(case.body, default=str))
        # Nor does it know of labels for requests that it never answered.
        unknown = case.path.endswith(("explain", "feedback"))
        wanted = {404 if unknown else 200, 400 if beyond else 200}
        assert status in wanted, case.as_curl_command()

    def wrong(case: Any) -> None:
        case.call_and_validate(checks=checks)

    for operation in operations:
        quiet(given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))(right))()
        # What takes neither body nor parameters cannot be asked wrongly.
        if len(operation.body):
            quiet(
                given(case=operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))(wrong)
            )()
    assert server.process.poll() is None
    assert "Traceback" not in server.log()
