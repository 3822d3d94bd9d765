"""Who may drive a service: real processes that are killed, stopped and woken up again."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from router_parts import clocks_set
from running_process import until

from penstock.common import files
from penstock.errors import InputError, LeaseLostError, ServiceError
from penstock.processes import identity
from penstock.processes import supervisor as process
from penstock.rollout.backends.local import strays
from penstock.rollout.backends.local.backend import local_service
from penstock.rollout.backends.local.lease import FileLease, LeaseRecord
from penstock.rollout.backends.local.services import running_controller, stop
from penstock.rollout.backends.local.state import LocalState, ServiceFolder
from penstock.rollout.backends.local.target import LocalTarget
from penstock.rollout.router import Routing

SECONDS = 1.5

_CONTROLLER = """
import sys
from pathlib import Path
from penstock.errors import PenstockError
from penstock.rollout.router import Routing
from penstock.rollout.backends.local.backend import local_service

router = local_service(Path(sys.argv[1]), service="adult", port=0, lease=float(sys.argv[2]))
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


def router(home: Path) -> Any:
    return local_service(home, service="adult", port=0, lease=SECONDS)


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


def stop_between_actions(holding: subprocess.Popen[str], home: Path) -> None:
    """Stop it while it holds no lock, as it does for a moment whenever it renews the lease."""

    def stopped() -> bool:
        holding.send_signal(signal.SIGSTOP)
        until(lambda: psutil.Process(holding.pid).status() == psutil.STATUS_STOPPED)
        lock = ServiceFolder(home, "adult").path / "lock"
        with contextlib.suppress(BlockingIOError), lock.open() as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        holding.send_signal(signal.SIGCONT)
        return False

    until(stopped)


def test_a_stopped_controller_that_wakes_up_does_not_act(home: Path) -> None:
    with controller(home) as holding:
        assert told(holding, "before") == "done"
        stop_between_actions(holding, home)
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


def test_who_is_long_within_an_action_is_not_said_to_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.rollout.backends.local.lease._LOCK_TIMEOUT", 0.2)
    one, other = (FileLease(tmp_path, service="adult") for _ in range(2))
    with (
        one.taken(),
        one.guarded(),
        pytest.raises(ServiceError, match=rf"process {os.getpid()} has been within an action for"),
        other.taken(),
    ):
        pass


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


def written(home: Path, **holder: Any) -> Callable[..., None]:
    """Write a lease down as its holder would; the function that is returned changes it."""
    path = ServiceFolder(home, "adult").path
    path.mkdir(parents=True, exist_ok=True)
    with FileLease(path, service="adult", seconds=SECONDS).held():
        record = json.loads((path / "lease.json").read_text())
    record["holder"] = record["holder"] | {"token": "t"} | holder

    def change(**fields: Any) -> None:
        record.update(fields)
        files.write_text(path / "lease.json", json.dumps(record))

    change(expires=identity.since_boot() + 3600)
    return change


def ref(**changes: Any) -> dict[str, Any]:
    return identity.this().model_copy(update=changes).model_dump()


@pytest.mark.parametrize("hours", [-5, pytest.param(5, marks=pytest.mark.long)])
def test_a_controller_on_another_machine_is_watched_whatever_its_clock(
    home: Path, hours: float
) -> None:
    # Nothing on this machine tells whether process 1 of another one lives: only its signs do.
    elsewhere = {"process": ref(pid=1, boot="another"), "host": "elsewhere", "machine": "m"}
    change, over = written(home, **elsewhere), threading.Event()

    def renew() -> None:
        while not over.wait(SECONDS / 3):
            change(expires=identity.since_boot() + hours * 3600 + time.monotonic())

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        with pytest.raises(ServiceError, match="process 1 on elsewhere"):
            router(home).exclusive().__enter__()
        assert running_controller(home, "adult") is not None
    finally:
        over.set()
        thread.join()
    started = time.monotonic()
    with router(home).exclusive():
        assert SECONDS - 0.2 < time.monotonic() - started < 2 * SECONDS
        found = LeaseRecord.read(ServiceFolder(home, "adult").path / "lease.json")
        assert found.term == 2


@pytest.mark.parametrize(
    "gone",
    [
        {"ticks": (identity.this().ticks or 0) - 1},
        {"boot": "the boot before"},
        {"pid": 2**22 - 1},
    ],
    ids=["another process has its id", "booted since", "ended"],
)
def test_a_holder_that_is_gone_is_taken_over_from_at_once(home: Path, gone: dict[str, Any]) -> None:
    written(home, process=ref(**gone))
    started = time.monotonic()
    assert running_controller(home, "adult") is None
    with router(home).exclusive():
        assert time.monotonic() - started < SECONDS


def test_a_holder_in_another_container_keeps_it_until_it_expires(home: Path) -> None:
    # A process of the same id and start is there in this container, and is not it.
    change = written(home, process=ref(namespace="pid:[1]"), host="a container")
    with pytest.raises(ServiceError, match="on a container is deploying"):
        router(home).exclusive().__enter__()
    change(expires=identity.since_boot() - 0.1)
    with router(home).exclusive():
        pass


@pytest.mark.parametrize("hours", [pytest.param(-5, marks=pytest.mark.long), 5])
def test_a_clock_that_is_set_takes_no_lease_away(
    home: Path, hours: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    with controller(home) as holding:
        assert told(holding, "before") == "done"
        clocks_set(monkeypatch, hours)
        with pytest.raises(ServiceError, match=f"process {holding.pid}"):
            router(home).exclusive().__enter__()
        assert told(holding, "after") == "done"
        holding.kill()
        holding.wait()
        with router(home).exclusive():
            pass


def test_a_lease_of_the_release_before_is_understood(home: Path) -> None:
    process_then = {"pid": os.getpid(), "started": psutil.Process().create_time()}
    holder = {"process": process_then, "host": os.uname().nodename, "token": "t"}
    change = written(home)
    then = {"schema_version": 1, "holder": holder, "expires": time.time() + 10, "term": 10**12}
    record = json.loads((ServiceFolder(home, "adult").path / "lease.json").read_text()) | then
    del record["seconds"]
    path = ServiceFolder(home, "adult").path / "lease.json"
    path.write_text(json.dumps(record))
    lease = LeaseRecord.read(path)
    assert lease.verdict == "unknown"
    change(holder=None)
    path.write_text(json.dumps(record | {"holder": None}))
    with router(home).exclusive():
        assert LeaseRecord.read(path).term == 10**12 + 1


def test_where_there_is_no_proc_the_start_tells_a_process(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on macOS, had it no id of its boot either.
    monkeypatch.setattr(identity, "_PROC", home / "no proc")
    monkeypatch.setattr(identity, "boot_id", lambda: "")
    me = identity.this()
    assert (me.ticks, me.namespace, me.started) == (None, "", psutil.Process().create_time())
    assert identity.is_alive(me)
    assert not identity.is_alive(me.model_copy(update={"started": (me.started or 0) - 60}))
    running = process.start("http.server", ["0"], log=home / "log")
    assert process.stop(running, grace=5)
    assert not identity.is_alive(running)
    with router(home).exclusive(), pytest.raises(ServiceError, match=f"process {os.getpid()}"):
        router(home).exclusive().__enter__()
    written(home, process=running.model_dump())
    with router(home).exclusive():
        pass


def test_a_lease_that_was_not_given_back_is_no_hindrance(home: Path) -> None:
    written(home, process=ref(), token="of a block that could not write")
    with router(home).exclusive():
        pass


def test_the_state_of_a_later_controller_is_not_overwritten(home: Path) -> None:
    first = router(home)
    with first.exclusive():
        first.route(Routing(sticky_header="x-user"))
        state = ServiceFolder(home, "adult").read()
        assert state is not None
        path = ServiceFolder(home, "adult").path / "state.json"
        later = state.model_copy(update={"term": state.term + 1})
        later.write(path)
        for act in (
            lambda: first.route(Routing(sticky_header="x-other")),
            first.clean_up,
        ):
            with pytest.raises(LeaseLostError, match="a later controller's"):
                act()
        assert LocalState.read(path) == later
    # One who comes when `lease.json` is gone has a term above it all the same.
    (path.parent / "lease.json").unlink()
    with router(home).exclusive():
        assert ServiceFolder(home, "adult").read() is None
        assert LeaseRecord.read(path.parent / "lease.json").term == later.term + 1


def test_a_line_of_an_earlier_controller_is_not_put_over_a_later_one(home: Path) -> None:
    first, second = (LocalTarget(home, service="adult") for _ in range(2))
    with first.router.exclusive():
        ours = first.store("2-rollout")
        ours.append(b"begun\n")
        path = ServiceFolder(home, "adult").path
        with FileLease(path, service="adult").taken():
            pass
        with second.router.exclusive():
            second.store("2-rollout").append(b"gone on with\n")
        for act in (lambda: ours.append(b"stale\n"), ours.clear):
            with pytest.raises(LeaseLostError):
                act()
    assert second.store("2-rollout").lines() == [b"begun\n", b"gone on with\n"]
    (found,) = second.stores()
    with pytest.raises(LeaseLostError, match="no lease on it is held"):
        found.append(b"without\n")


def test_stopping_may_be_forced(home: Path) -> None:
    with controller(home) as holding:
        assert told(holding, "before") == "done"
        assert any("port" in what for what in stop(home, force=True))
        assert told(holding, "after").startswith("LeaseLostError")
        assert list(strays.strays(ServiceFolder(home, "adult").path, known=[])) == []
