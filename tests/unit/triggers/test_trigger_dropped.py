"""Files that are dropped: each counts once, when it is complete, also after a restart."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import fsspec
import pytest
from running_process import LOOPBACK, RunningProcess, free_port, listens

from penstock.errors import InputError, ServiceError
from penstock.triggers.dropped import TYPE, WatchedPlace
from penstock.triggers.store import TriggerStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "drop").mkdir()
    return tmp_path / "drop"


@pytest.fixture
def store(tmp_path: Path) -> TriggerStore:
    return TriggerStore(tmp_path / "trigger.db")


def dropped(place: WatchedPlace, *, looks: int = 1) -> list[str]:
    """Look, and return the subjects of what was written down then."""
    rows = place._store.database.rows
    (before,) = rows("SELECT ifnull(max(number), 0) FROM events")[0]
    for _ in range(looks):
        place.look(now=1)
    query = "SELECT subject, type FROM events WHERE number > ? ORDER BY subject"
    found = rows(query, (before,))
    assert {kind for _, kind in found} <= {TYPE}
    return [subject for subject, _ in found]


def test_a_file_counts_once_its_size_and_time_stay_the_same(
    folder: Path, store: TriggerStore
) -> None:
    (folder / "old.csv").write_text("a")
    place = WatchedPlace(folder, store=store)
    assert dropped(place, looks=3) == []
    (folder / "new.csv").write_text("a")
    assert dropped(place) == []
    (folder / "new.csv").write_text("ab")
    assert dropped(place) == []
    assert dropped(place) == ["new.csv"]
    assert dropped(place, looks=3) == []
    # Written again it counts again; the same bytes at another time too.
    os.utime(folder / "old.csv", ns=(1, 1))
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "sub" / "deep" / "x").write_text("a")
    assert dropped(place, looks=3) == ["old.csv", "sub/deep/x"]
    (folder / "new.csv").unlink()
    assert dropped(place, looks=3) == []


def test_what_comes_while_nobody_looks_counts_at_the_next_start(
    folder: Path, store: TriggerStore
) -> None:
    dropped(WatchedPlace(folder, store=store))
    (folder / "meanwhile.csv").write_text("a")
    place = WatchedPlace(str(folder), store=store)
    assert dropped(place, looks=2) == ["meanwhile.csv"]
    assert dropped(WatchedPlace(folder, store=store), looks=3) == []


def test_names_that_are_being_written_are_left_alone(folder: Path, store: TriggerStore) -> None:
    place = WatchedPlace(folder, store=store)
    place.look(now=1)
    for name in (".hidden.csv", "_SUCCESS", "a.csv.tmp", "a.csv.PART", "b.crdownload", "c.csv~"):
        (folder / name).write_text("a")
    for below in ("_temporary", ".stage"):
        (folder / below).mkdir()
        (folder / below / "part-0.csv").write_text("a")
    (folder / "leads-nowhere").symlink_to(folder / "absent")
    os.mkfifo(folder / "pipe")
    assert dropped(place, looks=3) == []
    (folder / "a.csv.tmp").rename(folder / "a.csv")
    assert dropped(place, looks=2) == ["a.csv"]


def test_a_marker_alone_counts_and_at_once(folder: Path, store: TriggerStore) -> None:
    WatchedPlace(folder, store=store).look(now=1)
    (folder / "day-0").mkdir()
    (folder / "day-0" / "_SUCCESS").touch()
    # A place is new with a marker that is.
    place = WatchedPlace(folder, store=store, marker="_SUCCESS")
    assert dropped(place) == []
    (folder / "day-1").mkdir()
    (folder / "day-1" / "part-0.csv").write_text("a")
    assert dropped(place, looks=3) == []
    (folder / "day-1" / "_SUCCESS").touch()
    assert dropped(place) == ["day-1/_SUCCESS"]
    assert dropped(place, looks=2) == []


def test_a_share_that_is_away_for_a_while_counts_for_nothing(
    folder: Path, store: TriggerStore
) -> None:
    (folder / "a.csv").write_text("a")
    place = WatchedPlace(folder, store=store)
    place.look(now=1)
    away = folder.rename(folder.with_name("away"))
    with pytest.raises(InputError, match="there is no such folder") as refused:
        place.look(now=1)
    assert refused.value.where == str(folder)
    folder.mkdir()  # An empty mount point.
    (folder / "b.csv").write_text("b")
    assert dropped(place, looks=2) == ["b.csv"]
    (folder / "b.csv").unlink()
    folder.rmdir()
    away.rename(folder)
    assert dropped(place, looks=3) == []


def test_files_that_are_gone_are_remembered_within_a_bound(
    folder: Path, store: TriggerStore
) -> None:
    place = WatchedPlace(folder, store=store, remember=2)
    place.look(now=1)
    for number in range(5):
        (folder / f"{number}.csv").write_text("a")
        assert dropped(place, looks=2) == [f"{number}.csv"]
        (folder / f"{number}.csv").unlink()
    (count,) = store.database.rows("SELECT count(*) FROM files")[0]
    assert count <= 4


def test_a_drop_that_cannot_be_written_down_counts_later(tmp_path: Path, folder: Path) -> None:
    store = TriggerStore(tmp_path / "small.db", remember=100)
    place = WatchedPlace(folder, store=store)
    place.look(now=1)
    for number in range(101):
        (folder / f"{number}.csv").write_text("a")
    place.look(now=1)
    with pytest.raises(ServiceError, match="100 events wait for a release already"):
        place.look(now=1)
    assert store.waiting().count == 0
    (folder / "0.csv").unlink()
    assert len(dropped(place)) == 100


def test_a_name_that_is_not_utf8_counts_too(folder: Path, store: TriggerStore) -> None:
    place = WatchedPlace(folder, store=store)
    place.look(now=1)
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.csv")).write_text("a")
    assert dropped(place, looks=2) == ["\\xff.csv"]


@pytest.fixture
def bucket() -> Any:
    system = fsspec.filesystem("memory")
    system.pipe_file("/bucket/shop/old.csv", b"a")
    yield system
    system.rm("/bucket", recursive=True)


def test_objects_below_a_prefix(bucket: Any, store: TriggerStore) -> None:
    place = WatchedPlace("memory://bucket/shop", store=store)
    assert dropped(place, looks=2) == []
    bucket.pipe_file("/bucket/shop/2026/new.csv", b"b")
    bucket.pipe_file("/bucket/other/new.csv", b"b")
    assert dropped(place) == []
    assert dropped(place) == ["2026/new.csv"]
    bucket.pipe_file("/bucket/shop/old.csv", b"b")
    assert dropped(place, looks=3) == ["old.csv"]
    empty = WatchedPlace("memory://bucket/nothing-yet", store=store)
    assert dropped(empty) == []
    bucket.pipe_file("/bucket/nothing-yet/a.csv", b"b")
    assert dropped(empty, looks=2) == ["a.csv"]


@pytest.mark.slow
def test_objects_of_a_real_s3_server(
    tmp_path: Path, store: TriggerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{LOOPBACK}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", port]
    with RunningProcess(command, log=tmp_path / "log") as server:
        server.wait_until(lambda: listens(port))
        s3 = fsspec.filesystem("s3", skip_instance_cache=True)
        s3.mkdir("loans")
        s3.pipe_file("loans/in/old.csv", b"a")
        place = WatchedPlace("s3://loans/in", store=store)
        assert dropped(place, looks=2) == []
        s3.pipe_file("loans/in/2026/new.csv", b"a")
        s3.pipe_file("loans/out/new.csv", b"a")
        assert dropped(place, looks=2) == ["2026/new.csv"]
        s3.pipe_file("loans/in/old.csv", b"b")
        assert dropped(place, looks=3) == ["old.csv"]
        assert dropped(place, looks=2) == []
    with pytest.raises(ServiceError, match="the store cannot be read") as refused:
        place.look(now=1)
    assert refused.value.where == "s3://loans/in"


def test_an_address_of_no_store_is_refused(store: TriggerStore) -> None:
    with pytest.raises(InputError, match="addresses of the kind ftq:// are not known"):
        WatchedPlace("ftq://nowhere", store=store)
