"""Every command, ended at every effect: what the next command finds is legal, and it goes on.

Registry, journal, state, proxy and processes are real. In the place of model servers are stubs,
and nobody compares their answers with the model's: a real server takes four seconds to start, and
these tests start hundreds. A command is ended at some of its effects here, and at all of them with
PENSTOCK_EFFECTS_EVERY=1, which takes hours.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from cluster_emulator import Cluster, kubeconfig_of, running
from fresh_store import fresh_store
from killing import Ending, Fault, run
from rollout_world import POLICY, Home, decision_on, write_holdout
from router_parts import stub_servers

import penstock
from penstock.errors import InputError
from penstock.records.rollout import Order, Rollout
from penstock.registry import audit
from penstock.registry.register import register
from penstock.rollout import control, release, smoke
from penstock.rollout.backends.local.services import stop
from penstock.rollout.backends.local.state import LocalState, ServiceFolder
from penstock.rollout.release import Outputs
from penstock.rollout.resume import promote
from penstock.rollout.spec import DeploymentSpec
from penstock.rollout.target import Target, history, target_of

pytestmark = pytest.mark.slow

PLAN: dict[str, Any] = {
    "interval": 0.1,
    "deadline": 100,
    "shadow": {"min_pairs": 5, "max_wait": 20},
    "steps": [{"weight": 50, "min_samples": 5, "max_wait": 20}],
    "rules": {
        "latency_ratio": 10**6, "score_psi": 10**6, "score_ks": 1, "agreement": 0,
        "error_increase": 0.9, "refusal_increase": 0.9,
    },
    "traffic": {"source": "replay", "rate": 300},
}  # fmt: skip


@dataclass
class Template:
    """Stores in SQLite with two versions: none is champion, the first is, both were."""

    folder: Path
    holdout: Path
    # It goes with this.
    place: tempfile.TemporaryDirectory[str]
    orders: dict[int, Order] = field(default_factory=dict)

    def store(self, name: str) -> Path:
        return self.folder / f"{name}.db"


@pytest.fixture(scope="module")
def template(models: Callable[..., Path], instances: list[dict[str, Any]]) -> Template:
    return _made(models, json.dumps(instances))


# Other modules have this fixture too, and what it makes is only read.
@functools.cache
def _made(models: Callable[..., Path], instances: str) -> Template:
    place = tempfile.TemporaryDirectory(prefix="penstock-template-")
    folder = Path(place.name)
    made = Template(folder, write_holdout(folder / "holdout", json.loads(instances)), place)
    uri = fresh_store(folder, "work.db")
    for version, before in ((1, ""), (2, "models:/adult/1")):
        model = models(depth=version + 1)
        decision = decision_on(
            model, holdout=made.holdout, code=penstock.__version__, champion=before
        )
        registration = register(
            model, decision=decision, evaluation=None, name="adult", tracking_uri=uri
        )
        assert registration.version == version
        made.orders[version] = Order(
            registration=registration,
            decision=decision,
            deployment={"port": 0, "ready_timeout": 20, "canary": PLAN},
            holdout=str(made.holdout),
            tracking_uri=uri,
            policy=POLICY,
        )
        if version == 1:
            shutil.copy(folder / "work.db", made.store("registered"))
            promote(made.orders[1], reason="Before.")
    shutil.copy(folder / "work.db", made.store("one champion"))
    return made


@dataclass
class Trial(Home):
    """A home and a registry of its own, for one ending of one command."""

    writes_record = re.compile(r"file: write .*/journal\.jsonl")
    """The effects by which a rollout's record grows."""

    template: Template

    def order(self, version: int, **canary: Any) -> Order:
        order = self.template.orders[version]
        deployment = {**order.deployment, "canary": PLAN | canary}
        return order.model_copy(update={"tracking_uri": self.uri, "deployment": deployment})

    def release(self, version: int, *, run: str = "r", **canary: Any) -> Rollout:
        folder = self.home / f"outputs-{version}"
        outputs = Outputs(folder / "deployment", folder / "rollout", folder / "report")
        order = self.order(version, **canary)
        return release.deploy(order, home=self.home, run=run, outputs=outputs)

    def roll_back(self, to: int | None = None) -> Rollout:
        spec = DeploymentSpec(port=0, ready_timeout=20)
        return control.roll_back(self.place(), spec=spec, tracking_uri=self.uri, to=to)

    def resume(self) -> Rollout:
        return control.resume(self.place())

    def abort(self) -> Rollout | None:
        return control.abort(self.place(), reason="Enough.")

    def unfinished(self) -> bool:
        return any(not journal.rollout.ended for journal in history(self.place()))

    def state(self) -> LocalState | None:
        return ServiceFolder(self.home, "adult").read()

    def serving(self) -> int | None:
        state = self.state()
        return state.stable.version if state and state.stable else None

    def assert_legal(self, *, champion: int | None) -> None:
        """One version serves all requests and is the champion; nothing else is left."""
        assert (self.champion(), self.serving()) == (champion, champion)
        assert not self.unfinished()
        self.assert_serves(champion)
        from mlflow import MlflowClient

        store = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
        assert audit.read(store.get_registered_model("adult").tags).problems == ()

    def assert_serves(self, champion: int | None) -> None:
        """Only that version has a server, and it answers users."""
        state = self.state()
        servers_up = [] if state is None else [arm.version for arm in state.arms()]
        assert servers_up == ([] if champion is None else [champion])
        assert len(self.processes()) == (0 if champion is None else 2), self.processes()
        if champion is not None and state is not None:
            address = f"http://127.0.0.1:{state.port}/v1/models/adult:predict"
            answer = httpx.post(address, json={}, trust_env=False, verify=False)
            assert answer.json()["model_version"] == str(champion)

    def stop(self) -> None:
        stop(self.home, force=True)


@pytest.fixture
def trials(
    template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Trial]]:
    stub_servers(monkeypatch)
    monkeypatch.setattr(smoke, "check", lambda *_, **__: 0)
    monkeypatch.setattr(smoke, "scorer_of", lambda _: None)
    numbers = itertools.count()
    made: list[Trial] = []

    def make(store: str) -> Trial:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        shutil.copy(template.store(store), folder / "mlflow.db")
        made.append(Trial(folder / "home", f"sqlite:///{folder / 'mlflow.db'}", template))
        return made[-1]

    yield make
    for trial in made:
        trial.stop()


@pytest.fixture
def cluster_trials(
    template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Trial]]:
    monkeypatch.setattr(smoke, "check", lambda *_, **__: 0)
    monkeypatch.setattr(smoke, "scorer_of", lambda _: None)
    numbers = itertools.count()
    with ExitStack() as clusters:

        def make(store: str) -> Trial:
            folder = tmp_path / str(next(numbers))
            folder.mkdir()
            shutil.copy(template.store(store), folder / "mlflow.db")
            cluster = clusters.enter_context(running())
            kubeconfig = folder / "kubeconfig"
            kubeconfig.write_text(json.dumps(kubeconfig_of(cluster.url)))
            monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
            uri = f"sqlite:///{folder / 'mlflow.db'}"
            return ClusterTrial(folder / "home", uri, template, cluster=cluster)

        yield make


@dataclass
class ClusterTrial(Trial):
    """A service on an emulated cluster instead; what serves there answers in this process."""

    writes_record = re.compile(r"call: .*/configmaps/penstock-rollout-")

    cluster: Cluster = field(kw_only=True)

    def order(self, version: int, **canary: Any) -> Order:
        order = super().order(version, **canary)
        return order.model_copy(update={"deployment": {**order.deployment, **self._router()}})

    def place(self) -> Target:
        spec = DeploymentSpec.model_validate(self._router())
        return target_of(spec, service="adult", home=self.home, tracking_uri=self.uri)

    def roll_back(self, to: int | None = None) -> Rollout:
        spec = DeploymentSpec.model_validate({"ready_timeout": 20, **self._router()})
        return control.roll_back(self.place(), spec=spec, tracking_uri=self.uri, to=to)

    def serving(self) -> int | None:
        found = self.place().status()
        return found[0].stable if found else None

    def assert_serves(self, champion: int | None) -> None:
        names = [key[2] for key in self.cluster.objects if key[0] == "inferenceservices"]
        assert names == ([] if champion is None else [f"adult-v{champion}"])
        if champion is not None:
            address = f"{self.cluster.gateway_url}/v1/models/adult:predict"
            answer = httpx.post(address, json={}, trust_env=False, verify=False)
            assert answer.json()["model_version"] == str(champion)

    def stop(self) -> None:
        pass

    def _router(self) -> dict[str, Any]:
        artifacts = {"file://": "pvc://models/"}
        return {"router": "kserve-gateway", "kserve": {"artifacts": artifacts}}


@dataclass(frozen=True)
class Story:
    """A command, what it finds, and what may stand once the next command has gone on.

    Attributes:
        store: The registry it finds.
        before: What was done before it.
        command: The command that is ended.
        then: The next command, where something is left to be done.
        champions: What may be the champion in the end.
    """

    store: str
    before: Callable[[Trial], object]
    command: Callable[[Trial], object]
    then: Callable[[Trial], object]
    champions: tuple[int | None, ...]


def nothing(_: Trial) -> None:
    pass


def serving_one(trial: Trial) -> None:
    assert trial.release(1).outcome == "promoted"


def serving_two(trial: Trial) -> None:
    serving_one(trial)
    assert trial.release(2).outcome == "promoted"


def left_in_a_step(trial: Trial) -> None:
    """Serve version 1, and kill the controller of version 2 once that has traffic."""
    serving_one(trial)

    def first_look(effect: str) -> bool:
        # The record says that the step begins before the version gets its traffic.
        return trial.writes_record.match(effect) is not None and in_a_step(trial)

    ending = run(lambda: trial.release(2), Fault.KILL, when=first_look, below=[trial.home])
    assert ending.code == -9
    assert in_a_step(trial)
    assert trial.place().status()[0].weights == {1: 50, 2: 50}


def in_a_step(trial: Trial) -> bool:
    return history(trial.place())[-1].rollout.last.phase == "step"


def first(trial: Trial) -> object:
    return trial.release(1)


def second(trial: Trial) -> object:
    return trial.release(2)


def shows_nothing(trial: Trial) -> object:
    return trial.release(2, shadow={"min_pairs": 10**9, "max_wait": 0.3})


def to_one(trial: Trial) -> object:
    return trial.roll_back(to=1)


ONE, BOTH = (1,), (1, 2)
STORIES = {
    "first release": Story("registered", nothing, first, first, (1, None)),
    "second release": Story("one champion", serving_one, second, Trial.resume, BOTH),
    "second release, retried": Story("one champion", serving_one, second, second, BOTH),
    "second release, aborted": Story("one champion", serving_one, second, Trial.abort, BOTH),
    "nothing shown": Story("one champion", serving_one, shows_nothing, Trial.resume, ONE),
    "rollback": Story("one champion", serving_two, Trial.roll_back, to_one, BOTH),
    "rollback, resumed": Story("one champion", serving_two, Trial.roll_back, Trial.resume, BOTH),
    "abort": Story("one champion", left_in_a_step, Trial.abort, Trial.abort, ONE),
    "resume": Story("one champion", left_in_a_step, Trial.resume, Trial.resume, BOTH),
}


def goes_on(trial: Trial, story: Story, ending: Ending) -> None:
    """Do what a person or a retry would do next, and look."""
    assert ending.code in (0, 1, -9)
    if ending.code == 1:
        assert ending.refused or ending.interrupted, ending.trace
    if trial.unfinished():
        # What is too late to abort is finished by the same command.
        with contextlib.suppress(InputError):
            story.then(trial)
    with trial.place().router.exclusive():
        pass
    assert not trial.unfinished()
    champion = trial.champion()
    assert champion in story.champions
    trial.assert_legal(champion=champion)


def effects_of(trials: Callable[[str], Trial], story: Story, fault: Fault) -> int:
    trial = trials(story.store)
    story.before(trial)
    ending = run(lambda: story.command(trial), fault, at=10**6, below=[trial.home])
    assert ending.code == 0, ending.trace
    return len(ending.effects)


OFTEN = ("second release", "rollback")
"""Of these a kill and a full disk are long; the others are exhaustive."""


def cases(*faults: Fault) -> list[Any]:
    """The endings of every command."""

    def marks(name: str, fault: Fault) -> Any:
        often = name in OFTEN and fault in (Fault.KILL, Fault.FULL)
        return pytest.mark.long if often else pytest.mark.exhaustive

    return [
        pytest.param(
            name,
            fault,
            marks=marks(name, fault),
            id=f"{name}, {fault.value}",
        )
        for name in STORIES
        for fault in faults
    ]


def end_at_effects(trials: Callable[[str], Trial], name: str, fault: Fault) -> None:
    every = int(os.environ.get("PENSTOCK_EFFECTS_EVERY", "211"))
    story = STORIES[name]
    count = effects_of(trials, story, fault)
    first = 1 + zlib.crc32(f"{name} {fault.value}".encode()) % min(every, count)
    for at in range(first, count + 1, every):
        trial = trials(story.store)
        story.before(trial)
        # Four steps of an abort ask a cluster that does not answer, each for half a minute.
        ending = run(
            lambda trial=trial: story.command(trial), fault, at=at, below=[trial.home], seconds=300
        )
        try:
            goes_on(trial, story, ending)
        except BaseException:
            print(f"{name}, {fault.value} at effect {at}: {ending.effects[-1:]} {ending.error}")
            raise
        trial.stop()


@pytest.mark.parametrize(("name", "fault"), cases(*Fault))
def test_the_next_command_goes_on(trials: Callable[[str], Trial], name: str, fault: Fault) -> None:
    end_at_effects(trials, name, fault)


@pytest.mark.parametrize(("name", "fault"), cases(Fault.KILL, Fault.FULL, Fault.DOWN))
def test_the_next_command_goes_on_with_a_cluster(
    cluster_trials: Callable[[str], Trial], name: str, fault: Fault
) -> None:
    end_at_effects(cluster_trials, name, fault)
