"""Work that goes on in a thread beside a block."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def beside(work: Callable[[threading.Event], None], *, name: str) -> Iterator[None]:
    """Run `work` in a thread for as long as the block does, and wait until it has ended.

    Args:
        work: Gets an event, which is set when the block has ended, and then returns.
        name: Of the thread.
    """
    over = threading.Event()
    thread = threading.Thread(target=work, args=(over,), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
