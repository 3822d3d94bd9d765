"""Releases on this machine: real registry, real servers, real traffic."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from fresh_store import fresh_store
from rollout_world import World
from router_parts import load_on
from running_process import until

from penstock import model
from penstock.captures.reader import read_window
from penstock.errors import InputError, IntegrityError, NotApprovedError, ServiceError
from penstock.model import digest_of
from penstock.processes import supervisor as process
from penstock.records.release import Deployment
from penstock.records.rollout import Rollout
from penstock.registry import versions
from penstock.rollout import smoke
from penstock.rollout.backends.local.backend import local_service
from penstock.rollout.backends.local.services import status, stop
from penstock.rollout.captures import captures_of
from penstock.rollout.spec import DeploymentSpec
from penstock.serving import parity_check


@pytest.fixture(scope="module")
def world(world: World) -> World:
    """Three versions are registered and none is released."""
    for depth in (2, 3, 4):
        world.registered(depth)
    return world


@pytest.fixture
def serving(world: World) -> Deployment:
    """Version 1 or what took over from it: the first test that asks for it makes the release."""
    states = status(world.home)
    if states and states[0].running:
        return Deployment.read(world.home / "current.json")
    assert world.release(2).outcome == "promoted"
    world.deployed(2).write(world.home / "current.json")
    return world.deployed(2)


@pytest.mark.slow
def test_the_first_release_serves_and_leaves_a_line_to_paste(
    world: World, serving: Deployment
) -> None:
    assert (serving.version, serving.previous, serving.smoke_rows) == (1, None, 20)
    first = Rollout.read(world.outputs("2").rollout)
    assert first.direct.startswith("First release")
    assert serving.rollout == first.digest()
    assert "First release" in world.outputs("2").report.read_text()
    assert world.champion() == 1
    line = smoke.curl_line(serving, holdout=world.holdout)
    pasted = subprocess.run(["bash", "-c", line], capture_output=True, check=True, timeout=30)
    loaded = model.load(world.models())
    expected = loaded.labels(loaded.frame(parity_check.sample_rows(world.holdout, rows=1))).tolist()
    assert json.loads(pasted.stdout)["predictions"] == expected
    (found,) = status(world.home)
    assert (found.service, found.url, found.running) == ("adult", serving.url, True)
    assert found.weights == {1: 100}
    source = captures_of(DeploymentSpec(), service="adult", home=world.home)
    until(lambda: read_window(source, after=None).rows == 1)
    captured = read_window(source, after=None)
    assert captured.table["label"].to_pylist() == expected, "what users sent, not the smoke test"
    assert captured.lost == 0


def test_without_approval_nothing_is_touched(world: World, serving: Deployment) -> None:
    registration = world.registered(3)
    for decision, message in (
        (world.decision(3, approved=False), "refuses this model"),
        (world.decision(3, rules=()), "its own rules do not"),
        (world.decision(4), "not this one"),
        (world.decision(3, policy="sha256:09"), "was registered with decision"),
    ):
        with pytest.raises(NotApprovedError, match=message):
            world.release(3, registration=registration, decision=decision)
    _assert_untouched(world, serving, 3)


def test_a_model_altered_in_the_registry_is_refused(world: World, serving: Deployment) -> None:
    registration = world.registered(3)
    stored = next(
        path
        for path in (world.home / "artifacts").rglob("artifacts")
        if path.is_dir() and digest_of(path) == registration.model
    )
    before = (stored / "requirements.txt").read_text()
    (stored / "requirements.txt").write_text("altered\n")
    try:
        with pytest.raises(IntegrityError, match="changed after it was registered"):
            world.release(3)
    finally:
        (stored / "requirements.txt").write_text(before)
    _assert_untouched(world, serving, 3)


def test_a_registration_of_other_files_is_refused(world: World, serving: Deployment) -> None:
    claimed = world.registered(3).model_copy(update={"uri": "models:/adult/3"})
    with pytest.raises(IntegrityError, match="changed after the decision"):
        world.release(3, registration=claimed)
    _assert_untouched(world, serving, 3)


def test_a_server_that_is_not_ready_in_time_is_stopped(world: World, serving: Deployment) -> None:
    rollout = world.release(3, spec={"ready_timeout": 0.2})
    assert rollout.outcome == "rolled_back"
    assert "version 2 was not ready within 0.2 s" in rollout.reason
    assert "deployment.ready_timeout" in rollout.reason
    _assert_untouched(world, serving, 3)


@pytest.mark.slow
def test_a_server_that_answers_otherwise_gets_no_traffic(
    world: World, serving: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Server and release step load the same files, so only a broken library makes them differ:
    # another model stands in for that.
    other = model.load(world.models(depth=4))
    monkeypatch.setattr(smoke, "scorer_of", lambda _: other)
    with load_on(serving.url, world.rows[:1]) as answers:
        rollout = world.release(3)
    assert rollout.outcome == "rolled_back"
    assert "differs from the model's own on row" in rollout.reason
    assert world.tags(2)[versions.ROLLED_BACK] == rollout.reason
    assert set(answers) == {"200 version 1"}
    _assert_untouched(world, serving, 3)


@pytest.mark.slow
def test_a_version_that_the_registry_loses_serves_nobody(
    world: World, serving: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    registration = world.registered(3)
    check = smoke.check

    def check_and_delete(*args: Any, **kwargs: Any) -> None:
        from mlflow import MlflowClient

        check(*args, **kwargs)
        store = MlflowClient(tracking_uri=world.uri, registry_uri=world.uri)
        store.delete_model_version("adult", str(registration.version))

    # The registry must lose the version after the fetch, which takes an accomplice.
    monkeypatch.setattr(smoke, "check", check_and_delete)
    with load_on(serving.url, world.rows[:1]) as answers:
        rollout = world.release(3, registration=registration)
    assert rollout.outcome == "rolled_back"
    assert "there is no such version in the registry" in rollout.reason
    assert rollout.ended
    assert set(answers) <= {"200 version 1", f"200 version {registration.version}"}
    _assert_untouched(world, serving, 3)


@pytest.mark.slow
def test_a_second_release_fails_no_request(world: World, serving: Deployment) -> None:
    old = world.state()
    with load_on(serving.url, world.rows[:1]) as answers:
        assert world.release(4, run="the second").outcome == "promoted"
        time.sleep(0.5)
    second = world.deployed(4)
    second.write(world.home / "current.json")
    assert set(answers) == {"200 version 1", f"200 version {second.version}"}
    assert min(answers.values()) > 10
    assert (second.url, second.previous) == (serving.url, 1)
    assert world.champion() == second.version
    assert old.stable is not None
    assert not process.is_alive(old.stable.process)
    assert len(world.processes()) == 2
    # The step is run again, as after a crash of the pipeline: the same outcome, nothing started.
    world.release(4, run="the second")
    assert world.deployed(4) == second
    # And in another run: it serves already.
    assert world.release(4, run="the third").direct == "It serves already."
    assert world.deployed(4).url == second.url
    assert len(world.processes()) == 2


@pytest.mark.slow
def test_what_died_is_brought_back(world: World, serving: Deployment) -> None:
    """As after a restart of the machine: proxy and server are gone, the folders are there."""
    before = world.state()
    assert before.proxy is not None
    assert before.stable is not None
    for part in (before.proxy, before.stable):
        os.kill(part.process.pid, signal.SIGKILL)
        until(lambda ref=part.process: not process.is_alive(ref))
    (found,) = status(world.home)
    assert not found.running
    router = local_service(world.home, service="adult", port=0)
    with router.exclusive():
        pass
    assert world.ask(serving.url) == str(before.stable.version)
    assert router.url == serving.url


def test_two_deployers_do_not_meet(world: World, serving: Deployment) -> None:
    with local_service(world.home, service="adult", port=0).exclusive():
        for act in (lambda: world.release(2), lambda: stop(world.home)):
            with pytest.raises(ServiceError, match=rf"process {os.getpid()} on .* is deploying"):
                act()
    assert world.ask(serving.url)


def test_another_port_than_the_one_it_has_is_refused(world: World, serving: Deployment) -> None:
    with pytest.raises(InputError, match=r"it answers on port \d+, not on 1.*penstock stop"):
        world.release(2, spec={"port": 1})
    assert world.ask(serving.url)


@pytest.mark.parametrize("same", [False, True], ids=["another number", "the number that serves"])
def test_a_service_of_another_registry_is_not_compared_with(
    world: World, serving: Deployment, tmp_path: Path, same: bool
) -> None:
    before = world.state()
    assert before.stable is not None
    other = replace(world, uri=fresh_store(tmp_path))
    # There each number is of another model.
    numbers = {other.registered(depth).version: depth for depth in (3, 4, 2)}
    number = before.stable.version
    # As after a registry was restored from before the release of what serves.
    candidate = numbers[number if same else 3 if number == 2 else 2]
    said = (
        rf"version {number} serves from other files than those of models:/adult/{number}\. Either"
    )
    said += r" it was released from another registry or MLflow workspace: .*backup\.md.*altered: "
    with pytest.raises(InputError, match=said):
        other.release(candidate)
    assert world.ask(serving.url) == str(before.stable.version)
    assert (world.state().stable, world.state().candidate) == (before.stable, None)


def test_a_port_that_somebody_has_is_named(world: World, serving: Deployment) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=rf"port {port} on 127.0.0.1 is in use by another"):
            world.release(2, name="wine", spec={"port": port})
    own = int(serving.url.rpartition(":")[2])
    with pytest.raises(ServiceError, match=rf"port {own} .* by the service 'adult'.*set 0"):
        world.release(2, name="wine", spec={"port": own})
    assert [found.service for found in status(world.home)] == ["adult"]
    assert len(world.processes()) == 2
    assert versions.champion("wine", tracking_uri=world.uri) is None


def test_a_process_left_behind_by_a_killed_deployer_is_ended(
    world: World, serving: Deployment
) -> None:
    folder = shutil.copytree(world.models(), world.home / "serving" / "adult" / "models" / "7-left")
    arguments = ["--model", str(folder), "--name", "adult", "--version", "7", "--port", "1"]
    stray = process.start(
        "penstock.serving",
        [*arguments, "--digest", digest_of(folder)],
        log=world.home / "stray.log",
    )
    with local_service(world.home, service="adult", port=0).exclusive():
        assert not process.is_alive(stray)
    assert world.ask(serving.url)


def test_a_process_under_a_recycled_id_is_not_ours() -> None:
    mine = psutil.Process().create_time()
    assert process.is_alive(process.ProcessRef(pid=os.getpid(), started=mine))
    recycled = process.ProcessRef(pid=os.getpid(), started=mine - 3600)
    assert not process.is_alive(recycled)
    assert not process.stop(recycled, grace=1)


def test_a_name_that_leads_out_of_home_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'\.\./x' cannot be the name of a service"):
        local_service(tmp_path / "home", service="../x")
    assert list(tmp_path.iterdir()) == []


def test_stopping_leaves_nothing(world: World, serving: Deployment) -> None:
    version = world.state().stable
    assert version is not None
    with pytest.raises(InputError, match=r"no service is called 'nobody'\. There are: adult"):
        stop(world.home, "nobody")
    port = serving.url.rpartition(":")[2]
    assert stop(world.home) == [f"adult: port {port}", f"adult: version {version.version}"]
    assert world.processes() == []
    assert status(world.home) == []
    assert stop(world.home) == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(serving.url, trust_env=False, verify=False)


def _assert_untouched(world: World, serving: Deployment, depth: int) -> None:
    """What served serves on, alone; alias, state and output are as they were."""
    assert world.ask(serving.url) == str(serving.version)
    assert world.champion() == serving.version
    state = world.state()
    assert (state.candidate, state.retired, state.weight) == (None, None, 0)
    assert len(world.processes()) == 2
    assert not world.outputs(str(depth)).deployment.exists()
