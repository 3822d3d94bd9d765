"""Processes and servers of tests: how they start and end, their ports, what is waited for."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

LOOPBACK = "127.0.0.1"
ServerKind = TypeVar("ServerKind", bound=socketserver.BaseServer)


def free_port(host: str = LOOPBACK) -> int:
    """Return a port that nobody has. What must stay without a listener is held instead."""
    with socket.socket() as held:
        held.bind((host, 0))
        port: int = held.getsockname()[1]
        return port


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """Yield a port that is taken and at which nobody listens: whoever connects is refused."""
    with socket.socket() as held:
        held.bind((LOOPBACK, 0))
        yield held.getsockname()[1]


def listens(port: int) -> bool:
    """Return whether somebody takes connections at a port of this machine."""
    with socket.socket() as asking:
        return asking.connect_ex((LOOPBACK, port)) == 0


def answers(url: str) -> bool:
    """Return whether a GET is answered with 200."""
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(url, trust_env=False, timeout=5, verify=False).status_code == 200
    return False


@contextlib.contextmanager
def served(server: ServerKind) -> Iterator[ServerKind]:
    """Have a server answer in a thread of this process, for the time of the block."""
    # It looks this often whether it is to end; Python's half a second is what a test would wait.
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def until(
    holds: Callable[[], object],
    *,
    seconds: float = 20,
    every: float = 0.02,
    what: str = "it did not come about in time",
) -> None:
    """Wait until something holds; fail with `what` when it does not within so many seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(every)


def modules_running(folder: Path) -> list[str]:
    """Return the command lines of all processes of `python -m` that name a folder."""
    lines = [" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])]
    return [line for line in lines if str(folder) in line and " -m " in line]


class RunningProcess(subprocess.Popen[bytes]):
    """A process that writes to a file; its block waits for nothing, and ends it.

    Args:
        command: The program and its arguments.
        log: Where its output and its errors go; what is there stays.
        options: Further ones of `subprocess.Popen`: `env`, `cwd`, `user`.
    """

    def __init__(self, command: Sequence[object], *, log: Path, **options: Any) -> None:
        self.log = log
        with log.open("ab") as output:
            super().__init__(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                **options,
            )

    def output(self) -> str:
        """Return what it wrote."""
        return self.log.read_text(errors="replace")

    def wait_until(
        self, holds: Callable[[], object], *, seconds: float = 120, every: float = 0.05
    ) -> None:
        """Wait until something holds; fail with the log when it ends first, or takes too long."""
        deadline = time.monotonic() + seconds
        while not holds():
            # What it did last may hold only now.
            ended = self.poll() is not None and not holds()
            assert not ended, f"it ended with {self.returncode}: {self.output()}"
            assert time.monotonic() < deadline, f"not within {seconds} s: {self.output()}"
            time.sleep(every)

    def stop(self, number: signal.Signals = signal.SIGTERM, *, seconds: float = 60) -> int:
        """Send it a signal, unless it has ended, and return its exit code.

        Raises:
            subprocess.TimeoutExpired: If it does not end for that; it is killed then.
        """
        self.send_signal(number)
        try:
            return self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            self.wait()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextlib.contextmanager
def mlflow_server(
    folder: Path, *, store: str, host: str = LOOPBACK, options: Sequence[object] = ()
) -> Iterator[str]:
    """Yield the address of MLflow's own server, which works and logs in a folder.

    Args:
        folder: Its working directory, and where its log is: `mlflow.log`.
        store: Where it keeps what it is told.
        host: The address at which it listens.
        options: Further ones of `mlflow server`.
    """
    port = free_port(host)
    command = [
        Path(sys.executable).with_name("mlflow"), "server", "--workers", "1",
        "--host", host, "--port", port, "--backend-store-uri", store, *options,
    ]  # fmt: skip
    # Six processes that no test has work for.
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    log = folder / "mlflow.log"
    with RunningProcess(command, log=log, cwd=folder, env=environment) as server:
        server.wait_until(lambda: answers(f"http://{host}:{port}/health"), seconds=400, every=0.2)
        yield f"http://{host}:{port}"
