"""Sequences of commands by several people, homes and clocks on one registry, with what goes wrong.

After every step: what serves was admitted when it began to serve, one version is the champion,
users get the shares that are written down, the log is a chain, verify tells the truth. At the
end of each: honest people come to a release. The rules are in release_oracle.py.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from registry_emulator import MlflowRegistry, RegistryEmulator
from release_process import Fault, put_in_place
from release_world import World

MEMORY = Path("/dev/shm")
"""Journals are synced: on a disk a sequence takes ten times as long."""

PEOPLE = st.sampled_from(["ana", "ben", "tina"])
HOMES = st.integers(0, 1)
CLOCKS = st.sampled_from([(0, 0), (0, 5), (5, 0), (-5, 3)])
FAULTS = st.none() | st.builds(
    Fault,
    what=st.sampled_from(
        ["killed before", "killed after", "interrupted", "refused", "unanswered", "cut off"]
    ),
    at=st.integers(0, 45),
)
MEANWHILE = st.none() | st.tuples(
    st.sampled_from(["reject", "abort", "release", "takeover", "move", "alter", "die"]),
    st.integers(0, 3),
)


class Releases(RuleBasedStateMachine):
    """Any of these, in any order."""

    known: Bundle[int] = Bundle("known")
    store: Callable[[Path], Any] = staticmethod(lambda folder: RegistryEmulator(folder))

    @initialize(clocks=CLOCKS, target=known, releases=st.integers(0, 2))
    def begin(self, clocks: tuple[float, ...], releases: int) -> Any:
        self.stack = ExitStack()
        folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None, prefix="penstock-"))
        self.stack.callback(shutil.rmtree, folder)
        self.world = World(folder, store=self.store(folder), clocks=clocks)
        self.stack.enter_context(put_in_place(self.world))
        return multiple(*(released(self.world) for _ in range(releases)))

    @rule(target=known, good=st.booleans(), home=HOMES, fault=FAULTS, meanwhile=MEANWHILE)
    def release(
        self, good: bool, home: int, fault: Fault | None, meanwhile: tuple[str, int] | None
    ) -> Any:
        """What a pipeline does: register, let two people look at it, deploy."""
        version = self.world.register(good=good, people=2, home=home)
        if version is None:
            return multiple()
        for person in ("ana", "ben"):
            self.world.say(person, version, "approved", home=home)
        self._deploy(version, version, home=home, fault=fault, meanwhile=meanwhile)
        return version

    @rule(
        target=known,
        people=st.integers(0, 2),
        policy_kept=st.sampled_from([True, True, False]),
        home=HOMES,
        fault=FAULTS,
    )
    def register(self, **given: Any) -> Any:
        version = self.world.register(**given)
        return multiple() if version is None else version

    @rule(
        version=known,
        person=PEOPLE,
        verdict=st.sampled_from(["approved", "rejected"]),
        home=HOMES,
        fault=FAULTS,
    )
    def say(self, version: int, person: str, verdict: Any, **given: Any) -> None:
        self.world.say(person, version, verdict, **given)

    @rule(version=known, other=known, home=HOMES, fault=FAULTS, meanwhile=MEANWHILE)
    def deploy(self, version: int, other: int, **given: Any) -> None:
        self._deploy(version, other, **given)

    def _deploy(
        self,
        version: int,
        other: int,
        *,
        home: int,
        fault: Fault | None,
        meanwhile: tuple[str, int] | None,
    ) -> None:
        acts: dict[int, Callable[[], Any]] = {}
        if meanwhile is not None:
            what, when = meanwhile
            acts[when] = lambda: self._meanwhile(what, version, other, home=home)
        self.world.deploy(version, home=home, fault=fault, meanwhile=acts)

    def _meanwhile(self, what: str, version: int, other: int, *, home: int) -> None:
        world = self.world
        if what == "reject" and version != world.oracle.champion:
            world.say("ben", version, "rejected")
        elif what == "abort":
            world.abort(home=home)
        elif what == "release":
            world.deploy(other, home=1 - home)
        elif what == "takeover":
            world.homes[home].expired = True
            world.deploy(other, home=home)
        elif what == "move" and other != version:
            world.move_by_hand(other)
        elif what == "alter":
            world.alter(version, "tags")
        elif what == "die":
            world.homes[home].die(version)

    @precondition(lambda self: self.world.oracle.champion is not None)
    @rule(home=HOMES, to=st.none() | known, fault=FAULTS)
    def roll_back(self, **given: Any) -> None:
        self.world.roll_back(**given)

    @precondition(lambda self: self.world.unfinished(0) or self.world.unfinished(1))
    @rule(what=st.sampled_from(["resume", "abort"]), home=HOMES, fault=FAULTS)
    def go_on(self, what: str, home: int, fault: Fault | None) -> None:
        act = self.world.resume if what == "resume" else self.world.abort
        act(home=home, fault=fault)

    @rule(version=known)
    def move_alias(self, version: int) -> None:
        self.world.move_by_hand(version)

    @rule(version=known, home=HOMES, fault=FAULTS)
    def audit_champion(self, version: int, **given: Any) -> None:
        self.world.mend(version, **given)

    @rule(version=known, what=st.sampled_from(["files", "tags"]))
    def alter(self, version: int, what: Any) -> None:
        self.world.alter(version, what)

    @rule(version=known)
    def restore(self, version: int) -> None:
        self.world.restore(version)

    @rule(days=st.sampled_from([1, 8]))
    def days_pass(self, days: int) -> None:
        self.world.days(days)

    @rule(home=HOMES)
    def stop(self, home: int) -> None:
        self.world.stop(home=home)

    @precondition(lambda self: self.world.oracle.versions)
    @rule(version=known)
    def verify(self, version: int) -> None:
        self.world.check_verify(version)

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        with self.stack:
            if sys.exc_info()[0] is None:
                self.world.settle()


class ReleasesOverMlflow(Releases):
    """The same over MLflow's own store, which keeps the emulated one honest."""

    store = staticmethod(lambda folder: MlflowRegistry(folder))


def run(machine: type[Releases], *, sequences: int, steps: int, number: int = 0) -> None:
    """Draw sequences, the same each time; another number draws others."""
    numbered = seed(number)(type(machine.__name__, (machine,), {}))
    profile = settings(
        max_examples=sequences,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(numbered, settings=profile)


@pytest.mark.parametrize("sequences", [5, pytest.param(40, marks=pytest.mark.long)])
def test_sequences_of_commands(sequences: int) -> None:
    run(Releases, sequences=sequences, steps=12)


@pytest.mark.long
def test_sequences_of_commands_over_mlflow() -> None:
    run(ReleasesOverMlflow, sequences=2, steps=6)


@pytest.mark.exhaustive
def test_many_sequences_of_commands_over_mlflow() -> None:
    run(ReleasesOverMlflow, sequences=60, steps=10, number=1)


@pytest.mark.exhaustive
@pytest.mark.parametrize("number", range(1, 5))
def test_thousands_of_sequences_of_commands(number: int) -> None:
    run(Releases, sequences=500, steps=15, number=number)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture
def world(folder: Path) -> Iterator[World]:
    built = World(folder)
    with put_in_place(built):
        yield built


def released(world: World, **given: Any) -> int:
    """A version that people let in and that a rollout promoted."""
    version = registered(world, **given)
    assert world.deploy(version).outcome == "promoted"
    return version


def registered(world: World, **given: Any) -> int:
    version = world.register(**given)
    assert version is not None
    return version


def test_a_rollback_to_a_version_that_never_was_released_is_refused(world: World) -> None:
    first = released(world)
    never = registered(world, people=1)
    world.say("ben", never, "rejected")
    assert world.roll_back(to=never).error is not None
    world.check()
    assert world.homes[0].table == {first: 100}
    world.settle()


@pytest.mark.parametrize("when", range(2))
def test_a_rejection_in_the_middle_of_a_canary_is_heard(world: World, when: int) -> None:
    released(world)
    version = registered(world, people=1)
    world.say("ana", version, "approved")
    reject = {when: lambda: world.say("ben", version, "rejected")}
    assert world.deploy(version, meanwhile=reject).outcome != "promoted"
    world.check()
    world.settle()


def test_a_decision_on_a_champion_that_was_followed_by_another_home_is_stale(world: World) -> None:
    released(world)
    one, other = registered(world), registered(world)
    meanwhile = {1: lambda: world.deploy(other, home=1)}
    assert world.deploy(one, meanwhile=meanwhile).outcome != "promoted"
    world.check()
    world.settle()


@pytest.mark.parametrize("at", [9, *(pytest.param(at, marks=pytest.mark.long) for at in (11, 16))])
def test_a_champion_that_another_home_promoted_is_not_taken_back(world: World, at: int) -> None:
    """The registry was gone when the rollout of the same version here came to its promotion."""
    released(world)
    version = registered(world)
    meanwhile = {0: lambda: world.deploy(version, home=1)}
    assert (
        world.deploy(version, fault=Fault("cut off", at), meanwhile=meanwhile).outcome != "promoted"
    )
    assert world.oracle.champion == version
    world.check()
    world.settle()


@pytest.mark.parametrize("ahead", [pytest.param(-5, marks=pytest.mark.long), 5])
def test_a_clock_hours_away_neither_forges_nor_hinders(folder: Path, ahead: int) -> None:
    world = World(folder, clocks=(0, ahead))
    with put_in_place(world):
        released(world)
        version = registered(world)
        assert world.deploy(version, home=1).outcome == "promoted"
        assert world.deploy(registered(world), home=1).outcome == "promoted"
        world.check()
        world.settle()


def test_an_approval_by_a_clock_hours_ahead_counts(folder: Path) -> None:
    world = World(folder, clocks=(0, 5))
    with put_in_place(world):
        version = registered(world, people=1)
        world.say("ana", version, "approved", home=1)
        assert world.deploy(version).outcome == "promoted"
        world.settle()


def test_a_champion_that_was_altered_with_its_tags_is_not_brought_up_again(world: World) -> None:
    champion = released(world)
    version = registered(world)
    world.stop(home=0)
    world.alter(champion, "files")
    world.alter(champion, "tags")
    assert world.deploy(version).outcome != "promoted"
    world.check()
    world.settle()


def test_a_policy_that_was_not_kept_lets_nobody_in(world: World) -> None:
    version = registered(world, people=2, policy_kept=False)
    assert world.deploy(version).error is not None
    world.check()
    world.settle()


def test_a_failed_move_of_the_alias_leaves_a_way_back(world: World) -> None:
    released(world)
    second = released(world)
    version = registered(world)
    for at in range(60):
        world.deploy(version, fault=Fault("refused", at))
        world.check()
        if world.oracle.champion == version:
            break
    world.settle()
    assert second in world.oracle.past


def test_a_champion_that_is_rejected_while_it_starts_again_does_not_serve(world: World) -> None:
    champion = released(world)
    world.stop(home=0)
    reject = {0: lambda: world.say("ben", champion, "rejected")}
    world.deploy(champion, meanwhile=reject)
    world.check()


def test_a_rollback_does_not_go_to_what_was_left_by_name(world: World) -> None:
    first, _, third = (released(world) for _ in range(3))
    assert world.roll_back(to=first).outcome == "promoted"
    assert world.roll_back(to=third).outcome == "promoted"
    world.roll_back()
    assert world.oracle.champion != first


def test_no_alias_is_moved_by_hand_to_files_that_were_altered(world: World) -> None:
    first = released(world)
    released(world)
    world.alter(first, "files")
    assert world.mend(first).error is not None


def test_a_release_brings_the_champion_up_and_keeps_the_candidate(world: World) -> None:
    released(world)
    version = registered(world)
    world.stop(home=0)
    assert world.deploy(version).outcome == "promoted"
    world.settle()


def each_effect(
    folder: Path,
    what: Any,
    prepare: Callable[[World], int],
    act: Callable[[World, int, Fault], Any],
    *,
    every: int = 1,
) -> int:
    """Let a command end at its first effect, its second and so on, and return how many it has.

    Those between every so-manieth are left out.
    """
    for at in range(0, 200, every):
        world = World(folder / str(at))
        with put_in_place(world):
            version = prepare(world)
            result = act(world, version, Fault(what, at))
            world.check()
            world.settle()
        if not result.disturbed:
            return at
    raise AssertionError("it has no end")


def _two(world: World) -> int:
    released(world)
    return released(world)


def _ready(world: World) -> int:
    released(world)
    return registered(world)


COMMANDS: dict[str, tuple[Callable[[World], int], Callable[[World, int, Fault], Any]]] = {
    "first release": (registered, lambda world, v, fault: world.deploy(v, fault=fault)),
    "canary": (_ready, lambda world, v, fault: world.deploy(v, fault=fault)),
    "rollback": (_two, lambda world, _, fault: world.roll_back(fault=fault)),
    "audit": (_two, lambda world, v, fault: world.mend(v - 1, fault=fault)),
}


ENDINGS = ["killed before", "killed after", "interrupted", "refused", "unanswered"]
SOON = [("rollback", "killed before"), ("canary", "killed after")]
"""Left to the long tests; the others are exhaustive."""


@pytest.mark.parametrize(
    ("command", "what", "every"),
    [
        ("rollback", "killed before", 8),
        *(
            pytest.param(
                command,
                what,
                1,
                marks=pytest.mark.long if (command, what) in SOON else pytest.mark.exhaustive,
            )
            for command in COMMANDS
            for what in ENDINGS
        ),
    ],
)
def test_a_command_that_ends_at_any_effect_leaves_a_state_to_go_on_from(
    folder: Path, command: str, what: str, every: int
) -> None:
    prepare, act = COMMANDS[command]
    assert each_effect(folder, what, prepare, act, every=every) > 3


@pytest.mark.exhaustive
def test_a_promoted_champion_is_finished_by_the_next_release(folder: Path) -> None:
    """Its controller died between the alias and the end: it is the champion, and stays it."""

    def act(world: World, version: int, fault: Fault) -> Any:
        result = world.deploy(version, fault=fault)
        crowned = world.oracle.champion == version
        follower = world.register()
        assert follower is not None
        world.deploy(follower)
        world.check()
        if crowned:
            assert not world.oracle.versions[version].rolled_back
            assert world.trail_events(version).count("rolled back") == 0
        return result

    each_effect(folder, "killed after", _ready, act)


def test_a_second_rollback_does_not_serve_what_was_rolled_back(world: World) -> None:
    released(world)
    second = released(world)
    assert world.roll_back().outcome == "promoted"
    world.roll_back()
    world.check()
    assert world.oracle.champion != second
    world.settle()


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("when", range(3))
def test_an_abort_that_was_promised_happens(world: World, first: bool, when: int) -> None:
    if not first:
        released(world)
    version = registered(world)
    said: list[Any] = []
    result = world.deploy(version, meanwhile={when: lambda: said.append(world.abort())})
    if said and said[0].error is None:
        assert result.outcome == "rolled_back"
    world.check()
    world.settle()
