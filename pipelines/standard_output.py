"""Standard output whose reader has gone, as in `penstock audit | head`."""

from __future__ import annotations

import os
import select
import sys


def reader_is_gone() -> bool:
    """Return whether nobody reads standard output any more, and write nothing to it from then on.

    Another connection may have been closed instead: that fault is reported as any other.
    """
    poll = select.poll()
    poll.register(sys.stdout, select.POLLERR)
    if not poll.poll(0):
        return False
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return True
