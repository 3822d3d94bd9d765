"""Servers as running processes: started, asked, loaded, read, ended."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from serving_models import POSITIVE, THRESHOLD, Row, Served
from serving_servers import Ports, Server, start

TOLERANCE = 1e-6
READY_TIMEOUT = 180.0
_KINDS = ("rss", "pss")
CLIENT = Path(__file__).with_name("serving_client.py")


class ServerError(Exception):
    """A server that does not come up, or does not answer as the model does."""


@dataclass
class Running:
    """A server that is up.

    Args:
        server: What it is.
        port: Where it listens.
        process: The process that was started; it may have started others.
        log: Its output.
        ready_seconds: From its start to the first 200 of its readiness.
    """

    server: Server
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    ready_seconds: float

    def cpu(self) -> float:
        """Return the CPU seconds (user and system) of its processes so far."""
        return cpu_of(self.process.pid)

    def memory(self) -> dict[str, float]:
        """Return the MB that its processes hold.

        Resident (`rss_mb`), a page counted for each process that has it; and as their share of the
        pages that other processes have too (`pss_mb`), such as those of the same libraries.
        """
        held = [process.memory_full_info() for process in _tree(self.process.pid)]
        return {f"{kind}_mb": sum(getattr(one, kind) for one in held) / 2**20 for kind in _KINDS}


@dataclass
class Stretches:
    """What one server did under one kind of load, over all rounds."""

    requests: int = 0
    failures: int = 0
    first_failure: str = ""
    seconds: float = 0.0
    cpu_ms: list[float] = field(default_factory=list)
    latencies: list[int] = field(default_factory=list)

    def add(self, result: dict[str, Any], *, cpu: float) -> None:
        """Add one round."""
        self.requests += result["requests"]
        self.failures += result["failures"]
        self.first_failure = self.first_failure or result["first_failure"]
        self.seconds += result["seconds"]
        self.cpu_ms.append(cpu / max(result["requests"], 1) * 1000)
        self.latencies += result["latencies"]

    def figures(self, *, rows: int) -> dict[str, float]:
        """Return the figures for requests of `rows` rows; times in milliseconds.

        CPU is the median of the rounds, everything else is of all of them together.
        """
        p50, p99 = np.percentile(np.array(self.latencies) / 1000, [50, 99])
        rate = self.requests / self.seconds
        return {
            "requests": self.requests,
            "failures": self.failures,
            "cpu_ms": statistics.median(self.cpu_ms),
            "p50_ms": float(p50),
            "p99_ms": float(p99),
            "requests_per_second": rate,
            "rows_per_second": rate * rows,
        }


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of a process and of those below it that still run."""
    times = [process.cpu_times() for process in _tree(pid)]
    return sum(taken.user + taken.system for taken in times)


def _tree(pid: int) -> list[psutil.Process]:
    top = psutil.Process(pid)
    return [top, *top.children(recursive=True)]


@contextmanager
def running(server: Server, served: Served, *, programs: Path, folder: Path) -> Iterator[Running]:
    """Run a server until the block ends.

    Raises:
        ServerError: If it ends before it is ready, or is not ready in time.
    """
    began = time.perf_counter()
    ports = _free_ports()
    process = start(server, served, programs=programs, folder=folder, ports=ports)
    log = folder / "log"
    try:
        while not _answers(ports.http, server.ready):
            took = time.perf_counter() - began
            if process.poll() is not None or took > READY_TIMEOUT:
                end = log.read_text(errors="replace")[-1500:]
                raise ServerError(f"not ready after {took:.1f} s; its log ends:\n{end}")
            time.sleep(0.01)
        took = time.perf_counter() - began
        yield Running(server, ports.http, process, log, took)
    finally:
        _end(process)


def _free_ports() -> Ports:
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(3)]
        for one in held:
            one.bind(("127.0.0.1", 0))
        return Ports(*(one.getsockname()[1] for one in held))


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the session that was started for it: `mlflow models serve` leaves its child otherwise."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(20)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            process.wait()


def check(running: Running, rows: list[Row], truth: np.ndarray, classes: list[str]) -> float:
    """Return the largest difference of a probability, row by row and all rows at once.

    Raises:
        ServerError: If an answer is not 200, a label differs, or the difference is too large.
    """
    server, worst = running.server, 0.0
    parts = [slice(0, len(rows)), *(slice(i, i + 1) for i in range(min(40, len(rows))))]
    for part in parts:
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)
        headers = {"content-type": "application/json"}
        connection.request("POST", server.path, server.body(rows[part]), headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        if response.status != 200:
            raise ServerError(f"{response.status}: {content[:600].decode(errors='replace')}")
        answer = json.loads(content)
        scores = np.array(server.scores(answer, classes))
        if scores.shape != truth[part].shape:
            raise ServerError(f"{len(scores)} scores for {len(truth[part])} rows")
        given = np.array(answer["predictions"]) if server.ours else _labels(scores)
        if (given != _labels(truth[part])).any():
            raise ServerError("a label differs from scikit-learn's")
        worst = max(worst, float(np.abs(scores - truth[part]).max()))
    if worst > TOLERANCE:
        raise ServerError(f"a probability differs by {worst:.1e} from scikit-learn's")
    return worst


def _labels(scores: np.ndarray) -> np.ndarray:
    return np.where(scores >= THRESHOLD, POSITIVE, "no")


def load(port: int, *, path: str, bodies: Path, concurrency: int, seconds: float) -> dict[str, Any]:
    """Load a port by a client process; see `serving_client.py` for what it returns."""
    order = {
        "port": port,
        "path": path,
        "headers": {},
        "bodies": str(bodies),
        "concurrency": concurrency,
        "seconds": seconds,
    }
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(CLIENT)],
        input=json.dumps(order),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ServerError(f"the client failed: {done.stderr[-1500:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def write_bodies(server: Server, rows: list[Row], *, per_request: int, folder: Path) -> Path:
    """Write the requests that the client sends in turn, and return the file."""
    path = folder / f"bodies-{per_request}.json"
    parts = [rows[i : i + per_request] for i in range(0, len(rows), per_request)]
    path.write_text(json.dumps([server.body(part).decode() for part in parts]))
    return path
