"""Who may drive a service: real processes that are killed, stopped and woken up again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from router_parts import until

from penstock.errors import InputError, LeaseLostError, ServiceError
from penstock.rollout.routers import process
from penstock.rollout.routers.lease import Lease, LeaseRecord
from penstock.rollout.routers.local import LocalRouter
from penstock.rollout.routers.services import running_controller, stop
from penstock.rollout.routers.state import ServiceFolder

SECONDS = 1.5

_CONTROLLER = """
import sys
from pathlib import Path
from penstock.errors import PenstockError
from penstock.rollout.router import Routing
from penstock.rollout.routers.local import LocalRouter

router = LocalRouter(Path(sys.argv[1]), service="adult", port=0, lease=float(sys.argv[2]))
with router.exclusive():
    print("holds", flush=True)
    for line in sys.stdin:
        try:
            router.route(Routing(sticky_header=line.strip()))
            print("done", flush=True)
        except PenstockError as error:
            print(type(error).__name__, error, flush=True)
"""


@contextmanager
def controller(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lease, and sets the sticky header that it is sent."""
    running = subprocess.Popen(
        [sys.executable, "-P", "-c", _CONTROLLER, str(home), str(SECONDS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert said(running) == "holds"
        yield running
    finally:
        running.kill()
        running.communicate()


def said(running: subprocess.Popen[str]) -> str:
    assert running.stdout
    return running.stdout.readline().strip()


def told(running: subprocess.Popen[str], header: str) -> str:
    assert running.stdin
    running.stdin.write(f"{header}\n")
    running.stdin.flush()
    return said(running)


def router(home: Path) -> LocalRouter:
    return LocalRouter(home, service="adult", port=0, lease=SECONDS)


def sticky(home: Path) -> str:
    state = ServiceFolder(home, "adult").read()
    return state.assignment.sticky_header if state else ""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    stop(tmp_path, force=True)


def test_a_living_controller_keeps_it_and_is_named(home: Path) -> None:
    with controller(home) as holding:
        # Longer than the lease: it is renewed.
        time.sleep(2 * SECONDS)
        for act in (lambda: router(home).exclusive().__enter__(), lambda: stop(home)):
            with pytest.raises(ServiceError, match=rf"process {holding.pid} on \S+ is deploying"):
                act()
        found = running_controller(home, "adult")
        assert found is not None
        assert found.process.pid == holding.pid
        assert told(holding, "x-user") == "done"
    assert sticky(home) == "x-user"


def test_a_killed_controller_is_taken_over_from_at_once(home: Path) -> None:
    with controller(home) as holding:
        holding.kill()
        holding.wait()
        assert running_controller(home, "adult") is None
        started = time.monotonic()
        with router(home).exclusive():
            pass
        assert time.monotonic() - started < SECONDS


def test_a_stopped_controller_that_wakes_up_does_not_act(home: Path) -> None:
    with controller(home) as holding:
        assert told(holding, "before") == "done"
        holding.send_signal(signal.SIGSTOP)
        second = router(home)
        with pytest.raises(ServiceError, match=f"process {holding.pid}"):
            second.exclusive().__enter__()
        until(lambda: running_controller(home, "adult") is None)
        with second.exclusive():
            holding.send_signal(signal.SIGCONT)
            answer = told(holding, "after")
            assert answer.startswith("LeaseLostError")
            assert f"process {os.getpid()} on" in answer
            assert sticky(home) != "after"
            second.open()
        # It does not act either when whoever took over has finished.
        assert told(holding, "later").startswith("LeaseLostError")
        assert sticky(home) != "later"


def test_one_process_does_not_hold_it_twice(home: Path) -> None:
    one, refused = router(home), []

    def other_thread() -> None:
        try:
            router(home).exclusive().__enter__()
        except ServiceError as error:
            refused.append(str(error))

    with one.exclusive():
        for again in (one, router(home)):
            with pytest.raises(ServiceError, match=f"process {os.getpid()} on"):
                again.exclusive().__enter__()
        thread = threading.Thread(target=other_thread)
        thread.start()
        thread.join()
        assert len(refused) == 1
        # What was refused took nothing away.
        one.open()
    with one.exclusive():
        pass


def test_without_the_lease_nothing_is_done(home: Path) -> None:
    alone = router(home)
    ServiceFolder(home, "adult").make()
    for act in (alone.open, alone.observe, alone.mend, alone.clean_up, lambda: alone.promote(1)):
        with pytest.raises(LeaseLostError, match="no lease on it is held"):
            act()


def test_it_is_given_back_after_a_failure(home: Path) -> None:
    with pytest.raises(InputError, match="not the candidate"), router(home).exclusive():
        raise InputError("version 3 is not the candidate")
    one = router(home)
    with one.exclusive(), pytest.raises(InputError, match="version 3 is not the candidate"):
        one.set_weight(3, 10)


def test_a_controller_on_another_machine_is_waited_for(home: Path) -> None:
    path = ServiceFolder(home, "adult").path
    path.mkdir(parents=True)
    lease = Lease(path, service="adult", seconds=SECONDS)
    with lease.held():
        record = json.loads((path / "lease.json").read_text())
    # Nothing on this machine tells whether process 1 of another one lives.
    record["holder"] = {
        "process": {"pid": 1, "started": 0.0},
        "host": "elsewhere",
        "token": "t",
    }
    record["expires"] = time.time() + SECONDS
    (path / "lease.json").write_text(json.dumps(record))
    with pytest.raises(ServiceError, match="process 1 on elsewhere"):
        router(home).exclusive().__enter__()
    until(lambda: time.time() > record["expires"])
    with router(home).exclusive():
        found = LeaseRecord.read(path / "lease.json")
        assert found.term > record["term"]


def test_a_recycled_process_id_is_no_holder(home: Path) -> None:
    path = ServiceFolder(home, "adult").path
    path.mkdir(parents=True)
    with Lease(path, service="adult").held():
        record = json.loads((path / "lease.json").read_text())
    mine = process.this()
    record["holder"] = {
        "process": {"pid": mine.pid, "started": mine.started - 3600},
        "host": os.uname().nodename,
        "token": "t",
    }
    record["expires"] = time.time() + 3600
    (path / "lease.json").write_text(json.dumps(record))
    with router(home).exclusive():
        pass


def test_stopping_may_be_forced(home: Path) -> None:
    with controller(home) as holding:
        assert told(holding, "before") == "done"
        assert any("port" in what for what in stop(home, force=True))
        assert told(holding, "after").startswith("LeaseLostError")
        assert list(process.strays(ServiceFolder(home, "adult").path, known=[])) == []
