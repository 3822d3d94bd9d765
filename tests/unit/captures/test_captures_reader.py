"""Captured rows are read once each, and what is lost in between is counted."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from capture_rows import (
    INPUTS,
    MODEL,
    START,
    Counts,
    capture_all,
    captured_and_killed,
    capturing,
    label,
    rows,
)

from penstock.captures.reader import Cursor, read_labels, read_window
from penstock.errors import InputError
from penstock.records.dataset import Reading
from penstock.serving.capture import Truths


def _ids(table: pa.Table) -> list[str]:
    return table["request_id"].to_pylist()


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(START + seconds, UTC)


def test_a_window_has_the_rows_in_the_types_of_the_model(tmp_path: Path) -> None:
    capture_all(tmp_path, rows("b", inputs=INPUTS, scores=[0.25, 0.75], labels=["no", "yes"]))
    captured = read_window(tmp_path, after=None)
    assert captured.table.schema.names[:7] == [
        "request_id", "row", "time", "version", "score", "scores", "label",
    ]  # fmt: skip
    assert captured.table.to_pylist() == [
        {
            "request_id": "b",
            "row": 0,
            "time": _at(0),
            "version": "3",
            "score": 0.25,
            "scores": [0.75, 0.25],
            "label": "no",
            "inputs.amount": 1.5,
            "inputs.visits": 2**53 + 1,
            "inputs.member": True,
            "inputs.city": "Köln",
            "inputs.since": datetime(2026, 1, 1, tzinfo=UTC),
        },
        {
            "request_id": "b",
            "row": 1,
            "time": _at(0),
            "version": "3",
            "score": 0.75,
            "scores": [0.25, 0.75],
            "label": "yes",
            **{f"inputs.{name}": None for name in INPUTS},
        },
    ]
    assert (captured.rows, captured.lost, captured.erased) == (2, 0, 0)


def test_a_row_is_read_once_while_files_rotate(tmp_path: Path) -> None:
    seen: list[str] = []
    cursor = None
    with capturing(tmp_path, file_bytes=1500, files=50) as capture:
        for look in range(5):
            for index in range(10):
                capture.rows(rows(f"{look}-{index}", time=START + 10 * look + index), size=10)
            _wait_for(10, tmp_path, cursor)
            captured = read_window(tmp_path, after=cursor)
            cursor = Cursor.model_validate_json(captured.cursor.model_dump_json())
            seen += _ids(captured.table)
            assert captured.lost == 0
    assert read_window(tmp_path, after=cursor).rows == 0
    assert seen == [f"{look}-{index}" for look in range(5) for index in range(10)]


def _wait_for(rows: int, folder: Path, cursor: Cursor | None) -> None:
    deadline = time.monotonic() + 20
    while read_window(folder, after=cursor).rows < rows:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_is_rotated_away_unread_is_lost_and_what_was_read_is_not(tmp_path: Path) -> None:
    capture_all(tmp_path, *(rows(f"a{i}") for i in range(4)), file_bytes=1, files=3)
    first = read_window(tmp_path, after=None)
    assert (_ids(first.table), first.lost) == (["a1", "a2", "a3"], 0), (
        "a0 went before the first look"
    )
    capture_all(tmp_path, *(rows(f"b{i}", time=START + i) for i in range(7)), file_bytes=1, files=3)
    second = read_window(tmp_path, after=first.cursor)
    assert (_ids(second.table), second.lost) == (["b4", "b5", "b6"], 4)
    third = read_window(tmp_path, after=second.cursor)
    assert (third.rows, third.lost) == (0, 0)


def test_dropped_rows_are_counted_once(tmp_path: Path) -> None:
    counts = Counts()
    cursor = read_window(tmp_path, after=None).cursor
    capture_all(tmp_path, rows("x", count=100), rows("y"), pending_bytes=1000, counts=counts)
    assert (counts.written, counts.dropped) == (1, 100)
    captured = read_window(tmp_path, after=cursor)
    assert (_ids(captured.table), captured.lost) == (["y"], 100)
    assert read_window(tmp_path, after=captured.cursor).lost == 0


@pytest.mark.parametrize("recovered", [False, True], ids=["as-left", "after-a-new-start"])
def test_what_a_killed_server_had_accepted_is_read_or_counted(
    tmp_path: Path, recovered: bool
) -> None:
    cursor = Cursor()
    accepted = captured_and_killed(tmp_path, requests=400, count=50, file_bytes=100_000)
    if recovered:
        capture_all(tmp_path, rows("after", time=START + 1))
    captured = read_window(tmp_path, after=cursor)
    assert captured.rows + captured.lost == accepted + recovered
    assert captured.lost > 0, "it was killed with rows in memory"
    again = read_window(tmp_path, after=captured.cursor)
    assert (again.rows, again.lost) == (0, 0)
    capture_all(tmp_path, rows("new", time=START + 2))
    again = read_window(tmp_path, after=captured.cursor)
    assert (_ids(again.table), again.lost) == (["new"], 0)


def test_a_torn_line_is_lost_and_the_rest_is_read(tmp_path: Path) -> None:
    capture_all(tmp_path, *(rows(str(i), time=START + i) for i in range(4)))
    path = next(tmp_path.glob("predictions-*"))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"#" * (len(lines[1]) - 1) + b"\n" + lines[2] + lines[3][:-9])
    captured = read_window(tmp_path, after=Cursor())
    assert (_ids(captured.table), captured.lost) == (["0", "2"], 2)
    assert read_window(tmp_path, after=captured.cursor).lost == 0


def test_rows_from_a_time_on_are_left_for_the_next_look(tmp_path: Path) -> None:
    capture_all(tmp_path, *(rows(str(i), time=START + i) for i in range(10)), file_bytes=1000)
    first = read_window(tmp_path, after=None, until=_at(4))
    second = read_window(tmp_path, after=first.cursor, until=_at(7))
    third = read_window(tmp_path, after=second.cursor)
    assert [_ids(each.table) for each in (first, second, third)] == [
        list("0123"), list("456"), list("789"),
    ]  # fmt: skip
    assert first.lost + second.lost + third.lost == 0


@pytest.mark.parametrize("file_bytes", [1 << 20, 1], ids=["one-file", "many-files"])
def test_a_clock_that_jumps_ahead_keeps_no_row_waiting(tmp_path: Path, file_bytes: int) -> None:
    year = 31_536_000
    times = [0, 1, year, year + 1, 2, 3, 9]
    capture_all(
        tmp_path,
        *(rows(str(i), time=START + t) for i, t in enumerate(times)),
        file_bytes=file_bytes,
        files=50,
    )
    first = read_window(tmp_path, after=None, until=_at(5))
    assert sorted(_ids(first.table)) == list("012345")
    assert _ids(read_window(tmp_path, after=first.cursor, until=_at(10)).table) == ["6"]


def test_two_servers_in_one_folder_keep_each_others_rows_apart(tmp_path: Path) -> None:
    with (
        capturing(tmp_path, file_bytes=1, files=4) as one,
        capturing(tmp_path, file_bytes=1, files=4) as other,
    ):
        for index in range(10):
            one.rows(rows(f"one{index}", time=START + index), size=10)
            other.rows(rows(f"other{index}", time=START + index), size=10)
    captured = read_window(tmp_path, after=Cursor())
    assert captured.rows + captured.lost == 20
    assert 3 <= captured.rows <= 8


def test_copies_and_replayed_rows_are_left_out(tmp_path: Path) -> None:
    capture_all(tmp_path, rows("m", mirrored=True), rows("r", replayed=True), rows("u"))
    captured = read_window(tmp_path, after=None)
    assert (_ids(captured.table), captured.lost) == (["u"], 0)


def test_a_version_is_read_alone(tmp_path: Path) -> None:
    other = MODEL.model_copy(update={"version": "4"})
    capture_all(tmp_path / "version-3", rows("old"))
    capture_all(tmp_path / "version-4", rows("new", version="4", time=START + 1), model=other)
    assert _ids(read_window(tmp_path, after=None).table) == ["old", "new"]
    assert _ids(read_window(tmp_path, after=None, version="4").table) == ["new"]


def test_versions_whose_columns_differ_are_told_apart_or_refused(tmp_path: Path) -> None:
    columns = (*MODEL.columns[1:], MODEL.columns[0].model_copy(update={"name": "price"}))
    other = MODEL.model_copy(update={"version": "4", "columns": columns})
    inputs = {**{n: [v[0]] for n, v in INPUTS.items() if n != "amount"}, "price": [2.0]}
    capture_all(tmp_path / "3", rows("old"))
    capture_all(
        tmp_path / "4", rows("new", version="4", inputs=inputs, time=START + 1), model=other
    )
    table = read_window(tmp_path, after=None).table
    assert table["inputs.amount"].to_pylist() == [1.5, None]
    assert table["inputs.price"].to_pylist() == [None, 2.0]
    third = other.model_copy(
        update={"columns": (columns[-1].model_copy(update={"type": "string"}),)}
    )
    capture_all(tmp_path / "5", rows("x", version="5", inputs={"price": ["2"]}), model=third)
    with pytest.raises(InputError, match=r"inputs\.price.*other types there: double and string"):
        read_window(tmp_path, after=None)


def test_multiclass_rows_have_every_score(tmp_path: Path) -> None:
    model = MODEL.model_copy(update={"task": "multiclass", "classes": (0, 1, 2), "positive": None})
    capture_all(
        tmp_path, rows("x", scores=[0.5], labels=[2], vectors=[[0.2, 0.3, 0.5]]), model=model
    )
    row = read_window(tmp_path, after=None).table.to_pylist()[0]
    assert (row["score"], row["scores"], row["label"]) == (0.5, [0.2, 0.3, 0.5], 2)


def test_files_of_an_earlier_release_are_read_and_then_kept_count_of(tmp_path: Path) -> None:
    line = {
        "request_id": "x", "row": 0, "time": "2026-01-01T00:00:00.000000+00:00", "version": "3",
        "mirrored": False, "replayed": False, "inputs": {"a": 1, "b": "t", "c": None}, "score": 0.5,
        "label": "no",
    }  # fmt: skip
    name = "predictions-20260101T000000000000-77.jsonl"
    tmp_path.joinpath(name).write_text(json.dumps(line) + "\n" + json.dumps(line)[:50])
    captured = read_window(tmp_path, after=None)
    row = captured.table.to_pylist()[0]
    assert (row["inputs.a"], row["inputs.b"], row["inputs.c"]) == (1, "t", None)
    assert row["scores"] is None
    capture_all(tmp_path, rows("new"))
    again = read_window(tmp_path, after=captured.cursor)
    assert (_ids(again.table), again.lost) == (["new"], 1), "its torn line is lost"


def test_nothing_is_no_error(tmp_path: Path) -> None:
    captured = read_window(tmp_path / "none", after=None)
    assert (captured.rows, captured.lost) == (0, 0)
    labels, cursor = read_labels(tmp_path / "none", after=None)
    assert (labels.num_rows, cursor.positions) == (0, {})


def test_labels_are_read_once_whichever_server_they_reached(tmp_path: Path) -> None:
    label(tmp_path / "a", ("x", 0, "yes"), ("x", 1, "no"))
    label(tmp_path / "b", ("x", 1, "yes"), ("z", 0, "no"), known=False)
    labels, cursor = read_labels(tmp_path, after=None)
    assert [(r["request_id"], r["row"]) for r in labels.to_pylist()] == [
        ("x", 0), ("x", 1), ("z", 0),
    ]  # fmt: skip
    assert labels["label"].type == pa.string()
    label(tmp_path / "b", ("z", 1, "yes"), known=False)
    labels, _ = read_labels(tmp_path, after=cursor)
    assert labels.to_pylist() == [
        {"request_id": "z", "row": 1, "time": _at(0), "label": "yes"},
    ]


def test_a_sample_takes_rows_and_labels_of_the_same_requests(tmp_path: Path) -> None:
    with capturing(tmp_path, sample=0.3) as capture:
        for index in range(300):
            capture.rows(rows(str(index)), size=10)
        labels = [(str(index), 0, "yes") for index in range(300)]
        capture.truths(Truths(time=START, labels=labels), size=10)
    captured = read_window(tmp_path, after=None)
    assert captured.sample == 0.3
    assert 60 < captured.rows < 120
    assert set(_ids(captured.table)) == set(_ids(read_labels(tmp_path, after=None)[0]))


def test_values_are_the_same_however_they_are_written(tmp_path: Path) -> None:
    texts = {
        "amount": ["1.5", "NA"],
        "visits": [2.0**53, "NA"],
        "member": ["true", "NA"],
        "city": [" Köln ", "NA"],
        "since": ["2026-01-01", ""],
    }
    plain = INPUTS | {"visits": [2**53, None]}
    reading = Reading(na_values=("NA",), strip=True)
    sent = {"scores": [0.25, 0.5], "labels": ["no", "yes"]}
    capture_all(tmp_path / "plain", rows("a", inputs=plain, **sent))
    capture_all(
        tmp_path / "texts",
        rows("a", inputs=texts, **sent),
        model=MODEL.model_copy(update={"reading": reading}),
    )
    expected = read_window(tmp_path / "plain", after=None).table
    found = read_window(tmp_path / "texts", after=None)
    assert found.table.equals(expected)
    assert found.lost == 0


def test_a_row_that_does_not_fit_its_model_is_lost(tmp_path: Path) -> None:
    bad = {name: values[:1] for name, values in INPUTS.items()} | {"visits": ["many"]}
    capture_all(tmp_path, rows("a"), rows("bad", inputs=bad), rows("b"))
    captured = read_window(tmp_path, after=None)
    assert (_ids(captured.table), captured.lost) == (["a", "b"], 1)


@pytest.mark.parametrize(
    "change",
    [
        {"score": "high"},
        {"row": 0.5},
        {"time": "yesterday"},
        {"label": {"no": 1}},
        {"mirrored": None, "inputs": {}},
    ],
)
def test_a_line_with_another_thing_in_a_field_is_lost(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    capture_all(tmp_path, rows("a"), rows("b"))
    path = next(tmp_path.glob("predictions-*"))
    first, second = path.read_bytes().splitlines(keepends=True)
    spoilt = orjson.dumps({**orjson.loads(first), **change}, option=orjson.OPT_APPEND_NEWLINE)
    path.write_bytes(spoilt + second)
    captured = read_window(tmp_path, after=None)
    assert (_ids(captured.table), captured.lost) == (["b"], 1)


def test_a_label_with_another_thing_in_a_field_is_none(tmp_path: Path) -> None:
    label(tmp_path, ("a", 0, "yes"), ("b", 0, "no"))
    path = next(tmp_path.glob("feedback-*"))
    first, second = path.read_bytes().splitlines(keepends=True)
    spoilt = orjson.dumps({**orjson.loads(first), "row": "one"}, option=orjson.OPT_APPEND_NEWLINE)
    path.write_bytes(spoilt + second)
    assert _ids(read_labels(tmp_path, after=None)[0]) == ["b"]


def test_types_follow_from_all_values_where_no_model_is_known(tmp_path: Path) -> None:
    model = MODEL.model_copy(update={"columns": (), "task": None, "classes": ()})
    sent: list[dict[str, list[Any]]] = [{"a": [1]}, {"a": [1.5], "b": ["x"]}, {"a": [None]}]
    for number, inputs in enumerate(sent):
        request = rows(str(number), inputs=inputs, labels=[2**number * 2**61])
        capture_all(tmp_path, request, model=model)
    captured = read_window(tmp_path, after=None)
    assert (captured.rows, captured.lost) == (3, 0)
    assert captured.table["inputs.a"].to_pylist() == [1.0, 1.5, None]
    assert captured.table["inputs.b"].to_pylist() == [None, "x", None]
    assert captured.table["label"].to_pylist() == [2**61, 2**62, None]
