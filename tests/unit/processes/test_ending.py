"""A process that is asked to end, by real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from penstock.processes.ending import heeded

_WORKER = """
import signal, sys, time
from penstock.processes.ending import heeded
with heeded(signal.SIGTERM) as ending:
    while not ending.asked:
        print("begun", flush=True)
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            pass
        print("done", flush=True)
        ending.wait(60)
print("ended", flush=True)
"""


def test_what_is_being_done_is_done_first() -> None:
    with subprocess.Popen([sys.executable, "-c", _WORKER], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        process.terminate()
        assert process.stdout.read() == b"done\nended\n"
    assert process.returncode == 0


@pytest.mark.parametrize("seconds", [60, None])
def test_who_waits_is_woken(seconds: float | None) -> None:
    with heeded(signal.SIGUSR1) as ending:
        began = time.monotonic()
        timer = threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGUSR1])
        timer.start()
        assert ending.wait(seconds)
        timer.join()
    assert time.monotonic() - began < 30
    # Asked once, it does not wait again.
    assert ending.wait()


def test_nobody_asked() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with heeded(signal.SIGUSR1) as ending:
        assert not ending.wait(0.01)
        assert not ending.wait(0)
        assert not ending.wait(-1)
    assert signal.getsignal(signal.SIGUSR1) == before
