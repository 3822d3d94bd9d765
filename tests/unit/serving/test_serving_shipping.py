"""A server ships what it captures: to a store that is there, and to one that is away."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from capture_rows import capture_all, rows
from erasing_at_once import erase_at_once
from serving_process import ROW, Start

from penstock.captures.erasure import erase_request
from penstock.captures.places import packed, place_at
from penstock.captures.reader import Cursor, read_labels, read_window
from penstock.captures.retention import prune
from penstock.captures.shipping import ship
from penstock.processes.loopback import LOOPBACK
from penstock.processes.supervisor import hold_port


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket of an S3 server, reached by the environment."""
    with contextlib.closing(hold_port(0)) as held:
        port = held.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://{LOOPBACK}:{port}"
    settings = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }
    patch = pytest.MonkeyPatch()
    for name, value in settings.items():
        patch.setenv(name, value)
    try:
        deadline = time.monotonic() + 60
        with httpx.Client(trust_env=False, verify=False) as client:
            while time.monotonic() < deadline:
                with contextlib.suppress(httpx.TransportError):
                    client.put(f"{url}/captures").raise_for_status()
                    break
                time.sleep(0.1)
        yield "s3://captures/rows"
    finally:
        patch.undo()
        server.kill()
        server.wait()


@pytest.mark.long
def test_an_object_store_holds_what_a_server_answered(
    bucket: str, models: Callable[..., Path], start: Start, tmp_path: Path
) -> None:
    options = [
        *("--capture", str(tmp_path), "--capture-to", bucket, "--capture-bytes", "2000"),
        *("--capture-seconds", "0.5"),
    ]
    server = start(models("multiclass"), *options)
    answers = [server.predict(ROW, ROW, x_request_id=f"r{i}").json() for i in range(5)]
    _until(lambda: read_window(bucket, after=None).rows == 10)
    assert server.metric("penstock_capture_spool_bytes") == 0
    assert server.metric("penstock_capture_shipped_timestamp_seconds") > time.time() - 60
    label = {"labels": [{"request_id": "of-another-pod", "label": 1}]}
    sent = server.client.post("/v1/models/adult:feedback", json=label)
    assert (sent.status_code, sent.json()["unknown"]) == (200, 1)
    server.predict(ROW, x_request_id="last")
    assert server.stop() == 0
    captured = read_window(bucket, after=None)
    assert (captured.rows, captured.lost) == (11, 0)
    table = captured.table.to_pylist()
    assert table[0]["scores"] == answers[0]["probabilities"][0]
    assert table[-1]["request_id"] == "last", "shipped before the server ends"
    assert read_labels(bucket, after=None)[0]["label"].to_pylist() == [1]
    assert {path.name for path in tmp_path.iterdir()} == {"shipped"}


def test_a_store_that_is_away_keeps_nobody_waiting_and_gets_all_when_it_is_back(
    start_onnx: Start, tmp_path: Path
) -> None:
    spool, there = tmp_path / "spool", tmp_path / "there"
    there.write_text("no folder")
    options = [
        "--capture",
        str(spool),
        "--capture-to",
        f"file://{there}",
        "--capture-bytes",
        "2000",
        "--capture-seconds",
        "0.5",
    ]
    server = start_onnx(*options)
    for index in range(20):
        assert server.predict(ROW, x_request_id=str(index)).status_code == 200
    assert not read_window(there, after=None).rows
    # Rows are gathered for 20 ms before they are written; a kill before that counts them as lost.
    _until(lambda: server.metric("penstock_captured_rows_total") == 20)
    _until(lambda: "are not shipped" in server.log())
    assert server.metric("penstock_capture_spool_bytes") > 0
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    there.unlink()
    again = start_onnx(*options)
    again.predict(ROW, x_request_id="20")
    assert again.stop() == 0
    captured = read_window(there, after=Cursor())
    assert captured.rows + captured.lost == 21
    assert captured.rows >= 20


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_an_object_that_no_manifest_names_is_removed_by_its_age_in_the_store(bucket: str) -> None:
    source = f"{bucket}-left"
    place = place_at(source)
    name = "predictions-20261129T120000000000-7-00ff-000001.jsonl.gz"
    place.write("shop/3/pod", name, packed(b'{"request_id": "secret"}\n'))
    place.write("shop/3/pod", "notes.jsonl.gz", b"of somebody else")
    assert prune(source, days=1, megabytes=0).unclaimed == 0
    assert erase_request(source, "secret").unclaimed.young == 1
    later = datetime.now(UTC) + timedelta(hours=2)
    assert prune(source, days=1, megabytes=0, now=later).unclaimed == 1
    assert place.names("shop/3/pod") == ["notes.jsonl.gz"]


@pytest.mark.long
def test_two_erasures_at_once_in_an_object_store_leave_nothing_of_either(
    bucket: str, tmp_path: Path
) -> None:
    source = f"{bucket}-erased"
    capture_all(tmp_path / "spool", rows("ann"), rows("kept"), rows("bob", count=2))
    ship(tmp_path / "spool", place_at(source), pod="pod")
    (tmp_path / "meeting").mkdir()
    assert erase_at_once(source, "ann", "bob", meeting=tmp_path / "meeting") == [1, 2]
    captured = read_window(source, after=Cursor())
    assert (captured.table["request_id"].to_pylist(), captured.lost) == (["kept"], 0)
    place = place_at(source)
    assert [name.count(".jsonl.gz") for name in place.names("shop/3/pod", "pred")].count(1) == 1
