"""Processes that outlive the one that started them, and ports on loopback."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.errors import ServiceError
from penstock.records.base import Value
from penstock.rollout.routers.loopback import LOOPBACK, ask
from penstock.serving import logs

if TYPE_CHECKING:
    import psutil

_MODULES = (
    "penstock.serving",
    "penstock.serving.drill",
    "penstock.rollout.routers.splitter",
)
_SAME_START = 2.0
"""Seconds by which two readings of one process's start may differ when the clock is corrected."""


class ProcessRef(Value):
    """A process, told apart from a later one that was given the same id.

    `started` is the time it was started, in seconds since 1970.
    """

    pid: int
    started: float


def start(
    module: str, arguments: Sequence[str], *, log: Path, sockets: Sequence[socket.socket] = ()
) -> ProcessRef:
    """Start `python -m module` in a session of its own, so that it survives this process.

    Args:
        module: The module to run, with the interpreter that runs this.
        arguments: Its arguments.
        log: File that its output is appended to.
        sockets: Sockets that it inherits under their own numbers.
    """
    import psutil

    # -P: a folder called penstock in the working directory must not be taken for the package.
    command = [sys.executable, "-P", "-m", module, *arguments]
    with log.open("ab") as output:
        child = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=log.parent,
            start_new_session=True,
            pass_fds=[held.fileno() for held in sockets],
        )
    return ProcessRef(pid=child.pid, started=psutil.Process(child.pid).create_time())


def this() -> ProcessRef:
    """Return the process that runs this."""
    import psutil

    return ProcessRef(pid=os.getpid(), started=psutil.Process().create_time())


def memory_of(ref: ProcessRef) -> int | None:
    """Return the bytes that a process holds in memory; None if it does not run."""
    import psutil

    process = _find(ref)
    try:
        return int(process.memory_info().rss) if process else None
    except psutil.Error:
        return None


def is_alive(ref: ProcessRef) -> bool:
    """Return whether the process still runs: itself, not another one under its id."""
    return _find(ref) is not None


def stop(ref: ProcessRef, *, grace: float) -> bool:
    """Ask the process to end, and end it after `grace` seconds; return whether it was running."""
    import psutil

    process = _find(ref)
    if process is None:
        return False
    for signal in (process.terminate, process.kill):
        with contextlib.suppress(psutil.NoSuchProcess):
            signal()
        if _ends(ref, within=grace):
            break
    return True


def strays(folder: Path, *, known: Sequence[ProcessRef]) -> Iterator[ProcessRef]:
    """Yield Penstock processes that serve from `folder` and that `known` does not list.

    There is one if the process that started it was killed before it could write it down.
    """
    import psutil

    pids = {ref.pid for ref in known}
    for process in psutil.process_iter(["pid", "cmdline", "create_time"]):
        words = process.info["cmdline"] or []
        ours = any(word in _MODULES for word in words[:5])
        if ours and process.pid not in pids and any(_is_below(word, folder) for word in words[5:]):
            yield ProcessRef(pid=process.pid, started=process.info["create_time"])


def hold_port(port: int) -> socket.socket:
    """Return a socket bound to `port` on loopback (0: a free one), not listening yet.

    While it is held, no other process is given the port; the one that inherits it, or that binds
    the same port with SO_REUSEADDR, may listen.

    Raises:
        OSError: If another process listens there.
    """
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((LOOPBACK, port))
    except BaseException:
        held.close()
        raise
    return held


def wait_until_ready(
    port: int,
    path: str,
    ref: ProcessRef,
    *,
    timeout: float,
    log: Path,
    what: str,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Return when `path` on `port` of this machine answers 200.

    Raises:
        ServiceError: If the process ends before, or `timeout` seconds pass; the message ends with
            the last lines of its log.
    """
    deadline = time.monotonic() + timeout
    while True:
        if not is_alive(ref):
            raise ServiceError(
                f"{what} ended before it was ready. Its log ends: {tail(log)}", where=str(log)
            )
        if answers(port, path, headers=headers, timeout=5):
            return
        if time.monotonic() > deadline:
            raise ServiceError(
                f"{what} was not ready within {timeout:g} s. Its log ends: {tail(log)}",
                where=str(log),
                remedy="Raise deployment.ready_timeout if it only needs longer.",
            )
        time.sleep(0.05)


def answers(
    port: int, path: str, *, headers: Mapping[str, str] | None = None, timeout: float
) -> bool:
    """Return whether `path` on `port` of this machine answers 200 within `timeout` seconds."""
    try:
        return ask(port, "GET", path, headers=headers, timeout=timeout)[0] == 200
    except OSError:
        return False


def tail(log: Path, *, lines: int = 8) -> str:
    """Return the last lines of a log file, joined by ` | `."""
    return logs.tail(log, lines=lines)


def _ends(ref: ProcessRef, *, within: float) -> bool:
    # psutil's own wait does not return for a process whose parent does not ask after it.
    deadline = time.monotonic() + within
    while is_alive(ref):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _find(ref: ProcessRef) -> psutil.Process | None:
    import psutil

    try:
        process = psutil.Process(ref.pid)
        if abs(process.create_time() - ref.started) > _SAME_START:
            return None
        if process.status() == psutil.STATUS_ZOMBIE:
            # Ended, and a child of ours that nobody has asked after yet.
            process.wait(0)
            return None
    except (psutil.NoSuchProcess, psutil.TimeoutExpired):
        return None
    return process


def _is_below(word: str, folder: Path) -> bool:
    return word == str(folder) or word.startswith(f"{folder}/")
