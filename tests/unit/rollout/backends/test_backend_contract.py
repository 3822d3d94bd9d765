"""What every backend must do: one suite over processes of this machine and each way of KServe.

Local servers are stubs in real processes behind the real proxy; clusters are emulated. What one
backend alone does (ports, manifests, revisions) has tests of its own.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
from cluster_emulator import running
from kserve_world import Driver, look_often, storage_by_name
from kserve_world import release as on_cluster
from router_parts import StubbedService, stub_servers
from running_process import modules_running

from penstock.errors import InputError, ServiceError
from penstock.rollout.backends.kserve.choice import ROUTERS
from penstock.rollout.backends.local.services import status, stop
from penstock.rollout.router import Address, Release, Routing
from penstock.rollout.service import Service

AnyService = Service[Any, Any]

SCALED = "kserve-gateway, scaled"
"""Servers that load scales, with users whom one server does not do."""


class World(Protocol):
    """Where a service lives, and its users."""

    def service(self, *, lease: int = 30) -> AnyService:
        """Return the service as another controller has it, with a lease of so many seconds."""
        ...

    def release(self, version: int, **changes: Any) -> Release: ...

    def ask(self, times: int) -> Counter[str]:
        """Ask as users do, and count the versions that answer; `none`: none does."""
        ...

    def at(self, address: Address) -> str:
        """Return the version that answers at an address of its own."""
        ...

    def up(self) -> set[str]:
        """Return the versions that have a server."""
        ...

    def left(self) -> list[Any]:
        """Return what is left of a service that ended."""
        ...

    def break_start(self, version: int) -> None:
        """Keep a version from ever coming up."""
        ...


@dataclass
class Local:
    """Processes of this machine."""

    stubbed: StubbedService

    def service(self, *, lease: int = 30) -> AnyService:
        return self.stubbed.router(lease=lease, ready_timeout=20)

    def release(self, version: int, **changes: Any) -> Release:
        return self.stubbed.release(version, **changes)

    def ask(self, times: int) -> Counter[str]:
        service = self.service()
        assert service.refresh()
        answers = self.stubbed.ask(service.url, times)
        return Counter(said if said.isdigit() else "none" for said in answers.elements())

    def at(self, address: Address) -> str:
        (version,) = self.stubbed.ask(address.url)
        return version

    def up(self) -> set[str]:
        commands = [line.split() for line in modules_running(self.stubbed.home)]
        return {words[words.index("--version") + 1] for words in commands if "--version" in words}

    def left(self) -> list[Any]:
        home = self.stubbed.home
        return [*modules_running(home), *status(home)]

    def break_start(self, version: int) -> None:
        (self.release(version).folder / "broken").touch()


@dataclass
class Cluster:
    """An emulated cluster."""

    driver: Driver

    def service(self, *, lease: int = 30) -> AnyService:
        return self.driver.router(seconds=lease, ready_timeout=10)

    def release(self, version: int, **changes: Any) -> Release:
        return on_cluster(version, **changes)

    def ask(self, times: int) -> Counter[str]:
        return self.driver.ask(times)

    def at(self, address: Address) -> str:
        return self.driver.at(address)

    def up(self) -> set[str]:
        return self.driver.versions()

    def left(self) -> list[Any]:
        kinds = ("httproutes", "configmaps", "inferenceservices")
        found = [key for key in self.driver.cluster.objects if key[0] in kinds]
        return [*found, *self.driver.cluster.servers]

    def break_start(self, version: int) -> None:
        self.driver.break_start(version, reason="InvalidImageName")


def backends(*soon: str) -> list[Any]:
    """Return all of them; those that are not named are left to the long tests."""
    every = ["local", *sorted(ROUTERS), SCALED]
    return [pytest.param(name, marks=() if name in soon else pytest.mark.long) for name in every]


@pytest.fixture(params=backends("local", "kserve-gateway"))
def world(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    if request.param == "local":
        stub_servers(monkeypatch)
        yield Local(StubbedService(tmp_path))
        stop(tmp_path, force=True)
        return
    storage_by_name(monkeypatch)
    look_often(monkeypatch)
    with running() as cluster:
        cluster.install_knative()
        if request.param == SCALED:
            cluster.autoscalers.users, cluster.autoscalers.starts_in = 30, 0
            settings = {"autoscaling": {"max_replicas": 10, "settle_seconds": 0}}
            yield Cluster(Driver(cluster, ROUTERS["kserve-gateway"], settings))
            return
        yield Cluster(Driver(cluster, ROUTERS[request.param]))


def serve(world: World, service: AnyService, version: int) -> None:
    """Release a version at once."""
    service.open()
    service.deploy(world.release(version), timeout=20)
    service.promote(version)
    service.clean_up()


@pytest.mark.parametrize("world", backends("local", *ROUTERS), indirect=True)
def test_a_rollout_from_first_to_promoted(world: World) -> None:
    service = world.service()
    with service.exclusive():
        assert (service.stable, service.candidate, service.previous) == (None, None, None)
        service.open()
        assert world.ask(1) == {"none": 1}
        assert world.at(service.deploy(world.release(1), timeout=20)) == "1"
        service.promote(1)
        service.clean_up()
        assert (service.stable, world.ask(20)) == (1, {"1": 20})
        beside = service.deploy(world.release(2), timeout=20)
        assert (service.stable, service.candidate, world.at(beside)) == (1, 2, "2")
        assert world.ask(50) == {"1": 50}
        assert service.health(2).ready
        service.route(Routing(mirror=0.5))
        service.set_weight(2, 30)
        assert 30 < world.ask(200)["2"] < 90
        service.promote(2)
        assert world.ask(50) == {"2": 50}
        assert (service.stable, service.candidate, service.previous) == (2, None, 1)
        assert service.state.assignment.mirror == 0
        service.clean_up()
        assert (service.stable, service.candidate, service.previous) == (2, None, 1)
        assert world.up() == {"2"}
    again = world.service()
    with again.exclusive():
        assert (again.stable, again.previous) == (2, 1)


@pytest.mark.parametrize("world", backends("local", *ROUTERS), indirect=True)
def test_a_rollback_gives_the_traffic_back_however_far_it_went(world: World) -> None:
    service = world.service()
    with service.exclusive():
        serve(world, service, 1)
        for version, promoted, cleaned in ((2, False, False), (3, True, False), (4, True, True)):
            service.deploy(world.release(version), timeout=20)
            service.route(Routing(mirror=0.5))
            service.set_weight(version, 60)
            if promoted:
                service.promote(version)
            if cleaned:
                service.clean_up()
            for _ in range(2):
                service.rollback(version)
                assert service.stable == 1
                assert service.state.assignment.mirror == 0
                assert world.ask(20) == {"1": 20}
            service.clean_up()
            assert (service.candidate, world.up()) == (None, {"1"})
            service.rollback(version)
            assert world.ask(20) == {"1": 20}


def test_a_first_version_that_is_rolled_back_leaves_nothing(world: World) -> None:
    service = world.service()
    with service.exclusive():
        service.open()
        service.deploy(world.release(1), timeout=20)
        service.promote(1)
        service.rollback(1)
        service.clean_up()
    assert world.left() == []


@pytest.mark.parametrize("refused", [True, False])
def test_what_was_opened_for_nothing_is_closed(world: World, refused: bool) -> None:
    service = world.service()

    def command() -> None:
        with service.exclusive():
            service.open()
            if refused:
                raise InputError("refused")

    if refused:
        with pytest.raises(InputError, match="refused"):
            command()
    else:
        command()
    assert world.left() == []


def test_what_does_not_fit_is_refused_and_changes_nothing(world: World) -> None:
    service = world.service()
    with service.exclusive():
        serve(world, service, 1)
        service.deploy(world.release(2), timeout=20)
        before = service.state
        wrong: list[tuple[Callable[[], Any], str]] = [
            (lambda: service.set_weight(2, 101), "a weight of 101 %"),
            (lambda: service.set_weight(1, 10), "version 1 is not the candidate"),
            (lambda: service.promote(7), "version 7 is not the candidate"),
            (lambda: service.route(Routing(mirror=1.5)), r"a share of 1\.5"),
            (
                lambda: service.deploy(world.release(1, fault="slow"), timeout=5),
                "version 1 is the stable one, from other files",
            ),
        ]
        for act, message in wrong:
            with pytest.raises(InputError, match=message):
                act()
            assert service.state == before
        assert service.health(7).reason == "It is not up."
        assert world.ask(10) == {"1": 10}


def test_a_candidate_that_does_not_come_up_leaves_what_served(world: World) -> None:
    service = world.service()
    with service.exclusive():
        serve(world, service, 1)
        world.break_start(2)
        with pytest.raises(ServiceError, match="version 2"):
            service.deploy(world.release(2), timeout=10)
        assert (service.candidate, service.state.passing) == (None, ())
        assert (world.up(), world.ask(10)) == ({"1"}, {"1": 10})


def test_the_state_names_a_version_before_it_is_started(world: World) -> None:
    service = world.service()
    seen: list[tuple[int, ...]] = []
    with service.exclusive():
        serve(world, service, 1)
        start = service.backend.start

        def look(arm: Any, *, timeout: float) -> Any:
            reader = world.service()
            assert reader.refresh()
            seen.append(tuple(one.version for one in reader.state.passing))
            return start(arm, timeout=timeout)

        service.backend.start = look
        service.deploy(world.release(2), timeout=20)
    assert seen == [(2,)]


def test_a_version_that_is_up_is_not_started_again(world: World) -> None:
    service = world.service()
    with service.exclusive():
        serve(world, service, 1)
        address = service.deploy(world.release(2), timeout=20)
        before = service.state
        service.backend.start = None
        assert service.deploy(world.release(2), timeout=20) == address
        service.deploy(world.release(1), timeout=20)
        assert service.state == before


def test_another_controller_goes_on_in_the_middle_of_a_step(world: World) -> None:
    # Long enough for a busy machine to renew in time.
    first = world.service(lease=6)
    with first.exclusive():
        serve(world, first, 1)
        first.deploy(world.release(2), timeout=20)
        first.set_weight(2, 50)
        with (
            pytest.raises(ServiceError, match="is deploying"),
            world.service(lease=6).exclusive(),
        ):
            pass
    second = world.service()
    with second.exclusive():
        assert (second.stable, second.candidate, second.state.weight) == (1, 2, 50)
        assert set(world.ask(60)) == {"1", "2"}
        second.rollback(2)
        second.clean_up()
        assert (world.up(), world.ask(20)) == ({"1"}, {"1": 20})


class KilledError(BaseException):
    """A controller that is no more: nothing of it may act on this."""


EFFECTS = {
    "_store": ("save", "forget"),
    "_backend": ("start", "apply", "prove", "drain", "sweep", "withdraw", "tidy"),
}


@dataclass
class Kill:
    """Kills a controller before one of the effects of its state machine.

    Attributes:
        service: Its service.
        left: Effects that it still has.
    """

    service: AnyService
    left: int
    hit: bool = False

    def __post_init__(self) -> None:
        for part, names in EFFECTS.items():
            owner = getattr(self.service, part)
            for name in names:
                setattr(owner, name, self._ended(getattr(owner, name)))

    def _ended(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **more: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                self.hit = True
                raise KilledError
            return act(*given, **more)

        return call


Step = Callable[[World, AnyService], object]
STEPS: list[Step] = [
    lambda world, it: (it.open(), it.deploy(world.release(1), timeout=20)),
    lambda _, it: it.promote(1),
    lambda _, it: it.clean_up(),
    lambda world, it: it.deploy(world.release(2), timeout=20),
    lambda _, it: it.set_weight(2, 40),
    lambda _, it: it.rollback(2),
    lambda _, it: it.clean_up(),
    lambda world, it: it.deploy(world.release(3), timeout=20),
    lambda _, it: it.promote(3),
    lambda _, it: it.clean_up(),
    lambda _, it: it.rollback(3),
    lambda _, it: it.clean_up(),
]


def killed_at(world: World, step: Step, *, effect: int) -> bool:
    """Do a step as a new controller that is killed at an effect; return whether it was."""
    service = world.service()
    kill: Kill | None = None
    with contextlib.suppress(KilledError), service.exclusive():
        # Whoever came before left nothing that the state does not name.
        assert service.state.passing == ()
        # Knative has one newest revision: of the versions that have a role, some need no server.
        assert world.up() <= {str(arm.version) for arm in service.state.arms()}
        kill = Kill(service, left=effect)
        step(world, service)
    assert kill is not None
    return kill.hit


def walk(world: World, *, every: int) -> int:
    """Do all steps, each killed at its effects in turn; return how often one was killed."""
    kills = 0
    for number, step in enumerate(STEPS):
        effect = number % every
        while killed_at(world, step, effect=effect):
            effect, kills = effect + every, kills + 1
            # Version 2 never gets all requests, and nobody is without an answer once 1 serves.
            if number > 2:
                answers = world.ask(20)
                assert "none" not in answers
                assert answers != {"2": 20}
    return kills


def test_a_step_is_done_again_after_a_kill(world: World) -> None:
    assert walk(world, every=6) >= 3
    assert (world.up(), world.ask(20)) == ({"1"}, {"1": 20})


@pytest.mark.long
def test_every_step_is_done_again_after_a_kill_at_each_of_its_effects(world: World) -> None:
    assert walk(world, every=1) > len(STEPS)
    assert (world.up(), world.ask(20)) == ({"1"}, {"1": 20})
