"""`python -m penstock.captures.ship`: ship segments until the standard input closes.

A process of its own, of the lowest priority: what a store's client needs in memory and time, and
what it does wrong, is not the model server's. It ends when the server closes its input, or has
ended: then it ships what is left, for as long as it is given.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from penstock.captures.places import LocalPlace, RemotePlace, place_at
from penstock.captures.segments import SHIPPED
from penstock.captures.shipping import ship
from penstock.errors import PenstockError

_FIRST, _LONGEST = 1.0, 60.0
"""Seconds between two attempts after a failure; they double."""

_LOOK = 1.0

_log = logging.getLogger("penstock.captures")

# Spreads what many pods do at once; nothing is kept secret by it.
_random = random.Random()  # noqa: S311


def main(arguments: Sequence[str]) -> int:
    """Ship until told to stop; return 0 if nothing was left."""
    parser = argparse.ArgumentParser(prog="python -m penstock.captures.ship", description=__doc__)
    parser.add_argument("--spool", type=Path, required=True, help="folder to ship from")
    parser.add_argument("--to", required=True, help="address to ship to")
    parser.add_argument("--grace", type=float, default=20.0, help="seconds for what is left")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    os.nice(19)
    # The server decides when it is over; Ctrl-C reaches both.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ending = threading.Event()
    threading.Thread(target=_wait_for_end, args=(ending,), daemon=True).start()
    return _Shipper(options.spool, options.to, grace=options.grace, ending=ending).run()


def _wait_for_end(ending: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    ending.set()


class _Shipper:
    """Ships again and again, waiting longer after each failure."""

    def __init__(self, spool: Path, to: str, *, grace: float, ending: threading.Event) -> None:
        self._spool, self._to, self._grace, self._ending = spool, to, grace, ending
        self._place: LocalPlace | RemotePlace | None = None
        self._pod = socket.gethostname()
        self._pause = 0.0

    def run(self) -> int:
        while not self._ending.is_set():
            self._try()
            self._ending.wait(self._pause or _LOOK)
        deadline = time.monotonic() + self._grace
        while not self._try():
            if time.monotonic() + _FIRST > deadline:
                _log.warning("captured rows are left in %s", self._spool)
                return 1
            time.sleep(_FIRST)
        return 0

    def _try(self) -> bool:
        """Return whether all that was closed is shipped."""
        try:
            if self._place is None:
                self._place = place_at(self._to)
            rows = ship(self._spool, self._place, pod=self._pod)
        except (PenstockError, OSError) as error:
            self._pause = min(_LONGEST, 2 * self._pause or _FIRST) * _random.uniform(0.8, 1.2)
            _log.warning(
                "captured rows are not shipped, next attempt in %.0f s: %s", self._pause, error
            )
            # Some clients do not recover from what they met.
            self._place = None
            return False
        if self._pause:
            _log.info("captured rows are shipped again")
        self._pause = 0.0
        if rows:
            (self._spool / SHIPPED).touch()
        return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
