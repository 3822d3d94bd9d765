"""What a trigger remembers: events once, releases one at a time, within bounds."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from penstock.errors import IntegrityError, ServiceError
from penstock.processes.identity import this
from penstock.records.run_end import Outcome
from penstock.triggers.endings import Ending
from penstock.triggers.events import Event
from penstock.triggers.exporter import exposition
from penstock.triggers.store import Taken, TriggerStore, Waiting


def event(number: int, *, source: str = "/shop") -> Event:
    return Event(source=source, id=str(number), type="sold")


@pytest.fixture
def store(tmp_path: Path) -> TriggerStore:
    return TriggerStore(tmp_path / "trigger" / "trigger.db", remember=100)


def run(store: TriggerStore, outcome: Outcome, *, number: int) -> None:
    store.take([event(number)], now=1)
    release = store.begin(now=2)
    assert release is not None
    store.end(release.number, now=3, exit_code=0, ending=Ending(outcome, "So it was"))


def test_an_event_that_comes_again_counts_once(store: TriggerStore) -> None:
    assert store.take([event(1), event(2), event(1)], now=10) == Taken(new=2, known=1)
    assert store.take([event(2), event(2, source="/other")], now=30) == Taken(new=1, known=1)
    assert store.waiting() == Waiting(count=3, first=10, last=30)
    release = store.begin(now=40)
    assert release is not None
    assert (release.events, release.types) == (3, "sold (3)")
    # Also once its release is under way, and in another process.
    again = TriggerStore(store.database.path, remember=100)
    assert again.take([event(1)], now=50) == Taken(new=0, known=1)
    assert again.waiting().count == 0


def test_one_release_at_a_time_for_all_that_waits(store: TriggerStore) -> None:
    assert store.begin(now=1) is None
    store.take([event(1)], now=1)
    release = store.begin(now=2)
    assert release is not None
    store.take([event(2), event(3)], now=3)
    assert store.begin(now=4) is None
    assert store.open_release() == release
    store.end(release.number, now=5, exit_code=3, ending=Ending("refused", "Too weak"))
    following = store.begin(now=6)
    assert following is not None
    assert (following.number, following.events) == (2, 2)


def test_what_prometheus_reads_of_it(store: TriggerStore) -> None:
    store.take([event(1), event(2), event(3), event(1)], now=10)
    store.refused(4)
    release = store.begin(now=20)
    assert release is not None
    store.end(release.number, now=30, exit_code=1, ending=Ending("failed", "Out of luck"))
    store.take([event(4)], now=40)
    text = exposition(store, service="shop")
    for line in (
        'events_total{result="taken",service="shop"} 4.0',
        'events_total{result="known",service="shop"} 1.0',
        'events_total{result="refused",service="shop"} 4.0',
        'events_total{result="debounced",service="shop"} 2.0',
        'releases_total{outcome="failed",service="shop"} 1.0',
        'last_release{outcome="failed",service="shop"} 1.0',
        'last_release{outcome="released",service="shop"} 0.0',
        'last_release_timestamp_seconds{service="shop"} 30.0',
        'oldest_waiting_timestamp_seconds{service="shop"} 40.0',
    ):
        assert f"penstock_trigger_{line}\n" in text
    # Whether it is at work is for others to say: it cannot say so of itself once it is gone.
    assert "at_work" not in text


def test_one_process_takes_a_release_up(store: TriggerStore) -> None:
    store.take([event(1)], now=1)
    store.begin(now=2)
    me, other = this(), this().model_copy(update={"pid": 1})
    assert store.claim(1, me)
    assert not store.claim(1, other)
    store.give_up(1, other)
    assert not store.claim(1, other)
    store.give_up(1, me)
    assert store.claim(1, other)
    assert store.release(1).attempts == 2


def test_how_a_release_ended_first_stays(store: TriggerStore) -> None:
    run(store, "released", number=1)
    store.end(1, now=9, exit_code=None, ending=Ending("failed", "interrupted"))
    release = store.release(1)
    assert (release.outcome, release.exit_code, release.ended) == ("released", 0, 3)
    assert store.database.totals() == {"taken": 1, "released": 1}


def test_what_is_remembered_is_bounded_and_what_waits_is_never_forgotten(
    store: TriggerStore,
) -> None:
    for number in range(0, 300, 50):
        store.take([event(each) for each in range(number, number + 50)], now=number)
        release = store.begin(now=number)
        assert release is not None
        if number < 250:
            store.end(release.number, now=number, exit_code=0, ending=Ending("released", ""))
    (kept,) = store.database.rows("SELECT count(*) FROM events")[0]
    assert kept <= 150
    assert store.take([event(each) for each in range(200, 300)], now=1) == Taken(new=0, known=100)
    # A hundred wait; the next one is not taken, and is not known when it comes again.
    assert store.take([event(each) for each in range(300, 400)], now=1).new == 100
    with pytest.raises(ServiceError, match="100 events wait for a release already"):
        store.take([event(400)], now=1)
    assert store.take([event(399)], now=1) == Taken(new=0, known=1)
    store.end(6, now=1, exit_code=0, ending=Ending("released", ""))
    store.begin(now=1)
    assert store.take([event(400)], now=1).new == 1


def test_a_row_of_refusals_ends_with_a_release_or_a_person(store: TriggerStore) -> None:
    outcomes: list[tuple[Outcome, int]] = [
        ("refused", 1), ("failed", 1), ("rolled_back", 2), ("refused", 3), ("released", 0),
        ("refused", 1),
    ]  # fmt: skip
    for number, (outcome, row) in enumerate(outcomes):
        run(store, outcome, number=number)
        assert store.refusals() == row, outcome
    store.note_stop()
    assert store.stop_notified
    store.resume()
    assert store.refusals() == 0
    run(store, "refused", number=99)
    assert store.refusals() == 1
    assert not store.stop_notified


@pytest.mark.parametrize("content", [b"not a database at all, and long enough" * 99, b"SQLite"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trigger.db"
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="is damaged") as refused:
        TriggerStore(path)
    assert refused.value.where == str(path)
    assert "Move the file away" in refused.value.remedy
    assert path.read_bytes() == content


def test_a_file_of_a_later_release_is_left_alone(store: TriggerStore) -> None:
    store.close()
    db = sqlite3.connect(store.database.path)
    db.execute("PRAGMA user_version = 2")
    db.close()
    with pytest.raises(IntegrityError, match="it has version 2"):
        TriggerStore(store.database.path)


def test_a_disk_that_is_full_takes_nothing_back_and_gives_nothing_away(
    store: TriggerStore,
) -> None:
    store.take([event(1)], now=1)
    (pages,) = store.database.rows("PRAGMA page_count")[0]
    store.database.rows(f"PRAGMA max_page_count = {pages}")
    many = [Event(source="/shop", id=f"{n}{'x' * 2000}", type="sold") for n in range(90)]
    with pytest.raises(ServiceError, match=r"cannot be read or written: .*full"):
        store.take(many, now=2)
    assert store.waiting() == Waiting(count=1, first=1, last=1)
    store.database.rows("PRAGMA max_page_count = 100000")
    assert store.take(many, now=3).new == 90
