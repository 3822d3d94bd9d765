"""`python -m penstock.processes.watchdog MODULE ...`: a module that ends when what started it does.

It reads its standard input, which the parent keeps open: however the parent ends, even killed, the
input closes, and the module is stopped.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
from collections.abc import Sequence

GRACE = 5.0
"""Seconds after which a module that does not heed SIGTERM is ended."""


def main(arguments: Sequence[str]) -> None:
    """Run `python -m MODULE ...` until it ends or the standard input closes."""
    module, *rest = arguments
    threading.Thread(target=_watch, daemon=True).start()
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _watch() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    # A start that is stuck in an import does not heed it.
    threading.Timer(GRACE, os._exit, args=(1,)).start()


if __name__ == "__main__":
    main(sys.argv[1:])
