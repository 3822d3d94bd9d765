"""A bound on how long something may take in all."""

from __future__ import annotations

import threading
from collections.abc import Callable


def within(seconds: float, work: Callable[[], None]) -> None:
    """Do something for at most so long, whatever it waits for.

    The timeout of a connection is begun anew by each byte that comes, and a look-up of a name has
    none. What does not end in time is left behind on a thread of its own, which no process waits
    for: what it does may still come about.

    Args:
        seconds: How long it may take.
        work: What is done.

    Raises:
        TimeoutError: If it takes longer.
        Exception: What `work` raises.

    Example:
        >>> within(5.0, lambda: print("done"))
        done
    """
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="within", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"it was not done within {seconds:g} seconds")
    if raised:
        raise raised[0]
