"""Processes that are started, waited for and ended, whatever becomes of what started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from running_process import free_port, listens, until

from penstock.errors import ServiceError
from penstock.processes import supervisor
from penstock.processes.loopback import LOOPBACK

MODULE = "http.server"


def test_a_temporary_process_ends_with_its_block(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    arguments = [str(port), "--bind", LOOPBACK]
    with supervisor.temporary(MODULE, arguments, log=log, grace=10) as process:
        supervisor.wait_until_ready(port, "/", process, timeout=60, log=log, what="it")
        assert supervisor.is_alive(process)
    assert not supervisor.is_alive(process)
    assert not listens(port)


def test_a_temporary_process_ends_when_what_started_it_is_killed(tmp_path: Path) -> None:
    port = free_port()
    script = (
        "import time\nfrom pathlib import Path\nfrom penstock.processes import supervisor as s\n"
        f"log = Path({str(tmp_path / 'log')!r})\n"
        f"given = ['{port}', '--bind', '127.0.0.1']\n"
        "with s.temporary('http.server', given, log=log, grace=5) as p:\n"
        f"    s.wait_until_ready({port}, '/', p, timeout=60, log=log, what='it')\n"
        "    print('ready', flush=True)\n    time.sleep(600)\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "ready\n"
    finally:
        os.kill(starter.pid, signal.SIGKILL)
        starter.wait()
    until(lambda: not listens(port), seconds=60, what="it outlives what started it")


def test_a_process_that_is_started_survives_until_it_is_stopped(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    process = supervisor.start(MODULE, [str(port), "--bind", LOOPBACK], log=log)
    try:
        supervisor.wait_until_ready(port, "/", process, timeout=60, log=log, what="it")
    finally:
        assert supervisor.stop(process, grace=10)
    assert not supervisor.stop(process, grace=10)
    assert not listens(port)


def test_what_does_not_become_ready_is_said_with_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = supervisor.start(MODULE, ["no port"], log=log)
    with pytest.raises(ServiceError, match=r"it ended before it was ready\. Its log ends: .*port"):
        supervisor.wait_until_ready(1, "/", process, timeout=60, log=log, what="it")
    alive = supervisor.this()
    with pytest.raises(ServiceError, match=r"not ready within 0\.1 s.*Wait longer"):
        supervisor.wait_until_ready(
            free_port(), "/", alive, timeout=0.1, log=log, what="it", remedy="Wait longer."
        )
