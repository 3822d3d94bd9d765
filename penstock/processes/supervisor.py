"""Starting processes, waiting until they are ready, ending them; ports on loopback."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from io import BufferedWriter
from pathlib import Path

from penstock.common.disk import writing
from penstock.errors import ServiceError
from penstock.processes import logs
from penstock.processes.identity import ProcessRef as ProcessRef
from penstock.processes.identity import is_alive as is_alive
from penstock.processes.identity import ref_of
from penstock.processes.identity import this as this
from penstock.processes.loopback import LOOPBACK, ask

WATCHDOG = "penstock.processes.watchdog"

_POLL = 0.02


def start(
    module: str, arguments: Sequence[str], *, log: Path, sockets: Sequence[socket.socket] = ()
) -> ProcessRef:
    """Start `python -m module` in a session of its own, so that it survives this process.

    Args:
        module: The module to run, with the interpreter that runs this.
        arguments: Its arguments.
        log: File that its output is appended to.
        sockets: Sockets that it inherits under their own numbers.

    Raises:
        ServiceError: If the log cannot be written, or no process be started.
    """
    return _ref(_popen([module, *arguments], log=log, sockets=sockets))


@contextlib.contextmanager
def temporary(
    module: str, arguments: Sequence[str], *, log: Path, grace: float
) -> Iterator[ProcessRef]:
    """Run `python -m module` until the block ends; it ends too if this process is killed.

    Args:
        module: The module to run, with the interpreter that runs this.
        arguments: Its arguments.
        log: File that its output is appended to.
        grace: Seconds that it may take to end after SIGTERM.

    Raises:
        ServiceError: If the log cannot be written, or no process be started.
    """
    child = _popen([WATCHDOG, module, *arguments], log=log, watched=True)
    assert child.stdin is not None
    with child.stdin:
        try:
            yield _ref(child)
        finally:
            stop(_ref(child), grace=grace)
            child.wait()


def _ref(child: subprocess.Popen[bytes]) -> ProcessRef:
    # One that has ended already is known too, until this process waits for it.
    return ref_of(child.pid) or ProcessRef(pid=child.pid)


def _popen(
    words: Sequence[str],
    *,
    log: Path,
    sockets: Sequence[socket.socket] = (),
    watched: bool = False,
) -> subprocess.Popen[bytes]:
    # -P: a folder called penstock in the working directory must not be taken for the package.
    command = [sys.executable, "-P", "-m", *words]
    with writing(log):
        output = log.open("ab")
    with output:
        return _started(command, output, sockets, watched=watched)


def _started(
    command: Sequence[str],
    output: BufferedWriter,
    sockets: Sequence[socket.socket],
    *,
    watched: bool,
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.PIPE if watched else subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=Path(output.name).parent,
            # Ctrl-C is meant for what ends with this process too.
            start_new_session=not watched,
            pass_fds=[held.fileno() for held in sockets],
        )
    except OSError as error:
        raise ServiceError(
            f"no process can be started: {error.strerror}",
            where=command[0],
            remedy="See that memory and processes are left for this user, then try again.",
        ) from error


def memory_of(ref: ProcessRef) -> int | None:
    """Return the bytes that a process holds in memory; None if it does not run."""
    import psutil

    try:
        return int(psutil.Process(ref.pid).memory_info().rss) if is_alive(ref) else None
    except psutil.Error:
        return None


def stop(ref: ProcessRef, *, grace: float) -> bool:
    """Send SIGTERM, and SIGKILL after `grace` seconds; return whether the process was running.

    Raises:
        ServiceError: If it is another user's.
    """
    if not is_alive(ref):
        return False
    for number in (signal.SIGTERM, signal.SIGKILL):
        _signal(ref, number)
        if _ends(ref, within=grace):
            break
    return True


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
    remedy: str = "",
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
                f"{what} ended before it was ready. Its log ends: {logs.tail(log)}", where=str(log)
            )
        if answers(port, path, headers=headers, timeout=5):
            return
        if time.monotonic() > deadline:
            raise ServiceError(
                f"{what} was not ready within {timeout:g} s. Its log ends: {logs.tail(log)}",
                where=str(log),
                remedy=remedy,
            )
        time.sleep(_POLL)


def answers(
    port: int, path: str, *, headers: Mapping[str, str] | None = None, timeout: float
) -> bool:
    """Return whether `path` on `port` of this machine answers 200 within `timeout` seconds."""
    try:
        return ask(port, "GET", path, headers=headers, timeout=timeout)[0] == 200
    except OSError:
        return False


def _signal(ref: ProcessRef, number: signal.Signals) -> None:
    """Send a signal to that process and to no other one, though its id were given anew."""
    try:
        handle = os.pidfd_open(ref.pid) if hasattr(os, "pidfd_open") else None
    except ProcessLookupError:
        return
    except OSError:
        # A kernel or sandbox without them.
        handle = None
    try:
        if is_alive(ref):
            if handle is None:
                os.kill(ref.pid, number)
            else:
                signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        raise ServiceError(
            f"process {ref.pid} may not be ended by this user",
            remedy="End it as the user who started it.",
        ) from error
    finally:
        if handle is not None:
            os.close(handle)


def _ends(ref: ProcessRef, *, within: float) -> bool:
    # psutil's own wait does not return for a process whose parent does not wait for it.
    deadline = time.monotonic() + within
    while is_alive(ref):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
