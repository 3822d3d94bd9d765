"""`python -m penstock.triggers.child STORE NUMBER SUMMARY MODULE ...`: the process of a release.

It takes the release up in the store, runs `python -m MODULE ...` in itself, and writes down the
exit code and how the release ended. It lives on when the trigger is ended. Of two processes for one
release, the one that comes second leaves at once.
"""

from __future__ import annotations

import contextlib
import runpy
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from penstock.errors import PenstockError, ServiceError
from penstock.processes.identity import this
from penstock.triggers.endings import Ending, ending
from penstock.triggers.store import TriggerStore

_PATIENCE = 600.0
"""Seconds that a full disk may take to have room again for how a release ended."""

_PAUSE = 5.0


def main(arguments: Sequence[str]) -> int:
    """Run the release and return its exit code."""
    store, number, summary, module, *rest = arguments
    # Not held open: what a run forks must not share it.
    with contextlib.closing(TriggerStore(Path(store))) as opened:
        if not opened.claim(int(number), this()):
            print(f"Release {number} has been taken up by another process.")  # noqa: T201
            return 0
    # Of another store, or of a process that was killed.
    Path(summary).unlink(missing_ok=True)
    code = run(module, rest)
    sys.stdout.flush()
    sys.stderr.flush()
    found = ending(code, Path(summary), log=Path(summary).with_suffix(".log"))
    _note(Path(store), int(number), code, found)
    return code


def run(module: str, arguments: Sequence[str]) -> int:
    """Run `python -m MODULE ...` in this process and return its exit code."""
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        print(ended.code, file=sys.stderr)  # noqa: T201
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _note(store: Path, number: int, code: int, found: Ending) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            with contextlib.closing(TriggerStore(store)) as opened:
                opened.end(number, now=time.time(), exit_code=code, ending=found)
        except ServiceError as error:
            if time.monotonic() > deadline:
                raise
            print(f"penstock: {error}", file=sys.stderr, flush=True)  # noqa: T201
            time.sleep(_PAUSE)
        else:
            return


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except PenstockError as error:
        print(f"penstock: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
