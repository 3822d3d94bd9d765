"""A client that asks services without a pause over kept connections, and writes down what failed.

Reads one JSON object from its standard input, {"services": {name: port}, "bodies": [text], "rate":
requests a second of each connection, "connections": of each service, "failures": file}, and runs
until its input ends; then prints {name: {"answers": {status: count}, "versions": {version:
count}, "slowest": seconds}}. Each failure is a line of JSON in the file: service, time, kind.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

TIMEOUT = 30.0


class Client:
    """What one service answered.

    Args:
        name: The service.
        port: Its public port on loopback.
        requests: What is asked, in turn, as it goes over the wire.
        failures: Where failures are written.
    """

    def __init__(self, name: str, port: int, requests: list[bytes], failures: Path) -> None:
        self._name, self._port, self._requests, self._failures = name, port, requests, failures
        self.answers: Counter[str] = Counter()
        self.versions: Counter[str] = Counter()
        self.slowest = 0.0

    async def ask(self, *, rate: float, over: asyncio.Event) -> None:
        """Ask at a steady rate over one connection, which is opened again when it was closed."""
        reader: asyncio.StreamReader | None = None
        writer: asyncio.StreamWriter | None = None
        number = 0
        while not over.is_set():
            began = time.monotonic()
            try:
                if reader is None or writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                number += 1
                writer.write(self._requests[number % len(self._requests)])
                status, body = await asyncio.wait_for(_answer(reader), TIMEOUT)
                self._count(status, body, time.monotonic() - began)
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                self._failed(type(error).__name__)
                if writer is not None:
                    writer.close()
                reader = writer = None
            await asyncio.sleep(max(0.0, began + 1 / rate - time.monotonic()))
        if writer is not None:
            writer.close()

    def _count(self, status: int, body: bytes, seconds: float) -> None:
        self.slowest = max(self.slowest, seconds)
        if status != 200:
            self._failed(str(status), body)
            return
        self.answers["200"] += 1
        self.versions[str(json.loads(body).get("model_version"))] += 1

    def _failed(self, kind: str, body: bytes = b"") -> None:
        self.answers[kind] += 1
        entry = {
            "service": self._name,
            "time": time.time(),
            "kind": kind,
            "said": body.decode()[:300],
        }
        with self._failures.open("a") as stream:
            stream.write(json.dumps(entry) + "\n")


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    length = next(
        int(line.partition(b":")[2]) for line in lines if line.lower().startswith(b"content-length")
    )
    return int(lines[0].split()[1]), await reader.readexactly(length)


def _request(name: str, body: str) -> bytes:
    content = body.encode()
    head = (
        f"POST /v1/models/{name}:predict HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def _run(order: dict[str, Any]) -> dict[str, Any]:
    over = asyncio.Event()
    failures = Path(order["failures"])
    clients = {
        name: Client(name, port, [_request(name, body) for body in order["bodies"]], failures)
        for name, port in order["services"].items()
    }
    tasks = [
        asyncio.create_task(client.ask(rate=order["rate"], over=over))
        for client in clients.values()
        for _ in range(order["connections"])
    ]
    await asyncio.to_thread(sys.stdin.read)
    over.set()
    await asyncio.gather(*tasks)
    return {
        name: {"answers": c.answers, "versions": c.versions, "slowest": c.slowest}
        for name, c in clients.items()
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_run(json.loads(sys.stdin.readline())))))
