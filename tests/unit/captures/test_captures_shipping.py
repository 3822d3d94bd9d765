"""Captured rows are shipped from a spool: each once, in order, or counted as lost."""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path

import pytest
from capture_rows import START, Counts, capture_all, capturing, label, rows

from penstock.captures.places import LocalPlace, place_at
from penstock.captures.reader import Cursor, read_labels, read_window
from penstock.captures.shipping import ship
from penstock.errors import ServiceError

SPOOL = {"file_bytes": 1, "spool_bytes": 1 << 20, "seconds": 60.0}


def _ids(source: Path | str, after: Cursor | None = None) -> list[str]:
    return list(read_window(source, after=after).table["request_id"].to_pylist())


def test_shipped_rows_and_labels_are_those_that_were_captured(tmp_path: Path) -> None:
    spool, there = tmp_path / "spool", tmp_path / "there"
    capture_all(spool, *(rows(str(i), time=START + i) for i in range(3)), **SPOOL)
    label(spool, ("0", 0, "yes"))
    label(spool, ("elsewhere", 0, "no"), known=False)
    captured = read_window(spool, after=None).table
    assert ship(spool, LocalPlace(there), pod="pod-1") == 5
    assert read_window(there, after=None).table.equals(captured)
    assert read_labels(there, after=None)[0]["request_id"].to_pylist() == ["0", "elsewhere"]
    assert {path.parent for path in there.rglob("*.gz")} == {there / "shop" / "3" / "pod-1"}
    assert not list(spool.glob("*.jsonl")), "what is shipped is removed, ledgers of the ended too"
    assert ship(spool, LocalPlace(there), pod="pod-1") == 0


def test_a_cursor_goes_on_over_what_is_shipped_later(tmp_path: Path) -> None:
    spool, there = tmp_path / "spool", tmp_path / "there"
    cursor: Cursor | None = None
    seen: list[str] = []
    with capturing(spool, **SPOOL) as capture:
        for index in range(6):
            capture.rows(rows(str(index), time=START + index), size=10)
            time.sleep(0.05)
            ship(spool, LocalPlace(there), pod="p")
            captured = read_window(there, after=cursor)
            assert captured.lost == 0
            cursor = captured.cursor
            seen += captured.table["request_id"].to_pylist()
        assert seen == list("01234"), "the file that is written last is not closed"
    ship(spool, LocalPlace(there), pod="p")
    assert _ids(there, cursor) == ["5"]


@pytest.mark.parametrize("spoil", ["torn", "other", "gone", "manifest"])
def test_a_segment_that_is_not_whole_is_lost_and_counted(tmp_path: Path, spoil: str) -> None:
    spool, there = tmp_path / "spool", tmp_path / "there"
    capture_all(spool, *(rows(str(i), time=START + i) for i in range(4)), **SPOOL)
    ship(spool, LocalPlace(there), pod="p")
    second, third = sorted(there.rglob("predictions-*.gz"))[1:3]
    if spoil == "torn":
        second.write_bytes(second.read_bytes()[:-20])
    elif spoil == "other":
        shutil.copy(third, second)
    else:
        second.unlink()
        if spoil == "manifest":
            second.with_name(second.name.replace(".jsonl.gz", ".json")).unlink()
    captured = read_window(there, after=Cursor())
    assert captured.table["request_id"].to_pylist() == ["0", "2", "3"]
    assert captured.lost == 1
    assert read_window(there, after=captured.cursor).lost == 0


def test_the_last_segments_are_missed_once_the_writer_has_ended(tmp_path: Path) -> None:
    spool, there = tmp_path / "spool", tmp_path / "there"
    capture_all(spool, *(rows(str(i), time=START + i) for i in range(3)), **SPOOL)
    ship(spool, LocalPlace(there), pod="p")
    for path in there.rglob("predictions-*-000003.*"):
        path.unlink()
    captured = read_window(there, after=Cursor())
    assert (captured.rows, captured.lost) == (2, 1)
    assert read_window(there, after=captured.cursor).lost == 0


def test_a_look_reads_no_manifest_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool, there = tmp_path / "spool", tmp_path / "there"
    capture_all(spool, *(rows(str(i), time=START + i) for i in range(3)), **SPOOL)
    ship(spool, LocalPlace(there), pod="p")
    cursor = read_window(there, after=None).cursor
    read: list[str] = []
    monkeypatch.setattr(LocalPlace, "read", lambda *given: read.append(given[-1]))
    captured = read_window(there, after=cursor)
    assert (captured.rows, captured.lost, read) == (0, 0, [])
    assert captured.cursor == cursor


def test_a_full_spool_drops_and_counts(tmp_path: Path) -> None:
    spool, there = tmp_path / "spool", tmp_path / "there"
    counts = Counts()
    with capturing(spool, counts=counts, file_bytes=1000, spool_bytes=20_000) as capture:
        for index in range(200):
            capture.rows(rows(str(index), time=START + index), size=10)
    assert counts.written + counts.dropped == 200
    assert counts.dropped > 100
    size = sum(path.stat().st_size for path in spool.glob("predictions-*"))
    assert 10_000 < size <= 20_000
    ship(spool, LocalPlace(there), pod="p")
    captured = read_window(there, after=Cursor())
    assert (captured.rows, captured.lost) == (counts.written, counts.dropped)


def test_a_kill_between_file_and_manifest_ships_the_segment_again(tmp_path: Path) -> None:
    spool, there = tmp_path / "spool", tmp_path / "there"
    capture_all(spool, *(rows(str(i), time=START + i) for i in range(3)), **SPOOL)

    class Dies(LocalPlace):
        """A store that is gone after a number of writes."""

        def write(self, folder: str, name: str, data: bytes) -> None:
            if left.pop() == 0:
                raise ServiceError("the store is gone", where=name)
            super().write(folder, name, data)

    for writes in range(8):
        left = list(range(writes + 1))
        with contextlib.suppress(ServiceError, IndexError):
            ship(spool, Dies(there), pod="p")
    ship(spool, LocalPlace(there), pod="p")
    captured = read_window(there, after=Cursor())
    assert (sorted(captured.table["request_id"].to_pylist()), captured.lost) == (list("012"), 0)


def test_an_address_may_be_a_local_one() -> None:
    assert place_at("file:///mnt/captures/rows") == LocalPlace(Path("/mnt/captures/rows"))
