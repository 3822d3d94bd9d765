"""What a store that is away costs users, and whether every row that was dropped is counted.

Two model servers answer the same rows in turn. One ships what it captures to an S3 server that is
there; the store of the other takes connections and never answers. Its spool is small, so that it
fills: rows are dropped. Then the store comes, the servers end, and what was shipped is read.

    python benchmarks/bench_captures.py [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from serving_models import Served, Workshop
from targets import Target, report

SECONDS, QUICK = 600.0, 20.0
RATE = 50.0
"""Requests a second, to each server."""

SPOOL = 512 << 10
BUCKET = "captures"
BLOCK = 1_500
"""Requests of which one p99 is taken: half a minute of them."""
SETTLED = 0.4
"""Share of the time after which a server's memory should grow no more."""


@dataclass
class Asked:
    """One server and what it was asked."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    milliseconds: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    def ask(self, body: bytes, number: int) -> None:
        """Send a request on a connection of its own, as a proxy's pool would keep it."""
        began = time.perf_counter()
        connection = self._connection
        connection.request(
            "POST",
            "/v1/models/model:predict",
            body,
            {"content-type": "application/json", "x-request-id": f"{self.name}-{number}"},
        )
        answer = connection.getresponse()
        answer.read()
        self.milliseconds.append(1000 * (time.perf_counter() - began))
        if answer.status != 200:
            raise SystemExit(f"{self.name} answered {answer.status}")

    def look(self) -> None:
        """Note its memory, without that of the process that ships."""
        self.memory.append(psutil.Process(self.process.pid).memory_info().rss / 1e6)

    def dropped(self) -> int:
        """Return the rows that its metrics say it dropped."""
        self._connection.request("GET", "/metrics")
        text = self._connection.getresponse().read().decode()
        line = next(
            each for each in text.splitlines() if each.startswith("penstock_capture_dropped_rows_")
        )
        return int(float(line.rpartition(" ")[2]))

    def __post_init__(self) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)


def main() -> int:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short run")
    parser.add_argument("--seconds", type=float, help="how long the store is away")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    seconds = options.seconds or (QUICK if options.quick else SECONDS)
    with tempfile.TemporaryDirectory() as place:
        figures = _measure(Path(place), seconds)
    if options.quick:
        figures["quick"] = True
    return report(
        "captures",
        question="What a store that takes connections and never answers costs users at 50 requests "
        "a second, beside the same server with a store that answers, and whether every row is "
        "shipped or counted as dropped.",
        figures=figures,
        targets=[
            Target("users' p99 beside a store that answers", figures["p99_ratio"], 1.05),
            Target("growth of the server's memory", figures["growth_mb"], 5, unit="MB"),
            Target("rows neither shipped nor counted", abs(figures["uncounted"]), 0, unit="rows"),
            Target("rows dropped", figures["dropped"], 1, unit="rows", side="at least"),
        ],
        path=options.json,
    )


def _measure(place: Path, seconds: float) -> dict[str, float]:
    workshop = Workshop(place / "models", rows=4000)
    served = workshop.make("linear")
    body = json.dumps({"instances": workshop.rows(1)}).encode()
    with contextlib.ExitStack() as stack:
        near, far = _free_port(), _free_port()
        stack.enter_context(_store(near))
        silent = stack.enter_context(_silent(far))
        asked = [
            stack.enter_context(_server(served, place / name, name=name, store=port))
            for name, port in (("there", near), ("away", far))
        ]
        number = _load(asked, body, seconds)
        away = asked[1]
        # The last rows are gathered for a moment before they are written or dropped.
        time.sleep(1)
        dropped = away.dropped()
        silent.close()
        stack.enter_context(_store(far))
        for one in asked:
            one.process.terminate()
            one.process.wait(120)
        shipped, lost = _read(far)
    p99 = {one.name: _p99s(one.milliseconds) for one in asked}
    begin = int(SETTLED * len(away.memory))
    return {
        "seconds": seconds,
        "requests": number,
        "p99_there_ms": float(np.median(p99["there"])),
        "p99_away_ms": float(np.median(p99["away"])),
        # Other work on the machine slows both in the same half minute, and some of them much.
        "p99_ratio": float(np.median(p99["away"] / p99["there"])),
        "memory_mb": away.memory[-1],
        "growth_mb": away.memory[-1] - away.memory[begin],
        "shipped": shipped,
        "dropped": dropped,
        "uncounted": number - shipped - dropped + abs(lost - dropped),
    }


def _p99s(milliseconds: list[float]) -> np.ndarray:
    """Return the 99th percentile of each block of requests, the whole ones; of all if none is."""
    whole = max(1, len(milliseconds) // BLOCK)
    return np.array([np.quantile(part, 0.99) for part in np.array_split(milliseconds, whole)])


def _load(asked: list[Asked], body: bytes, seconds: float) -> int:
    """Ask both in turn at the rate; who is asked first changes, so that neither gains by it."""
    began, number = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        for one in asked if number % 2 else asked[::-1]:
            one.ask(body, number)
        if number % round(RATE) == 0:
            for one in asked:
                one.look()
        number += 1
        time.sleep(max(0.0, began + number / RATE - time.monotonic()))
    return number


@contextlib.contextmanager
def _server(served: Served, folder: Path, *, name: str, store: int) -> Iterator[Asked]:
    port = _free_port()
    folder.mkdir()
    command = [
        *(sys.executable, "-m", "penstock.serving", "--model", str(served.penstock)),
        *("--name", "model", "--version", "1", "--digest", served.digest),
        *("--export", served.export, "--port", str(port)),
        *("--capture", str(folder / "spool"), "--capture-to", f"s3://{BUCKET}/rows"),
        *("--capture-bytes", str(SPOOL // 8), "--capture-seconds", "5"),
        *("--capture-spool-bytes", str(SPOOL)),
        # What labels may come for is bounded apart; its 100,000 rows would fill for half an hour.
        *("--remember", "1000"),
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=os.environ | _credentials(store), stdout=log, stderr=log
        )
    try:
        _wait(port, "/v2/health/ready", process)
        yield Asked(name, port, process)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _store(port: int) -> Iterator[None]:
    """An S3 server with the bucket."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(port, "/moto-api/", process)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("PUT", f"/{BUCKET}")
        connection.getresponse().read()
        yield
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _silent(port: int) -> Iterator[socket.socket]:
    """A store that takes connections and never answers."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(512)
        yield listener


def _read(port: int) -> tuple[int, int]:
    """Return the rows in the store, and those that its manifests count as lost."""
    from penstock.captures.reader import Cursor, read_window

    os.environ.update(_credentials(port))
    captured = read_window(f"s3://{BUCKET}/rows", after=Cursor())
    return captured.rows, captured.lost


def _credentials(port: int) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }


def _wait(port: int, path: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.suppress(OSError):
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        time.sleep(0.1)
    raise SystemExit(f"nothing answers at port {port}")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
