"""The controller of an experiment over a router in memory: each way to end, killed at each step."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from experiment_parts import PLAN
from test_engine import CANDIDATE, Killed, World, _fulfils

from penstock.errors import NotApprovedError, ServiceError
from penstock.records.experiment import ExperimentPlan, ended_by_reading
from penstock.records.rollout import Rollout
from penstock.rollout.experiment.controller import ENDING, WEIGHT, ExperimentController
from penstock.rollout.experiment.observations import EventFile
from penstock.rollout.experiment.running import canary_of
from penstock.rollout.router import Release
from penstock.rollout.spec import CanarySpec
from penstock.rollout.words import headline


@dataclass
class Tried(World):
    """One experiment, its router, and what its users did."""

    experiment: ExperimentPlan = PLAN

    def run(self) -> Rollout:
        return ExperimentController(
            router=_fulfils(self.router),
            journal=self.journal,
            release=Release(CANDIDATE, "models:/s/2", "sha256:1", self.folder),
            plan=self.plan,
            task="binary",
            actions=self.actions,
            prove=lambda address: self.prove(address),
            ready_timeout=1,
            experiment=self.experiment,
            events=EventFile(self.folder / "events.jsonl"),
        ).run()

    def live(self, *, champion: float, challenger: float, users: int = 400) -> None:
        """Users come and go, long ago enough that their windows are over."""
        begin = time.time() - 1000
        lines = []
        for k in range(users):
            tried = k % 5 == 0
            common = {"t": begin + k / 1000, "id": f"q{k}"}
            arm = "candidate" if tried else "stable"
            lines.append(common | {"e": "request", "user": f"u{k}", "arm": arm, "weight": 20})
            value = float(k // 5 % 10 < 10 * (challenger if tried else champion))
            lines.append(common | {"e": "feedback", "value": value, "row": 0})
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (self.folder / "events.jsonl").write_text(text)

    def asked(self, name: str, text: str, *, after: int = 1) -> None:
        """Leave a note once so many looks were taken."""
        looks = 0

        def see(action: str) -> None:
            nonlocal looks
            looks += action == "observe"
            if looks == after:
                self.journal.leave(name, text)

        self.router.script = see


@pytest.fixture
def tried(tmp_path: Path) -> Tried:
    world = Tried(tmp_path / "2-experiment-x", canary_of(CanarySpec(), PLAN, every=0.001))
    world.begin(purpose="experiment")
    return world


def test_the_better_one_is_promoted_once_somebody_stops_it(tried: Tried) -> None:
    tried.live(champion=0.1, challenger=0.9)
    tried.asked(ENDING, "stop ben", after=3)
    rollout = tried.run()
    assert rollout.outcome == "promoted"
    assert tried.phases() == ["deploy", "step", "promote", "done"]
    assert "The challenger is better. Stopped by ben." in rollout.reason
    assert len(rollout.intervals) >= 2
    routing = tried.router.calls.index("route"), tried.router.calls.index("set_weight")
    assert routing[0] < routing[1]
    tried.assert_legal()


@pytest.mark.parametrize(
    ("challenger", "how", "words"),
    [
        (0.1, "stop ben", "not decided"),
        (0.0, "stop ben", "The champion is kept."),
        (0.9, "keep ben", "as was asked"),
    ],
)
def test_the_champion_is_kept_unless_another_is_shown_to_be_better(
    tried: Tried, challenger: float, how: str, words: str
) -> None:
    tried.live(champion=0.1, challenger=challenger)
    tried.asked(ENDING, how)
    rollout = tried.run()
    assert rollout.outcome == "rolled_back"
    assert words in rollout.reason
    assert ended_by_reading(rollout)
    said = "The experiment with version 2 of s ended; version 1 still serves. The champion is kept"
    assert headline(rollout).startswith(said)
    tried.assert_legal()


def test_it_can_be_ended_where_it_cannot_be_gone_on_with(tried: Tried) -> None:
    tried.live(champion=0.1, challenger=0.1)
    tried.journal.leave(ENDING, "stop ben")

    def refuse(action: str) -> None:
        if action == "route":
            raise ServiceError("the proxy does not come up")

    tried.router.script = refuse
    rollout = tried.run()
    assert rollout.outcome == "rolled_back"
    assert "Stopped by ben." in rollout.reason


def test_it_ends_by_itself_once_it_is_decided_where_the_plan_says_so(tried: Tried) -> None:
    tried.experiment = PLAN.model_copy(update={"automatic": True})
    tried.live(champion=0.1, challenger=0.9)
    assert tried.run().outcome == "promoted"


def test_nobody_is_promoted_while_harm_would_not_be_seen(tried: Tried) -> None:
    tried.experiment = PLAN.model_copy(update={"automatic": True})
    tried.live(champion=0.1, challenger=0.9)
    tried.router.blind = "The store does not answer."
    looks = 0

    def see(action: str) -> None:
        nonlocal looks
        looks += action == "observe"
        if looks == 5:
            tried.router.blind = ""

    tried.router.script = see
    rollout = tried.run()
    assert rollout.outcome == "promoted"
    assert len([one for one in rollout.intervals if one.blind]) >= 3
    assert not rollout.intervals[-1].blind


def test_who_stops_it_while_harm_would_not_be_seen_keeps_the_champion(tried: Tried) -> None:
    tried.live(champion=0.1, challenger=0.9)
    tried.router.blind = "The store does not answer."
    tried.asked(ENDING, "stop ben", after=2)
    rollout = tried.run()
    assert rollout.outcome == "rolled_back"
    assert "whether it does harm is not seen. The store does not answer." in rollout.reason


def test_a_challenger_that_nobody_watched_is_looked_at_before_it_is_promoted(tried: Tried) -> None:
    tried.live(champion=0.1, challenger=0.9)
    tried.journal.leave(ENDING, "stop ben")
    rollout = tried.run()
    assert rollout.outcome == "promoted"
    assert len(rollout.intervals) == 1


def test_it_ends_when_its_days_are_over(tried: Tried) -> None:
    tried.experiment = PLAN.model_copy(update={"seconds": 1e-9})
    rollout = tried.run()
    assert "Its days are over." in rollout.reason
    tried.assert_legal()


def test_harm_ends_it_though_the_kpi_is_better(tried: Tried) -> None:
    tried.live(champion=0.1, challenger=0.9)
    tried.router.errors = 400
    rollout = tried.run()
    assert rollout.outcome == "rolled_back"
    assert not ended_by_reading(rollout)
    assert "the candidate failed" in rollout.reason
    tried.assert_legal()


def test_a_challenger_that_may_not_serve_any_more_is_not_promoted(tried: Tried) -> None:
    tried.live(champion=0.1, challenger=0.9)

    def admission() -> None:
        if tried.phases()[-1] == "promote":
            raise NotApprovedError("ann rejected it")

    tried.admission = admission
    tried.asked(ENDING, "stop ben")
    rollout = tried.run()
    assert rollout.outcome == "rolled_back"
    assert "ann rejected it" in rollout.reason
    tried.assert_legal()


def test_more_users_are_given_and_none_taken(tried: Tried) -> None:
    seen: list[int] = []
    tried.asked(WEIGHT, "10")
    first = tried.router.script

    def see(action: str) -> None:
        first(action)
        seen.append(tried.router.weight)
        if action == "observe" and len(seen) > 60:
            tried.journal.leave(WEIGHT, "50")
        if action == "observe" and len(seen) > 120:
            tried.journal.leave(ENDING, "stop ben")

    tried.router.script = see
    tried.run()
    weights = [each.weight for each in tried.journal.rollout.transitions if each.phase == "step"]
    assert weights == [20, 50]
    assert set(seen) == {0, 20, 50}


def test_whoever_interrupts_it_leaves_it_as_it_is(tried: Tried) -> None:
    def interrupt(action: str) -> None:
        if action == "observe" and tried.router.weight:
            raise KeyboardInterrupt

    tried.router.script = interrupt
    with pytest.raises(KeyboardInterrupt):
        tried.run()
    assert (tried.router.candidate, tried.router.weight) == (CANDIDATE, 20)
    assert "in an experiment with 20 % of users" in headline(tried.journal.rollout)
    tried.live(champion=0.1, challenger=0.9)
    tried.asked(ENDING, "stop ben")
    assert tried.run().outcome == "promoted"


@pytest.mark.parametrize(
    ("what", "challenger", "outcome"),
    [
        ("action", 0.9, "promoted"),
        ("line", 0.1, "rolled_back"),
        pytest.param("action", 0.1, "rolled_back", marks=pytest.mark.long),
        pytest.param("line", 0.9, "promoted", marks=pytest.mark.long),
    ],
)
def test_killed_before_each_step_it_goes_on_to_the_same_end(
    tmp_path: Path, challenger: float, outcome: str, what: str
) -> None:
    """The reading that decides is worked out anew from the events, and comes to the same."""
    at, killed = 0, True
    while killed:
        world = Tried(tmp_path / f"{what}-{at}", canary_of(CanarySpec(), PLAN, every=0.001))
        world.begin(purpose="experiment")
        world.live(champion=0.1, challenger=challenger)
        left = at

        def stop(action: str, world: Tried = world) -> None:
            if action == "observe":
                world.journal.leave(ENDING, "stop ben")

        def count(action: Any) -> None:
            nonlocal left
            if what == "action":
                stop(action)
            left -= 1
            if left < 0:
                raise Killed

        if what == "action":
            world.router.script = count
        else:
            world.disk, world.router.script = count, stop
        try:
            world.run()
            killed = False
        except Killed:
            world.router.script, world.disk = stop, (lambda _: None)
            rollout = world.run()
            assert rollout.outcome == outcome
        world.assert_legal()
        at += 1
    assert at > (8 if what == "action" else 3)
