"""A model server for a while: started, used, and ended whatever happens."""

from __future__ import annotations

import contextlib
import http.client
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock.errors import ServiceError
from penstock.processes import logs, supervisor
from penstock.processes.loopback import LOOPBACK

NAME = "candidate"

_GRACE = 10.0


@dataclass
class TemporaryServer:
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
                f"the server does not answer: {error!r}. Its log ends: {logs.tail(self.log)}"
            ) from error
        taken = time.perf_counter() - started
        if response.status != 200:
            raise ServiceError(
                f"the server answered {response.status} to a holdout row: {text[:300]!r}. "
                f"Its log ends: {logs.tail(self.log)}"
            )
        answer: dict[str, Any] = json.loads(text)
        return answer, taken


@contextlib.contextmanager
def temporary_server(
    arguments: Sequence[str], *, scratch: Path, timeout: float
) -> Iterator[TemporaryServer]:
    """Start a model server on loopback, yield it once it is ready, and end it.

    Args:
        arguments: Of `python -m penstock.serving`, without its name, version, host and port.
        scratch: Folder for its log.
        timeout: Seconds until it must be ready.

    Raises:
        ServiceError: If it ends before it is ready, or is not ready in time.
    """
    log = scratch / "server.log"
    with contextlib.closing(supervisor.hold_port(0)) as reserved:
        port = int(reserved.getsockname()[1])
        if sys.platform != "linux":
            # Elsewhere SO_REUSEADDR does not let the server bind a port that is still held.
            reserved.close()
        given = ["--name", NAME, "--version", "0", "--host", LOOPBACK, "--port", str(port)]
        started = time.perf_counter()
        with supervisor.temporary(
            "penstock.serving", [*arguments, *given], log=log, grace=_GRACE
        ) as process:
            supervisor.wait_until_ready(
                port,
                f"/v2/models/{NAME}/versions/0/ready",
                process,
                timeout=timeout,
                log=log,
                what="the server",
            )
            taken = time.perf_counter() - started
            connection = http.client.HTTPConnection(LOOPBACK, port, timeout=60)
            with contextlib.closing(connection):
                yield TemporaryServer(port=port, start=taken, log=log, _connection=connection)
