"""Which process is meant: by boot, container and moment of its start, never by a wall clock.

On Linux a process has an id, the namespace of that id (each container has its own), and a start
in clock ticks since boot (proc(5), field 22 of `/proc/PID/stat`); the boot has an id
(`/proc/sys/kernel/random/boot_id`). No two processes have all four in common, and none of them
changes when the clock is set.

Elsewhere the time of the start is compared, with a tolerance: there a clock that is set by more
than that while a service runs makes its processes look dead. macOS has an id of its boot too.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from penstock.records.base import Value

_PROC = Path("/proc")
_START = 19
"""Where a process's start is among the fields of its `stat` that follow its name: field 22."""

_THREADS = 17
"""Where the number of its threads is: field 20."""

_SAME_START = 2.0
"""Seconds by which two readings of one start may differ where they are of a wall clock."""


class _Stat(NamedTuple):
    """What the kernel says of a process."""

    state: str
    ticks: int
    threads: int

    @property
    def ended(self) -> bool:
        """Whether all its threads have: killed, the first may end while others hold its ports."""
        return self.state in "ZX" and self.threads <= 1


class ProcessRef(Value):
    """A process, distinct from any other one, earlier, later or in another container."""

    pid: int = Field(description="In its own namespace")
    boot: str = Field(default="", description="Id of the boot; empty: unknown")
    namespace: str = Field(default="", description="Of the pid; empty: there are none")
    ticks: int | None = Field(default=None, description="Start, in clock ticks since boot")
    started: float | None = Field(
        default=None, description="Start in seconds since 1970, where ticks are not known"
    )


def this() -> ProcessRef:
    """Return the process that runs this."""
    return ref_of(os.getpid()) or ProcessRef(pid=os.getpid())


def ref_of(pid: int) -> ProcessRef | None:
    """Return the process of that id here; None: there is none, or it is in another container."""
    found = _stat(pid)
    if found is not None:
        space = _namespace(pid)
        # A container's processes are seen from outside too, and are not ours.
        if space != _namespace():
            return None
        return ProcessRef(pid=pid, boot=boot_id(), namespace=space, ticks=found.ticks)
    started = None if _has_proc() else _started(pid)
    return None if started is None else ProcessRef(pid=pid, boot=boot_id(), started=started)


def is_alive(ref: ProcessRef) -> bool:
    """Return whether the process still runs here: itself, not another one under its id."""
    if ref.boot and ref.boot != boot_id():
        return False
    if ref.namespace and ref.namespace != _namespace():
        return False
    if ref.ticks is None:
        # Written where ticks are not known, or by an earlier release.
        return _agree(ref.started, _started(ref.pid))
    found = _stat(ref.pid)
    if found is None or found.ticks != ref.ticks:
        return False
    if found.ended:
        # If it is a child of ours, it has not been waited for yet.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(ref.pid, os.WNOHANG)
        return False
    return True


def is_here(ref: ProcessRef) -> bool:
    """Return whether `is_alive` can know: the process is of this boot and this container."""
    return bool(ref.boot) and ref.boot == boot_id() and ref.namespace == _namespace()


def exists(pid: int) -> bool:
    """Return whether any process here has that id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@functools.cache
def boot_id() -> str:
    """Return what identifies this boot of this machine; empty: nothing does."""
    with contextlib.suppress(OSError):
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    if sys.platform == "darwin":
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
            return subprocess.check_output(command, text=True, timeout=5).strip()  # noqa: S603
    return ""


@functools.cache
def machine_id() -> str:
    """Return what identifies this machine over its boots; empty: nothing does."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return Path("/etc/machine-id").read_text(encoding="ascii").strip()
    return ""


def since_boot() -> float:
    """Return seconds since boot, those asleep included where that can be known.

    It is the same clock in all processes of one boot, and nobody sets it.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def _has_proc() -> bool:
    return (_PROC / "self/stat").exists()


def _stat(pid: int) -> _Stat | None:
    """Return what `stat` says of a process; None: there is none."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name is in parentheses and may hold any character, parentheses too.
    fields = text.rpartition(")")[2].split()
    return _Stat(state=fields[0], ticks=int(fields[_START]), threads=int(fields[_THREADS]))


def _namespace(pid: int | None = None) -> str:
    place = _PROC / ("self" if pid is None else str(pid)) / "ns/pid"
    with contextlib.suppress(OSError):
        return str(place.readlink())
    return ""


def _agree(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and abs(one - other) <= _SAME_START


def _started(pid: int) -> float | None:
    import psutil

    try:
        process = psutil.Process(pid)
        found = _stat(pid)
        # Without /proc no threads are counted: macOS makes a zombie of a process in its last
        # thread, once its files are closed (`proc_exit`).
        ended = found.ended if found else process.status() == psutil.STATUS_ZOMBIE
        return None if ended else float(process.create_time())
    except psutil.Error:
        return None
