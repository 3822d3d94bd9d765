"""The champion in a registry that takes seconds for an answer, as one on a busy cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mlflow_over_http import mlflow_over_http
from test_registry_champion import NAME, Models

from penstock.errors import IntegrityError, ServiceError
from penstock.registry import _champion_move
from penstock.registry.champion import set_champion
from penstock.registry.champion_history import VERSION

WAITED_FOR = "waited_for"


class Clock:
    """A clock for the server and for who asks it, on which nobody really waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Slow:
    """MLflow's application, which takes its time for each request."""

    def __init__(self, app: Callable[..., Any]) -> None:
        self._app = app
        self.seconds = 0.0
        self.clock: Any = time
        self.asked: list[str] = []

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        self.asked.append(environ["PATH_INFO"].removeprefix("/api/2.0/mlflow/"))
        answer = self._app(environ, start)
        self.clock.sleep(self.seconds)
        return answer


class World(Models):
    """Models that are moved over HTTP, and looked at in the store itself."""

    def __init__(self, uri: str, slow: Slow, address: str) -> None:
        super().__init__(uri)
        self.slow, self.address = slow, address

    def move(self, version: int, event: str = "promoted", **given: Any) -> None:
        set_champion(NAME, version, tracking_uri=self.address, event=event, **given)

    def begun(self, version: int) -> list[float]:
        """For how long others were to wait for each try to move the champion to a version."""
        facts = [one.facts for one in self.log.entries if one.facts.get(VERSION) == version]
        return [one[WAITED_FOR] for one in facts if WAITED_FOR in one]

    def reasons(self) -> str:
        return " ".join(one.reason for one in self.log.entries)


@pytest.fixture
def world(uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made: list[Slow] = []

    def around(app: Callable[..., Any]) -> Slow:
        made.append(Slow(app))
        return made[0]

    with mlflow_over_http(uri, monkeypatch, around=around) as address:
        yield World(uri, made[0], address)


@pytest.fixture
def clock(world: World, monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = world.slow.clock = Clock()
    monkeypatch.setattr(_champion_move, "time", made)
    return made


@pytest.mark.parametrize(
    ("seconds", "tries"), [(0.9, [5]), (1.5, [5, 10]), (6, [5, 40]), (10, [5, 80]), (15, [5, 80])]
)
def test_the_champion_moves_in_a_registry_that_is_slow(
    world: World, clock: Clock, seconds: float, tries: list[float]
) -> None:
    world.move(1, expect=None)
    world.slow.seconds = seconds
    world.move(2, expect=1)
    assert (world.problem, world.aliases) == ("", {"champion": 2, "previous": 1})
    # MLflow's client looks at the model once more before it writes: three answers.
    assert (world.begun(1), world.begun(2)) == ([5], tries)
    late = f"The registry did not answer in time: it took {3 * seconds:.1f} s to write the move"
    assert world.reasons().count(late) == len(tries) - 1
    assert "nother controller" not in world.reasons()


@pytest.mark.long
def test_it_moves_by_the_clock_of_this_machine_too(world: World) -> None:
    world.move(1, expect=None)
    world.slow.seconds = 1.5
    world.move(2, expect=1)
    assert (world.problem, world.aliases) == ("", {"champion": 2, "previous": 1})
    assert len(world.begun(2)) > 1


def test_a_registry_that_is_too_slow_is_called_slow(world: World, clock: Clock) -> None:
    world.move(1)
    world.slow.seconds = 17
    with pytest.raises(ServiceError) as caught:
        world.move(2, expect=1)
    said = str(caught.value)
    assert "the registry did not answer in time: it took 51.0 s to write the move and to" in said
    assert "The champion was not moved. Try again when MLflow answers faster." in said
    assert "nother controller" not in said + world.reasons()
    assert (world.problem, world.aliases) == ("", {"champion": 1})
    assert world.begun(2) == [5, 80, 80, 80, 80, 80]


def test_who_resumes_a_move_has_the_time_of_the_one_before(world: World) -> None:
    world.move(1)
    world.write("promoted", 2, champion=2, before=1, waited_for=20)
    world.move(2, expect=1)
    assert world.begun(2) == [20, 20]
    assert (world.problem, world.aliases) == ("", {"champion": 2, "previous": 1})


@pytest.mark.parametrize(
    ("facts", "seconds"),
    [
        ({}, 5),
        ({WAITED_FOR: 20}, 20),
        # Whoever can write tags holds nobody up for ever.
        ({WAITED_FOR: 1e9}, 80),
        ({WAITED_FOR: "20"}, 5),
        pytest.param({WAITED_FOR: -1}, 5, marks=pytest.mark.long),
        pytest.param({WAITED_FOR: True}, 5, marks=pytest.mark.long),
    ],
)
def test_others_wait_for_as_long_as_the_entry_says(
    world: World,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    facts: dict[str, Any],
    seconds: float,
) -> None:
    monkeypatch.setattr(_champion_move, "_POLL_SECONDS", 2.5)
    world.move(1)
    world.write("promoted", 2, champion=2, before=1, **facts)
    started = clock.now
    world.move(3, expect=1)
    assert clock.now - started == pytest.approx(seconds, abs=2.5)
    assert (world.problem, world.aliases["champion"]) == ("", 3)


def test_a_slow_answer_takes_nothing_from_the_time_of_others(world: World, clock: Clock) -> None:
    """What was read may be of just now: its move has all of its time still."""
    world.move(1)
    world.write("promoted", 2, champion=2, before=1)
    world.slow.seconds = 6
    world.slow.asked.clear()
    real = clock.sleep

    def sleep(seconds: float) -> None:
        real(seconds)
        if world.slow.asked.count("registered-models/get") == 1:
            world.store.set_registered_model_alias(NAME, "champion", "2")

    clock.sleep = sleep  # type: ignore[method-assign]
    with pytest.raises(IntegrityError, match="but the champion is version 2 now"):
        world.move(3, expect=1)
    assert world.begun(3) == []
    assert "registered-models/set-tag" not in world.slow.asked
