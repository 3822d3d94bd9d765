"""A process that is asked to end: it ends what it is doing first."""

from __future__ import annotations

import contextlib
import queue
import signal
from collections.abc import Iterator
from types import FrameType


class Ending:
    """Whether this process was asked to end. Made by `heeded`.

    Attributes:
        asked: Whether it was.
    """

    def __init__(self) -> None:
        self.asked = False
        # A handler runs between two steps of what it interrupts. Of what Python has to wake a
        # waiting thread, this alone may be called there: an event could wait for its own lock.
        self._woken: queue.SimpleQueue[None] = queue.SimpleQueue()

    def ask(self, *_: int | FrameType | None) -> None:
        """Ask it to end; the handler of a signal."""
        self.asked = True
        self._woken.put(None)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is asked to end, for so many seconds at most; return whether it was."""
        if not self.asked and (seconds is None or seconds > 0):
            with contextlib.suppress(queue.Empty):
                self._woken.get(timeout=seconds)
        return self.asked


@contextlib.contextmanager
def heeded(*numbers: signal.Signals) -> Iterator[Ending]:
    """Heed signals while the block runs: it looks whether it was asked to end.

    To be called by the main thread. Without it SIGTERM ends a process where it stands, and as the
    first process of a container it is not ended at all.

    Args:
        numbers: What asks to end.

    Example:
        >>> import os, signal
        >>> with heeded(signal.SIGTERM) as ending:
        ...     os.kill(os.getpid(), signal.SIGTERM)
        ...     ending.wait()
        True
    """
    ending = Ending()
    before = {number: signal.signal(number, ending.ask) for number in numbers}
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
