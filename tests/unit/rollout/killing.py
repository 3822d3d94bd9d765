"""Ending a command at its n-th effect: killed, interrupted, out of disk, refused, unheard.

    for ending in endings(lambda: deploy(order, home=home, ...), Fault.KILL, below=[home]):
        check_that_the_next_command_goes_on(ending)

An effect is what lasts when the process is gone. Found are

- files and folders below `below`: opened for writing, synced, renamed, removed, made;
- processes started with `below` on their command line, and signals sent to any process;
- requests by `http.client`, `requests`, `urllib3` and `httpx` that are neither GET nor HEAD: the
  local proxy's admin calls, a cluster's API, an MLflow server;
- commits of SQLAlchemy that change something: an MLflow store in SQLite or PostgreSQL.

The command runs in a child made by `os.fork`, which is why it is called as it is, and what it needs
is imported and patched once by the test. So fork while no other thread holds a lock that the
command needs (load threads on plain sockets are all right), and use a service again after the
child has ended, for it is another process's.

The first effect is number 1. Effects of the child's own threads count too, so the numbers of two
runs may differ by one or two; `endings` goes on until the command has completed.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import http.client
import json
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.errors import PenstockError

Effect = tuple[str, str]
"""Its kind (`file`, `process`, `signal`, `call`, `commit`) and what it is done to."""

UNCOUNTED = (":predict", "/infer", ":feedback", "/lock")
"""Ends of effects that change no state: users' requests, and the files that are locked."""


class Fault(enum.Enum):
    """What happens at the effect.

    `KILL`: SIGKILL before it. `INTERRUPT`: SIGINT before it, as Ctrl-C. `FULL`: the disk is full
    from there on, so files are cut short and nothing can be written. `REFUSED`: it alone fails, as
    not permitted. `DOWN`: from there on no call and no commit is answered. `UNHEARD`: the call is
    carried out, and its answer is lost.
    """

    KILL = "kill"
    INTERRUPT = "interrupt"
    FULL = "full"
    REFUSED = "refused"
    DOWN = "down"
    UNHEARD = "unheard"


@dataclass(frozen=True)
class Ending:
    """How a command ended.

    Attributes:
        at: The number of the effect it was to be ended at; 0: none.
        effects: The effects that it came to, in words; the fault hit the last of a command that
            was killed.
        code: Exit code; -9: killed, 0: it completed.
        error: The exception that ended it, with its type; empty: none.
        trace: Its traceback.
        refused: The exception is a `PenstockError`: a user reads a sentence.
        hit: Whether the fault happened; if not, the command had fewer effects.
    """

    at: int
    effects: tuple[str, ...]
    code: int
    error: str = ""
    trace: str = ""
    refused: bool = False
    hit: bool = False

    @property
    def interrupted(self) -> bool:
        """Whether a KeyboardInterrupt came out of the command."""
        return self.error.startswith("KeyboardInterrupt")


def endings(
    command: Callable[[], object],
    fault: Fault,
    *,
    below: Sequence[Path],
    first: int = 1,
    every: int = 1,
    seconds: float = 120,
) -> Iterator[Ending]:
    """Run a command again and again, ended at each of its effects in turn, until none is left.

    The last that is yielded was not hit. What the command finds each time is what the caller has
    left since: where that changes the effects it comes to, their numbers shift and one may be
    passed over, so bring back what it found the first time (or give each run a folder of its own).

    Args:
        command: Called in a child process.
        fault: What happens.
        below: Folders whose files count.
        first: The first effect.
        every: Take every so-manieth effect alone.
        seconds: A command that takes longer fails the test.
    """
    at = first
    while True:
        ending = run(command, fault, at=at, below=below, seconds=seconds)
        yield ending
        if not ending.hit:
            return
        at += every


def run(
    command: Callable[[], object],
    fault: Fault = Fault.KILL,
    *,
    at: int = 0,
    when: Callable[[str], bool] | None = None,
    below: Sequence[Path],
    seconds: float = 120,
) -> Ending:
    """Run a command in a child process, with a fault at one of its effects.

    Args:
        command: Called in a child process.
        fault: What happens.
        at: The number of the effect; 0: none, unless `when` finds one.
        when: Asked in the child before each effect, which it is given in words; the first that it
            is true of is the one.
        below: Folders whose files count.
        seconds: A command that takes longer fails the test.
    """
    with tempfile.TemporaryDirectory() as place:
        told = Path(place) / "told"
        told.touch()
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child == 0:
            _child(command, _Watch(fault, at=at, when=when, below=below, told=told))
        code = _wait(child, seconds=seconds)
        said = [json.loads(line) for line in told.read_text(encoding="utf-8").splitlines()]
    effects = tuple(str(line["effect"]) for line in said if "effect" in line)
    end = next((line for line in said if "error" in line), {})
    hit = any("hit" in line for line in said)
    return Ending(at=at, effects=effects, code=code, hit=hit, **end)


def _wait(child: int, *, seconds: float) -> int:
    deadline = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise TimeoutError(f"the command did not end within {seconds:g} s")
        time.sleep(0.005)


def _child(command: Callable[[], object], watch: _Watch) -> None:
    code = 0
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        watch.begin()
        command()
    except BaseException as error:
        code = 1
        watch.tell(
            error=f"{type(error).__name__}: {error}",
            trace=traceback.format_exc(),
            refused=isinstance(error, PenstockError),
        )
    finally:
        os._exit(code)


class _Watch:
    """Counts effects in this process, and does to one what is asked."""

    def __init__(
        self,
        fault: Fault,
        *,
        at: int,
        when: Callable[[str], bool] | None,
        below: Sequence[Path],
        told: Path,
    ) -> None:
        self._fault, self._at, self._when = fault, at, when
        self._below = [str(folder.resolve()) for folder in below]
        self._told = os.open(told, os.O_WRONLY | os.O_APPEND)
        self._count = 0
        self._lock = threading.RLock()
        self._inside = threading.local()

    def begin(self) -> None:
        sys.addaudithook(self._audit)
        _patch(os, "fsync", self._fsync)
        _patch(signal, "pidfd_send_signal", self._pidfd)
        _patch(http.client.HTTPConnection, "putrequest", self._putrequest)
        _patch(http.client.HTTPConnection, "getresponse", self._getresponse)
        with contextlib.suppress(ImportError):
            import httpx

            _patch(httpx.HTTPTransport, "handle_request", self._httpx)
        with contextlib.suppress(ImportError):
            from sqlalchemy.engine.default import DefaultDialect

            _patch(DefaultDialect, "do_commit", self._commit)

    def tell(self, **said: object) -> None:
        os.write(self._told, json.dumps(said).encode() + b"\n")

    # What is watched.

    def _audit(self, event: str, given: tuple[Any, ...]) -> None:
        if getattr(self._inside, "here", False):
            return
        effect = _effect_of(event, given)
        if effect and (effect[0] == "signal" or any(f in effect[1] for f in self._below)):
            self._meet(effect)

    def _fsync(self, original: Callable[..., Any], handle: Any) -> None:
        number = handle if isinstance(handle, int) else handle.fileno()
        path = _opened(number)
        if any(folder in path for folder in self._below):
            self._meet(("file", f"sync {path}"), torn=number)
        original(handle)

    def _pidfd(self, original: Callable[..., Any], handle: int, number: int, *rest: Any) -> None:
        if number:
            self._meet(("signal", f"{signal.Signals(number).name} by pidfd"))
        original(handle, number, *rest)

    def _putrequest(
        self,
        original: Callable[..., Any],
        here: Any,
        method: str,
        url: str,
        *rest: Any,
        **more: Any,
    ) -> Any:
        if method in ("GET", "HEAD"):
            self._read()
        else:
            here.unheard = self._meet(("call", f"{method} {here.host}:{here.port}{url}"))
        return original(here, method, url, *rest, **more)

    def _getresponse(self, original: Callable[..., Any], here: Any) -> Any:
        response = original(here)
        if getattr(here, "unheard", False):
            here.unheard = False
            response.read()
            here.close()
            raise ConnectionResetError(errno.ECONNRESET, "the answer is lost")
        return response

    def _httpx(self, original: Callable[..., Any], here: Any, request: Any) -> Any:
        import httpx

        unheard = False
        try:
            if request.method in ("GET", "HEAD"):
                self._read()
            else:
                unheard = self._meet(("call", f"{request.method} {request.url}"))
        except OSError as error:
            raise httpx.ConnectError(str(error), request=request) from error
        response = original(here, request)
        if unheard:
            response.read()
            raise httpx.ReadError("the answer is lost", request=request)
        return response

    def _commit(self, original: Callable[..., Any], here: Any, connection: Any) -> None:
        # Of a driver that does not say whether anything changed, each commit counts.
        if not getattr(connection, "in_transaction", True):
            original(here, connection)
            return
        try:
            unheard = self._meet(("commit", str(here.name)))
        except OSError as error:
            raise here.dbapi.OperationalError(str(error)) from error
        original(here, connection)
        if unheard:
            raise here.dbapi.OperationalError("the answer is lost")

    def _read(self) -> None:
        """Come to a call that changes nothing: it is not counted, and not answered either."""
        if self._fault is Fault.DOWN and 0 < self._at <= self._count:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))

    # What is done to it.

    def _meet(self, effect: Effect, *, torn: int | None = None) -> bool:
        """Come to an effect; return whether its answer is to be lost."""
        kind, text = effect
        if text.endswith(UNCOUNTED) or not self._can_hit(kind):
            return False
        with self._lock:
            self._count += 1
            count, self._inside.here = self._count, True
            try:
                self.tell(effect=f"{kind}: {text}")
                if self._when and not self._at and self._when(f"{kind}: {text}"):
                    self._at = count
                if self._at and count == self._at:
                    self.tell(hit=True)
                return self._hit(kind, count, torn) if self._at else False
            finally:
                self._inside.here = False

    def _can_hit(self, kind: str) -> bool:
        if self._fault in (Fault.DOWN, Fault.UNHEARD):
            return kind in ("call", "commit")
        return self._fault is not Fault.FULL or kind in ("file", "commit")

    def _hit(self, kind: str, count: int, torn: int | None) -> bool:
        exactly, since = count == self._at, count >= self._at
        fault = self._fault
        if fault is Fault.KILL and exactly:
            _tear(torn)
            os.kill(os.getpid(), signal.SIGKILL)
        if fault is Fault.INTERRUPT and exactly:
            os.kill(os.getpid(), signal.SIGINT)
        if fault is Fault.FULL and since:
            _tear(torn)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if fault is Fault.REFUSED and exactly:
            if kind in ("call", "commit"):
                raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if fault is Fault.DOWN and since:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        return fault is Fault.UNHEARD and exactly


def _tear(handle: int | None) -> None:
    """Cut a file short that was written and not synced yet; a folder stays as it is."""
    with contextlib.suppress(OSError):
        if handle is not None:
            os.ftruncate(handle, max(os.fstat(handle).st_size - 7, 0))


def _patch(owner: Any, name: str, instead: Callable[..., Any]) -> None:
    original = getattr(owner, name, None)
    if original is not None:
        # A plain function, so that it is bound where `owner` is a class.
        setattr(owner, name, lambda *given, **more: instead(original, *given, **more))


_CHANGES = {
    "os.rename": "rename",
    "os.remove": "remove",
    "os.rmdir": "remove folder",
    "os.mkdir": "make folder",
    "os.truncate": "truncate",
    "os.link": "link",
    "os.symlink": "link",
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _effect_of(event: str, given: tuple[Any, ...]) -> Effect | None:
    if event == "open":
        path, mode, flags = given
        writes = any(c in mode for c in "wax+") if mode else bool((flags or 0) & _WRITES)
        if writes and isinstance(path, str | bytes | os.PathLike):
            return ("file", f"write {_absolute(path)}")
    if event == "os.mkdir" and Path(given[0]).is_dir():
        return None
    if event in _CHANGES:
        last = given[1] if event in ("os.rename", "os.link", "os.symlink") else given[0]
        folder = given[-1] if isinstance(given[-1], int) and event != "os.mkdir" else -1
        return ("file", f"{_CHANGES[event]} {_absolute(last, folder=folder)}")
    if event == "subprocess.Popen":
        _, arguments, folder, _ = given
        words = [arguments] if isinstance(arguments, str) else map(os.fsdecode, arguments)
        return ("process", f"start {' '.join(words)} in {folder}")
    if event == "os.kill" and given[1]:
        return ("signal", f"{signal.Signals(given[1]).name} to {given[0]}")
    return None


def _absolute(path: Any, *, folder: int = -1) -> str:
    if isinstance(path, int):
        return _opened(path)
    root = Path(_opened(folder)) if folder >= 0 else Path.cwd()
    return str(root / os.fsdecode(path))


def _opened(handle: int) -> str:
    return str(Path(f"/proc/self/fd/{handle}").readlink())
