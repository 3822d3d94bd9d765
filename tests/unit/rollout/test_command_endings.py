"""Every command, ended at every effect: what the next command finds is legal, and it goes on.

Registry, journal, state, front and processes are real. In the place of model servers are stubs,
and nobody compares their answers with the model's: a real server takes four seconds to start, and
these tests start hundreds. `make test` ends each command at some of its effects, `make test-all`
at all of them.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from killing import Ending, Fault, run
from rollout_world import POLICY, decision_on, write_holdout

import penstock
from penstock.errors import PenstockError
from penstock.records.rollout import Order, Rollout
from penstock.registry import audit, versions
from penstock.registry.register import register
from penstock.rollout import control, release, smoke
from penstock.rollout.place import Place, history, place_of
from penstock.rollout.release import Outputs
from penstock.rollout.resume import promote
from penstock.rollout.routers import process, servers
from penstock.rollout.routers.services import stop
from penstock.rollout.routers.state import LocalState, ServiceFolder
from penstock.rollout.spec import DeploymentSpec

pytestmark = pytest.mark.slow

PLAN: dict[str, Any] = {
    "interval": 0.1,
    "shadow": {"min_pairs": 5, "max_wait": 20},
    "steps": [{"weight": 50, "min_samples": 5, "max_wait": 20}],
    "rules": {
        "latency_ratio": 10**6, "score_psi": 10**6, "score_ks": 1, "agreement": 0,
        "error_increase": 0.9, "refusal_increase": 0.9,
    },
    "traffic": {"source": "replay", "rate": 300},
}  # fmt: skip
NOTHING_SHOWN = PLAN | {"shadow": {"min_pairs": 10**9, "max_wait": 0.3}}


@dataclass
class Template:
    """Stores in SQLite with two versions: none is champion, the first is, both were."""

    folder: Path
    holdout: Path
    orders: dict[int, Order] = field(default_factory=dict)

    def store(self, name: str) -> Path:
        return self.folder / f"{name}.db"


@pytest.fixture(scope="module")
def template(
    tmp_path_factory: pytest.TempPathFactory,
    models: Callable[..., Path],
    instances: list[dict[str, Any]],
) -> Template:
    folder = tmp_path_factory.mktemp("template")
    made = Template(folder, write_holdout(folder / "holdout", instances))
    uri = f"sqlite:///{folder / 'work.db'}"
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
class Site:
    """A home and a registry of its own, for one ending of one command."""

    home: Path
    uri: str
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

    def place(self) -> Place:
        spec = DeploymentSpec(port=0)
        return place_of(spec, service="adult", home=self.home, tracking_uri=self.uri)

    def roll_back(self, to: int | None = None) -> Rollout:
        spec = DeploymentSpec(port=0, ready_timeout=20)
        return control.roll_back(self.place(), spec=spec, tracking_uri=self.uri, to=to)

    def resume(self) -> Rollout:
        return control.resume(self.place())

    def abort(self) -> Rollout | None:
        return control.abort(self.place(), reason="Enough.")

    def unfinished(self) -> bool:
        return any(not journal.rollout.ended for journal in history(self.place()))

    def champion(self) -> int | None:
        found = versions.champion("adult", tracking_uri=self.uri)
        return found.version if found else None

    def state(self) -> LocalState | None:
        return ServiceFolder(self.home, "adult").read()

    def serving(self) -> int | None:
        state = self.state()
        return state.stable.version if state and state.stable else None

    def assert_legal(self, *, champion: int | None) -> None:
        """One version serves all requests and is the champion; nothing else is left."""
        assert (self.champion(), self.serving()) == (champion, champion)
        assert not self.unfinished()
        state = self.state()
        servers_up = [] if state is None else [arm.version for arm in state.arms()]
        assert servers_up == ([] if champion is None else [champion])
        lines = [" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])]
        ours = [line for line in lines if str(self.home) in line and " -m " in line]
        assert len(ours) == (0 if champion is None else 2), ours
        if champion is not None and state is not None:
            address = f"http://127.0.0.1:{state.port}/v1/models/adult:predict"
            answer = httpx.post(address, json={}, trust_env=False)
            assert answer.json()["model_version"] == str(champion)
        from mlflow import MlflowClient

        store = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
        assert audit.read(store.get_registered_model("adult").tags).problems == ()


@pytest.fixture
def sites(
    template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Site]]:
    command = servers._command

    def stubbed(*args: Any, **kwargs: Any) -> tuple[str, dict[str, str]]:
        return "router_stub", command(*args, **kwargs)[1]

    monkeypatch.setattr(servers, "_command", stubbed)
    monkeypatch.setattr(process, "_MODULES", (*process._MODULES, "router_stub"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    monkeypatch.setattr(smoke, "check", lambda *_, **__: 0)
    monkeypatch.setattr(smoke, "scorer_of", lambda _: None)
    numbers = itertools.count()
    made: list[Site] = []

    def make(store: str) -> Site:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        shutil.copy(template.store(store), folder / "mlflow.db")
        made.append(Site(folder / "home", f"sqlite:///{folder / 'mlflow.db'}", template))
        return made[-1]

    yield make
    for site in made:
        stop(site.home, force=True)


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
    before: Callable[[Site], object]
    command: Callable[[Site], object]
    then: Callable[[Site], object]
    champions: tuple[int | None, ...]


def nothing(_: Site) -> None:
    pass


def serving_one(site: Site) -> None:
    assert site.release(1).outcome == "promoted"


def serving_two(site: Site) -> None:
    serving_one(site)
    assert site.release(2).outcome == "promoted"


def left_in_a_step(site: Site) -> None:
    """A controller was killed while version 2 had half of the requests."""
    serving_one(site)
    hold = [{"weight": 50, "min_samples": 5, "max_wait": 20}]
    ending = run(lambda: site.release(2, steps=hold), Fault.KILL, at=_step(site), below=[site.home])
    assert ending.code == -9


def _step(site: Site) -> int:
    return 40


STORIES = {
    "first release": Story("registered", nothing, lambda s: s.release(1), lambda s: s.release(1), (1, None)),
    "second release": Story("one champion", serving_one, lambda s: s.release(2), lambda s: s.resume(), (1, 2)),
    "second release, then its retry": Story("one champion", serving_one, lambda s: s.release(2), lambda s: s.release(2), (1, 2)),
    "second release, then abort": Story("one champion", serving_one, lambda s: s.release(2), lambda s: s.abort(), (1, 2)),
    "a release that shows nothing": Story(
        "one champion", serving_one, lambda s: s.release(2, shadow=NOTHING_SHOWN["shadow"]), lambda s: s.resume(), (1,)
    ),
    "rollback": Story("one champion", serving_two, lambda s: s.roll_back(), lambda s: s.roll_back(to=1), (1, 2)),
    "rollback, then resume": Story("one champion", serving_two, lambda s: s.roll_back(), lambda s: s.resume(), (1, 2)),
    "abort": Story("one champion", left_in_a_step, lambda s: s.abort(), lambda s: s.abort(), (1,)),
    "resume": Story("one champion", left_in_a_step, lambda s: s.resume(), lambda s: s.resume(), (1, 2)),
}  # fmt: skip


def goes_on(site: Site, story: Story, ending: Ending) -> None:
    """Do what a person or a retry would do next, and look."""
    assert ending.code in (0, 1, -9)
    if ending.code == 1:
        assert ending.refused or ending.interrupted, ending.trace
    if site.unfinished():
        try:
            story.then(site)
        except PenstockError as error:
            assert "too late" in str(error), error
    with site.place().router.exclusive():
        site.place()
    assert not site.unfinished()
    champion = site.champion()
    assert champion in story.champions
    site.assert_legal(champion=champion)


def effects_of(sites: Callable[[str], Site], story: Story, fault: Fault) -> int:
    site = sites(story.store)
    story.before(site)
    ending = run(lambda: story.command(site), fault, at=10**6, below=[site.home])
    assert ending.code == 0, ending.trace
    return len(ending.effects)


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("fault", Fault)
def test_the_next_command_goes_on(
    sites: Callable[[str], Site], name: str, fault: Fault, request: pytest.FixtureRequest
) -> None:
    story = STORIES[name]
    count = effects_of(sites, story, fault)
    every = int(os.environ.get("PENSTOCK_EFFECTS_EVERY", "11"))
    for at in range(1 + len(name) % every, count + 1, every):
        site = sites(story.store)
        story.before(site)
        ending = run(lambda site=site: story.command(site), fault, at=at, below=[site.home])
        try:
            goes_on(site, story, ending)
        except BaseException:
            print(f"{name}, {fault.value} at effect {at}: {ending.effects[-1:]} {ending.error}")
            raise
        stop(site.home, force=True)
