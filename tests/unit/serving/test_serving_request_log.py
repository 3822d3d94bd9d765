"""What is kept of answers: files on disk, and the rows that a label may come for."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from serving_process import KEY, ROW, Start

from penstock.captures import lines as kept_lines
from penstock.captures.files import Bounds
from penstock.errors import InputError
from penstock.model import load
from penstock.records.model import Model
from penstock.records.rollout import Labelled
from penstock.serving import feedback
from penstock.serving.capture import Capture, Rows, Truths
from penstock.serving.feedback import Memory, restore
from penstock.serving.request_errors import RequestError
from penstock.serving.request_headers import new_request_id


def _rows(request_id: str, count: int = 1) -> Rows:
    return Rows(
        request_id=request_id,
        time=1.5e9,
        version="3",
        mirrored=False,
        replayed=True,
        inputs={"a": list(range(count)), "b": [None] * count},
        scores=[0.25] * count,
        labels=["no"] * count,
    )


class _Counts:
    def __init__(self) -> None:
        self.written = 0
        self.dropped = 0

    def open(self, folder: Path, **bounds: int) -> Capture:
        return Capture(folder, bounds=Bounds(**bounds), written=self._write, dropped=self._drop)

    def _write(self, rows: int) -> None:
        self.written += rows

    def _drop(self, rows: int) -> None:
        self.dropped += rows


def test_made_ids_are_128_random_bits_each() -> None:
    # More than the random bytes that are taken from the system at a time make.
    ids = [new_request_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(len(bytes.fromhex(made)) == 16 for made in ids)


def test_closing_does_not_wait_to_gather_more_rows(tmp_path: Path) -> None:
    counts = _Counts()
    writer = counts.open(tmp_path)
    for name in ("x", "y", "z"):
        writer.rows(_rows(name), size=10)
    writer.close()
    assert [line["request_id"] for line in kept_lines.read(tmp_path)] == ["x", "y", "z"]


def test_what_is_captured_is_read_back(tmp_path: Path) -> None:
    counts = _Counts()
    writer = counts.open(tmp_path / "new" / "folder")
    writer.rows(_rows("x", 2), size=10)
    writer.close()
    assert (counts.written, counts.dropped) == (2, 0)
    first, second = kept_lines.read(tmp_path / "new" / "folder")
    assert first == {
        "request_id": "x",
        "row": 0,
        "time": "2017-07-14T02:40:00.000000+00:00",
        "version": "3",
        "mirrored": False,
        "replayed": True,
        "inputs": {"a": 0, "b": None},
        "score": 0.25,
        "label": "no",
    }
    assert (second["row"], second["inputs"]["a"]) == (1, 1)


def test_files_are_bounded_in_size_and_number(tmp_path: Path) -> None:
    counts = _Counts()
    writer = counts.open(tmp_path, file_bytes=1000, files=3)
    for index in range(100):
        writer.rows(_rows(str(index)), size=1)
    writer.close()
    paths = sorted(tmp_path.glob("predictions-*"))
    assert len(paths) == 3
    assert all(path.stat().st_size <= 1000 for path in paths)
    assert counts.written == 100
    kept = [int(line["request_id"]) for line in kept_lines.read(tmp_path)]
    assert kept == list(range(100 - len(kept), 100)), "the newest, in order"
    again = counts.open(tmp_path, file_bytes=1000, files=3)
    again.rows(_rows("100"), size=1)
    again.close()
    assert len(list(tmp_path.glob("predictions-*"))) == 3
    assert [line["request_id"] for line in kept_lines.read(tmp_path)][-1] == "100"


def test_what_cannot_wait_is_dropped_and_counted_without_blocking(tmp_path: Path) -> None:
    counts = _Counts()
    fifo = tmp_path / "stuck"
    os.mkfifo(fifo)

    class Stuck(Rows):
        """Rows that take until somebody opens the other end of a pipe to write."""

        def lines(self) -> Iterator[dict[str, Any]]:
            fifo.read_bytes()
            return super().lines()

    writer = counts.open(tmp_path / "kept", pending_bytes=10_000)
    writer.rows(Stuck(**vars(_rows("stuck"))), size=1000)
    started = time.monotonic()
    for index in range(50):
        writer.rows(_rows(str(index)), size=1000)
    assert time.monotonic() - started < 5
    assert counts.dropped == 50 - 7, "each weighs 1,200 bytes"
    fifo.write_bytes(b"go")
    writer.close()
    assert counts.written == 8
    assert len(list(kept_lines.read(tmp_path / "kept"))) == 8


def test_a_disk_that_fails_costs_rows_not_the_server(tmp_path: Path) -> None:
    counts = _Counts()
    writer = counts.open(tmp_path / "kept")
    shutil.rmtree(tmp_path / "kept")
    writer.rows(_rows("a", 3), size=1)
    writer.close()
    assert (counts.written, counts.dropped) == (0, 3)


def test_a_torn_line_is_skipped_and_counted(tmp_path: Path) -> None:
    writer = _Counts().open(tmp_path)
    for index in range(3):
        writer.rows(_rows(str(index)), size=1)
    writer.close()
    path = next(tmp_path.glob("predictions-*"))
    path.write_bytes(path.read_bytes()[:-20])
    found = kept_lines.read(tmp_path)
    assert [line["request_id"] for line in found] == ["0", "1"]
    assert found.torn == 1


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written to") as caught:
        _Counts().open(tmp_path / "file")
    assert str(tmp_path / "file") in str(caught.value)
    with pytest.raises(InputError, match="does not exist"):
        kept_lines.read(tmp_path / "none")


@pytest.fixture(scope="module")
def record(models: Callable[..., Path]) -> Callable[[str], Model]:
    return lambda task: load(models(task)).record


def test_a_label_is_joined_once_and_told_apart(record: Callable[[str], Model]) -> None:
    memory = Memory(record("binary"))
    memory.add("u", scores=[0.25, 0.5], labels=["no", "yes"], mirrored=False)
    memory.add("c", scores=[0.9], labels=["yes"], mirrored=True)
    found = memory.join([("u", 0, "no"), ("u", 1, "no"), ("c", 0, "yes"), ("z", 0, "no")])
    assert (found.joined, found.unknown, found.repeated) == (3, 1, 0)
    mean = (0.25**2 + 0.5**2) / 2
    assert found.sums["live"] == Labelled(requests=1, loss=mean, squared=mean**2)
    assert found.sums["mirror"].requests == 1
    assert found.sums["mirror"].loss == pytest.approx(0.01)
    assert found.new == [("u", 0, "no"), ("u", 1, "no"), ("c", 0, "yes")]
    again = memory.join([("u", 0, "yes"), ("u", 2, "no")])
    assert (again.joined, again.unknown, again.repeated) == (0, 1, 1)
    assert again.sums["live"] == Labelled()
    assert again.new == [], "what no answer is known for is not kept"


def test_a_request_is_one_unit_of_evidence(record: Callable[[str], Model]) -> None:
    memory = Memory(record("binary"))
    rows = 500
    memory.add("x", scores=[0.9] * rows, labels=["yes"] * rows, mirrored=False)
    wrong = [("x", row, "no") for row in range(rows - 1)]
    found = memory.join(wrong + wrong)
    assert (found.joined, found.repeated) == (rows - 1, rows - 1)
    assert found.sums["live"].requests == 1
    assert found.sums["live"].loss == pytest.approx(0.81)
    late = memory.join([("x", rows - 1, "yes")])
    assert (late.joined, late.new) == (1, [("x", rows - 1, "yes")])
    assert late.sums["live"] == Labelled(), "its first labels were its evidence"
    for _ in range(200):
        memory.add("x", scores=[0.9], labels=["yes"], mirrored=False)
        assert memory.join([("x", 0, "no")]).repeated == 1, "an id is labelled once"


def test_the_oldest_answers_are_forgotten(record: Callable[[str], Model]) -> None:
    memory = Memory(record("binary"), rows=5)
    for name in "abc":
        memory.add(name, scores=[0.5, 0.5], labels=["yes", "yes"], mirrored=False)
    assert memory.join([("a", 0, "no"), ("b", 0, "no")]).unknown == 1
    memory.add("c", scores=[0.0], labels=["no"], mirrored=False)
    found = memory.join([("c", 0, "no"), ("b", 1, "no")])
    assert found.joined == 2
    assert found.sums["live"].loss == 0.25, "the first answer to an id counts"
    assert memory.join([("d" * 200, 0, "no"), ("c", 2**40, "no")]).unknown == 2


@pytest.mark.parametrize(
    ("task", "predicted", "score", "truth", "expected"),
    [
        ("binary", "yes", 0.8, "yes", 0.04),
        ("binary", "yes", 0.8, "no", 0.64),
        ("multiclass", 1, 0.5, 1, 0),
        ("multiclass", 1, 0.5, 2, 1),
        ("regression", 3.0, 3.0, 1.0, 0.5),
        ("regression", -1.0, -1.0, 1.0, 1),
        ("regression", 0.0, 0.0, 0.0, 0),
        ("regression", 1.7e308, 1.7e308, -1.7e308, 1),
    ],
)
def test_the_loss_of_a_row(
    record: Callable[[str], Model],
    task: str,
    predicted: Any,
    score: float,
    truth: Any,
    expected: float,
) -> None:
    assert feedback.loss(record(task), predicted, score, truth) == pytest.approx(expected)


def test_a_label_must_be_of_the_models_kind(record: Callable[[str], Model]) -> None:
    def parse(task: str, label: Any) -> list[tuple[str, int, Any]]:
        return feedback.parse(
            {"labels": [{"request_id": "a", "label": label}]}, record=record(task)
        )

    assert parse("multiclass", 1) == [("a", 0, 1)]
    assert parse("regression", 3) == [("a", 0, 3.0)]
    for task, label in (("multiclass", True), ("multiclass", 1.0), ("multiclass", "1")):
        with pytest.raises(RequestError, match=r"labels\[0\]\.label must be one of 0, 1, 2"):
            parse(task, label)
    for label in (True, "3", None, float("nan"), float("inf")):
        with pytest.raises(RequestError, match=r"must be a (finite )?number"):
            parse("regression", label)


@pytest.mark.parametrize("row", [-1, 0.5, True, "0", 2**31, 1e20, 1e308, float("nan")])
def test_a_row_must_be_an_index(record: Callable[[str], Model], row: Any) -> None:
    request = {"labels": [{"request_id": "a", "row": row, "label": "no"}]}
    with pytest.raises(RequestError, match=r"labels\[0\]\.row must be a row's index"):
        feedback.parse(request, record=record("binary"))


def test_an_id_of_no_request_is_refused(record: Callable[[str], Model]) -> None:
    request = {"labels": [{"request_id": "a" * 129, "label": "no"}]}
    with pytest.raises(RequestError, match="longer than any id: 128"):
        feedback.parse(request, record=record("binary"))


def test_a_value_of_an_experiment_that_has_ended_costs_no_label(
    record: Callable[[str], Model],
) -> None:
    entries = [
        {"request_id": "a", "row": 1, "label": "no", "value": 3.5},
        {"request_id": "b", "value": 1},
        {"request_id": "c", "label": "yes"},
    ]
    parsed = feedback.parse({"labels": entries}, record=record("binary"))
    assert parsed == [("a", 1, "no"), ("c", 0, "yes")]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"request_id": "a", "value": "much"}, r"labels\[0\]\.value must be a finite number"),
        ({"request_id": "a", "value": True}, r"labels\[0\]\.value must be a finite number"),
        ({"request_id": "a", "label": "no", "value": None}, r"\.value must be a finite number"),
        ({"value": 1}, r'labels\[0\]: the field "request_id" is missing'),
        ({"request_id": "", "value": 1}, r"labels\[0\]\.request_id is empty"),
        ({"request_id": "a", "value": 1, "row": -1}, r"labels\[0\]\.row must be a row's index"),
        ({"request_id": "a"}, r'labels\[0\]: the field "label" is missing'),
        ({"request_id": "a", "worth": 1}, 'unknown field "worth"'),
    ],
)
def test_an_entry_that_does_not_fit_is_named(
    record: Callable[[str], Model], entry: dict[str, Any], said: str
) -> None:
    with pytest.raises(RequestError, match=said):
        feedback.parse({"labels": [entry]}, record=record("binary"))


def _label(request_id: str, label: str, row: int = 0) -> dict[str, Any]:
    return {"request_id": request_id, "row": row, "label": label}


def test_a_server_captures_and_joins(start_onnx: Start, tmp_path: Path) -> None:
    server = start_onnx("--capture", str(tmp_path / "kept"))
    first = server.predict(ROW, ROW | {"job": None}, x_request_id="u").json()
    server.predict(ROW, x_request_id="c", x_penstock_mirror=KEY)
    server.predict(ROW, x_request_id="r", x_penstock_replay=KEY)
    server.predict(ROW, x_request_id="s", x_penstock_smoke=KEY)
    assert server.predict({}, x_request_id="wrong").status_code == 400
    labels = [_label("u", "yes"), _label("u", "no", 1), _label("c", "no"), _label("s", "no")]
    url = "/v1/models/adult:feedback"
    joined = server.client.post(url, json={"labels": labels}).json()
    low, high = (pair[1] for pair in first["probabilities"])
    mean = ((low - 1) ** 2 + high**2) / 2
    assert joined == {
        "joined": 3,
        "unknown": 1,
        "repeated": 0,
        "live": {
            "requests": 1,
            "loss": pytest.approx(mean),
            "squared": pytest.approx(mean**2),
        },
        "mirrored": {
            "requests": 1,
            "loss": pytest.approx(low**2),
            "squared": pytest.approx(low**4),
        },
        "model_name": "adult",
        "model_version": "3",
    }
    repeated = server.client.post(url, json={"labels": labels[:1]}).json()
    assert (repeated["joined"], repeated["repeated"], repeated["live"]["requests"]) == (0, 1, 0)
    assert server.metric("penstock_labelled_requests_total", origin="live") == 1
    assert server.metric("penstock_labelled_requests_total", origin="mirror") == 1
    assert server.metric("penstock_labelled_loss_total", origin="live") == pytest.approx(mean)
    # An id that comes again, and labels of ids that never were, change nothing.
    server.predict(ROW, x_request_id="u")
    assert server.client.post(url, json={"labels": labels[:1]}).json()["repeated"] == 1
    never = server.client.post(url, json={"labels": [_label(f"n{i}", "no") for i in range(50)]})
    assert (never.status_code, "never answered it" in never.json()["error"]) == (404, True)
    assert server.metric("penstock_capture_dropped_rows_total") == 0
    assert server.stop() == 0
    kept = list(kept_lines.read(tmp_path / "kept"))
    assert [(line["request_id"], line["row"]) for line in kept] == [
        ("u", 0),
        ("u", 1),
        ("c", 0),
        ("r", 0),
        ("u", 0),
    ]
    assert kept[1]["inputs"] == ROW | {"job": None}
    assert [line["mirrored"] for line in kept] == [False, False, True, False, False]
    assert [line["replayed"] for line in kept] == [False, False, False, True, False]
    assert [line["score"] for line in kept[:2]] == [low, high]
    assert [line["label"] for line in kept[:2]] == first["predictions"]
    assert len(list(kept_lines.read(tmp_path / "kept", kind="feedback"))) == 3
    truths = [(line["request_id"], line["truth"]) for line in kept_lines.joined(tmp_path / "kept")]
    assert truths == [("u", "yes"), ("u", "no"), ("c", "no")]


def test_a_server_that_begins_anew_knows_what_it_answered(
    record: Callable[[str], Model], tmp_path: Path
) -> None:
    counts = _Counts()
    writer = counts.open(tmp_path, file_bytes=1000)
    for name in "abcdef":
        writer.rows(_rows(name, 2), size=1)
    writer.rows(_rows("a", 1), size=1)
    writer.truths(Truths(time=1.5e9, labels=[("e", 0, "yes")]), size=1)
    writer.close()
    memory = Memory(record("binary"))
    restore(memory, tmp_path, version="3", rows=10_000)
    found = memory.join([("a", 1, "no"), ("e", 0, "no"), ("e", 1, "no"), ("g", 0, "no")])
    assert (found.joined, found.repeated, found.unknown) == (2, 1, 1)
    assert found.sums["live"] == Labelled(requests=1, loss=0.0625, squared=0.0625**2)
    few = Memory(record("binary"))
    restore(few, tmp_path, version="3", rows=1)
    assert few.join([("b", 0, "no")]).unknown == 1, "no more is read than is needed"
    other = Memory(record("binary"))
    restore(other, tmp_path, version="4", rows=10_000)
    assert other.join([("a", 0, "no")]).unknown == 1


def test_a_server_that_is_killed_leaves_at_most_one_torn_line(
    start_onnx: Start, tmp_path: Path
) -> None:
    server = start_onnx("--capture", str(tmp_path / "kept"))
    answered: list[int] = []

    def ask() -> None:
        body = {"instances": [ROW] * 500}
        while server.client.post("/v1/models/adult:predict", json=body).status_code == 200:
            answered.append(500)

    asking = threading.Thread(target=lambda: _until_it_is_gone(ask))
    asking.start()
    while len(answered) < 10:
        time.sleep(0.01)
    os.kill(server.process.pid, signal.SIGKILL)
    asking.join(60)
    found = kept_lines.read(tmp_path / "kept")
    lines = list(found)
    assert found.torn <= 1
    assert 500 <= len(lines) <= sum(answered) + 500
    assert all(line["inputs"] == ROW for line in lines)
    torn = sum(
        not _whole(line)
        for path in (tmp_path / "kept").glob("predictions-*")
        for line in path.open()
    )
    assert torn == found.torn


def _until_it_is_gone(ask: Callable[[], None]) -> None:
    import httpx

    try:
        ask()
    except httpx.TransportError:
        return


def _whole(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
