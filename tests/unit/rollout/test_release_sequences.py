"""Sequences of commands by several people, homes and clocks on one registry, with what goes wrong.

After every step: what serves was admitted when it began to serve, one version is the champion,
users get the shares that are written down, the trail is a chain, verify tells the truth. At the
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
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from release_world import Fault, World, put_in_place

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
    store: Callable[[Path], Any] = lambda _: None

    @initialize(clocks=CLOCKS)
    def begin(self, clocks: tuple[float, ...]) -> None:
        self.stack = ExitStack()
        folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None, prefix="penstock-"))
        self.stack.callback(shutil.rmtree, folder)
        self.world = World(folder, store=type(self).store(folder), clocks=clocks)
        self.stack.enter_context(put_in_place(self.world))

    @rule(
        target=known,
        good=st.booleans(),
        people=st.integers(0, 2),
        policy_kept=st.sampled_from([True, True, True, False]),
        home=HOMES,
        fault=FAULTS,
    )
    def register(self, **given: Any) -> Any:
        version = self.world.register(**given)
        return multiple() if version is None else version

    @rule(person=PEOPLE, version=known, home=HOMES, fault=FAULTS)
    def approve(self, person: str, version: int, **given: Any) -> None:
        self.world.say(person, version, "approved", **given)

    @rule(person=PEOPLE, version=known, home=HOMES, fault=FAULTS)
    def reject(self, person: str, version: int, **given: Any) -> None:
        self.world.say(person, version, "rejected", **given)

    @rule(version=known, other=known, home=HOMES, fault=FAULTS, meanwhile=MEANWHILE)
    def deploy(
        self,
        version: int,
        other: int,
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
        if what == "reject":
            world.say("ben", version, "rejected")
        elif what == "abort":
            world.abort(home=home)
        elif what == "release":
            world.deploy(other, home=1 - home)
        elif what == "takeover":
            world.homes[home].expired = True
            world.deploy(other, home=home)
        elif what == "move":
            world.move_by_hand(other)
        elif what == "alter":
            world.alter(version, "tags")
        else:
            world.homes[home].die(version)

    @rule(home=HOMES, fault=FAULTS)
    def roll_back(self, **given: Any) -> None:
        self.world.roll_back(**given)

    @rule(home=HOMES, to=known, fault=FAULTS)
    def roll_back_to(self, **given: Any) -> None:
        self.world.roll_back(**given)

    @rule(home=HOMES, fault=FAULTS)
    def resume(self, **given: Any) -> None:
        self.world.resume(**given)

    @rule(home=HOMES, fault=FAULTS)
    def abort(self, **given: Any) -> None:
        self.world.abort(**given)

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


def profile(sequences: int, *, steps: int = 12, derandomize: bool = True) -> settings:
    return settings(
        max_examples=sequences,
        stateful_step_count=steps,
        deadline=None,
        derandomize=derandomize,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def test_sequences_of_commands() -> None:
    run_state_machine_as_test(Releases, settings=profile(60))


@pytest.mark.long
def test_thousands_of_sequences_of_commands() -> None:
    run_state_machine_as_test(Releases, settings=profile(2_000, steps=15))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    built = World(tmp_path)
    with put_in_place(built):
        yield built
