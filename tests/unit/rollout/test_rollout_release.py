"""Releases on this machine: real registry, real servers, real traffic."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from penstock import files, model
from penstock.errors import InputError, IntegrityError, NotApprovedError, ServiceError
from penstock.records.dataset import DataFile, Dataset
from penstock.records.decision import Decision, RuleResult
from penstock.records.release import Deployment, Registration
from penstock.registry import versions
from penstock.registry.register import register
from penstock.rollout import release, smoke
from penstock.rollout.routers import process
from penstock.rollout.routers.local import LocalRouter
from penstock.rollout.routers.services import status, stop
from penstock.rollout.routers.state import LocalState
from penstock.rollout.spec import DeploymentSpec


def decision_on(folder: Path, **changes: Any) -> Decision:
    rule = RuleResult(
        rule="baseline", severity="block", verdict="pass", value=0.1, bound=0, sentence="Better."
    )
    fields = {
        "approved": True,
        "model": files.digest_of_folder(folder),
        "dataset": "xxh3-128:02",
        "evaluation": "sha256:01",
        "policy": "sha256:03",
        "rules": (rule,),
    }
    return Decision(**(fields | changes))


def write_holdout(folder: Path, rows: list[dict[str, Any]]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet

    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
    times = [datetime.fromisoformat(text) for text in columns["since"]]
    columns["since"] = pa.array(times, pa.timestamp("us", "UTC"))
    columns["target"] = ["yes"] * len(rows)
    folder.mkdir()
    half = len(rows) // 2
    table = pa.table(columns)
    parts = [table.slice(0, half), table.slice(half)]
    names = [f"part-{index}.parquet" for index in range(2)]
    for name, part in zip(names, parts, strict=True):
        pyarrow.parquet.write_table(part, folder / name)
    Dataset(
        content="xxh3-128:02",
        rows=len(rows),
        columns=(),
        files=tuple(
            DataFile(name=name, rows=part.num_rows, bytes=1)
            for name, part in zip(names, parts, strict=True)
        ),
        source="test",
        created=datetime.now(UTC),
    ).write(folder / "dataset.json")
    return folder


@dataclass
class World:
    """A registry, a holdout and a home, and what is released there."""

    home: Path
    uri: str
    holdout: Path
    models: Callable[..., Path]
    rows: list[dict[str, Any]]

    def registered(self, depth: int, *, name: str = "adult") -> Registration:
        folder = self.models(depth=depth)
        return register(
            folder,
            decision=decision_on(folder),
            evaluation=None,
            name=name,
            tracking_uri=self.uri,
        )

    def deploy(self, depth: int, *, name: str = "adult", **changes: Any) -> Deployment:
        spec = {"port": 0, "ready_timeout": 90} | changes.pop("spec", {})
        arguments = {
            "registration": self.registered(depth, name=name),
            "decision": decision_on(self.models(depth=depth)),
            "holdout": self.holdout,
            "spec": DeploymentSpec(**spec),
            "home": self.home,
            "tracking_uri": self.uri,
            "output": self.home / f"{name}-{depth}.json",
        } | changes
        return release.deploy(arguments.pop("registration"), **arguments)

    def state(self) -> LocalState:
        return LocalState.read(self.home / "serving" / "adult" / "state.json")

    def champion(self) -> int | None:
        found = versions.champion("adult", tracking_uri=self.uri)
        return found.version if found else None

    def ask(self, url: str) -> str:
        body = {"instances": self.rows[:1]}
        answer = httpx.post(f"{url}/v1/models/adult:predict", json=body, trust_env=False)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["model_version"])

    def processes(self) -> list[str]:
        lines = [" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])]
        return [line for line in lines if "-m penstock." in line and str(self.home) in line]


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory,
    models: Callable[..., Path],
    instances: list[dict[str, Any]],
) -> Iterator[World]:
    home = tmp_path_factory.mktemp("world")
    built = World(
        home=home,
        uri=f"sqlite:///{home / 'mlflow.db'}",
        holdout=write_holdout(home / "holdout", instances),
        models=models,
        rows=instances,
    )
    for depth in (2, 3, 4):
        built.registered(depth)
    yield built
    stop(home)
    assert built.processes() == []


@pytest.fixture
def serving(world: World) -> Deployment:
    """Version 1 or what took over from it: the first test that asks for it makes the release."""
    states = status(world.home)
    if states and states[0].running:
        found = json.loads((world.home / "current.json").read_text())
        return Deployment.parse(found, where="current.json")
    deployment = world.deploy(2)
    deployment.write(world.home / "current.json")
    return deployment


@contextmanager
def load_on(world: World, url: str) -> Iterator[Counter[str]]:
    """Ask without a pause over kept connections and fresh ones, and count the answers."""
    answers: Counter[str] = Counter()
    over = threading.Event()
    body = {"instances": world.rows[:1]}
    address = f"{url}/v1/models/adult:predict"

    def ask(keep: bool) -> None:
        client = httpx.Client(trust_env=False, timeout=30)
        while not over.is_set():
            try:
                if keep:
                    response = client.post(address, json=body)
                else:
                    response = httpx.post(address, json=body, trust_env=False, timeout=30)
                said = response.json().get("model_version") or response.text
                answers[f"{response.status_code} version {said}"] += 1
            except httpx.HTTPError as error:
                answers[repr(error)] += 1

    threads = [threading.Thread(target=ask, args=(keep,)) for keep in (True, True, False)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        over.set()
        for thread in threads:
            thread.join()


@pytest.mark.slow
def test_the_first_release_serves_and_leaves_a_line_to_paste(
    world: World, serving: Deployment
) -> None:
    assert (serving.version, serving.previous, serving.smoke_rows) == (1, None, 20)
    assert Deployment.read(world.home / "adult-2.json") == serving
    assert world.champion() == 1
    line = smoke.curl_line(serving, holdout=world.holdout)
    pasted = subprocess.run(["bash", "-c", line], capture_output=True, check=True, timeout=30)
    loaded = model.load(world.models())
    expected = loaded.labels(loaded.frame(smoke.sample_rows(world.holdout, rows=1))).tolist()
    assert json.loads(pasted.stdout)["predictions"] == expected
    (found,) = status(world.home)
    assert (found.service, found.url, found.running) == ("adult", serving.url, True)
    assert found.weights == {1: 100}


def test_without_approval_nothing_is_touched(world: World, serving: Deployment) -> None:
    registration = world.registered(3)
    for decision, message in (
        (decision_on(world.models(depth=3), approved=False), "refuses this model"),
        (decision_on(world.models(depth=3), rules=()), "its own rules do not"),
        (decision_on(world.models(depth=4)), "not this one"),
        (decision_on(world.models(depth=3), policy="sha256:09"), "was registered with decision"),
    ):
        with pytest.raises(NotApprovedError, match=message):
            world.deploy(3, registration=registration, decision=decision)
    _assert_untouched(world, serving, 3)


def test_a_model_altered_in_the_registry_is_refused(world: World, serving: Deployment) -> None:
    registration = world.registered(3)
    stored = next(
        path
        for path in (world.home / "artifacts").rglob("artifacts")
        if path.is_dir() and files.digest_of_folder(path) == registration.model
    )
    before = (stored / "requirements.txt").read_text()
    (stored / "requirements.txt").write_text("altered\n")
    try:
        with pytest.raises(IntegrityError, match="altered after it was registered"):
            world.deploy(3)
    finally:
        (stored / "requirements.txt").write_text(before)
    _assert_untouched(world, serving, 3)


def test_a_registration_of_other_files_is_refused(world: World, serving: Deployment) -> None:
    claimed = world.registered(3).model_copy(update={"uri": "models:/adult/3"})
    with pytest.raises(IntegrityError, match="altered after the decision"):
        world.deploy(3, registration=claimed)
    _assert_untouched(world, serving, 3)


def test_a_server_that_is_not_ready_in_time_is_stopped(world: World, serving: Deployment) -> None:
    with pytest.raises(ServiceError, match=r"version 2 was not ready within 0.2 s.*log") as caught:
        world.deploy(3, spec={"ready_timeout": 0.2})
    assert "deployment.ready_timeout" in str(caught.value)
    _assert_untouched(world, serving, 3)


@pytest.mark.slow
def test_a_server_that_answers_otherwise_gets_no_traffic(
    world: World, serving: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Server and release step load the same files, so only a broken library makes them differ:
    # another model stands in for that.
    other = model.load(world.models(depth=4))
    monkeypatch.setattr(model, "load", lambda *_, **__: other)
    with (
        load_on(world, serving.url) as answers,
        pytest.raises(ServiceError, match=r"differs from the model's own on row \d+ of 20"),
    ):
        world.deploy(3)
    assert set(answers) == {"200 version 1"}
    _assert_untouched(world, serving, 3)


@pytest.mark.slow
def test_traffic_goes_back_if_the_alias_cannot_move(
    world: World, serving: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    registration = world.registered(3)
    check = smoke.check

    def check_and_delete(*args: Any, **kwargs: Any) -> int:
        from mlflow import MlflowClient

        rows = check(*args, **kwargs)
        store = MlflowClient(tracking_uri=world.uri, registry_uri=world.uri)
        store.delete_model_version("adult", str(registration.version))
        return rows

    # The registry must lose the version between the fetch and the alias, which takes an accomplice.
    monkeypatch.setattr(smoke, "check", check_and_delete)
    with load_on(world, serving.url) as answers, pytest.raises(ServiceError, match="MLflow"):
        world.deploy(3, registration=registration)
    assert set(answers) <= {"200 version 1", f"200 version {registration.version}"}
    _assert_untouched(world, serving, 3)


@pytest.mark.slow
def test_a_second_release_fails_no_request(world: World, serving: Deployment) -> None:
    old = world.state()
    with load_on(world, serving.url) as answers:
        second = world.deploy(4)
        time.sleep(0.5)
    second.write(world.home / "current.json")
    assert set(answers) == {"200 version 1", f"200 version {second.version}"}
    assert min(answers.values()) > 10
    assert (second.url, second.previous) == (serving.url, 1)
    assert world.champion() == second.version
    assert old.stable is not None
    assert not process.is_alive(old.stable.process)
    assert len(world.processes()) == 2
    assert len(list((world.home / "serving" / "adult" / "models").iterdir())) == 1
    # The step is run again, as after a crash of the pipeline: the same outcome, nothing started.
    again = world.deploy(4)
    assert (again.version, again.url, again.previous) == (second.version, second.url, 1)
    assert len(world.processes()) == 2


@pytest.mark.slow
def test_what_died_is_brought_back(world: World, serving: Deployment) -> None:
    """As after a restart of the machine: front and server are gone, the folders are there."""
    before = world.state()
    assert before.front is not None
    assert before.stable is not None
    for part in (before.front, before.stable):
        os.kill(part.process.pid, signal.SIGKILL)
        _until(lambda ref=part.process: not process.is_alive(ref))
    (found,) = status(world.home)
    assert not found.running
    router = LocalRouter(world.home, service="adult", port=0)
    with router.exclusive():
        pass
    assert world.ask(serving.url) == str(before.stable.version)
    assert router.url == serving.url


def test_two_deployers_do_not_meet(world: World, serving: Deployment) -> None:
    with LocalRouter(world.home, service="adult", port=0).exclusive():
        for act in (lambda: world.deploy(2), lambda: stop(world.home)):
            with pytest.raises(ServiceError, match=rf"process {os.getpid()} is deploying"):
                act()
    assert world.ask(serving.url)


def test_another_port_than_the_one_it_has_is_refused(world: World, serving: Deployment) -> None:
    with pytest.raises(InputError, match=r"it answers on port \d+, not on 1.*penstock stop"):
        world.deploy(2, spec={"port": 1})
    assert world.ask(serving.url)


def test_a_port_that_somebody_has_is_named(world: World, serving: Deployment) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=rf"port {port} on 127.0.0.1 is in use by another"):
            world.deploy(2, name="wine", spec={"port": port})
    own = int(serving.url.rpartition(":")[2])
    with pytest.raises(ServiceError, match=rf"port {own} .* by the service 'adult'.*give 0"):
        world.deploy(2, name="wine", spec={"port": own})
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
        [*arguments, "--digest", files.digest_of_folder(folder)],
        log=world.home / "stray.log",
    )
    with LocalRouter(world.home, service="adult", port=0).exclusive():
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
        LocalRouter(tmp_path / "home", service="../x")
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
        httpx.get(serving.url, trust_env=False)


def _assert_untouched(world: World, serving: Deployment, depth: int) -> None:
    """What served serves on, alone; alias, state and output are as they were."""
    assert world.ask(serving.url) == str(serving.version)
    assert world.champion() == serving.version
    state = world.state()
    assert (state.candidate, state.retired, state.weight) == (None, None, 0)
    assert len(world.processes()) == 2
    assert not (world.home / f"adult-{depth}.json").exists()
    assert len(list((world.home / "serving" / "adult" / "models").iterdir())) == 1


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
