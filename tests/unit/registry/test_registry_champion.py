"""The log's order, and moving the champion by it: on a real store, with clocks that are wrong."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from mlflow import MlflowClient

from penstock.errors import IntegrityError, PenstockError, ServiceError
from penstock.records.evidence import AuditEntry
from penstock.registry import _champion_move, audit, champion_history, registration, versions
from penstock.registry.audit import Actor
from penstock.registry.champion import checked_champion, rollback_target, set_champion
from penstock.registry.champion_history import was_champion

NAME = "m"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Models:
    """A registered model whose versions have digests and no files."""

    def __init__(self, uri: str, *, count: int = 4) -> None:
        self.uri = uri
        self.store = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self.store.create_registered_model(NAME)
        for number in range(1, count + 1):
            tags = {versions.MODEL_DIGEST: f"sha256:{number}", versions.EVIDENCE_DIGEST: "sha256:e"}
            self.store.create_model_version(NAME, source="s3://bucket/model", tags=tags)
            self.write("registered", number)

    def write(self, event: str, version: int, **facts: Any) -> AuditEntry:
        uri, actor = f"models:/{NAME}/{version}", Actor(name="ann")
        return audit.record(self.store, NAME, event=event, uri=uri, actor=actor, facts=facts)

    def move(self, version: int, event: str = "promoted", **given: Any) -> None:
        set_champion(NAME, version, tracking_uri=self.uri, event=event, **given)

    @property
    def aliases(self) -> dict[str, int]:
        found = self.store.get_registered_model(NAME).aliases
        return {alias: int(number) for alias, number in found.items()}

    @property
    def log(self) -> audit.AuditLog:
        return audit.read(self.store.get_registered_model(NAME).tags)

    @property
    def problem(self) -> str:
        return checked_champion(NAME, tracking_uri=self.uri).problem

    def back(self) -> int | None:
        found = rollback_target(NAME, tracking_uri=self.uri)
        return None if found is None else found.version


@pytest.fixture
def world(uri: str) -> Models:
    return Models(uri)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets how many hours the clock of whoever writes the log is ahead."""
    ahead = timedelta()

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + ahead

    def set_to(hours: float) -> None:
        nonlocal ahead
        ahead = timedelta(hours=hours)

    monkeypatch.setattr(audit, "datetime", Clock)
    return set_to


def entry(event: str, *previous: str, hours: float = 0, **facts: Any) -> AuditEntry:
    return AuditEntry(
        time=NOW + timedelta(hours=hours),
        event=event,
        uri="models:/m/1",
        by="ann",
        facts=facts,
        previous=previous,
    )


def tags_of(*entries: AuditEntry) -> dict[str, str]:
    return {
        f"{audit.PREFIX}{each.time:%Y%m%dT%H%M%S%f}.{each.digest()[7:15]}": audit.compact(each)
        for each in entries
    }


def test_entries_are_in_the_order_of_the_chain_whatever_the_clocks_say() -> None:
    chain: list[AuditEntry] = []
    for place, hours in enumerate([5, -3, 0, 100, 1, -100]):
        previous = (chain[-1].digest(),) if chain else ()
        chain.append(entry(str(place), *previous, hours=hours))
    log = audit.read(tags_of(*chain))
    assert [each.event for each in log.entries] == list("012345")
    assert (log.problems, log.heads) == ((), (chain[-1].digest(),))
    assert log.descends(log.digests[5], log.digests[0])
    assert not log.descends(log.digests[0], log.digests[5])
    assert [each.event for each in log.before(log.digests[3]).entries] == list("012")


def test_entries_that_do_not_know_each_other_are_ordered_by_digest() -> None:
    root = entry("root")
    for hours in (-1, 1):
        beside = [entry(str(n), root.digest(), hours=n * hours) for n in range(5)]
        log = audit.read(tags_of(root, *beside))
        assert log.digests[1:] == tuple(sorted(each.digest() for each in beside))
        assert set(log.heads) == set(log.digests[1:])


def test_a_missing_ancestor_is_a_problem() -> None:
    root = entry("root")
    log = audit.read(tags_of(entry("next", root.digest())))
    assert [each.event for each in log.entries] == ["next"]
    assert "was altered or removed" in log.problems[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[" * 50_000,
        '{"a":' * 50_000,
        *(
            entry("a").dumps().replace('"facts": {}', f'"facts": {{"champion": {value}}}')
            for value in ("NaN", '"\\ud800"', "9" * 5000, "[" * 900 + "]" * 900)
        ),
    ],
)
def test_whatever_a_tag_holds_is_a_problem_and_no_exception(text: str) -> None:
    good = entry("good")
    log = audit.read({**tags_of(good), f"{audit.PREFIX}x": text})
    assert len(log.problems) == 1
    assert good in log.entries
    champion_history.status_of(log, alias=1, kept=True)


def test_facts_that_are_no_numbers_move_nothing() -> None:
    hostile = [entry("promoted", champion=each) for each in ("1", True, [1], {"a": 1}, 1.5)]
    log = audit.read(tags_of(*hostile))
    assert (champion_history.moves(log), champion_history.champions(log, alias=1)) == ((), ())


def test_a_long_trail_is_read_quickly() -> None:
    chain: list[AuditEntry] = []
    for number in range(1000):
        previous = (chain[-1].digest(),) if chain else ()
        chain.append(entry("promoted", *previous, champion=number, before=number - 1))
        done = {"champion": number, "before": number - 1, "done": True}
        chain.append(entry("champion moved", chain[-1].digest(), **done))
    tags = tags_of(*chain)
    started = time.process_time()
    log = audit.read(tags)
    assert champion_history.status_of(log, alias=999, kept=True).problem == ""
    assert len(champion_history.champions(log, alias=999)) == 1001
    # 0.2 s on an idle core: a quadratic search takes a minute.
    assert time.process_time() - started < 10


@pytest.mark.long
def test_an_entry_names_all_heads_however_many(world: Models) -> None:
    there = world.log
    for number in range(45):
        actor = Actor(name=str(number))
        audit.record(world.store, NAME, event="beside", uri="models:/m/1", actor=actor, there=there)
    assert len(world.log.heads) == 45
    last = world.write("approved", 1)
    log = world.log
    assert (log.heads, log.problems) == ((last.digest(),), ())
    assert all(len(each.previous) <= 20 for each in log.entries)
    assert len(log.before(last.digest()).entries) == len(log.entries) - 1


def test_a_reason_that_json_makes_long_is_cut(world: Models) -> None:
    actor = Actor(name="ann", reason="\x01" * 1000)
    audit.record(world.store, NAME, event="approved", uri="models:/m/1", actor=actor)
    tags = world.store.get_registered_model(NAME).tags
    assert max(map(len, tags.values())) <= audit.VALUE_LENGTH
    assert audit.read(tags).problems == ()


@pytest.mark.parametrize(
    "hours",
    [pytest.param(5, marks=pytest.mark.long), -5, pytest.param(5000, marks=pytest.mark.long)],
)
def test_a_wrong_clock_changes_no_verdict(
    world: Models, clock: Callable[[float], None], hours: float
) -> None:
    world.move(1)
    clock(hours)
    world.move(2, expect=1)
    assert world.problem == ""
    clock(0)
    world.move(3, expect=2)
    assert (world.problem, world.aliases) == ("", {"champion": 3, "previous": 2})
    assert world.back() == 2
    assert all(
        each.done for each in champion_history.newest(world.log, champion_history.moves(world.log))
    )


def _as_an_earlier_release_left_it(world: Models, clock: Callable[[float], None]) -> None:
    """Version 2 was promoted by a clock ahead; of version 3 the end could not be written then."""
    world.move(1)
    clock(5)
    world.move(2)
    clock(0)
    world.write("promoted", 3, champion=3, before=2)
    world.store.set_registered_model_alias(NAME, "previous", "2")
    world.store.set_registered_model_alias(NAME, "champion", "3")


def test_what_an_earlier_release_wrote_under_a_wrong_clock_reads_right(
    world: Models, clock: Callable[[float], None]
) -> None:
    _as_an_earlier_release_left_it(world, clock)
    found = checked_champion(NAME, tracking_uri=world.uri)
    assert (found.problem, found.note) == ("", "")
    assert world.back() == 2
    world.move(4, expect=3)
    assert (world.problem, world.aliases) == ("", {"champion": 4, "previous": 3})


@pytest.mark.long
def test_a_move_by_hand_is_mended_under_any_clock(
    world: Models, clock: Callable[[float], None]
) -> None:
    world.move(1)
    clock(5)
    world.move(2)
    clock(0)
    world.store.set_registered_model_alias(NAME, "champion", "3")
    assert "version 3, but by the audit log version 2 became the champion" in world.problem
    with pytest.raises(IntegrityError, match="was moved by hand"):
        world.move(4, expect=3)
    world.move(2, event="champion moved")
    assert (world.problem, world.aliases) == ("", {"champion": 2, "previous": 1})


def test_an_alias_put_back_by_hand_is_not_a_move_that_was_not_done(world: Models) -> None:
    world.move(1)
    world.move(2)
    world.store.set_registered_model_alias(NAME, "champion", "1")
    assert "the alias was moved by hand" in world.problem
    # Only one that was begun and not done leaves the one before.
    world.move(2, event="champion moved")
    world.write("promoted", 3, champion=3, before=2)
    found = checked_champion(NAME, tracking_uri=world.uri)
    assert found.problem == ""
    assert "to version 3 was begun on" in found.note
    world.store.set_registered_model_alias(NAME, "champion", "1")
    assert "the alias was moved by hand" in world.problem


def test_a_withdrawn_move_is_none(world: Models) -> None:
    world.move(1)
    begun = world.write("promoted", 2, champion=2, before=1)
    world.write("move withdrawn", 2, withdrawn=begun.digest())
    found = checked_champion(NAME, tracking_uri=world.uri)
    assert (found.problem, found.note) == ("", "")
    world.store.set_registered_model_alias(NAME, "champion", "2")
    assert "by the audit log version 1 became the champion" in world.problem


@pytest.mark.parametrize(
    ("by", "means", "shown"),
    [
        ("the decision and its rules", "", "gate (automatic)"),
        pytest.param(
            "the decision and the rules of the canary",
            "",
            "canary (automatic)",
            marks=pytest.mark.long,
        ),
        pytest.param("the rules of the canary", "", "canary (automatic)", marks=pytest.mark.long),
        pytest.param(
            "the controller of the rollout", "", "canary (automatic)", marks=pytest.mark.long
        ),
        ("the release of another version", "", "release (automatic)"),
        ("ann", "told to the pipeline", "ann (pipeline parameter)"),
        pytest.param("ann", "stated", "ann (stated)", marks=pytest.mark.long),
        (audit.CANARY, "", "canary (automatic)"),
    ],
)
def test_actors_of_earlier_releases_are_shown_by_their_present_names(
    world: Models, by: str, means: str, shown: str
) -> None:
    world.move(1, actor=Actor(name=by, means=means))
    assert audit.actor_of(world.log.entries[-1]) == shown
    assert (world.problem, world.log.entries[-1].by) == ("", by)
    world.store.delete_registered_model_alias(NAME, "champion")
    assert f"set by {shown}, but no version carries the alias" in world.problem


def test_two_moves_that_did_not_meet_are_told_and_can_be_mended(world: Models) -> None:
    world.move(1)
    there = world.log
    for version in (2, 3):
        begun = audit.record(
            world.store,
            NAME,
            event="promoted",
            uri=f"models:/m/{version}",
            actor=Actor(name="ann"),
            facts={"champion": version, "before": 1},
            there=there,
        )
        end = entry("champion moved", begun.digest(), champion=version, before=1, done=True)
        for key, text in tags_of(end).items():
            world.store.set_registered_model_tag(NAME, key, text)
        world.store.set_registered_model_alias(NAME, "champion", str(version))
    assert "two controllers moved it at the same time" in world.problem
    world.move(3, event="champion moved")
    assert (world.problem, world.aliases["champion"]) == ("", 3)


def test_it_moves_only_from_the_champion_that_is_expected(world: Models) -> None:
    world.move(1, expect=None)
    with pytest.raises(IntegrityError, match="to replace none, but the champion is version 1 now"):
        world.move(2, expect=None)
    world.move(2, expect=1)
    # Asked again it is there.
    world.move(2, expect=1)
    with pytest.raises(IntegrityError, match="to replace version 1, but the champion is version 2"):
        world.move(3, expect=1)
    world.move(3, expect="any")
    assert world.aliases == {"champion": 3, "previous": 2}
    world.store.delete_registered_model_alias(NAME, "champion")
    with pytest.raises(IntegrityError, match="it was removed by hand"):
        world.move(4, expect=None)


def test_of_two_who_promote_at_once_one_wins(uri: str) -> None:
    rounds, world = 5, Models(uri, count=11)
    world.move(1)
    champion = 1
    for number in range(rounds):
        both = [2 + 2 * number, 3 + 2 * number]
        start, told = threading.Barrier(2), {}

        def promote(version: int, expected: int, start: Any = start, told: Any = told) -> None:
            start.wait()
            time.sleep(random.random() * 0.05)
            try:
                world.move(version, expect=expected)
                told[version] = "won"
            except PenstockError as error:
                told[version] = str(error)

        racers = [threading.Thread(target=promote, args=(each, champion)) for each in both]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        winners = [version for version, words in told.items() if words == "won"]
        assert len(winners) <= 1, told
        assert world.problem == ""
        champion = winners[0] if winners else champion
        assert world.aliases["champion"] == champion
    # Most rounds have a winner: two that give way to each other try again.
    assert champion != 1


def test_a_move_that_is_under_way_is_waited_for(
    world: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.move(1)
    world.write("promoted", 2, champion=2, before=1)

    def finish() -> None:
        time.sleep(0.4)
        world.store.set_registered_model_alias(NAME, "champion", "2")

    other = threading.Thread(target=finish)
    other.start()
    with pytest.raises(IntegrityError, match="but the champion is version 2 now"):
        world.move(3, expect=1)
    other.join()
    # One whose controller is dead is passed by, and stays known as not done.
    monkeypatch.setattr(_champion_move, "PATIENCE", 0.5)
    world.write("promoted", 4, champion=4, before=2)
    world.move(3, expect=2)
    assert (world.problem, world.aliases) == ("", {"champion": 3, "previous": 2})
    assert not was_champion(world.log, 4)


def test_who_is_slower_than_others_wait_takes_the_move_back(
    world: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_champion_move, "HELD_UP", -1.0)
    monkeypatch.setattr(_champion_move, "_ATTEMPTS", 2)
    with pytest.raises(ServiceError, match=r"the registry did not answer in time: .*Try again"):
        world.move(1)
    assert (world.problem, world.aliases) == ("", {})


def test_who_was_held_up_gives_way(world: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another controller took it for dead between its entry and the alias."""
    world.move(1)
    monkeypatch.setattr(_champion_move, "PATIENCE", 0.2)
    real, done = MlflowClient.set_registered_model_tag, []

    def slow(client: Any, name: str, key: str, value: str) -> None:
        real(client, name, key, value)
        if not done:
            done.append(key)
            world.move(3)

    monkeypatch.setattr(MlflowClient, "set_registered_model_tag", slow)
    with pytest.raises(IntegrityError, match="but the champion is version 3 now"):
        world.move(2, expect=1)
    assert (world.problem, world.aliases) == ("", {"champion": 3, "previous": 1})
    assert any(each.event == "move withdrawn" for each in world.log.entries)


def test_an_alias_that_came_too_late_is_put_back(
    world: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.move(1)
    monkeypatch.setattr(_champion_move, "PATIENCE", 0.0)
    real, done = MlflowClient.set_registered_model_alias, []

    def late(client: Any, name: str, alias: str, version: str) -> None:
        if not done:
            done.append(alias)
            world.move(3)
        real(client, name, alias, version)

    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", late)
    with pytest.raises(IntegrityError, match=r"another controller moved the champion .* version 3"):
        world.move(2, expect=1)
    assert (world.problem, world.aliases["champion"]) == ("", 3)


class Killed(BaseException):
    """As SIGKILL: nothing catches it."""


WRITES = ("set_registered_model_tag", "set_registered_model_alias", "delete_registered_model_alias")


def _ending_at(
    patch: pytest.MonkeyPatch, number: int, error: BaseException, *, after: bool
) -> list[str]:
    """Let the n-th write of the store end in an error, and those behind it too."""
    made: list[str] = []

    def ending(method: str) -> Callable[..., None]:
        real = getattr(MlflowClient, method)

        def write(*given: Any) -> None:
            made.append(method)
            if len(made) > number or (len(made) == number and not after):
                raise error
            real(*given)
            if len(made) == number:
                raise error

        return write

    for method in WRITES:
        patch.setattr(MlflowClient, method, ending(method))
    return made


STATES = [
    *(("promoted", 3, 4, number) for number in range(1, 5)),
    *(("rolled back", 1, 4, number) for number in range(1, 5)),
    # Asked again for the same move.
    *(("promoted", 3, 3, number) for number in (2, 3)),
]


@pytest.mark.parametrize(
    ("error", "after", "states"),
    [
        (Killed(), False, STATES[::2]),
        pytest.param(Killed(), False, STATES[1::2], marks=pytest.mark.long),
        pytest.param(OSError("refused"), False, STATES, marks=pytest.mark.long),
        pytest.param(OSError("the answer was lost"), True, STATES, marks=pytest.mark.long),
    ],
)
def test_the_next_move_goes_on_wherever_one_ended(
    uri: str,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    after: bool,
    states: Sequence[tuple[str, int, int, int]],
) -> None:
    monkeypatch.setattr(_champion_move, "PATIENCE", 0.0)
    world = Models(uri)
    model = world.store.get_registered_model(NAME)
    for event, version, then, number in states:
        for alias in world.aliases:
            world.store.delete_registered_model_alias(NAME, alias)
        for key in world.store.get_registered_model(NAME).tags:
            if key not in model.tags:
                world.store.delete_registered_model_tag(NAME, key)
        world.move(1)
        world.move(2)
        with monkeypatch.context() as patch:
            made = _ending_at(patch, number, error, after=after)
            with contextlib.suppress(Killed, ServiceError):
                world.move(version, event=event, expect=2)
        place = (event, version, number, made)
        assert world.problem == "", place
        assert world.aliases["champion"] in (2, version), place
        if event == "promoted":
            assert world.aliases.get("previous") not in (None, world.aliases["champion"]), place
        champion = world.aliases["champion"]
        assert world.back() == {3: 2, 2: 1, 1: None}[champion], place
        world.move(then, expect=champion)
        assert world.problem == "", place
        before = champion if champion != then else 2
        assert world.aliases == {"champion": then, "previous": before}, place
        assert world.back() == before, place


def test_a_failed_move_loses_no_way_back(world: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    world.move(2)
    world.move(3)
    real = MlflowClient.set_registered_model_alias

    def refuse(client: Any, name: str, alias: str, version: str) -> None:
        if alias == "champion":
            raise OSError("refused")
        real(client, name, alias, version)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_registered_model_alias", refuse)
        for _ in range(2):
            with pytest.raises(ServiceError):
                world.move(4)
    assert world.aliases == {"champion": 3, "previous": 2}
    assert world.back() == 2


def test_a_rollback_goes_to_what_was_champion_and_was_not_rolled_back(world: Models) -> None:
    assert world.back() is None
    for version in (1, 2, 3):
        world.move(version)
    assert world.back() == 2
    world.move(2, event="rolled back")
    assert (world.back(), world.aliases) == (1, {"champion": 2, "previous": 1})
    world.move(1, event="rolled back")
    assert (world.back(), world.aliases) == (None, {"champion": 1})
    # Named, it may come again, and is a way back then; what was left for it is none.
    world.move(3, event="rolled back")
    world.move(4)
    assert champion_history.champions(world.log) == (3, 4)
    assert world.back() == 3


def test_only_a_promotion_makes_a_version_one_to_go_back_to(world: Models) -> None:
    world.move(1)
    world.move(4, event="rolled back")
    world.move(2)
    found = [version for version in (1, 2, 3, 4) if was_champion(world.log, version)]
    assert (found, world.back()) == ([1, 2], 1)


def test_a_registry_without_a_trail_goes_back_by_its_alias(world: Models) -> None:
    for key in world.store.get_registered_model(NAME).tags:
        world.store.delete_registered_model_tag(NAME, key)
    for alias, version in {"champion": "2", "previous": "1"}.items():
        world.store.set_registered_model_alias(NAME, alias, version)
        world.store.delete_model_version_tag(NAME, version, versions.EVIDENCE_DIGEST)
    assert world.back() == 1
    world.store.set_model_version_tag(NAME, "1", versions.ROLLED_BACK, "Too slow.")
    assert world.back() is None
    # Its champion is one to go back to once an audit log is kept.
    world.move(3)
    assert (world.back(), was_champion(world.log, 2)) == (2, True)


def test_two_registrations_of_one_version_are_believed_neither() -> None:
    facts = {"digests": {"model": "sha256:1"}}
    honest = entry("registered").model_copy(update=facts)
    forged = honest.model_copy(update={"digests": {"model": "sha256:2"}})
    again = honest.model_copy(update={"reason": "The step was run twice at once."})
    log = audit.read(tags_of(honest, again))
    assert registration.registered_digests(log, "models:/m/1") == {"model": "sha256:1"}
    assert registration.registered_digests(log, "models:/m/2") == {}
    with pytest.raises(IntegrityError, match="registers it 2 times, with different digests"):
        registration.registered_digests(audit.read(tags_of(honest, forged)), "models:/m/1")
