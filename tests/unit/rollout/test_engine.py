"""The controller, over a router that lives in memory.

Real servers are in test_canary.py. Here every branch is taken and every call is made to fail or
be killed in turn, which needs hundreds of rollouts: the router below keeps the contract of
`penstock.rollout.router` and answers at once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import (
    CapacityError,
    LeaseLostError,
    NotApprovedError,
    PenstockError,
    ServiceError,
    UnrecordedError,
)
from penstock.records.rollout import ArmSummary, Pairs, Rollout
from penstock.rollout import journal as journal_module
from penstock.rollout import objections
from penstock.rollout.ending import Actions, give_up
from penstock.rollout.engine import Controller
from penstock.rollout.journal import Journal
from penstock.rollout.router import (
    Address,
    Health,
    Meanwhile,
    Observation,
    Release,
    Router,
    Routing,
    nothing,
)
from penstock.rollout.spec import CanarySpec
from penstock.rollout.store import FolderStore

STABLE, CANDIDATE = 1, 2
EACH = 4000
"""Requests that each version answers between two looks."""


class Killed(BaseException):
    """The controller's process is gone; nothing that it would do after this happens."""


@dataclass
class Memory:
    """A router in memory. `script` is called before each action with its name."""

    script: Callable[[str], None] = lambda _: None
    stable: int | None = STABLE
    candidate: int | None = None
    retired: int | None = None
    weight: int = 0
    routing: Routing = field(default_factory=Routing)
    epoch: str = "a"
    errors: int = 0
    answered: dict[int, ArmSummary] = field(default_factory=dict)
    pairs: Pairs = field(default_factory=Pairs)
    unready: Callable[[], bool] = lambda: False
    restarts: int = 0
    blind: str = ""
    calls: list[str] = field(default_factory=list)
    url: str = "http://127.0.0.1:1"
    insisted: bool | None = None
    waits: Callable[[Meanwhile], None] = lambda _: None
    copies: Callable[[Meanwhile], None] = lambda _: None

    def exclusive(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def open(self) -> None:
        self._called("open")

    def deploy(self, release: Release, *, timeout: float) -> Address:
        self._called("deploy")
        if self.stable != release.version:
            self.candidate = release.version
        return Address("http://127.0.0.1:2")

    def route(self, routing: Routing, *, meanwhile: Meanwhile = nothing) -> None:
        self._called("route")
        self.copies(meanwhile)
        self.routing = routing

    def set_weight(self, version: int, percent: int, *, meanwhile: Meanwhile = nothing) -> None:
        self._called("set_weight")
        assert version == self.candidate
        self.waits(meanwhile)
        self.weight = percent

    def observe(self) -> Observation:
        self._called("observe")
        errors = self.errors
        good, bad = _answers(EACH), _answers(EACH - errors, errors=errors)
        if self.routing.mirror:
            seen = Pairs(stable=good, candidate=bad, rows=EACH - errors, agreeing=EACH - errors)
            self.pairs = self.pairs.plus(seen)
        for version, arm in ((self.stable, good), (self.candidate, bad)):
            if version is not None and (version == self.stable or self.weight):
                self.answered[version] = self.answered.get(version, ArmSummary()).plus(arm)
        return Observation(
            epoch=self.epoch, arms=dict(self.answered), pairs=self.pairs, blind=self.blind
        )

    def health(self, version: int) -> Health:
        self._called("health")
        ready = not self.unready()
        return Health(ready=ready, restarts=self.restarts, memory=None, reason="" if ready else "?")

    def log(self, version: int) -> str:
        return ""

    def replay(self, bodies: Sequence[bytes], *, rate: float) -> AbstractContextManager[None]:
        return nullcontext()

    def mend(self) -> None:
        self._called("mend")

    def promote(self, version: int, *, insist: bool = True, meanwhile: Meanwhile = nothing) -> None:
        self._called("promote")
        self.insisted = insist
        if self.stable == version:
            return
        self.waits(meanwhile)
        assert version == self.candidate
        self.stable, self.candidate, self.retired, self.weight = version, None, self.stable, 0

    def rollback(self, version: int) -> None:
        self._called("rollback")
        if self.stable == version:
            self.stable, self.candidate, self.retired = self.retired, version, None
        self.weight, self.routing = 0, Routing()

    def clean_up(self) -> None:
        self._called("clean_up")
        if not self.weight:
            self.candidate = None
        self.retired = None

    def _called(self, name: str) -> None:
        self.script(name)
        self.calls.append(name)


def _answers(good: int, *, errors: int = 0) -> ArmSummary:
    """Latencies with a tail, so that a high quantile has something beyond it."""
    return ArmSummary(
        requests=good + errors,
        server_errors=errors,
        latency={60: good - 200, 66: 120, 70: 40, 74: 30, 80: 10},
        scores={3 + place: good // 4 for place in range(4)},
        labels={"a": good},
    )


def _fulfils(router: Memory) -> Router:
    return router


class Disk(FolderStore):
    """A folder whose file system may refuse a line."""

    def __init__(self, folder: Path, script: Callable[[bytes], None]) -> None:
        super().__init__(folder)
        self._script = script

    def append(self, line: bytes, *, evidence: bool = False) -> None:
        self._script(line)
        super().append(line, evidence=evidence)


@dataclass
class World:
    """One rollout, its router and what the registry was told."""

    folder: Path
    plan: CanarySpec
    router: Memory = field(default_factory=Memory)
    champion: int = STABLE
    tags: list[str] = field(default_factory=list)
    prove: Callable[[Address], None] = lambda _: None
    told: list[str] = field(default_factory=list)
    registry: Callable[[str], None] = lambda _: None
    admission: Callable[[], None] = lambda: None
    disk: Callable[[bytes], None] = lambda _: None

    @property
    def journal(self) -> Journal:
        """As another process reads it."""
        return Journal(Disk(self.folder, self.disk))

    def begin(self, **changes: Any) -> None:
        fields = {
            "identity": "2-x",
            "service": "s",
            "router": "memory",
            "url": self.router.url,
            "candidate": CANDIDATE,
            "stable": STABLE,
            "uri": "models:/s/2",
            "model": "sha256:1",
            "decision": "sha256:2",
            "started": datetime.now(UTC),
            "plan": self.plan.model_dump(mode="json"),
        }
        self.journal.begin(Rollout.model_validate(fields | changes), reason="Approved.")

    def run(self) -> Rollout:
        release = Release(CANDIDATE, "models:/s/2", "sha256:1", self.folder)
        return Controller(
            router=_fulfils(self.router),
            journal=self.journal,
            release=release,
            plan=self.plan,
            task="binary",
            actions=self.actions,
            prove=lambda address: self.prove(address),
            ready_timeout=1,
            tell=self._accept,
        ).run()

    def _accept(self, text: str) -> bool:
        self.told.append(text)
        return True

    def run_until_killed(self, dies: Callable[[str], bool], *, by_registry: bool = False) -> None:
        """Run it, and kill the controller before the action of the router that `dies` tells.

        With `by_registry`, also before one of the registry.
        """

        def kill(name: str) -> None:
            if dies(name):
                raise Killed

        self.router.script = kill
        self.registry = kill if by_registry else self.registry
        with pytest.raises(Killed):
            self.run()
        self.router.script = self.registry = lambda _: None

    @property
    def actions(self) -> Actions:
        return Actions(
            require_admitted=lambda: self.admission(),
            promoted=self._promoted,
            is_champion=lambda: self.champion == CANDIDATE,
            rolled_back=self._rolled_back,
        )

    def give_up(self, reason: str = "Another took its place.") -> Rollout:
        return give_up(
            _fulfils(self.router),
            self.journal,
            version=CANDIDATE,
            actions=self.actions,
            reason=reason,
        )

    def phases(self) -> list[str]:
        return [transition.phase for transition in self.journal.rollout.transitions]

    def assert_legal(self) -> None:
        """One version at 100 %, the champion, and nothing else up."""
        rollout = self.journal.rollout
        expected = CANDIDATE if rollout.outcome == "promoted" else STABLE
        assert rollout.outcome is not None
        assert (self.router.stable, self.champion) == (expected, expected)
        assert (self.router.candidate, self.router.retired, self.router.weight) == (None, None, 0)

    def _promoted(self) -> None:
        self.registry("promoted")
        self.champion = CANDIDATE

    def _rolled_back(self, reason: str) -> None:
        self.registry("rolled_back")
        self.champion = STABLE
        self.tags.append(reason)


def plan(**changes: Any) -> CanarySpec:
    fields = {
        "interval": 0.001,
        "shadow": {"min_pairs": 100, "max_wait": 20},
        "steps": [
            {"weight": 10, "min_samples": 100, "max_wait": 20},
            {"weight": 50, "min_samples": 100, "max_wait": 20},
        ],
    }
    return CanarySpec.model_validate(fields | changes)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "rollout", plan())


def test_a_good_candidate_is_promoted_step_by_step(world: World) -> None:
    world.begin()
    rollout = world.run()

    assert world.phases() == ["deploy", "shadow", "step", "step", "promote", "done"]
    assert [t.weight for t in rollout.transitions] == [0, 0, 10, 50, 100, 100]
    assert rollout.outcome == "promoted"
    assert world.tags == []
    world.assert_legal()


def test_every_passage_carries_its_evidence(world: World) -> None:
    world.begin()
    rollout = world.run()
    for transition in rollout.transitions:
        if transition.phase in ("step", "promote") and transition.sequence > 1:
            assert transition.findings
            assert all(f.verdict in ("pass", "not judged") for f in transition.findings)
    assert {interval.weight for interval in rollout.intervals} == {0, 10, 50}


def test_nothing_passes_while_users_requests_are_not_seen(world: World) -> None:
    world.plan = plan(shadow={"share": 0}, steps=[{"weight": 10, "max_wait": 1}])
    world.router.blind = "Prometheus does not answer."
    world.begin()
    rollout = world.run()
    assert rollout.outcome == "rolled_back"
    assert rollout.reason.startswith("Nothing was shown within the max_wait of 1 s. Prometheus")
    assert {interval.blind for interval in rollout.intervals} == {"Prometheus does not answer."}
    world.assert_legal()


@pytest.mark.parametrize("lacking", ["route", "set_weight", "promote"])
def test_a_candidate_without_the_servers_for_its_share_goes_back(
    world: World, lacking: str
) -> None:
    tried: list[str] = []

    def lack(name: str) -> None:
        tried.append(name)
        if name == lacking:
            raise CapacityError("1 of 4 servers of version 2 were ready within 1 s: quota")

    world.router.script = lack
    world.begin()
    rollout = world.run()
    assert rollout.outcome == "rolled_back"
    assert rollout.reason.startswith("The candidate did not get the servers that its share")
    assert "1 of 4 servers of version 2" in rollout.reason
    # It was waited for once already: it is not tried again as what may pass is.
    assert tried.count(lacking) == 1
    world.assert_legal()


@pytest.mark.parametrize(("purpose", "insists"), [("release", True), ("return", False)])
def test_only_a_return_goes_on_with_fewer_servers(
    world: World, purpose: str, insists: bool
) -> None:
    world.begin(purpose=purpose, direct="It served before.")
    assert world.run().outcome == "promoted"
    assert world.router.insisted is insists


@pytest.mark.parametrize(("at", "phase"), [(10, "step"), (50, "promote")])
def test_what_users_get_is_judged_while_servers_are_waited_for(
    world: World, at: int, phase: str
) -> None:
    def wait(meanwhile: Meanwhile) -> None:
        for _ in range(2000 if world.router.weight == at else 20):
            world.router.errors = EACH // 2 if world.router.weight == at else 0
            meanwhile()
            time.sleep(0.001)

    world.router.waits = wait
    world.begin()
    rollout = world.run()
    assert rollout.outcome == "rolled_back"
    assert "failed" in rollout.reason or "server errors" in rollout.reason
    # The next stage was written down, and what was seen belongs to the one whose share users had.
    assert rollout.transitions[-3].phase == phase
    assert rollout.transitions[-3].weight > at
    assert rollout.intervals[-1].weight == at
    world.assert_legal()


def test_waiting_for_servers_counts_for_no_stage_that_has_not_begun(world: World) -> None:
    def wait(meanwhile: Meanwhile) -> None:
        for _ in range(20):
            meanwhile()
            time.sleep(0.001)

    world.router.waits = wait
    world.begin()
    rollout = world.run()
    assert rollout.outcome == "promoted"
    assert {(one.step, one.weight) for one in rollout.intervals} == {(0, 0), (0, 10), (1, 50)}
    for step in (0, 1):
        assert len(rollout.of_step("step", step)) > 5


@pytest.mark.parametrize("at", [0, 50])
def test_a_word_of_abort_is_heard_while_servers_are_waited_for(world: World, at: int) -> None:
    def wait(meanwhile: Meanwhile) -> None:
        if world.router.weight == at:
            world.journal.request_abort("Ada asks.")
            for _ in range(2000):
                meanwhile()
                time.sleep(0.001)

    world.router.waits = wait
    world.begin()
    assert "Asked to abort: Ada asks." in world.run().reason
    world.assert_legal()


def test_a_word_of_abort_is_heard_while_the_shadow_phase_waits_for_servers(world: World) -> None:
    def wait(meanwhile: Meanwhile) -> None:
        world.journal.request_abort("Ada asks.")
        for _ in range(50):
            meanwhile()
            time.sleep(0.001)
        pytest.fail("nobody heard it")

    world.router.copies = wait
    world.begin()
    rollout = world.run()
    assert rollout.reason == "Asked to abort: Ada asks."
    assert not rollout.intervals, "no request was copied"
    world.assert_legal()


def test_a_look_without_users_requests_only_delays(world: World) -> None:
    def see(name: str) -> None:
        if name == "observe" and world.router.calls.count("observe") > 60:
            world.router.blind = ""

    world.router.blind, world.router.script = "Not yet.", see
    world.begin()
    rollout = world.run()
    assert rollout.outcome == "promoted"
    assert len([i for i in rollout.intervals if i.blind]) >= 50


def test_harm_counts_though_users_requests_are_not_seen(world: World) -> None:
    world.router.blind, world.router.errors = "Prometheus does not answer.", EACH // 5
    world.begin()
    assert "failed" in world.run().reason


def test_what_is_done_was_written_before(world: World) -> None:
    expected = {"deploy": "deploy", "promote": "promote", "rollback": "rollback"}

    def look(name: str) -> None:
        last = world.journal.rollout.last
        if name in expected:
            assert last.phase == expected[name]
        if name == "set_weight":
            assert last.phase in ("shadow", "step")

    world.router.script = look
    world.begin()
    world.run()
    world.assert_legal()


def test_without_a_shadow_it_starts_with_the_first_step(world: World) -> None:
    world.plan = plan(shadow={"share": 0})
    world.begin()
    world.run()
    assert world.phases() == ["deploy", "step", "step", "promote", "done"]


def test_a_first_release_is_not_compared(world: World) -> None:
    world.router.stable = None
    world.begin(stable=None, direct="First release.")
    world.run()
    assert world.phases() == ["deploy", "promote", "done"]
    assert world.journal.rollout.reason == "First release."


def test_a_candidate_that_does_not_come_up_gets_no_traffic(world: World) -> None:
    def fail(name: str) -> None:
        if name == "deploy":
            raise ServiceError("it ended before it was ready")

    world.router.script = fail
    world.begin()
    rollout = world.run()
    assert world.phases() == ["deploy", "rollback", "done"]
    assert "ended before it was ready" in rollout.reason
    assert world.tags == [rollout.reason]
    assert "set_weight" not in world.router.calls
    world.assert_legal()


def test_a_candidate_that_answers_otherwise_gets_no_traffic(world: World) -> None:
    def prove(address: Address) -> None:
        assert address.url == "http://127.0.0.1:2"
        raise ServiceError("the answer differs from the model's own")

    world.prove = prove
    world.begin()
    assert "differs from the model's own" in world.run().reason
    assert "set_weight" not in world.router.calls
    world.assert_legal()


@pytest.mark.parametrize("phase", ["shadow", "step"])
def test_a_candidate_that_errs_is_rolled_back(world: World, phase: str) -> None:
    def spoil(name: str) -> None:
        if world.journal.rollout.last.phase == phase:
            world.router.errors = EACH // 10

    world.router.script = spoil
    world.begin()
    rollout = world.run()
    assert world.phases()[-3:] == [phase, "rollback", "done"]
    failed = [f.rule for f in rollout.transitions[-2].findings if f.verdict == "fail"]
    assert failed == ["errors"]
    world.assert_legal()


def test_a_burst_of_errors_ends_it_at_the_first_look(world: World) -> None:
    def spoil(name: str) -> None:
        if world.router.weight == 10:
            world.router.errors = EACH * 9 // 10

    world.router.script = spoil
    world.begin()
    rollout = world.run()
    assert sum(interval.weight == 10 for interval in rollout.intervals) == 1
    assert rollout.outcome == "rolled_back"
    world.assert_legal()


def test_a_server_that_died_ends_it(world: World) -> None:
    def die(name: str) -> None:
        if world.router.weight == 50:
            world.router.restarts = 1

    world.router.script = die
    world.begin()
    assert "server died" in world.run().reason
    world.assert_legal()


def test_one_failed_probe_is_forgiven_and_three_are_not(world: World) -> None:
    looks = iter([True, True, False, True] + [False] * 1000)
    world.router.unready = lambda: next(looks)
    world.plan = plan(shadow={"min_pairs": 30_000, "max_wait": 20})
    world.begin()
    assert world.run().outcome == "promoted"


def test_three_failed_probes_end_it(world: World) -> None:
    world.router.unready = lambda: True
    world.plan = plan(shadow={"min_pairs": 30_000, "max_wait": 20})
    world.begin()
    rollout = world.run()
    assert "not ready any more" in rollout.reason
    assert len(rollout.intervals) == 3
    world.assert_legal()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shadow": {"min_pairs": 10**9, "max_wait": 0.05}}, "max_wait of 0.05 s"),
        ({"shadow": {"min_pairs": 10**9, "max_wait": 60}, "deadline": 0.05}, "deadline of 0.05 s"),
    ],
)
def test_too_few_samples_are_never_a_pass(world: World, changes: Any, words: str) -> None:
    world.plan = plan(**changes)
    world.begin()
    rollout = world.run()
    assert words in rollout.reason
    assert rollout.transitions[-2].findings
    assert all(f.verdict == "inconclusive" for f in rollout.transitions[-2].findings[:1])
    world.assert_legal()


def test_a_step_lasts_as_long_as_it_must(world: World) -> None:
    world.plan = plan(shadow={"min_pairs": 100, "min_seconds": 0.2, "max_wait": 20})
    world.begin()
    rollout = world.run()
    times = {t.phase: t.time for t in reversed(rollout.transitions)}
    assert (times["step"] - times["shadow"]).total_seconds() >= 0.2


def test_a_step_that_holds_waits_for_a_word(world: World) -> None:
    steps = [{"weight": 10, "min_samples": 100, "max_wait": 20, "hold": True}]
    world.plan = plan(steps=steps)
    looks = 0

    def approve_later(name: str) -> None:
        nonlocal looks
        looks += name == "health" and world.router.weight == 10
        if looks == 20:
            world.journal.approve(0, by="ada")

    world.router.script = approve_later
    world.begin()
    rollout = world.run()
    assert rollout.outcome == "promoted"
    assert "Approved by ada" in rollout.transitions[-2].reason
    (told,) = world.told
    assert told.startswith("version 2 has passed every rule at 10 % of the requests and waits for")
    assert sum(interval.weight == 10 for interval in rollout.intervals) >= 20


def test_people_are_not_told_again_of_a_step_that_holds_after_a_kill(world: World) -> None:
    world.plan = plan(steps=[{"weight": 10, "min_samples": 100, "max_wait": 20, "hold": True}])
    world.begin()
    world.run_until_killed(lambda name: name == "health" and bool(world.told))
    world.run_until_killed(lambda _: len(world.journal.rollout.intervals) > 30)
    assert len(world.told) == 1


def test_a_step_that_nobody_approves_goes_back(world: World) -> None:
    world.plan = plan(steps=[{"weight": 10, "min_samples": 100, "max_wait": 1.5, "hold": True}])
    world.begin()
    assert "not approved in time" in world.run().reason
    world.assert_legal()


def test_a_word_of_abort_is_heard_at_the_next_look(world: World) -> None:
    def ask(name: str) -> None:
        if world.router.weight == 10 and world.journal.abort_requested is None:
            world.journal.request_abort("a customer called")

    world.router.script = ask
    world.begin()
    assert "a customer called" in world.run().reason
    world.assert_legal()


def test_a_version_with_a_fault_is_never_promoted(world: World) -> None:
    world.begin(fault="slow")
    assert "a fault was injected" in world.run().reason
    world.assert_legal()


def test_a_registry_that_does_not_take_the_champion_brings_the_traffic_back(world: World) -> None:
    def refuse(name: str) -> None:
        if name == "promoted":
            raise ServiceError("MLflow could not do it")

    world.registry = refuse
    world.begin()
    rollout = world.run()
    assert world.phases()[-3:] == ["promote", "rollback", "done"]
    assert "MLflow could not do it" in rollout.reason
    world.assert_legal()


def test_a_registry_that_takes_no_tag_does_not_keep_the_traffic(world: World) -> None:
    def refuse(name: str) -> None:
        if name == "rolled_back":
            raise ServiceError("MLflow is away")

    world.registry = refuse
    world.prove = lambda _: (_ for _ in ()).throw(ServiceError("wrong"))
    world.begin()
    rollout = world.run()
    assert "MLflow is away" in rollout.last.reason
    assert (world.router.stable, world.router.candidate) == (STABLE, None)


def test_a_splitter_that_began_anew_is_not_subtracted(world: World) -> None:
    looks = 0

    def restart(name: str) -> None:
        nonlocal looks
        looks += name == "observe"
        if looks == 3 and name == "observe":
            world.router.epoch, world.router.answered, world.router.pairs = "b", {}, Pairs()

    world.router.script = restart
    world.plan = plan(shadow={"min_pairs": 30_000, "max_wait": 20})
    world.begin()
    rollout = world.run()
    assert rollout.outcome == "promoted"
    assert {i.pairs.candidate.requests for i in rollout.of_phase("shadow")} == {EACH}


def test_a_service_that_fails_once_is_mended(world: World) -> None:
    failed = []

    def fail(name: str) -> None:
        if name in ("observe", "route", "set_weight") and name not in failed:
            failed.append(name)
            raise ServiceError("connection refused")

    world.router.script = fail
    world.begin()
    assert world.run().outcome == "promoted"
    assert failed == ["route", "set_weight", "observe"]


def test_a_service_that_cannot_be_mended_is_said(world: World) -> None:
    def fail(name: str) -> None:
        if name == "observe":
            raise ServiceError("connection refused")

    world.router.script = fail
    world.begin()
    with pytest.raises(ServiceError, match="connection refused"):
        world.run()
    assert world.journal.rollout.outcome is None

    world.router.script = lambda _: None
    world.run()
    world.assert_legal()


@pytest.mark.parametrize("phase", ["shadow", "step", "promote"])
def test_a_candidate_that_died_while_nobody_watched_goes_back(world: World, phase: str) -> None:
    world.begin()
    world.run_until_killed(lambda _: world.journal.rollout.last.phase == phase)
    world.router.candidate = None
    assert "server died" in world.run().reason
    world.assert_legal()


@pytest.mark.parametrize("errors", [0, EACH // 10], ids=["good", "bad"])
@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.long), 5])
def test_a_controller_killed_before_any_action_is_taken_up(
    tmp_path: Path, every: int, errors: int
) -> None:
    """Kill it before its first router call, then before a later one, and so on to the last."""
    kills = 0
    while True:
        world = World(tmp_path / str(kills), plan())
        world.router.errors = errors
        remaining = kills

        def kill(name: str) -> None:
            nonlocal remaining
            remaining -= 1
            if remaining == -1:
                raise Killed

        world.router.script = world.registry = kill
        world.begin()
        try:
            world.run()
        except Killed:
            world.router.script = world.registry = lambda _: None
            world.run()
            world.assert_legal()
            phases = world.phases()
            assert phases[-1] == "done"
            assert len(phases) == len(set(phases)) + phases.count("step") - ("step" in phases)
        else:
            break
        kills += every
    world.assert_legal()
    assert kills > 8


def test_whoever_lost_the_lease_does_nothing_more(tmp_path: Path) -> None:
    calls = 0
    while True:
        world = World(tmp_path / str(calls), plan())
        remaining = calls

        def lose(name: str) -> None:
            nonlocal remaining
            remaining -= 1
            if remaining < 0:
                raise LeaseLostError("another controller drives it")

        world.router.script = lose
        world.begin()
        try:
            world.run()
        except LeaseLostError:
            assert len(world.router.calls) == calls
            assert world.journal.rollout.outcome is None
        else:
            break
        calls += 1
    assert calls > 10


def test_an_interrupted_rollout_goes_back(world: World) -> None:
    def interrupt(name: str) -> None:
        if name == "observe" and world.router.weight == 50:
            raise KeyboardInterrupt

    world.router.script = interrupt
    world.begin()
    with pytest.raises(KeyboardInterrupt):
        world.run()
    assert world.journal.rollout.outcome == "rolled_back"
    assert "Interrupted" in world.journal.rollout.reason
    world.assert_legal()


def test_giving_up_twice_is_giving_up(world: World) -> None:
    world.begin()
    for _ in range(2):
        rollout = world.give_up()
    assert world.tags == ["Another took its place."]
    assert [t.phase for t in rollout.transitions] == ["deploy", "rollback", "done"]


def test_a_rejection_in_a_step_takes_the_traffic_away(world: World) -> None:
    def reject(name: str) -> None:
        if name == "observe" and world.router.weight == 50:
            world.admission = _refuses(NotApprovedError("Rejected by ada: it is biased"))

    world.router.script = reject
    world.begin()
    rollout = world.run()
    assert "It may not serve any more. Rejected by ada" in rollout.reason
    assert sum(interval.weight == 50 for interval in rollout.intervals) == 1
    world.assert_legal()


@pytest.mark.parametrize("phase", ["deploy", "shadow", "step", "promote"])
def test_what_is_taken_up_is_asked_for_its_admission_first(world: World, phase: str) -> None:
    world.begin()
    world.run_until_killed(lambda _: world.journal.rollout.last.phase == phase)
    world.router.calls.clear()
    world.admission = _refuses(NotApprovedError("Rejected by ada"))
    assert "It may not serve. Rejected by ada" in world.run().reason
    assert world.router.calls == ["rollback", "clean_up"]
    world.assert_legal()


def test_a_registry_that_is_away_at_a_look_only_delays_the_next_move(world: World) -> None:
    asked = 0

    def away() -> None:
        nonlocal asked
        asked += 1
        if asked % 2:
            raise ServiceError("MLflow is away")

    world.admission = away
    world.begin()
    assert world.run().outcome == "promoted"
    world.assert_legal()


def test_nothing_moves_on_the_word_of_a_registry_that_stays_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objections, "_PAUSE", 0.001)

    def leave(name: str) -> None:
        if name == "observe" and world.router.weight == 10:
            world.admission = _refuses(ServiceError("MLflow is away"))

    world.router.script = leave
    world.begin()
    rollout = world.run()
    assert "cannot be known whether it may serve" in rollout.reason
    assert {interval.weight for interval in rollout.intervals} == {0, 10}
    world.assert_legal()


@pytest.mark.parametrize("direct", ["", "First release."])
@pytest.mark.parametrize("phase", ["deploy", "promote"])
def test_a_word_of_abort_is_heard_in_every_phase(world: World, phase: str, direct: str) -> None:
    journal = world.journal

    def ask(line: bytes) -> None:
        if b'"phase":"%s"' % phase.encode() in line:
            journal.request_abort("a customer called")

    world.disk = ask
    if direct:
        world.router.stable = None
    world.begin(stable=None if direct else STABLE, direct=direct)
    assert "a customer called" in world.run().reason
    assert (world.router.stable, world.champion) == (None if direct else STABLE, STABLE)
    assert world.router.candidate is None


def test_it_is_too_late_to_abort_once_it_is_the_champion(world: World) -> None:
    world.begin()
    world.run_until_killed(lambda name: name == "clean_up")
    world.journal.request_abort("a customer called")
    assert world.run().outcome == "promoted"
    world.assert_legal()


@pytest.mark.parametrize("call", ["promote", "promoted", "clean_up"])
def test_giving_up_finishes_what_is_champion_already(world: World, call: str) -> None:
    world.begin()
    world.run_until_killed(lambda name: name == call, by_registry=True)
    expected = "promoted" if call == "clean_up" else "rolled_back"
    assert world.give_up().outcome == expected
    world.assert_legal()


@pytest.mark.parametrize("lines", range(8))
def test_a_full_disk_gives_the_traffic_back(world: World, lines: int) -> None:
    """Refuse every line from the n-th on: what is not written leads nowhere."""
    left = lines

    def refuse(line: bytes) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    world.disk = refuse
    if lines == 0:
        with pytest.raises(UnrecordedError, match="No space left"):
            world.begin()
        assert not world.journal.exists
        return
    world.begin()
    with pytest.raises(UnrecordedError, match=r"could not be written: .*No space left"):
        world.run()
    assert (world.router.stable, world.router.candidate, world.champion) == (STABLE, None, STABLE)
    world.disk = lambda _: None
    assert world.journal.rollout.outcome is None
    # Nobody had been sent to it yet where only the plan was written: it begins again.
    assert world.run().outcome == ("promoted" if lines == 1 else "rolled_back")
    world.assert_legal()


def test_a_refused_way_back_is_written_with_its_next_line(world: World) -> None:
    def refuse(line: bytes) -> None:
        if b'"phase":"rollback"' in line and b'"phase":"done"' not in line:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    world.disk = refuse
    world.router.errors = EACH // 5
    world.begin()
    world.run()
    assert world.phases() == ["deploy", "shadow", "rollback", "done"]
    assert "failed" in world.journal.rollout.reason


def test_a_registry_that_was_not_told_is_told_later(world: World) -> None:
    def refuse(name: str) -> None:
        if name == "rolled_back":
            raise ServiceError("MLflow is away")

    world.registry, world.router.errors = refuse, EACH // 5
    world.begin()
    world.run()
    assert world.journal.rollout.outcome == "rolled_back"
    assert not world.journal.rollout.ended
    with pytest.raises(ServiceError, match="MLflow is away"):
        world.give_up()

    world.registry = lambda _: None
    rollout = world.give_up()
    assert rollout.ended
    assert world.tags == [rollout.reason]
    assert world.journal.rollout.ended


def begun_return(world: World) -> None:
    """Version 1 was the champion before 2; a person goes back to it. Here CANDIDATE is that."""
    world.begin(purpose="return", direct="Rollback by ada.", champion=STABLE)


@pytest.mark.parametrize("error", [Killed, KeyboardInterrupt])
def test_going_back_is_never_undone_half_way(tmp_path: Path, error: type[BaseException]) -> None:
    """Cut it short before its first effect, then before its second, and so on to the last."""
    cuts = 0
    while True:
        world = World(tmp_path / str(cuts), plan())
        remaining = cuts

        def cut(_: object) -> None:
            nonlocal remaining
            remaining -= 1
            if remaining == -1:
                raise error

        begun_return(world)
        world.router.script = world.registry = world.disk = cut
        try:
            world.run()
        except error:
            world.router.script = world.registry = world.disk = lambda _: None
            served_new = world.router.stable == CANDIDATE
            if world.journal.rollout.outcome is None:
                world.give_up()
            assert not served_new or world.router.stable == CANDIDATE
            world.assert_legal()
        else:
            break
        cuts += 1
    world.assert_legal()
    assert world.journal.rollout.outcome == "promoted"
    assert cuts >= 6


def test_going_back_keeps_the_traffic_though_the_registry_refuses(world: World) -> None:
    def refuse(name: str) -> None:
        if name == "promoted":
            raise ServiceError("MLflow is away")

    world.registry = refuse
    begun_return(world)
    with pytest.raises(ServiceError, match=r"version 2 serves.*MLflow is away.*rollout resume"):
        world.run()
    assert world.router.stable == CANDIDATE
    world.registry = lambda _: None
    assert world.run().outcome == "promoted"
    world.assert_legal()


@pytest.mark.parametrize("call", ["promote", "promoted"])
def test_a_return_that_was_rejected_meanwhile_is_not_finished(world: World, call: str) -> None:
    begun_return(world)
    world.run_until_killed(lambda name: name == call, by_registry=True)
    world.admission = _refuses(NotApprovedError("Rejected by ada"))
    assert world.give_up().outcome == "rolled_back"
    world.assert_legal()


def test_clocks_decide_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that jumps by a day at every look ends no step before its time, nor too late."""
    world.plan = plan(deadline=5, shadow={"min_pairs": 100, "max_wait": 5})
    hours = iter([24 * n * (-1) ** n for n in range(100_000)])

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) + timedelta(hours=next(hours))

    monkeypatch.setattr(journal_module, "datetime", Jumping)
    world.begin()
    assert world.run().outcome == "promoted"


def _refuses(error: PenstockError) -> Callable[[], None]:
    def refuse() -> None:
        raise error

    return refuse
