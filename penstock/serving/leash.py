"""`python -m penstock.serving.leash`: a server that ends when what started it does.

It reads its standard input, which the starter keeps open: however the starter ends, even killed,
the input closes, and the server is told to stop.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence

from penstock.serving import launch


def main(arguments: Sequence[str]) -> int:
    """Serve until told to stop or until the standard input closes; return the exit code."""
    parser = launch.parser("python -m penstock.serving.leash", "Serve one model while held.")
    options = parser.parse_args(arguments)
    threading.Thread(target=_follow, daemon=True).start()
    return launch.run(options)


def _follow() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    # A start that is stuck in an import does not heed it.
    threading.Timer(5, os._exit, args=(1,)).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
