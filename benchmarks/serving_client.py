"""A load client in a process of its own: keep-alive connections, each asking as soon as answered.

Standard library alone, so that it starts fast and costs little beside the server it measures
(about 20 us a request). Reads a JSON object from its standard input and writes one to its output:

    {"port", "path", "headers", "bodies", "concurrency", "seconds"}
    {"requests", "seconds", "failures", "first_failure", "latencies"}

`bodies` is a file with a JSON list of request bodies as text, sent in turn. Latencies are in
microseconds. A failure is any answer but 200, and a connection that the server closes instead.
"""

from __future__ import annotations

import itertools
import json
import selectors
import socket
import sys
import time
from pathlib import Path
from typing import Any

BLOCK = 1 << 18


class Connection:
    """One keep-alive connection with at most one request under way."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.socket = self._connect()
        self._received = b""
        self._needed = 0
        self.sent = 0

    def _connect(self) -> socket.socket:
        connected = socket.create_connection(("127.0.0.1", self._port), timeout=120)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected

    def again(self) -> None:
        """Connect again, after the server has closed the connection."""
        self.socket.close()
        self.socket = self._connect()

    def ask(self, request: bytes) -> None:
        """Send one request."""
        self._received, self._needed = b"", 0
        self.sent = time.perf_counter_ns()
        self.socket.sendall(request)

    def take(self) -> bytes | None:
        """Take what has come; return the whole answer once it is there.

        Raises:
            ConnectionError: If the server has closed the connection.
        """
        block = self.socket.recv(BLOCK)
        if not block:
            raise ConnectionError(f"the connection was closed after {self._received!r}")
        self._received += block
        if not self._needed:
            head, found, _ = self._received.partition(b"\r\n\r\n")
            if not found:
                return None
            self._needed = len(head) + 4 + _length(head)
        return self._received if len(self._received) >= self._needed else None


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ValueError(f"an answer without content-length: {head!r}")


def request_of(body: str, *, path: str, port: int, headers: dict[str, str]) -> bytes:
    """Return one HTTP request as it goes over the wire."""
    content = body.encode()
    given = {
        "Host": f"127.0.0.1:{port}",
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        **headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + content


class Load:
    """A closed loop: every connection asks again as soon as it is answered.

    Args:
        requests: What is sent, in turn.
        seconds: How long requests are sent; the last answers are waited for.
    """

    def __init__(self, requests: list[bytes], *, seconds: float) -> None:
        self._requests = itertools.cycle(requests)
        self._seconds = seconds
        self._latencies: list[int] = []
        self._failures: list[str] = []

    def run(self, port: int, *, concurrency: int) -> dict[str, Any]:
        """Keep `concurrency` requests under way."""
        connections = [Connection(port) for _ in range(concurrency)]
        began = time.perf_counter_ns()
        end = began + int(self._seconds * 1e9)
        with selectors.DefaultSelector() as selector:
            for connection in connections:
                selector.register(connection.socket, selectors.EVENT_READ, connection)
                connection.ask(next(self._requests))
            while selector.get_map():
                for key, _ in selector.select():
                    self._take(key.data, selector, end=end)
        took = time.perf_counter_ns() - began
        for connection in connections:
            connection.socket.close()
        return {
            "requests": len(self._latencies),
            "seconds": took / 1e9,
            "failures": len(self._failures),
            "first_failure": self._failures[0] if self._failures else "",
            "latencies": self._latencies,
        }

    def _take(self, connection: Connection, selector: selectors.BaseSelector, *, end: int) -> None:
        try:
            answer = connection.take()
        except ConnectionError as error:
            self._failures.append(str(error))
            selector.unregister(connection.socket)
            connection.again()
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        else:
            if answer is None:
                return
            if not answer.startswith(b"HTTP/1.1 200"):
                self._failures.append(answer[:400].decode(errors="replace"))
        now = time.perf_counter_ns()
        self._latencies.append((now - connection.sent) // 1000)
        if now < end:
            connection.ask(next(self._requests))
        else:
            selector.unregister(connection.socket)


def main() -> None:
    """Run one stretch of load."""
    order = json.load(sys.stdin)
    requests = [
        request_of(body, path=order["path"], port=order["port"], headers=order["headers"])
        for body in json.loads(Path(order["bodies"]).read_text())
    ]
    load = Load(requests, seconds=order["seconds"])
    result = load.run(order["port"], concurrency=order["concurrency"])
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
