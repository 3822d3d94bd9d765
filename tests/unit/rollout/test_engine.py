"""The controller, over a router that lives in memory.

Real servers are in test_canary.py. Here every branch is taken and every call is made to fail or
be killed in turn, which needs hundreds of rollouts: the router below keeps the contract of
`penstock.rollout.router` and answers at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import LeaseLostError, ServiceError
from penstock.records.rollout import ArmSummary, Pairs, Rollout
from penstock.rollout.engine import Actions, Controller, give_up
from penstock.rollout.journal import Journal
from penstock.rollout.router import Address, Health, Observation, Release, Router, Routing
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

    def exclusive(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def open(self) -> None:
        self._called("open")

    def deploy(self, release: Release, *, timeout: float) -> Address:
        self._called("deploy")
        if self.stable != release.version:
            self.candidate = release.version
        return Address("http://127.0.0.1:2")

    def route(self, routing: Routing) -> None:
        self._called("route")
        self.routing = routing

    def set_weight(self, version: int, percent: int) -> None:
        self._called("set_weight")
        assert version == self.candidate
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

    def promote(self, version: int) -> None:
        self._called("promote")
        if self.stable == version:
            return
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


@dataclass
class World:
    """One rollout, its router and what the registry was told."""

    folder: Path
    plan: CanarySpec
    router: Memory = field(default_factory=Memory)
    champion: int = STABLE
    tags: list[str] = field(default_factory=list)
    prove: Callable[[Address], None] = lambda _: None
    registry: Callable[[str], None] = lambda _: None

    @property
    def journal(self) -> Journal:
        """As another process reads it."""
        return Journal(FolderStore(self.folder))

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
            actions=Actions(
                prove=lambda address: self.prove(address),
                promoted=self._promoted,
                rolled_back=self._rolled_back,
            ),
            ready_timeout=1,
        ).run()

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
    assert sum(interval.weight == 10 for interval in rollout.intervals) >= 20


def test_a_step_that_nobody_approves_goes_back(world: World) -> None:
    world.plan = plan(steps=[{"weight": 10, "min_samples": 100, "max_wait": 1.5, "hold": True}])
    world.begin()
    assert "not approved in time" in world.run().reason
    world.assert_legal()


def test_a_word_of_abort_is_heard_at_the_next_look(world: World) -> None:
    def ask(name: str) -> None:
        if world.router.weight == 10 and world.journal.abort_asked is None:
            world.journal.ask_to_abort("a customer called")

    world.router.script = ask
    world.begin()
    assert "a customer called" in world.run().reason
    world.assert_legal()


def test_a_drill_is_never_promoted(world: World) -> None:
    world.begin(drill="slow")
    assert "this is a drill" in world.run().reason
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
    def kill(name: str) -> None:
        if world.journal.rollout.last.phase == phase:
            raise Killed

    world.router.script = kill
    world.begin()
    with pytest.raises(Killed):
        world.run()
    world.router.script = lambda _: None
    world.router.candidate = None
    assert "server died" in world.run().reason
    world.assert_legal()


@pytest.mark.parametrize("errors", [0, EACH // 10], ids=["good", "bad"])
def test_a_controller_killed_before_any_action_is_taken_up(tmp_path: Path, errors: int) -> None:
    """Kill it before its first router call, then before its second, and so on to the last."""
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
        kills += 1
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
        rollout = give_up(
            world.router,
            world.journal,
            version=CANDIDATE,
            note=world.tags.append,
            reason="Another took its place.",
        )
    assert world.tags == ["Another took its place."]
    assert [t.phase for t in rollout.transitions] == ["deploy", "rollback", "done"]
