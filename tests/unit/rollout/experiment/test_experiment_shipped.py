"""Events that several pods ship: one sequence, the same for whoever reads them, and whenever."""

from __future__ import annotations

import fcntl
import json
import random
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from penstock.captures.counters import read_counts
from penstock.captures.cursor import Cursor
from penstock.captures.files import Bounds
from penstock.captures.places import LocalPlace
from penstock.captures.reader import read_window
from penstock.captures.shipping import ship
from penstock.captures.stores import writers
from penstock.errors import ServiceError
from penstock.records.experiment import ExperimentPlan, ExperimentReading
from penstock.rollout.experiment import shipped
from penstock.rollout.experiment.events import Events
from penstock.rollout.experiment.observations import EventFile
from penstock.rollout.experiment.shipped import ShippedEvents
from penstock.rollout.experiment.words import notes
from penstock.rollout.proxy.spool import SpooledEvents

PLAN = ExperimentPlan(
    salt="s", header="x-user-id", weight=50, kpi="value", low=0, high=1, window=20.0,
    centre=0.5, variance=10.0, users=500, seconds=1e6,
)  # fmt: skip

IDENTITY = "2-experiment-x"


@dataclass
class Pod:
    """One pod: its spool, and the store that it ships to."""

    name: str
    folder: Path
    limit: int = 1 << 20

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        bounds = Bounds(seconds=0.0, spool_bytes=self.limit)
        spool = self.folder / self.name
        self.events = SpooledEvents(spool, bounds=bounds, service="s", experiment=IDENTITY)

    def write(self, *events: dict[str, Any]) -> None:
        for event in events:
            self.events.write(event)

    def beat(self, t: float, *, requests: int = 0) -> None:
        self.write({"e": "counts", "t": t, "weight": 50, "arms": {"1": {"requests": requests}}})

    def ship(self) -> None:
        self.events.tick()
        ship(self.folder / self.name, LocalPlace(self.folder / "store"), pod=self.name)

    def end(self) -> None:
        self.events.close()
        self.ship()

    def die(self) -> None:
        """End without a word, as by SIGKILL: the kernel gives the lock back."""
        fcntl.flock(self.events._writer.counters._file, fcntl.LOCK_UN)


@dataclass
class Site:
    folder: Path

    def pod(self, name: str, **options: Any) -> Pod:
        return Pod(name, self.folder, **options)

    def source(self) -> ShippedEvents:
        address = self.folder / "store" / "s" / "experiments" / IDENTITY
        return ShippedEvents(f"file://{address}", segment_seconds=1.0)

    def at(self, t: float, source: ShippedEvents | None = None) -> ExperimentReading:
        found = Events(PLAN, source or self.source())
        return found.reading(datetime.fromtimestamp(t, UTC))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(shipped, "_OFTEN", 0.0)
    return Site(tmp_path)


def asked(t: float, user: str, *, arm: str = "stable", weight: int = 50) -> dict[str, Any]:
    return {
        "e": "request",
        "t": t,
        "id": f"q-{user}-{t}",
        "user": user,
        "arm": arm,
        "weight": weight,
    }


def told(t: float, request: dict[str, Any], value: float) -> dict[str, Any]:
    return {"e": "feedback", "t": t, "id": request["id"], "value": value, "row": 0}


def story(draw: random.Random, *, weights: tuple[int, int]) -> list[dict[str, Any]]:
    """Return what 200 users do, in order of time; in the middle the weight changes."""
    events = []
    for number in range(200):
        t = 10 + number / 2 + draw.random() / 4
        arm = draw.choice(["stable", "candidate"])
        one = asked(t, f"u{number}", arm=arm, weight=weights[number >= 100])
        events.append(one)
        if draw.random() < 0.8:
            events.append(told(t + 12 * draw.random() + 2, one, float(draw.random() < 0.4)))
    return sorted(events, key=lambda event: event["t"])


def without(reading: ExperimentReading) -> ExperimentReading:
    """Return a reading without what tells of the way that events came."""
    return reading.model_copy(update={"known_until": None, "time": datetime.fromtimestamp(0, UTC)})


@pytest.mark.parametrize("weights", [(50, 50), (40, 50)])
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2))]
)
def test_whoever_reads_whenever_has_the_same_reading(
    site: Site, seed: int, weights: tuple[int, int]
) -> None:
    draw = random.Random(seed)
    events = story(draw, weights=weights)
    plan = PLAN.model_copy(update={"weight": weights[0]})
    text = "".join(json.dumps(event) + "\n" for event in events)
    (site.folder / "events.jsonl").write_text(text)
    end = datetime.fromtimestamp(1000, UTC)
    alone = Events(plan, EventFile(site.folder / "events.jsonl")).reading(end)

    pods = [site.pod(name) for name in ("a", "b")]
    going, looks = Events(plan, site.source()), 0
    for event in events:
        pod = draw.choice(pods)
        pod.write(event)
        if draw.random() < 0.1:
            for each in pods:
                each.beat(event["t"])
        if draw.random() < 0.1:
            draw.choice(pods).ship()
            looks += 1
            now = datetime.fromtimestamp(event["t"], UTC)
            reading = going.reading(now)
            again = Events(plan, site.source()).reading(now)
            assert reading == again
    assert looks > 5
    for pod in pods:
        pod.beat(1001)
        pod.end()
    found = going.reading(end)
    assert found == Events(plan, site.source()).reading(end)
    assert found.champion.users + found.challenger.users > 100
    # The second for clocks that differ is of consequence only where windows are cut short.
    if weights[0] == weights[1]:
        assert without(found) == without(alone)


def test_a_segment_that_comes_late_has_its_place(site: Site) -> None:
    one, other = site.pod("a"), site.pod("b")
    source = site.source()
    going = Events(PLAN, source)
    late = asked(10, "late", arm="candidate")
    other.write(late, told(11, late, 1.0))
    request = asked(12, "first")
    one.write(request, told(13, request, 0.0))
    one.beat(500, requests=3)
    one.ship()
    now = datetime.fromtimestamp(600, UTC)
    assert (going.reading(now).champion.users, going.reading(now).challenger.users) == (1, 0)
    other.beat(501, requests=4)
    other.ship()
    reading = going.reading(now)
    assert (reading.champion.users, reading.challenger.users) == (1, 1)
    assert reading == site.at(600)
    # What pods count only grows, also where events are read once more.
    assert source.counts()[1].requests == 7


def test_a_store_that_is_away_when_all_is_to_be_read_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = site.pod("a"), site.pod("b")
    source = site.source()
    going = Events(PLAN, source)
    late = asked(10, "late", arm="candidate")
    other.write(late, told(11, late, 1.0))
    request = asked(12, "first")
    one.write(request, told(13, request, 0.0))
    one.beat(500, requests=3)
    one.ship()
    now = datetime.fromtimestamp(600, UTC)
    before = going.reading(now)
    other.beat(501, requests=4)
    other.ship()
    real, looks = shipped.writers, 0

    def away_from_the_second_time(*given: Any, **more: Any) -> Any:
        nonlocal looks
        looks += 1
        if looks > 1:
            raise ServiceError("it does not answer", where="s3://bucket")
        return real(*given, **more)

    monkeypatch.setattr(shipped, "writers", away_from_the_second_time)
    for _ in range(2):
        meanwhile = going.reading(now)
        assert (meanwhile.champion.users, meanwhile.challenger.users) == (1, 0)
        assert meanwhile.champion == before.champion
    assert "does not answer" in source.failed
    monkeypatch.setattr(shipped, "writers", real)
    assert going.reading(now) == site.at(600)


def test_no_window_is_closed_before_all_pods_have_told(site: Site) -> None:
    one, other = site.pod("a"), site.pod("b")
    request = asked(10, "ann")
    one.write(request)
    one.beat(40)
    other.beat(15)
    for pod in (one, other):
        pod.ship()
    reading = site.at(200)
    assert (reading.waiting, reading.without) == (1, 0)
    assert reading.known_until is not None
    assert reading.known_until.timestamp() == 14
    assert "Read up to" in notes(reading, PLAN)[0]
    # The value reached the other pod, in time.
    other.write(told(29, request, 1.0))
    other.beat(40)
    other.ship()
    reading = site.at(200)
    assert (reading.champion.users, reading.champion.mean) == (1, 1.0)


def test_a_value_may_come_by_a_clock_that_is_slow(site: Site) -> None:
    one, other = site.pod("a"), site.pod("b")
    request = asked(10.0, "ann")
    one.write(request)
    other.write(told(9.5, request, 1.0))
    for pod in (one, other):
        pod.beat(500)
        pod.end()
    assert site.at(600).champion.mean == 1.0


def test_pods_that_took_the_place_of_those_that_ended_are_waited_for(site: Site) -> None:
    before, after = site.pod("a"), site.pod("b")
    request = asked(10, "ann")
    before.write(request)
    before.beat(32)
    before.end()
    after.write(told(28, request, 1.0))
    after.beat(50)
    # Its window ended at 30, and what came of it is in no list yet.
    reading = site.at(33)
    assert (reading.champion.users, reading.waiting) == (0, 1)
    after.ship()
    assert site.at(60).champion.mean == 1.0


def test_nothing_that_ever_came_is_quiet_since_it_was_looked_for(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = site.source()
    for now in (1000.0, 2000.0):
        monkeypatch.setattr("time.time", lambda now=now: now)
        source.look()
        assert source.quiet_since == 1000.0
    pod = site.pod("a")
    pod.beat(1500)
    pod.ship()
    source.look()
    assert source.quiet_since == 1500.0


def test_a_pod_that_is_gone_without_a_word_is_not_waited_for(site: Site) -> None:
    one, gone = site.pod("a"), site.pod("b")
    request = asked(10, "ann")
    one.write(request, told(11, request, 1.0))
    gone.beat(12)
    gone.ship()
    gone.write(asked(13, "bob"))
    one.beat(40)
    one.ship()
    assert site.at(50).waiting == 1
    one.beat(60)
    one.ship()
    reading = site.at(70)
    assert (reading.champion.users, reading.silent) == (1, 1)
    assert "pods ended without a word" in " ".join(notes(reading, PLAN))


def test_what_a_killed_process_had_written_is_shipped_by_the_next_one(site: Site) -> None:
    pod = site.pod("a")
    request = asked(10, "ann")
    pod.write(request)
    pod.die()
    pod.start()
    pod.write(told(11, request, 1.0))
    pod.beat(500)
    pod.end()
    reading = site.at(600)
    assert (reading.champion.mean, reading.dropped, reading.silent) == (1.0, 0, 0)


def test_a_full_spool_drops_and_counts(site: Site) -> None:
    pod = site.pod("a", limit=3000)
    for number in range(40):
        pod.write(asked(10 + number, f"u{number}"))
    pod.ship()
    # Room is looked for once a second, which is long over in a pod.
    pod.events._writer._files["events"]._spool._looked = 0.0  # type: ignore[union-attr]
    pod.beat(500)
    pod.end()
    reading = site.at(600)
    assert reading.dropped > 0
    assert reading.dropped + reading.champion.exposed == 40
    assert any("events are lost" in note for note in notes(reading, PLAN))


def test_a_store_that_is_away(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = shipped.writers

    def away(*_: Any, **__: Any) -> Any:
        raise ServiceError("it does not answer", where="s3://bucket")

    # A bucket that does not answer: its own errors are tested in tests/unit/data/sources.
    monkeypatch.setattr(shipped, "writers", away)
    source = site.source()
    going = Events(PLAN, source)
    now = datetime.fromtimestamp(600, UTC)
    with pytest.raises(ServiceError, match="does not answer"):
        going.reading(now)
    monkeypatch.setattr(shipped, "writers", real)
    pod = site.pod("a")
    request = asked(10, "ann")
    pod.write(request, told(11, request, 1.0))
    pod.beat(100)
    pod.ship()
    before = going.reading(now)
    assert (before.champion.users, source.failed) == (1, "")
    monkeypatch.setattr(shipped, "writers", away)
    for _ in range(2):
        assert going.reading(now) == before
    assert "does not answer" in source.failed
    monkeypatch.setattr(shipped, "writers", real)
    pod.write(asked(101, "bob"))
    pod.beat(500)
    pod.ship()
    assert going.reading(now).champion.exposed == 2
    said = capsys.readouterr().out + capsys.readouterr().err
    assert said.count("are not read") == 1
    assert said.count("are read again") == 1


def test_what_is_no_event_is_counted(site: Site) -> None:
    pod = site.pod("a")
    pod.write({"e": "request", "t": 10.0}, {"e": "what", "t": 11.0})
    pod.write({"e": "counts", "t": 12.0})
    pod.beat(500)
    pod.end()
    reading = site.at(600)
    assert (reading.damaged, reading.dropped) == (2, 1)


def test_who_reads_captured_rows_meets_no_events(site: Site) -> None:
    pod = site.pod("a")
    pod.write(asked(10, "ann"))
    pod.beat(500)
    pod.end()
    found = read_window(site.folder / "store" / "s", after=None)
    assert (found.rows, found.lost, found.cursor) == (0, 0, Cursor())
    assert writers(LocalPlace(site.folder / "store")) == []


def test_the_counts_of_a_server_of_an_earlier_release_are_read(tmp_path: Path) -> None:
    path = tmp_path / "counts-x.bin"
    path.write_bytes(struct.pack("<6q", 5, 1, 0, 0, 0, 0))
    counts = read_counts(path)
    assert counts is not None
    assert counts["predictions"] == {"accepted": 5, "dropped": 1}
    assert counts["events"] == {"accepted": 0, "dropped": 0}
