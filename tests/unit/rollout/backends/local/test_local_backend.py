"""The local router: what its actions do, and what is left of it whatever is killed."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from killing import Fault, endings, run
from router_parts import PREDICT, StubbedService, clocks_set, load_on, stub_servers
from running_process import free_port, until

from penstock import model
from penstock.captures.spec import CapturesSpec
from penstock.errors import ServiceError
from penstock.processes import supervisor as process
from penstock.records.rollout import ArmSummary, Pairs
from penstock.rollout.backends.local import strays
from penstock.rollout.backends.local.backend import local_service
from penstock.rollout.backends.local.services import status, stop
from penstock.rollout.backends.local.state import ServerArm, ServiceFolder
from penstock.rollout.backends.local.target import LocalTarget
from penstock.rollout.proxy import control
from penstock.rollout.router import Release, Routing


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubbedService]:
    # Stubs in the place of the model servers: see router_stub. Processes, ports, probes, signals
    # and the proxy are real; the last test of this file has real servers.
    stub_servers(monkeypatch)
    made = StubbedService(tmp_path)
    yield made
    stop(tmp_path, force=True)
    assert made.processes() == 0


def kill(ref: process.ProcessRef) -> None:
    os.kill(ref.pid, signal.SIGKILL)
    until(lambda: not process.is_alive(ref))


def test_while_no_version_serves_users_get_503(service: StubbedService) -> None:
    router = service.router()
    with router.exclusive():
        router.open()
        assert httpx.get(router.url, trust_env=False, verify=False).status_code == 503
        service.bring(router, 1)
        assert httpx.get(router.url, trust_env=False, verify=False).status_code == 503
        router.promote(1)
        assert service.ask(router.url, 5) == {"1": 5}
        router.rollback(1)
        assert httpx.get(router.url, trust_env=False, verify=False).status_code == 503
        router.clean_up()
        assert service.folder.read() is None
    assert service.processes() == 0


def test_users_requests_are_mirrored_and_paired(service: StubbedService) -> None:
    router = service.router()
    with router.exclusive():
        service.serve(router, 1)
        service.bring(router, 2)
        router.route(Routing(mirror=1.0))
        assert service.ask(router.url, 10) == {"1": 10}
        until(lambda: router.observe().pairs.rows == 10)


def test_the_folder_of_the_version_before_stays(service: StubbedService) -> None:
    """So that going back is quick; the ones before that and the refused ones go."""
    router = service.router()

    def folders() -> set[str]:
        router.clean_up()
        assert service.processes() == 2
        return {path.name for path in service.folder.models.iterdir()}

    with router.exclusive():
        service.serve(router, 1)
        service.bring(router, 2)
        router.rollback(2)
        assert folders() == {"1"}
        for version, before in ((3, 1), (4, 3)):
            service.serve(router, version)
            assert folders() == {str(before), str(version)}
            assert router.previous == before
        router.rollback(4)
        assert (router.stable, folders()) == (3, {"3"})
        # Promoted and not cleaned up: the two change places.
        service.serve(router, 5)
        router.rollback(5)
        assert (router.stable, router.candidate) == (3, 5)


def test_a_candidate_that_breaks_at_its_start_is_said_with_its_log(service: StubbedService) -> None:
    router = service.router()
    with router.exclusive():
        service.serve(router, 1)
        with pytest.raises(ServiceError, match=r"version 2 ended before .*told to break"):
            router.deploy(service.release(2, fault="crash-at-start"), timeout=20)
        assert service.processes() == 2
        assert router.health(2).reason == "It is not up."


def test_a_front_that_is_killed_comes_back_where_it_was(service: StubbedService) -> None:
    router = service.router()
    with router.exclusive():
        service.serve(router, 1)
        service.bring(router, 2)
        router.route(Routing(choice_header="x-version"))
        router.set_weight(2, 100)
        before, url = router.observe(), router.url
        running = service.state().proxy
        assert running is not None
        kill(running.process)
        with pytest.raises(ServiceError, match=r"the proxy does not answer: .*refused"):
            router.observe()
        router.mend()
        after = router.observe()
        assert router.url == url
        assert after.epoch != before.epoch
        assert after.arms == {1: ArmSummary(), 2: ArmSummary()}
        assert service.ask(url, 10) == {"2": 10}
        chosen = httpx.post(
            url + PREDICT,
            json={},
            headers={"x-version": "stable"},
            trust_env=False,
            verify=False,
        )
        assert chosen.json()["model_version"] == "1"


@pytest.mark.parametrize("role", ["stable", pytest.param("candidate", marks=pytest.mark.long)])
def test_a_server_that_is_killed_fails_no_request_and_comes_back(
    service: StubbedService, role: str
) -> None:
    router = service.router()
    version = 1 if role == "stable" else 2
    with router.exclusive():
        service.serve(router, 1)
        service.bring(router, 2)
        router.set_weight(2, 50)
        assert set(service.ask(router.url, 40)) == {"1", "2"}
        assert router.health(version).restarts == 0
        assert (router.health(version).memory or 0) > 1_000_000
        kill(getattr(service.state(), role).process)
        assert service.ask(router.url, 40) == {str(3 - version): 40}
        dead = router.health(version)
        assert (dead.ready, dead.restarts, dead.memory) == (False, 1, None)
        assert "Its process ended" in dead.reason
        failing = router.observe().arms[version]
        assert failing.unreachable == failing.server_errors > 5
        router.mend()
        assert router.health(version).ready
        # Its failures stay counted, and so does its death, also for the next controller.
        assert router.observe().arms[version] == failing
        assert set(service.ask(router.url, 40)) == {"1", "2"}
    with router.exclusive():
        assert router.health(version).restarts == 1
        service.bring(router, 3)
        assert router.health(3).restarts == 0
        assert router.observe().pairs == Pairs()


def test_a_candidate_that_does_not_start_again_is_given_up(service: StubbedService) -> None:
    router = service.router()
    with router.exclusive():
        service.serve(router, 1)
        service.bring(router, 2)
        router.route(Routing(mirror=0.5))
        router.set_weight(2, 50)
        candidate = service.state().candidate
        assert candidate is not None
        (service.folder.models / "2" / "broken").touch()
        kill(candidate.process)
    with router.exclusive():
        assert (router.candidate, service.state().weight) == (None, 0)
        assert service.state().assignment.mirror == 0
        health = router.health(2)
        assert (health.ready, health.restarts) == (False, 1)
        assert "told to break" in health.reason
        with pytest.raises(ServiceError, match="version 2 died and does not start again"):
            router.set_weight(2, 50)
        assert service.ask(router.url, 20) == {"1": 20}
        router.rollback(2)
        router.clean_up()
        assert service.processes() == 2


def test_a_stable_version_that_does_not_start_again(service: StubbedService) -> None:
    router = service.router()
    with router.exclusive():
        service.serve(router, 1)
        service.bring(router, 2)
        router.set_weight(2, 10)
        stable = service.state().stable
        assert stable is not None
        (service.folder.models / "1" / "broken").touch()
        kill(stable.process)
        router.mend()
        # With a candidate it is kept, and those it cannot answer are answered by the candidate.
        assert router.stable == 1
        assert service.ask(router.url, 20) == {"2": 20}
        router.rollback(2)
        router.clean_up()
        assert service.ask(router.url, 1) == {'{"error": "version 1 cannot be reached"}': 1}
    with router.exclusive():
        # Alone it serves nobody, and a new version is not kept out by it.
        assert (router.stable, router.previous) == (None, None)
        service.serve(router, 3)
        assert service.ask(router.url, 5) == {"3": 5}


def test_a_retired_version_that_died_is_there_when_it_is_needed(service: StubbedService) -> None:
    router = service.router()
    with router.exclusive():
        service.serve(router, 1)
        service.serve(router, 2)
        retired = service.state().retired
        assert retired is not None
        kill(retired.process)
        router.rollback(2)
        assert service.ask(router.url, 10) == {"1": 10}


def test_stopping_keeps_the_evidence(service: StubbedService) -> None:
    router = service.router()
    with router.exclusive():
        service.serve(router, 1)
        captured = service.folder.captures(1) / "predictions-1.jsonl"
        captured.parent.mkdir(parents=True)
        captured.write_text("{}\n")
        (found,) = status(service.home)
        with pytest.raises(ServiceError, match=f"process {os.getpid()} on"):
            stop(service.home)
    (found,) = status(service.home)
    (version,) = found.versions
    assert (version.version, version.role, version.weight) == (1, "stable", 100)
    assert (version.health.ready, version.health.restarts) == (True, 0)
    assert service.ask(version.url) == {"1": 1}
    assert stop(service.home) == [f"adult: port {found.url.rpartition(':')[2]}", "adult: version 1"]
    assert captured.exists()
    assert (service.folder.path / "version-1.log").exists()
    assert not service.folder.models.exists()


def test_a_server_captures_as_the_settings_say(service: StubbedService) -> None:
    settings = CapturesSpec(sample=0.5, days=30, megabytes=40)
    router = local_service(service.home, "adult", port=0, captures=settings)
    with router.exclusive():
        service.bring(router, 1)
        candidate = service.state().candidate
        assert candidate is not None
        assert candidate.process is not None
        command = Path(f"/proc/{candidate.process.pid}/cmdline").read_bytes().decode().split("\0")
    given = dict(itertools.pairwise(command))
    assert (given["--capture-sample"], given["--capture-days"]) == ("0.5", "30")
    assert int(given["--capture-files"]) * int(given["--capture-bytes"]) == 40 << 20


def test_a_service_that_is_known_before_it_is_held(service: StubbedService) -> None:
    with service.router().exclusive():
        pass
    assert status(service.home) == []
    assert stop(service.home) == []


@pytest.mark.parametrize("hours", [-5, pytest.param(5, marks=pytest.mark.long)])
def test_a_clock_that_is_set_changes_nothing(
    service: StubbedService, hours: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = service.router()
    with router.exclusive():
        service.serve(router, 1)
    before = service.state()
    with router.exclusive():
        clocks_set(monkeypatch, hours)
        # Of a controller that goes on, and of the next one.
        for act in (router.mend, lambda: service.bring(router, 2), lambda: router.promote(2)):
            act()
        assert router.health(1).restarts == 0
    assert [found.running for found in status(service.home)] == [True]
    with service.router().exclusive():
        now = service.state()
        assert (now.proxy, now.retired) == (before.proxy, before.stable)
        assert service.ask(router.url, 3) == {"2": 3}


def of_version_3(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state as the release before wrote it."""
    origin = ("version", "uri", "model", "folder", "export")
    then = {key: state[key] for key in state if key not in ("passing", "proxy")}
    then |= {"record": "penstock/local-service", "schema_version": 3, "front": state["proxy"]}
    for role in ("stable", "candidate", "retired"):
        if arm := state[role]:
            then[role] = {key: arm[key] for key in arm if key not in (*origin, "fault")}
            then[role]["origin"] = {key: arm[key] for key in origin} | {"drill": arm["fault"]}
    return then


def test_the_state_of_the_release_before_is_taken_over(service: StubbedService) -> None:
    router = service.router()
    with router.exclusive():
        service.serve(router, 1)
    now = service.state()
    path = service.folder.path / "state.json"
    then = of_version_3(json.loads(path.read_text())) | {"schema_version": 2}
    del then["term"]
    # One was written down before the clock was set, one after; one has ended.
    for part, hours in ((then["front"], 0), (then["stable"], 1)):
        pid = part["process"]["pid"]
        started = psutil.Process(pid).create_time() + hours * 3600
        part["process"] = {"pid": pid, "started": started}
    gone = {"pid": 2**22 - 1, "started": 1.0}
    then["retired"] = then["stable"] | {"identity": "gone", "process": gone}
    then["retired"]["origin"] = then["stable"]["origin"] | {"version": 7}
    path.write_text(json.dumps(then))
    with router.exclusive():
        found = service.state()
        assert (found.proxy, found.stable) == (now.proxy, now.stable)
        assert service.ask(router.url, 3) == {"1": 3}
        # Started again, as what died is; the proxy was not.
        assert router.health(7).restarts == 1
    assert json.loads(path.read_text())["stable"]["process"]["ticks"] > 0


def test_what_is_not_ours_in_our_folders_is_left_alone(service: StubbedService) -> None:
    router, folder = service.router(), service.folder
    outside = service.home / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    with router.exclusive():
        service.bring(router, 1)
        (folder.models / "notes.txt").touch()
        (folder.models / "link").symlink_to(outside)
        (folder.models / ".9.removed").mkdir()
        (folder.models / "9").mkdir()
        rollouts = folder.path / "rollouts"
        (rollouts / "odd" / "journal.jsonl").mkdir(parents=True)
        (rollouts / "journal.jsonl").touch()
        (folder.path / "version-1.log.1").mkdir()
        (folder.path / ".state.json.half").write_text("{")
        (service.home / "serving" / "file").touch()
        (service.home / "serving" / "lost+found").mkdir()
        (service.home / "serving" / "wine").mkdir()
        (service.home / "serving" / "wine" / "state.json").write_text("{")
        router.promote(1)
        router.clean_up()
        left = {path.name for path in folder.models.iterdir()}
        assert left == {"1", "notes.txt", "link"}
    with service.router().exclusive():
        assert not (folder.path / ".state.json.half").exists()
    assert (outside / "kept").exists()
    assert LocalTarget(service.home, service="adult").stores() == []
    found = {each.service: each for each in status(service.home)}
    assert (found["adult"].running, found["wine"].running) == (True, False)
    assert "not JSON" in found["wine"].url
    # A service that cannot be stopped keeps no other running.
    (service.home / "serving" / "able").mkdir()
    (service.home / "serving" / "able" / "lease.json").write_text("{")
    with pytest.raises(ServiceError, match=r"able/lease.json.*Remove that file"):
        stop(service.home)
    assert service.processes() == 0
    assert stop(service.home, force=True) == []


def test_a_server_that_is_started_again_has_as_long_as_the_first_time(
    service: StubbedService,
) -> None:
    router = local_service(service.home, service="adult", port=0, drain=5, ready_timeout=0.7)
    with router.exclusive():
        for version in (1, 2):
            service.serve(router, version)
            router.clean_up()
        (service.folder.models / "1" / "hangs").touch()
        started = time.monotonic()
        with pytest.raises(ServiceError, match=r"version 1 was not ready within 0.7 s"):
            router.rollback(2)
        assert service.ask(router.url, 3) == {"2": 3}
        service.bring(router, 3)
        (service.folder.models / "3" / "hangs").touch()
        candidate = service.state().candidate
        assert candidate is not None
        kill(candidate.process)
        router.mend()
        assert "not ready within 0.7 s" in router.health(3).reason
        assert time.monotonic() - started < 10


@pytest.mark.long
def test_a_death_is_counted_once_however_often_its_mending_is_killed(
    service: StubbedService,
) -> None:
    router = service.router()
    with router.exclusive():
        service.serve(router, 1)
        service.bring(router, 2)
        candidate = service.state().candidate
        assert candidate is not None
        kill(candidate.process)
        assert router.health(2).restarts == 1

    def mended() -> None:
        with service.router().exclusive():
            pass

    starting = run(mended, below=[service.home]).effects
    at = next(i for i, effect in enumerate(starting, 1) if effect.startswith("process: start"))
    with router.exclusive():
        kill(service.state().candidate.process)
    for _ in range(2):
        assert run(mended, Fault.KILL, at=at, below=[service.home]).hit
    with router.exclusive():
        assert router.health(2).restarts == 2


def test_a_service_that_has_no_port_takes_the_deployment_s(service: StubbedService) -> None:
    port = free_port()
    keeping = local_service(service.home, service="adult", port=port, keep_port=True)
    with keeping.exclusive():
        keeping.open()
        service.serve(keeping, 1)
        assert keeping.url.endswith(f":{port}")
    # It has one: a command that names none of its own keeps it.
    other = local_service(service.home, service="adult", port=port + 1, keep_port=True)
    with other.exclusive():
        assert other.url == keeping.url


def test_the_processes_of_another_container_are_left_alone(service: StubbedService) -> None:
    folder = service.folder
    folder.make()
    command = ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-P", "-m"]
    options = ["router_stub", "--model", str(folder.models), "--version", "1", "--port", "0"]
    if subprocess.run(["unshare", "--pid", "--fork", "true"], check=False).returncode:
        pytest.skip("NOT TESTED: no namespace of process ids may be made here. Run it as root")
    running = subprocess.Popen([*command, *options])
    try:
        until(lambda: service.processes() >= 2)
        assert list(strays.strays(folder.path, known=[])) == []
        same = subprocess.Popen([sys.executable, "-P", "-m", *options])
        until(lambda: len(list(strays.strays(folder.path, known=[]))) == 1)
        same.kill()
        same.wait()
    finally:
        running.kill()
        running.wait()


def _rollout(service: StubbedService, version: int, *, ending: str) -> None:
    """All that a controller does to a service, from one version to the next."""
    router = service.router()
    with router.exclusive():
        router.open()
        service.bring(router, version)
        router.route(Routing(mirror=1.0))
        router.set_weight(version, 40)
        if ending != "rolled back":
            router.promote(version)
        else:
            router.rollback(version)
        router.clean_up()
        if ending == "promoted and back":
            # What was cleaned up is started again.
            service.serve(router, version)
            router.clean_up()
            router.rollback(version)
            router.clean_up()


_ENDINGS = ["rolled back", "promoted and back"]


def _whole(ending: str) -> Any:
    """Take every effect, in `make test-all`: `make test` takes a few."""
    return pytest.param(ending, 1, marks=pytest.mark.exhaustive)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "steps"),
    [
        pytest.param("promoted and back", 29, marks=pytest.mark.long),
        *(_whole(ending) for ending in _ENDINGS),
    ],
)
def test_a_controller_may_be_killed_at_any_effect(
    service: StubbedService, ending: str, steps: int
) -> None:
    router = service.router()
    with router.exclusive():
        service.serve(router, 1)
    version = 2
    effects = 0
    stable = _resumed(service)
    with load_on(router.url) as answers:
        before = Counter(answers)
        for ended in endings(
            lambda: _rollout(service, version, ending=ending),  # noqa: B023
            Fault.KILL,
            below=[service.home],
            every=steps,
        ):
            assert ended.code == (-signal.SIGKILL if ended.hit else 0), ended
            given = service.state()
            fresh = {key for key in answers if answers[key] > before[key]}
            assert given.stable is not None
            assert fresh <= {f"200 version {stable}", f"200 version {version}"}, (ended, fresh)
            stable = _resumed(service)
            version, effects, before = version + 1, ended.at, Counter(answers)
    assert effects > 30
    assert all(key.startswith("200 version ") for key in answers), answers


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "steps"), [("promoted and back", 31), *(_whole(ending) for ending in _ENDINGS)]
)
@pytest.mark.parametrize(
    "fault",
    [
        # Of files and of calls there are others; a full disk has a test of its own below.
        Fault.DOWN,
        *(
            pytest.param(fault, marks=pytest.mark.long)
            for fault in Fault
            if fault not in (Fault.KILL, Fault.DOWN)
        ),
    ],
)
def test_what_cannot_be_done_is_said_and_the_next_command_goes_on(
    service: StubbedService, ending: str, fault: Fault, steps: int
) -> None:
    router = service.router()
    with router.exclusive():
        service.serve(router, 1)
    version = 2
    service.release(version)
    calls = fault in (Fault.DOWN, Fault.UNHEARD)
    for ended in endings(
        lambda: _rollout(service, version, ending=ending),  # noqa: B023
        fault,
        below=[service.home],
        # Calls are few.
        every=min(steps, 7) if calls else steps,
    ):
        # A sentence for people, or it came to its end all the same.
        said = ended.interrupted if fault is Fault.INTERRUPT else ended.refused
        assert said or ended.code == 0, ended.trace
        _resumed(service)
        version += 1
        # It is not the router that fetches a model.
        service.release(version)


@pytest.mark.parametrize("promoted", [pytest.param(False, marks=pytest.mark.long), True])
def test_a_full_disk_does_not_keep_the_traffic_from_going_back(
    service: StubbedService, promoted: bool
) -> None:
    router = service.router()

    def begun() -> None:
        with router.exclusive():
            service.bring(router, 2)
            router.set_weight(2, 100)
            if promoted:
                router.promote(2)

    def back() -> None:
        one = service.router()
        with one.exclusive():
            one.rollback(2)

    with router.exclusive():
        service.serve(router, 1)
        router.clean_up()
    begun()
    effects = run(back, Fault.FULL, below=[service.home]).effects
    with router.exclusive():
        router.clean_up()
    begun()
    writes = [at for at, effect in enumerate(effects, 1) if "write" in effect and "state" in effect]
    # Promoted, there are two: the roles, and then the weight.
    ended = run(back, Fault.FULL, at=writes[-2 if promoted else -1], below=[service.home])
    assert ended.refused, ended.trace
    assert "The disk is full" in ended.error
    assert service.ask(router.url, 10) == {"1": 10}
    # Nobody wrote it down, so it is to be said again; then it lasts.
    back()
    assert service.ask(router.url, 10) == {"1": 10}


def test_nothing_is_left_of_a_first_release_that_was_killed(service: StubbedService) -> None:
    def first() -> None:
        router = service.router()
        with router.exclusive():
            router.open()
            service.serve(router, 1)
            router.clean_up()

    for ended in endings(first, Fault.KILL, below=[service.home], first=3, every=9):
        assert ended.code == (-signal.SIGKILL if ended.hit else 0), ended
        with service.router().exclusive():
            state = service.folder.read()
            arms = state.arms() if state else ()
            assert service.processes() == (1 + len(arms) if arms else 0)
        stop(service.home)
        assert service.processes() == 0


def _resumed(service: StubbedService) -> int:
    """Take the service over, check that it does what its state says, and end what was begun."""
    router = service.router()
    with router.exclusive():
        state = service.state()
        assert state.stable is not None
        assert state.proxy is not None
        assert all(router.health(arm.version).ready for arm in state.arms())
        assert service.processes() == 1 + len(state.arms())
        table = control.read(service.folder, state.proxy)
        assert table["weight"] == state.weight
        roles = {arm["role"]: arm["version"] for arm in table["arms"]}
        assert roles == {role: arm.version for role, arm in state.roles().items()}
        expected = {str(state.stable.version)}
        if state.candidate and state.weight:
            expected.add(str(state.candidate.version))
        assert set(service.ask(router.url, 20)) <= expected
        if state.candidate:
            router.rollback(state.candidate.version)
        router.clean_up()
        assert service.ask(router.url, 3) == {str(router.stable): 3}
        assert service.processes() == 2
        assert router.stable is not None
        used = {str(version) for version in (router.stable, router.previous) if version}
        assert {path.name for path in service.folder.models.iterdir()} <= used
        left = [path.name for path in service.folder.path.iterdir() if path.name.startswith(".")]
        # The lease's own is swept by whoever comes next.
        assert left == []
        return router.stable


@pytest.mark.slow
@pytest.mark.long
def test_real_servers_under_load_fail_no_request(
    tmp_path: Path, exported: Callable[..., Any], instances: list[dict[str, Any]]
) -> None:
    router, made = local_service(tmp_path, service="adult", port=0), exported()

    def release(version: int) -> Release:
        folder = ServiceFolder(tmp_path, "adult").models / str(version)
        shutil.copytree(made.folder, folder)
        return Release(
            version=version,
            uri=f"models:/adult/{version}",
            model=model.digest_of(folder),
            folder=folder,
            export=made.digest,
        )

    try:
        with router.exclusive():
            router.deploy(release(1), timeout=120)
            router.promote(1)
            with load_on(router.url, instances[:1]) as answers:
                router.deploy(release(2), timeout=120)
                router.route(Routing(mirror=1.0))
                until(lambda: router.observe().pairs.candidate.requests >= 20)
                for weight in (10, 50, 90):
                    router.set_weight(2, weight)
                    before = router.observe().arms[2].requests
                    until(lambda before=before: router.observe().arms[2].requests > before + 5)
                found = router.observe()
                router.promote(2)
                router.clean_up()
                seen = answers["200 version 2"]
                until(lambda: answers["200 version 2"] > seen + 20)
    finally:
        stop(tmp_path, force=True)
    assert set(answers) == {"200 version 1", "200 version 2"}
    assert min(answers.values()) > 20
    assert all(arm.server_errors == arm.client_errors == 0 for arm in found.arms.values())
    assert found.pairs.rows >= 20
    assert sum(found.arms[2].scores.values()) == found.arms[2].requests


def test_one_version_is_told_from_another() -> None:
    one = ServerArm(version=1, uri="models:/a/1", model="sha256:1", folder="/a")
    assert one.same(one.model_copy(update={"folder": "/b"}))
    for change in ({"model": "sha256:2"}, {"export": "sha256:3"}, {"fault": "slow"}):
        assert not one.same(one.model_copy(update=change))
