"""A model server that is held for a while: started, asked, and ended whatever happens."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock.errors import ServiceError
from penstock.serving import logs

LOOPBACK = "127.0.0.1"
NAME = "candidate"

_GRACE = 10.0


@dataclass
class Held:
    """A server that answers, on one connection that stays open.

    Args:
        port: Its port on loopback.
        start: Seconds from starting the process until it answered.
        log: What it wrote.
    """

    port: int
    start: float
    log: Path
    _connection: http.client.HTTPConnection = field(repr=False)

    def ask(self, body: bytes) -> tuple[dict[str, Any], float]:
        """Return the answer to a v1 request, and the seconds from sending it to having it all.

        Raises:
            ServiceError: If it does not answer, or not 200.
        """
        started = time.perf_counter()
        try:
            self._connection.request("POST", f"/v1/models/{NAME}:predict", body=body)
            response = self._connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise ServiceError(
                f"the server does not answer: {error!r}. Its log ends: {tail(self.log)}"
            ) from error
        taken = time.perf_counter() - started
        if response.status != 200:
            raise ServiceError(
                f"the server answered {response.status} to a holdout row: {text[:300]!r}. "
                f"Its log ends: {tail(self.log)}"
            )
        answer: dict[str, Any] = json.loads(text)
        return answer, taken


@contextlib.contextmanager
def held(arguments: Sequence[str], *, scratch: Path, timeout: float) -> Iterator[Held]:
    """Start a model server on loopback, yield it once it is ready, and end it.

    Args:
        arguments: Of `python -m penstock.serving`, without its name, version, host and port.
        scratch: Folder for its log.
        timeout: Seconds until it must be ready.

    Raises:
        ServiceError: If it ends before it is ready, or is not ready in time.
    """
    log = scratch / "server.log"
    with contextlib.closing(_free_port()) as reserved, log.open("wb") as output:
        port = int(reserved.getsockname()[1])
        # -P: a folder called penstock in the working directory must not be taken for the package.
        command = [sys.executable, "-P", "-m", "penstock.serving.leash", *arguments]
        command += ["--name", NAME, "--version", "0", "--host", LOOPBACK, "--port", str(port)]
        if sys.platform != "linux":
            # Elsewhere SO_REUSEADDR does not let the server bind a port that is still held.
            reserved.close()
        started = time.perf_counter()
        server = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, stdout=output, stderr=output, cwd=scratch
        )
        try:
            _wait(server, port, deadline=time.monotonic() + timeout, log=log)
            taken = time.perf_counter() - started
            connection = http.client.HTTPConnection(LOOPBACK, port, timeout=60)
            with contextlib.closing(connection):
                yield Held(port=port, start=taken, log=log, _connection=connection)
        finally:
            _end(server)


def tail(log: Path) -> str:
    """Return the last lines of a log, joined by ` | `."""
    return logs.tail(log)


def _free_port() -> socket.socket:
    reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind((LOOPBACK, 0))
    return reserved


def _wait(server: subprocess.Popen[bytes], port: int, *, deadline: float, log: Path) -> None:
    while not _ready(port):
        if server.poll() is not None:
            raise ServiceError(f"the server ended before it was ready. Its log ends: {tail(log)}")
        if time.monotonic() > deadline:
            raise ServiceError(f"the server was not ready in time. Its log ends: {tail(log)}")
        time.sleep(0.02)


def _ready(port: int) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", f"/v2/models/{NAME}/versions/0/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(_GRACE)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    finally:
        if server.stdin is not None:
            server.stdin.close()
