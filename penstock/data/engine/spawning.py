"""How the engine's processes are started."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from multiprocessing import spawn
from typing import Any


@contextlib.contextmanager
def without_main() -> Iterator[None]:
    """Let no process that is started meanwhile run this one's main program again.

    multiprocessing does so, for functions that are defined there; a script without a guard would
    start the whole step in each worker, and a program on standard input cannot be found. The
    engine's work is always of a module.
    """
    before = spawn.get_preparation_data

    def prepared(name: str) -> dict[str, Any]:
        given = before(name)
        return {key: value for key, value in given.items() if not key.startswith("init_main")}

    spawn.get_preparation_data = prepared
    try:
        yield
    finally:
        spawn.get_preparation_data = before
