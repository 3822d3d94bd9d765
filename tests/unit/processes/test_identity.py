"""Which process is meant, and whether it still runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest
from needs import NEEDS_LINUX

from penstock.processes.identity import ProcessRef, is_alive, ref_of
from penstock.processes.supervisor import hold_port

SERVER = """
import socket, sys, threading, time
listening = socket.socket(fileno=int(sys.argv[1]))
listening.listen()
for _ in range(8):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
memory = bytearray(200 << 20)
print("up", flush=True)
time.sleep(60)
"""


@NEEDS_LINUX
@pytest.mark.parametrize("by_start", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_killed_process_is_not_called_dead_while_it_holds_its_port(*, by_start: bool) -> None:
    """Its first thread ends before the others, which still have its files."""
    for _ in range(4):
        with hold_port(0) as held:
            port = held.getsockname()[1]
            command = [sys.executable, "-c", SERVER, str(held.fileno())]
            process = subprocess.Popen(
                command, pass_fds=[held.fileno()], stdout=subprocess.PIPE, text=True
            )
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
        ref = ref_of(process.pid)
        assert ref is not None
        if by_start:
            # As a release before wrote it.
            ref = ProcessRef(pid=ref.pid, started=psutil.Process(ref.pid).create_time())
            assert is_alive(ref)
        os.kill(process.pid, signal.SIGKILL)
        while is_alive(ref):
            pass
        hold_port(port).close()
        process.stdout.close()
        process.wait()
