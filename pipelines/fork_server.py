"""A process that holds the imports of steps, and forks a child for each step to be run.

Started by `penstock.pipelines.warm` as `python -m penstock.pipelines.fork_server FD`, where FD is
one end of a socket pair. A message is its length and then JSON; a request brings two file
descriptors with it: the pipe that the step writes to, and a socket on which the step's process id
and its end are reported. The server ends when the other end of its socket is closed, so it never
outlives the run.

`multiprocessing`'s own fork server would import everything before it answers, and there is one of
it in a process: a step would wait for what only later steps need (docs/adr/0019).
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

_LENGTH = struct.Struct(">I")

_supervisors: set[int] = set()


def send(
    channel: socket.socket, message: Mapping[str, Any], descriptors: Sequence[int] = ()
) -> None:
    """Send a message and copies of file descriptors; `_receive` is the other end."""
    body = json.dumps(message).encode()
    socket.send_fds(channel, [_LENGTH.pack(len(body))], descriptors)
    channel.sendall(body)


def main() -> None:
    """Serve the socket whose file descriptor is the first argument."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    # Ctrl-C reaches every process of the terminal: steps end by it, and the run ends the server.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # So the CPU time of every step counts as this process's, and then as the run's.
    signal.signal(signal.SIGCHLD, _forget_the_ended)
    with contextlib.suppress(ConnectionError):
        _serve(channel)


def _serve(channel: socket.socket) -> None:
    ahead: list[str] = []
    while True:
        if ahead and not _readable(channel):
            _load(ahead.pop(0))
            continue
        message, descriptors = _receive(channel)
        if message is None:
            return
        if "ahead" in message:
            ahead = [*ahead, *message["ahead"]]
            continue
        for name in message["modules"]:
            _load(name)
        _start(message, *descriptors, channel=channel)


def _forget_the_ended(*_: object) -> None:
    # By name: an import may have started a process of its own and wait for it.
    for pid in list(_supervisors):
        if os.waitpid(pid, os.WNOHANG)[0]:
            _supervisors.discard(pid)


def _readable(channel: socket.socket) -> bool:
    return bool(select.select([channel], [], [], 0)[0])


def _load(name: str) -> None:
    # What cannot be imported fails in the step that needs it, whose log people read.
    with contextlib.suppress(Exception):
        importlib.import_module(name)


def _receive(channel: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """Return the next message and its descriptors; no message once the other end is closed."""
    header, descriptors, _, _ = socket.recv_fds(channel, _LENGTH.size, 2)
    if not header:
        return None, descriptors
    header += _exactly(channel, _LENGTH.size - len(header))
    return json.loads(_exactly(channel, *_LENGTH.unpack(header))), descriptors


def _exactly(channel: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = channel.recv(size)
        if not part:
            raise ConnectionResetError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _start(message: dict[str, Any], output: int, report: int, *, channel: socket.socket) -> None:
    """Fork a supervisor, which forks the step, waits for it and reports how it ended."""
    # Imports leave hardly any garbage, and looking for it in a child would copy the memory.
    gc.freeze()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    supervisor = os.fork()
    if supervisor == 0:
        channel.close()
        _keep(message, output, report)
    _supervisors.add(supervisor)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    os.close(output)
    os.close(report)


def _keep(message: dict[str, Any], output: int, report: int) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    step = os.fork()
    if step == 0:
        os.close(report)
        _run(message, output)
    os.close(output)
    try:
        with socket.socket(fileno=report) as end:
            end.sendall(_line({"pid": step}))
            _, status, used = os.wait4(step, 0)
            code = os.waitstatus_to_exitcode(status)
            end.sendall(_line({"code": code, "cpu": used.ru_utime + used.ru_stime}))
    finally:
        os._exit(0)


def _run(message: dict[str, Any], output: int) -> NoReturn:
    """Become the step: call a function in the process's own surroundings, and end."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        os.chdir(message["folder"])
        os.environ.clear()
        os.environ.update(message["environment"])
        time.tzset()
        _draw_other_numbers()
        module, _, function = message["call"].partition(":")
        getattr(importlib.import_module(module), function)(*message["arguments"])
        code = 0
    except SystemExit as end:
        code = _exit_code(end)
    except BaseException:
        traceback.print_exc()
    finally:
        _leave(code)


def _draw_other_numbers() -> None:
    """Seed numpy's global generator anew: a fork draws what every other fork draws."""
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()


def _exit_code(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1


def _leave(code: int) -> NoReturn:
    """End as an interpreter does, but for taking every object apart, which costs two seconds."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


if __name__ == "__main__":
    main()
