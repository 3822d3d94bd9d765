"""What is captured can be listed, exported, erased and removed; nothing of it is lost uncounted."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from capture_rows import (
    INPUTS,
    MODEL,
    START,
    capture_all,
    captured_and_killed,
    capturing,
    label,
    rows,
)
from erasing_at_once import erase_at_once
from running_process import until

from penstock.captures import erasure, retention
from penstock.captures.batch import BatchWriter
from penstock.captures.erasure import erase_request, erase_where
from penstock.captures.export import export
from penstock.captures.listing import listed
from penstock.captures.places import LocalPlace
from penstock.captures.reader import Cursor, read_labels, read_window
from penstock.captures.shipping import ship
from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec
from penstock.data.table import read_table
from penstock.errors import InputError


def _ids(source: Path, after: Cursor | None = None) -> list[str]:
    return list(read_window(source, after=after).table["request_id"].to_pylist())


def _everything(folder: Path) -> str:
    """Every byte below a folder as text, compressed files unpacked."""
    texts = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            texts.append(
                (gzip.decompress(data) if path.suffix == ".gz" else data).decode("latin-1")
            )
    return "\n".join(texts)


_FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from capture_rows import Counts, capturing, rows
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
counts = Counts()
with capturing(Path({folder!r}), counts=counts) as capture:
    for index in range(100):
        capture.rows(rows(str(index), count=3), size=10)
print(counts.written, counts.dropped)
"""


@pytest.mark.parametrize(
    "limit", [10, 5000, *(pytest.param(limit, marks=pytest.mark.long) for limit in (1300, 20_000))]
)
def test_a_disk_that_refuses_leaves_whole_batches_and_exact_counts(
    tmp_path: Path, limit: int
) -> None:
    code = _FULL.format(tests=str(Path(__file__).parent), folder=str(tmp_path), limit=limit)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    written, dropped = map(int, done.stdout.split())
    assert written + dropped == 300
    if limit == 10:
        assert (written, list(tmp_path.iterdir())) == (0, []), "there was no room for a ledger"
        return
    captured = read_window(tmp_path, after=Cursor())
    assert (captured.rows, captured.rows + captured.lost) == (written, 300)


def test_a_list_says_what_there_is_and_what_was_lost(tmp_path: Path) -> None:
    capture_all(
        tmp_path / "version-3",
        *(rows(str(i), time=START + i) for i in range(5)),
        rows("too much", count=100),
        file_bytes=1,
        files=3,
        pending_bytes=5000,
    )
    label(tmp_path / "version-3", ("1", 0, "yes"), ("9", 0, "no"), known=False)
    accepted = captured_and_killed(tmp_path / "version-4", requests=50, count=20)
    three, four = listed(tmp_path)
    assert (three.folder, three.version, three.rows, three.labels) == ("version-3", "3", 3, 2)
    assert (three.dropped, three.unwritten, three.removed) == (100, 0, 2)
    assert three.first[:19] == datetime.fromtimestamp(START + 2, UTC).isoformat()[:19]
    assert four.rows + four.unwritten == accepted
    assert (three.size, four.size) == (
        in_files(tmp_path / "version-3"),
        in_files(tmp_path / "version-4"),
    )


def in_files(folder: Path) -> int:
    """The bytes of all rows and labels in a folder."""
    kinds = ("predictions", "feedback", "unmatched")
    return sum(path.stat().st_size for kind in kinds for path in folder.glob(f"{kind}-*.jsonl"))


def test_a_list_knows_the_newest_row_of_a_file_that_is_still_written(tmp_path: Path) -> None:
    with capturing(tmp_path) as capture:
        for place in range(3):
            capture.rows(rows(str(place), time=START + place), size=10)
        until(lambda: listed(tmp_path)[0].rows == 3)
        found = listed(tmp_path)[0]
        assert found.size == in_files(tmp_path)
    assert datetime.fromisoformat(found.first).timestamp() == START
    assert datetime.fromisoformat(found.last).timestamp() == START + 2


def test_an_export_is_what_was_sent_through_ingest(tmp_path: Path) -> None:
    many = {name: [values[0], values[1], values[0]] for name, values in INPUTS.items()}
    capture_all(tmp_path / "c", rows("a", inputs=many, scores=[0.1] * 3, labels=["no"] * 3))
    label(tmp_path / "c", ("a", 0, "yes"), ("a", 1, "no"))
    label(tmp_path / "c", ("a", 0, "no"), ("zz", 0, "no"), known=False)
    made = export(tmp_path / "c", output=tmp_path / "out", target="bought")
    assert (made.rows, made.labelled, made.lost, made.erased) == (3, 2, 0, 0)
    dataset = ingest(SourceSpec(uri=str(tmp_path / "out")), output=tmp_path / "dataset")
    assert {column.name: column.type for column in dataset.columns} == {
        **{column.name: column.type for column in MODEL.columns},
        "bought": "string",
    }
    sent = {**many, "since": [datetime(2026, 1, 1, tzinfo=UTC), None] * 2}
    sent["since"] = [sent["since"][0], None, sent["since"][0]]
    assert read_table(tmp_path / "dataset").to_pydict() == {**sent, "bought": ["yes", "no", None]}
    made = export(tmp_path / "c", output=tmp_path / "some", target="bought", labelled=True)
    assert made.rows == 2


def test_an_export_of_the_rows_since_a_time_and_of_some_requests(tmp_path: Path) -> None:
    ids = [f"request-{place}" for place in range(6)]
    capture_all(tmp_path / "c", *(rows(name, time=START + place) for place, name in enumerate(ids)))
    label(tmp_path / "c", *((name, 0, "yes") for name in ids))
    made = export(
        tmp_path / "c",
        output=tmp_path / "out",
        target="bought",
        labelled=True,
        since=datetime.fromtimestamp(START + 2, UTC),
        requests=lambda name: name in ids[:4],
        time="answered",
    )
    assert made.rows == 2
    ingest(SourceSpec(uri=str(tmp_path / "out")), output=tmp_path / "dataset")
    table = read_table(tmp_path / "dataset")
    answered = [time.timestamp() for time in table["answered"].to_pylist()]
    assert answered == [START + 2, START + 3]
    # An input of that name is left as it is.
    export(tmp_path / "c", output=tmp_path / "own", target="bought", time="since")
    ingest(SourceSpec(uri=str(tmp_path / "own")), output=tmp_path / "other")
    assert set(read_table(tmp_path / "other")["since"].to_pylist()) == {
        datetime(2026, 1, 1, tzinfo=UTC)
    }


def test_a_label_is_of_the_first_answer_to_an_id(tmp_path: Path) -> None:
    captured = tmp_path / "captured"
    other = {**{name: [values[0]] for name, values in INPUTS.items()}, "amount": [99.0]}
    capture_all(captured, rows("a"), rows("a", time=START + 1, inputs=other))
    label(captured, ("a", 0, "yes"))
    made = export(captured, output=tmp_path / "out", target="bought")
    assert (made.rows, made.labelled) == (2, 1)
    ingest(SourceSpec(uri=str(tmp_path / "out")), output=tmp_path / "dataset")
    table = read_table(tmp_path / "dataset")
    truths = zip(table["amount"].to_pylist(), table["bought"].to_pylist(), strict=True)
    assert dict(truths) == {1.5: "yes", 99.0: None}


def test_an_export_of_nothing_or_over_an_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no rows to export"):
        export(tmp_path / "none", output=tmp_path / "out", target="y")
    capture_all(tmp_path / "c", rows("a"))
    with pytest.raises(InputError, match="has the target's name, 'city'"):
        export(tmp_path / "c", output=tmp_path / "out", target="city")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("shipped", [False, True], ids=["folder", "shipped"])
def test_an_erased_request_is_gone_and_no_cursor_is_lost(tmp_path: Path, shipped: bool) -> None:
    source = tmp_path / "c"
    capture_all(source, *(rows(f"id-{i}", time=START + i, count=2) for i in range(6)))
    label(source, ("id-1", 0, "yes"), ("id-2", 1, "no"))
    if shipped:
        source = tmp_path / "there"
        ship(tmp_path / "c", LocalPlace(source), pod="p")
    first = read_window(source, after=None, until=datetime.fromtimestamp(START + 2, UTC))
    for name in ("id-1", "id-4"):
        erased = erase_request(source, name)
    assert (erased.rows, erased.labels, erased.files) == (2, 0, 1)
    captured = read_window(source, after=first.cursor)
    assert captured.table["request_id"].to_pylist() == [
        name for name in ("id-2", "id-3", "id-5") for _ in range(2)
    ]
    assert (captured.lost, captured.erased) == (0, 2)
    assert read_labels(source, after=None)[0]["request_id"].to_pylist() == ["id-2"]
    assert "id-1" not in _everything(source)
    assert "id-4" not in _everything(source)
    records = [json.loads(path.read_text()) for path in sorted((source / "erasures").iterdir())]
    assert [(r["what"], r["rows"], r["labels"]) for r in records] == [
        ("a request id", 2, 1), ("a request id", 2, 0),
    ]  # fmt: skip
    assert erase_request(source, "id-1") == erasure.Erased(0, 0, 0)


def test_rows_are_erased_by_the_value_of_an_input_with_their_labels(tmp_path: Path) -> None:
    person = {**{name: values[:1] for name, values in INPUTS.items()}, "city": ["Secretville"]}
    capture_all(tmp_path, rows("a"), rows("b", inputs=person))
    label(tmp_path, ("a", 0, "yes"), ("b", 0, "yes"))
    erased = erase_where(tmp_path, "city", "Secretville")
    assert (erased.rows, erased.labels) == (1, 1)
    assert "Secretville" not in _everything(tmp_path)
    assert _ids(tmp_path) == ["a"]
    assert erase_where(tmp_path, "member", "false").rows == 0
    assert erase_where(tmp_path, "amount", "1.50").rows == 1
    capture_all(tmp_path, rows("c"))
    assert erase_where(tmp_path, "member", "true").rows == 1
    capture_all(tmp_path, rows("d"))
    with pytest.raises(InputError, match="no captured row has an input 'cty'"):
        erase_where(tmp_path, "cty", "x")


def _of_account(number: int) -> Any:
    return rows(str(number), inputs={"account": [number]})


def test_an_erasure_tells_long_numbers_apart(tmp_path: Path) -> None:
    model = MODEL.model_copy(update={"columns": ()})
    capture_all(tmp_path, _of_account(2**53), _of_account(2**53 + 1), model=model)
    assert erase_where(tmp_path, "account", "sNaN").rows == 0
    assert erase_where(tmp_path, "account", str(2**53 + 1)).rows == 1
    assert _ids(tmp_path) == [str(2**53)]
    assert erase_where(tmp_path, "account", f"{2**53}.0").rows == 1


@pytest.mark.parametrize("shipped", [False, True])
def test_a_list_counts_no_erased_row(tmp_path: Path, shipped: bool) -> None:
    source, spool = tmp_path / "source", tmp_path / "spool"
    capture_all(spool, rows("a"), rows("b"))
    erase_request(spool, "a")
    ship(spool, LocalPlace(source), pod="pod")
    capture_all(spool, rows("c"), rows("d"))
    if shipped:
        ship(spool, LocalPlace(source), pod="pod")
    erase_request(source, "c")
    erase_request(spool, "c")
    assert [one.rows for folder in (source, spool) for one in listed(folder)] == (
        [2] if shipped else [1, 1]
    )


def _dies_at_removal(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Have a process end where it would remove the how manieth file of a store."""
    remove, calls = LocalPlace.remove, []

    def removing(place: LocalPlace, folder: str, name: str) -> None:
        calls.append(name)
        if len(calls) == number:
            raise KeyboardInterrupt
        remove(place, folder, name)

    monkeypatch.setattr(LocalPlace, "remove", removing)


def test_what_a_killed_erasure_left_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture_all(tmp_path / "spool", rows("secret"), rows("b"))
    ship(tmp_path / "spool", LocalPlace(tmp_path / "store"), pod="pod")
    with monkeypatch.context() as patched:
        _dies_at_removal(patched, 1)
        with pytest.raises(KeyboardInterrupt):
            erase_request(tmp_path / "store", "secret")
    assert "secret" in _everything(tmp_path / "store")
    erase_request(tmp_path / "store", "secret")
    assert "secret" not in _everything(tmp_path / "store")
    assert _ids(tmp_path / "store") == ["b"]


_WRITES_AND_DIES = """
import os, signal, sys
from pathlib import Path
from penstock.captures.places import LocalPlace
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
LocalPlace(Path(sys.argv[1])).write("shop", "predictions-1.jsonl.gz", b"secret")
"""


@pytest.mark.parametrize("how", ["erased", pytest.param("pruned", marks=pytest.mark.long)])
def test_half_a_file_that_a_kill_left_is_removed_in_time(tmp_path: Path, how: str) -> None:
    command = [sys.executable, "-c", _WRITES_AND_DIES, str(tmp_path)]
    assert subprocess.run(command).returncode == -9
    (left,) = (tmp_path / "shop").iterdir()

    def asked() -> None:
        if how == "erased":
            erase_request(tmp_path, "other")
        else:
            retention.prune(tmp_path, days=1, megabytes=0)

    asked()
    assert left.exists(), "its writer may still be at it"
    os.utime(left, (time.time() - 7200,) * 2)
    asked()
    assert not left.exists()


def _ship_and_die(spool: Path, store: Path) -> Path:
    """Have a process ship segments and be killed before its first manifest; return the file."""
    code = f"""
import os, signal
from pathlib import Path
from penstock.captures.places import LocalPlace
from penstock.captures.shipping import ship
class Dies(LocalPlace):
    def write(self, folder, name, data):
        if name.endswith(".json"):
            os.kill(os.getpid(), signal.SIGKILL)
        super().write(folder, name, data)
ship(Path({str(spool)!r}), Dies(Path({str(store)!r})), pod="pod")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    (left,) = store.rglob("*.jsonl.gz")
    return left


@pytest.mark.parametrize("how", ["erased", "pruned"])
def test_a_segment_that_a_killed_pod_left_without_its_manifest_is_removed_in_time(
    tmp_path: Path, how: str
) -> None:
    spool, store = tmp_path / "spool", tmp_path / "store"
    capture_all(spool, rows("secret"), rows("b"))
    left = _ship_and_die(spool, store)

    def asked() -> tuple[int, int]:
        if how == "erased":
            found = erase_request(store, "secret").unclaimed
            return found.removed, found.young
        return retention.prune(store, days=1e5, megabytes=0).unclaimed, 1

    assert asked() == (0, 1)
    assert left.exists(), "its manifest may be on the way"
    os.utime(left, (time.time() - 7200,) * 2)
    assert asked()[0] == 1
    assert "secret" not in _everything(store)
    # A pod that was only held up ships the segment again.
    ship(spool, LocalPlace(store), pod="pod")
    assert sorted(_ids(store)) == ["b", "secret"]
    (kept,) = store.rglob("*.jsonl.gz")
    os.utime(kept, (time.time() - 7200,) * 2)
    assert asked()[0] == 0
    assert "b" in _ids(store)


@pytest.mark.parametrize("manifest", ["its own", "not understood"])
def test_what_an_erasure_left_that_was_killed_before_its_manifest_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manifest: str
) -> None:
    store = tmp_path / "store"
    capture_all(tmp_path / "spool", rows("a"), rows("secret"))
    ship(tmp_path / "spool", LocalPlace(store), pod="pod")
    write = LocalPlace.write

    def dies(place: LocalPlace, folder: str, name: str, data: bytes) -> None:
        if name.endswith(".json"):
            raise KeyboardInterrupt
        write(place, folder, name, data)

    with monkeypatch.context() as patched:
        patched.setattr(LocalPlace, "write", dies)
        with pytest.raises(KeyboardInterrupt):
            erase_request(store, "a")
    for file in store.rglob("*.jsonl.gz"):
        os.utime(file, (time.time() - 7200,) * 2)
    if manifest == "not understood":
        # Of another release, perhaps: what it names is not known, so nothing is removed.
        next(store.rglob("predictions-*.json")).write_text("{}")
    removed = retention.prune(store, days=1e5, megabytes=0).unclaimed
    assert removed == (1 if manifest == "its own" else 0)
    assert len(list(store.rglob("*.jsonl.gz"))) == 2 - removed


@pytest.mark.parametrize(
    "shipped",
    [pytest.param(False, marks=pytest.mark.long), True],
    ids=["folder", "shipped"],
)
def test_of_two_erasures_at_once_neither_brings_back_what_the_other_erased(
    tmp_path: Path, shipped: bool
) -> None:
    spool, store, meeting = tmp_path / "spool", tmp_path / "store", tmp_path / "meeting"
    meeting.mkdir()
    capture_all(spool, rows("ann"), rows("kept"), rows("bob", count=2))
    if shipped:
        ship(spool, LocalPlace(store), pod="pod")
    source = store if shipped else spool
    assert erase_at_once(str(source), "ann", "bob", meeting=meeting) == [1, 2]
    assert not {"ann", "bob"} & set(_ids(source))
    assert read_window(source, after=Cursor()).lost == 0
    assert [one.rows for one in listed(source)] == [1]
    everything = _everything(source)
    assert "kept" in everything
    assert not [name for name in ("ann", "bob") if name in everything]


def test_a_pod_that_ships_again_brings_back_nothing_that_was_erased(tmp_path: Path) -> None:
    spool, store = tmp_path / "spool", tmp_path / "store"
    capture_all(spool, rows("secret"), rows("b"))
    shutil.copytree(spool, tmp_path / "again")
    ship(spool, LocalPlace(store), pod="pod")
    erase_request(store, "secret")
    # Its container was killed between the manifest and the removal of what it had shipped.
    ship(tmp_path / "again", LocalPlace(store), pod="pod")
    assert "secret" not in _everything(store)
    assert not list((tmp_path / "again").glob("predictions-*"))


def test_a_batch_that_writes_a_part_again_brings_back_nothing_that_was_erased(
    tmp_path: Path,
) -> None:
    name = "20261130T070000000000-0-abcd"
    batch = BatchWriter(LocalPlace(tmp_path), "shop/3/batch", name, "predictions", MODEL, "batch")
    lines = [
        orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
        for request in ("kept", "order-7")
        for line in rows(request).lines()
    ]
    batch.write(1, lines, before=0, moment="2026-11-30T07:00:00.000000Z")
    assert erase_request(tmp_path, "order-7").rows == 1
    # The part is scored again: the run was killed before it had noted it.
    batch.write(1, lines, before=0, moment="2026-11-30T07:00:00.000000Z")
    batch.finish(2)
    assert _ids(tmp_path) == ["kept"]
    assert "order-7" not in _everything(tmp_path)


@pytest.mark.parametrize("shipped", [False, True])
def test_a_file_that_is_removed_while_it_is_erased_from_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shipped: bool
) -> None:
    capture_all(tmp_path / "spool", rows("a"), rows("b"))
    if shipped:
        ship(tmp_path / "spool", LocalPlace(tmp_path / "store"), pod="pod")
    source = tmp_path / ("store" if shipped else "spool")
    read = Path.read_bytes

    def read_and_removed(path: Path) -> bytes:
        data = read(path)
        if path.name.endswith((".jsonl", ".gz")) and path.name.startswith("predictions"):
            path.unlink()
            path.with_name(path.name.split(".")[0] + ".json").unlink(missing_ok=True)
        return data

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", read_and_removed)
        assert erase_request(source, "a").rows == 0
    assert not list(source.rglob("predictions-*"))


def test_what_a_killed_pruning_left_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture_all(tmp_path / "spool", rows("secret"), rows("b"))
    ship(tmp_path / "spool", LocalPlace(tmp_path / "store"), pod="pod")
    later = datetime.fromtimestamp(START, UTC) + timedelta(days=9)
    with monkeypatch.context() as patched:
        _dies_at_removal(patched, 2)
        with pytest.raises(KeyboardInterrupt):
            retention.prune(tmp_path / "store", days=1, megabytes=0, now=later)
    retention.prune(tmp_path / "store", days=1, megabytes=0, now=later)
    assert "secret" not in _everything(tmp_path / "store")
    assert read_window(tmp_path / "store", after=Cursor()).lost == 2


def test_rows_are_erased_from_the_file_that_a_server_writes(tmp_path: Path) -> None:
    with capturing(tmp_path) as capture:
        capture.rows(rows("gone"), size=10)
        capture.rows(rows("kept"), size=10)
        _wait_for(2, tmp_path)
        cursor = read_window(tmp_path, after=None).cursor
        assert erase_request(tmp_path, "gone").rows == 1
        capture.rows(rows("later", time=START + 1), size=10)
    assert _ids(tmp_path) == ["kept", "later"]
    assert _ids(tmp_path, cursor) == ["later"]


def test_an_erasure_that_dies_leaves_every_segment_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture_all(tmp_path / "c", *(rows("x", time=START + i) for i in range(2)), rows("y"))
    source = tmp_path / "there"
    ship(tmp_path / "c", LocalPlace(source), pod="p")
    write = LocalPlace.write
    for fatal in range(2):
        calls = iter(range(10))

        def dies(place: Any, *given: Any, calls: Any = calls, fatal: int = fatal) -> None:
            if next(calls) == fatal:
                raise KeyboardInterrupt
            write(place, *given)

        monkeypatch.setattr(LocalPlace, "write", dies)
        with pytest.raises(KeyboardInterrupt):
            erase_request(source, "x")
        captured = read_window(source, after=Cursor())
        assert (captured.rows, captured.lost) == (3, 0)
    monkeypatch.setattr(LocalPlace, "write", write)
    assert erase_request(source, "x").rows == 2
    assert _ids(source) == ["y"]


def test_shipped_segments_are_pruned_by_age_and_size(tmp_path: Path) -> None:
    there = tmp_path / "there"
    capture_all(
        tmp_path / "c", *(rows(str(i), time=START + 86_400 * i) for i in range(6)), file_bytes=1
    )
    ship(tmp_path / "c", LocalPlace(there), pod="p")
    first = read_window(there, after=None, until=datetime.fromtimestamp(START + 3600, UTC))
    now = datetime.fromtimestamp(START, UTC) + timedelta(days=5)
    pruned = retention.prune(there, days=2.5, megabytes=0, now=now)
    assert (pruned.segments, pruned.rows) == (3, 3)
    captured = read_window(there, after=first.cursor)
    assert captured.table["request_id"].to_pylist() == ["3", "4", "5"]
    assert captured.lost == 2, "1 and 2 were not read"


def test_a_segment_whose_manifest_cannot_be_read_is_neither_called_erased_nor_pruned(
    tmp_path: Path,
) -> None:
    store = tmp_path / "store"
    capture_all(tmp_path / "spool", rows("secret", time=START), rows("b", time=START), file_bytes=1)
    ship(tmp_path / "spool", LocalPlace(store), pod="pod")
    manifest = min(store.rglob("predictions-*.json"))
    manifest.write_text("{}")
    with pytest.raises(InputError, match=manifest.name):
        erase_request(store, "secret")
    with pytest.raises(InputError, match=manifest.name):
        erase_where(store, "colour", "red")
    later = datetime.fromtimestamp(START, UTC) + timedelta(days=2)
    pruned = retention.prune(store, days=1, megabytes=0, now=later)
    assert (pruned.segments, pruned.unreadable) == (
        1,
        (str(manifest.relative_to(store)),),
    ), "the other one is pruned all the same"
    assert manifest.exists()


def test_files_are_removed_by_age_and_not_by_a_clock_that_jumps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture_all(tmp_path, rows("old"), file_bytes=1)
    path = next(tmp_path.glob("predictions-*"))
    os.utime(path, (time.time() - 3 * 86_400,) * 2)
    capture_all(tmp_path, rows("new"), days=4)
    assert path.exists()
    with capturing(tmp_path, days=2) as capture:
        capture.rows(rows("newer"), size=10)
        _wait_until_gone(path)
    captured = read_window(tmp_path, after=Cursor())
    assert (sorted(captured.table["request_id"].to_pylist()), captured.lost) == (
        ["new", "newer"],
        1,
    )


def test_a_forgotten_version_leaves_its_counts(tmp_path: Path) -> None:
    folder = tmp_path / "version-1"
    accepted = captured_and_killed(folder, requests=30, count=10)
    cursor = Cursor()
    retention.forget(folder)
    assert not list(folder.glob("predictions-*"))
    captured = read_window(tmp_path, after=cursor)
    assert (captured.rows, captured.lost) == (0, accepted)
    assert read_window(tmp_path, after=captured.cursor).lost == 0


def _wait_for(rows: int, folder: Path) -> None:
    deadline = time.monotonic() + 20
    while read_window(folder, after=None).rows < rows:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _wait_until_gone(path: Path) -> None:
    deadline = time.monotonic() + 20
    while path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
