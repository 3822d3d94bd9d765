"""The sink for KServe's request logger: pairs of events become rows, the rest is counted."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from running_process import until

from penstock.captures.reader import read_window
from penstock.processes.loopback import LOOPBACK
from penstock.processes.supervisor import hold_port
from penstock.serving.logged_events import Pairs, event_of, rows_of
from penstock.serving.request_errors import RequestError

_TYPE = "org.kubeflow.serving.inference."
PROJECT = "{name: iris, target: kind, source: {uri: none.csv}}"


@pytest.fixture(scope="module")
def sink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Path, Any]]:
    """`penstock captures sink` as a process, a client of it, and where it captures."""
    folder = tmp_path_factory.mktemp("sink")
    (folder / "project.yaml").write_text(PROJECT)
    with contextlib.closing(hold_port(0)) as held:
        port = held.getsockname()[1]
    command = [str(Path(sys.executable).with_name("penstock")), "captures", "sink"]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--columns", "length,width"], cwd=folder
    )
    client = httpx.Client(base_url=f"http://{LOOPBACK}:{port}", trust_env=False, verify=False)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if client.get("/").status_code == 200:
                break
        time.sleep(0.05)
    try:
        yield client, folder / ".penstock" / "serving" / "iris" / "captures", process
    finally:
        client.close()
        if process.poll() is None:
            process.kill()
        process.wait()


def _send(client: httpx.Client, name: str, side: str, payload: Any, **more: Any) -> httpx.Response:
    headers = {
        "ce-id": name,
        "ce-type": _TYPE + side,
        "ce-source": "http://localhost:9081/",
        "ce-specversion": "1.0",
        "ce-inferenceservicename": "iris",
    }
    return client.post("/", json=payload, headers={**headers, **more})


def _metric(client: httpx.Client, name: str) -> float:
    found = re.findall(rf"^{name}(?:{{.*}})? (.*)$", client.get("/metrics").text, re.MULTILINE)
    return sum(map(float, found))


def test_pairs_become_rows_whatever_their_order_and_form(
    sink: tuple[httpx.Client, Path, Any],
) -> None:
    client, folder, _ = sink
    v1 = {"instances": [[1.5, 2], [3.5, None]]}
    assert _send(client, "a", "request", v1).status_code == 202
    assert _send(client, "a", "response", {"predictions": [0, 1]}).status_code == 202
    assert _send(client, "b", "response", {"predictions": [[0.2, 0.8]]}).status_code == 202
    assert _send(client, "b", "request", {"instances": [[5.5, 6]]}).status_code == 202
    tensors = [
        {"name": "length", "datatype": "FP64", "shape": [1], "data": [7.5]},
        {"name": "width", "datatype": "INT64", "shape": [1, 1], "data": [8]},
    ]
    outputs = [{"name": "predictions", "datatype": "INT64", "shape": [1], "data": [2]}]
    events = [
        {"specversion": "1.0", "id": "c", "type": f"{_TYPE}{side}", "source": "x", "data": data}
        for side, data in (
            ("request", {"inputs": tensors}),
            ("response", {"outputs": outputs, "model_version": "9"}),
        )
    ]
    batch = {"content-type": "application/cloudevents-batch+json"}
    assert client.post("/", json=events, headers=batch).status_code == 202
    deadline = time.monotonic() + 20
    while (captured := read_window(folder, after=None)).rows < 4:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    rows = [
        (
            r["request_id"],
            r["version"],
            r["inputs.length"],
            r["inputs.width"],
            r["label"],
            r["scores"],
        )
        for r in captured.table.to_pylist()
    ]
    assert rows == [
        ("a", "1", 1.5, 2, 0, None),
        ("a", "1", 3.5, None, 1, None),
        ("b", "1", 5.5, 6, 1, [0.2, 0.8]),
        ("c", "9", 7.5, 8, 2, None),
    ]
    assert _metric(client, "penstock_captured_rows_total") == 4


def test_what_is_good_in_a_batch_is_taken_once_however_often_it_comes(
    sink: tuple[httpx.Client, Path, Any],
) -> None:
    client, folder, _ = sink
    ask = {"instances": [[1.5, 2]]}
    answer, wrong = {"predictions": [0]}, {"predictions": [0, 1]}
    halves = [("good", ask, answer), ("bad", ask, wrong), ("late", ask, answer)]
    events: list[Any] = [
        {"specversion": "1.0", "id": name, "type": _TYPE + side, "source": "x", "data": data}
        for name, *both in halves
        for side, data in zip(("request", "response"), both, strict=True)
    ]
    batch = {"content-type": "application/cloudevents-batch+json"}
    before = _metric(client, "penstock_captured_rows_total")
    for _ in range(2):
        refused = client.post("/", json=[7, *events], headers=batch)
        assert refused.status_code == 400
        assert "an event must be a JSON object" in refused.json()["error"]
    until(
        lambda: _metric(client, "penstock_captured_rows_total") >= before + 2,
        what="both pairs to be written",
    )
    found = read_window(folder, after=None).table["request_id"].to_pylist()
    assert [name for name in found if name in ("good", "bad", "late")] == ["good", "late"]
    assert _metric(client, "penstock_sink_repeated_events_total") == 6
    assert _metric(client, "penstock_captured_rows_total") == before + 2


@pytest.mark.parametrize(
    ("payload", "headers", "sentence"),
    [
        ("{", {}, "the body is not valid JSON"),
        ("[]", {}, "the event's data must be a JSON object, not a list"),
        ("{}", {"ce-id": ""}, "the event has no id"),
        ("{}", {"ce-type": "com.example"}, "the event's type must be org.kubeflow.serving"),
        ("{}", {"content-type": "application/cloudevents-batch+json"}, "must be a list of events"),
        ("{}", {"content-type": "application/cloudevents+json"}, "the event has no id"),
        ("{}", {"ce-id": "x" * 200}, "longer than 128 characters"),
    ],
)
def test_what_is_no_event_is_refused_with_a_sentence(
    sink: tuple[httpx.Client, Path, Any], payload: str, headers: dict[str, str], sentence: str
) -> None:
    client, _, _ = sink
    plain = {"ce-id": "z", "ce-type": f"{_TYPE}request", "content-type": "application/json"}
    answer = client.post("/", content=payload, headers={**plain, **headers})
    assert answer.status_code == 400
    assert sentence in answer.json()["error"]


def test_it_ends_with_all_rows_written_and_pairs_that_never_came_counted(
    sink: tuple[httpx.Client, Path, Any],
) -> None:
    client, folder, process = sink
    for index in range(50):
        _send(client, f"end-{index}", "request", {"instances": [[1.0, index]]})
        _send(client, f"end-{index}", "response", {"predictions": [0]})
    assert _send(client, "alone", "request", {"instances": [[1.0, 2]]}).status_code == 202
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(30) == 0
    ids = read_window(folder, after=None).table["request_id"].to_pylist()
    assert {f"end-{index}" for index in range(50)} <= set(ids)
    assert "alone" not in ids


def _event(name: str, side: str, payload: Any) -> Any:
    return event_of({"id": name, "type": _TYPE + side}, payload, size=10)


def test_waiting_events_are_bounded_in_number_bytes_and_age() -> None:
    pairs = Pairs(number=3, bytes=35, seconds=300)
    for name in "abcde":
        assert pairs.add(_event(name, "request", {})) is None
    assert pairs.unpaired == 2
    assert pairs.add(_event("a", "response", {})) is None, "it was given up, and waits anew"
    assert pairs.add(_event("e", "response", {})) is not None
    assert pairs.add(_event("d", "request", {"again": 1})) is None
    pairs.seconds = -1
    pairs.expire()
    assert pairs.unpaired == 3 + 2


@pytest.mark.parametrize(
    ("request_", "response", "sentence"),
    [
        ({}, {"predictions": [1]}, 'must have "instances"'),
        ({"instances": [[1]]}, {}, 'must have "predictions"'),
        ({"instances": [[1]]}, {"predictions": [1, 2]}, "holds 1 rows and its response 2"),
        ({"instances": [[1], [1, 2]]}, {"predictions": [1, 2]}, "of different lengths"),
        ({"instances": [[1]]}, {"predictions": [{"a": 1}]}, "must be numbers, texts"),
        (
            {"inputs": [{"name": "a", "shape": [2], "data": [1]}]},
            {"predictions": [1, 2]},
            "holds 1 values, its shape says 2",
        ),
        (
            {"inputs": [{"name": "a", "shape": [1]}]},
            {"predictions": [1]},
            "has no data in JSON",
        ),
        (
            {"instances": [[1]]},
            {
                "outputs": [
                    {"name": "label", "shape": [1], "data": ["no"]},
                    {"name": "names", "shape": [1, 2], "data": ["no", "yes"]},
                ]
            },
            "the scores of the response x are not numbers",
        ),
        (
            {"instances": [[1]]},
            {"predictions": [{"a": 1}], "probabilities": [[0.5, 0.5]]},
            "a prediction of the response x is no single value",
        ),
    ],
)
def test_a_pair_that_makes_no_rows_is_refused(request_: Any, response: Any, sentence: str) -> None:
    pair = _event("x", "request", request_), _event("x", "response", response)
    with pytest.raises(RequestError, match=re.escape(sentence)):
        rows_of(*pair, version="1", columns=())


def test_a_matrix_and_probabilities_are_read() -> None:
    request = _event(
        "x", "request", {"inputs": [{"name": "in", "shape": [2, 2], "data": [1, 2, 3, 4]}]}
    )
    outputs = [
        {"name": "label", "shape": [2], "data": ["no", "yes"]},
        {"name": "probabilities", "shape": [2, 2], "data": [0.75, 0.25, 0.5, 0.5]},
    ]
    rows = rows_of(
        request, _event("x", "response", {"outputs": outputs}), version="1", columns=["a"]
    )
    assert rows.inputs == {"a": [1, 3], "1": [2, 4]}
    assert (rows.labels, rows.scores) == (["no", "yes"], [0.75, 0.5])
    named = _event("x", "request", {"instances": [{"a": 1}, {"a": 2, "b": None}]})
    rows = rows_of(
        named, _event("x", "response", {"predictions": [1.5, 2.5]}), version="1", columns=()
    )
    assert rows.inputs == {"a": [1, 2], "b": [None, None]}
