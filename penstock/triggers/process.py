"""The process of a trigger: it listens, watches and starts releases until it is ended."""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
import traceback
from collections.abc import Callable, Sequence
from functools import partial

from penstock.common.durations import seconds_of
from penstock.errors import PenstockError
from penstock.processes import logs
from penstock.processes.ending import heeded
from penstock.triggers.spec import TriggerSpec
from penstock.triggers.trigger import Trigger

Say = Callable[[str], None]

_STEP = 0.5
"""Seconds between two steps."""

_LEAVE_SECONDS = 15.0
"""How long a step or a look may take that goes on when the process is ended."""

_BACKLOG = 128


def listener_at(host: str, port: int) -> socket.socket:
    """Return a socket that listens there, so that a port which is taken is known at once.

    Raises:
        OSError: If it cannot.
    """
    if not 0 <= port < 1 << 16:
        # The system would take another one: what is left of the number.
        raise OSError(errno.EINVAL, "there is no such port")
    family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def run(
    trigger: Trigger,
    spec: TriggerSpec,
    *,
    token: str,
    listener: socket.socket | None,
    say: Say,
) -> bool:
    """Work until SIGTERM or SIGINT; a release that goes on is left to its own process.

    Args:
        trigger: The trigger.
        spec: The section `trigger`.
        token: What senders of events must show; empty: nothing.
        listener: Where events come in; None: nowhere.
        say: Prints a line.

    Returns:
        Whether it was ended as it should be; else a part of it failed, and its traceback is in the
        log.
    """
    logs.to_standard_error()
    over = threading.Event()
    works = [_Work("releases", trigger.step, pause=_STEP, over=over, say=say)]
    if trigger.places:
        pause = float(seconds_of(spec.every))
        works.append(_Work("watch", trigger.look, pause=pause, over=over, say=say))
    if listener is None:
        with heeded(signal.SIGINT, signal.SIGTERM) as ending:
            for work in works:
                work.start()
            ending.wait()
    else:
        # The server heeds signals itself. One that comes before it does ends the process at once.
        serve = _server(trigger, spec, token=token, listener=listener)
        for work in works:
            work.start()
        serve()
    over.set()
    for work in works:
        work.join(_LEAVE_SECONDS)
    return not any(work.failed for work in works)


def _server(
    trigger: Trigger, spec: TriggerSpec, *, token: str, listener: socket.socket
) -> Callable[[], None]:
    from penstock.serving.server import serve
    from penstock.triggers.endpoint import LIMITS, Access, Endpoint

    endpoint = Endpoint(
        trigger.take,
        access=Access(token),
        types=spec.types,
        figures=trigger.figures,
        refused=trigger.refused,
    )
    host, port = listener.getsockname()[:2]
    return partial(serve, endpoint, LIMITS, host=host, port=port, listener=listener)


class _Work(threading.Thread):
    """Does something again and again, and says what came of it.

    What cannot be done now is said once and tried again. What nobody expected ends the process:
    whatever starts it again finds all that it remembers on disk.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], Sequence[str]],
        *,
        pause: float,
        over: threading.Event,
        say: Say,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.failed = False
        self._work = work
        self._pause = pause
        self._over = over
        self._say = say
        self._trouble = ""

    def run(self) -> None:
        """Work until it is over."""
        try:
            while not self._over.is_set():
                self._once()
                self._over.wait(self._pause)
        except BaseException:
            traceback.print_exc()
            self.failed = True
            os.kill(os.getpid(), signal.SIGTERM)

    def _once(self) -> None:
        try:
            said = self._work()
        except PenstockError as error:
            if str(error) != self._trouble:
                self._say(f"penstock: {error}")
            self._trouble = str(error)
            return
        self._trouble = ""
        for line in said:
            self._say(line)
