"""The model server as a real process, spoken to over HTTP."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from needs import NEEDS_LINUX
from serving_process import KEY, ROW, Server, Start, v2_body

from penstock.model import digest_of, load

PREDICT = "/v1/models/adult:predict"
INFER = "/v2/models/adult/infer"
EXPLAIN = "/v1/models/adult:explain"
FEEDBACK = "/v1/models/adult:feedback"
INVOCATIONS = "/invocations"


@pytest.fixture(scope="module")
def server(with_record: Callable[..., Path], start: Start) -> Server:
    levels = [{"column": "job", "values": ["clerk", "nurse", "pilot"]}]
    return start(with_record(levels=levels), "--max-body", "3000000")


@pytest.mark.slow
def test_both_protocols_answer_what_the_model_says(
    server: Server, models: Callable[..., Path], instances: list[dict[str, Any]]
) -> None:
    loaded = load(models())
    frame = loaded.frame({name: [row[name] for row in instances] for name in ROW})
    labels, scores = loaded.labels(frame).tolist(), loaded.scores(frame).tolist()

    v1 = server.client.post(PREDICT, json={"instances": instances})
    assert v1.status_code == 200
    assert v1.json()["predictions"] == labels
    assert v1.json()["classes"] == ["no", "yes"]
    assert [pair[1] for pair in v1.json()["probabilities"]] == scores
    said = {key: v1.json()[key] for key in ("model_name", "model_version", "dataset")}
    assert said == {
        "model_name": "adult",
        "model_version": "3",
        "dataset": loaded.record.dataset_version,
    }

    for path in (INFER, "/v2/models/adult/versions/3/infer"):
        v2 = server.client.post(path, json=v2_body(instances, id="a"))
        assert v2.status_code == 200
        assert v2.json()["id"] == "a"
        assert v2.json()["outputs"][0]["data"] == labels
        assert v2.json()["outputs"][1]["data"][1::2] == scores


def test_health_readiness_and_metadata(server: Server) -> None:
    def get(path: str) -> Any:
        response = server.client.get(path)
        assert response.status_code == 200, path
        return response.json()

    assert get("/") == {"status": "alive"}
    assert get("/v2/health/live") == {"live": True}
    assert get("/v2/health/ready") == {"ready": True}
    assert get("/v1/models/adult") == {"name": "adult", "ready": True}
    assert get("/v2/models/adult/versions/3/ready") == {"name": "adult", "ready": True}
    assert get("/v1/models") == get("/v2/models") == {"models": ["adult"]}
    described = get("/v2/models/adult")
    assert described == get("/v2/models/adult/versions/3")
    assert (described["platform"], described["versions"]) == ("sklearn", ["3"])
    assert server.metric("penstock_model_info", runtime="sklearn", task="binary") == 1
    assert described["digest"].startswith("sha256:")
    assert described["inputs"][1] == {"name": "hours per-week", "datatype": "FP64", "shape": [-1]}


@NEEDS_LINUX
def test_it_listens_on_loopback_alone(server: Server) -> None:
    listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    local = {
        line.split()[1]
        for line in listening.splitlines()
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{server.port:04X}")
    }
    assert local == {f"0100007F:{server.port:04X}"}


def test_null_and_unseen_levels_are_answered_and_counted(server: Server) -> None:
    def counts() -> list[float]:
        missing = server.metric("penstock_feature_missing_total", feature="age")
        return [missing, server.metric("penstock_feature_unseen_total", feature="job")]

    before = counts()
    rows = [dict.fromkeys(ROW), ROW | {"job": "a level nobody saw"}, ROW | {"job": "clerk"}]
    assert server.predict(*rows).status_code == 200
    assert [now - then for now, then in zip(counts(), before, strict=True)] == [1, 1]


def test_every_answer_names_its_request_and_what_answered(
    server: Server, models: Callable[..., Path]
) -> None:
    dataset = load(models()).record.table
    long = "a" * 128
    for path, status in ((PREDICT, 200), ("/nowhere", 404), ("/v2/health/ready", 405)):
        response = server.client.post(
            path, json={"instances": [ROW]}, headers={"x-request-id": long}
        )
        assert response.status_code == status
        named = {k: v for k, v in response.headers.items() if k.startswith("x-")}
        assert named == {
            "x-request-id": long,
            "x-penstock-model": "adult",
            "x-penstock-version": "3",
            "x-penstock-dataset": dataset,
        }
    assert "server" not in response.headers


@pytest.mark.parametrize("given", [b"", b"a" * 129, b"a\tb", b"caf\xe9", "\u20ac".encode()])
def test_a_request_id_that_cannot_be_echoed_is_replaced(server: Server, given: bytes) -> None:
    raw = [(b"x-request-id", given)]
    ids = {server.client.get("/v2", headers=raw).headers["x-request-id"] for _ in range(2)}
    assert len(ids) == 2
    assert all(re.fullmatch("[0-9a-f]{32}", made) for made in ids)


def test_the_figures_are_those_of_the_traffic(
    models: Callable[..., Path], start_onnx: Start
) -> None:
    server = start_onnx()
    rows = [ROW, ROW | {"age": None}, dict.fromkeys(ROW)]
    for _ in range(3):
        assert server.predict(*rows).status_code == 200
    assert server.predict(ROW, x_penstock_mirror=KEY).status_code == 200
    assert server.predict(ROW, x_penstock_replay=KEY).status_code == 200
    assert server.predict(ROW, x_penstock_smoke=KEY).status_code == 200
    assert server.client.post(INFER, json=v2_body(rows)).status_code == 200
    assert server.predict({}).status_code == 400

    def requests(**labels: str) -> float:
        return server.metric("penstock_requests_total", model="adult", model_version="3", **labels)

    assert requests(code="200", protocol="v1", origin="live") == 3
    assert requests(code="400", protocol="v1", origin="live") == 1
    assert requests(code="200", protocol="v1", origin="mirror") == 1
    assert requests(code="200", protocol="v1", origin="replay") == 1
    assert requests(code="200", protocol="v1", origin="smoke") == 1
    assert requests(code="200", protocol="v2", origin="live") == 1
    assert requests() == 8
    assert server.metric("penstock_request_duration_seconds_count") == 8
    assert server.metric("penstock_request_duration_seconds_bucket", le="+Inf") == 8
    assert server.metric("penstock_requests_in_flight") == 0
    scores = "penstock_prediction_score"
    assert server.metric(f"{scores}_count", origin="live") == 12
    assert server.metric(f"{scores}_bucket", origin="live", le="+Inf") == 12
    asked = load(models())
    frame = asked.frame({name: [row[name] for row in rows] for name in ROW})
    assert server.metric(f"{scores}_sum", origin="live") == pytest.approx(
        4 * asked.scores(frame).sum()
    )
    below = sum(score <= 0.5 for score in asked.scores(frame))
    assert server.metric(f"{scores}_bucket", origin="live", le="0.5") == 4 * below
    assert server.metric("penstock_feature_missing_total", feature="age") == 8
    assert server.metric("penstock_feature_missing_total", feature="job") == 4
    assert server.metric("penstock_model_info", runtime="onnx", task="binary") == 1
    text = server.client.get("/metrics").text
    named = re.findall("^# TYPE (\\S+)", text, re.MULTILINE)
    assert len(named) == len(set(named))
    opened = server.client.get("/metrics", headers={"accept": "application/openmetrics-text"})
    assert opened.text.endswith("# EOF\n")


def test_unseen_levels_are_rejected_where_asked(
    with_record: Callable[..., Path], start: Start, start_onnx: Start
) -> None:
    levels = [{"column": "job", "values": ["clerk", "pilot"]}]
    server = start(with_record(levels=levels), "--unseen", "reject")
    assert server.predict(ROW, ROW | {"job": None}).status_code == 200
    refused = server.predict(ROW, ROW | {"job": "diver"})
    assert refused.status_code == 422
    assert refused.json()["error"].startswith('instances[1], column "job": "diver" is not a value')
    old = start_onnx("--unseen", "reject", wait=False)
    assert old.process.wait(60) == 1
    assert "does not hold the values that its categories" in old.log()


def _row(**changes: Any) -> bytes:
    return json.dumps({"instances": [ROW | changes]}).encode()


def _columns(**changes: Any) -> bytes:
    return json.dumps({"inputs": {name: [value] for name, value in ROW.items()} | changes}).encode()


def _signed(name: str) -> bytes:
    return json.dumps({"instances": [ROW], "signature_name": name}).encode()


def _one_tensor(shape: list[int], datatype: Any = "FP64") -> bytes:
    tensor = {"name": "x", "shape": shape, "datatype": datatype, "data": [1.0] * shape[1]}
    return json.dumps({"inputs": [tensor]}).encode()


def _without(name: str) -> bytes:
    return json.dumps({"instances": [{k: v for k, v in ROW.items() if k != name}]}).encode()


def _infer(index: int, **changes: Any) -> bytes:
    body = v2_body([ROW])
    body["inputs"][index] |= changes
    return json.dumps(body).encode()


def _v2(**changes: Any) -> bytes:
    return json.dumps(v2_body([ROW], **changes)).encode()


def _split(**changes: Any) -> bytes:
    table = {"columns": list(ROW), "data": [list(ROW.values())]} | changes
    return json.dumps({"dataframe_split": table}).encode()


def _label(label: Any, **changes: Any) -> bytes:
    return json.dumps({"labels": [{"request_id": "a", "label": label} | changes]}).encode()


MISTAKES: list[tuple[str, bytes, int, str]] = [
    (PREDICT, b"", 400, "not valid JSON.*line 1"),
    (PREDICT, b"{", 400, "not valid JSON.*line 1"),
    (PREDICT, b'{"instances": [{"age": Infinity}]}', 400, "not valid JSON"),
    (PREDICT, b'{"instances": [{"age": NaN]}', 400, "not valid JSON"),
    (PREDICT, b'{"instances": "\xff"}', 400, "not valid JSON"),
    (PREDICT, b"[" * 5000, 400, "not valid JSON"),
    (PREDICT, b"[1]", 400, "must be a JSON object, not a list"),
    (PREDICT, b'{"rows": []}', 400, 'unknown field "rows"'),
    (PREDICT, b"{}", 400, '"instances" is missing'),
    (PREDICT, b'{"instances": 3}', 400, '"instances" must be a list of rows, not a number'),
    (PREDICT, b'{"instances": []}', 400, "no row"),
    (PREDICT, b'{"instances": [3]}', 400, r"instances\[0\] must be an object"),
    (PREDICT, b'{"instances": [[1, 2]]}', 400, r'list of 5 values, .*"age", "hours.*got 2 values'),
    (PREDICT, b'{"instances": [[1], 2]}', 400, r"instances\[0\] must be .*got 1 values"),
    (PREDICT, b'{"instances": [], "inputs": []}', 400, 'both "instances" and "inputs"'),
    (PREDICT, b'{"inputs": {"age": [1]}}', 400, 'inputs: missing columns "hours per-week"'),
    (PREDICT, _columns(age=3), 400, 'inputs: column "age" must be a list of values, not a number'),
    (PREDICT, _columns(age=[1, 2]), 400, 'inputs: column "hours per-week" has 1 rows and "age"'),
    (PREDICT, _columns(job=[4]), 400, 'inputs row 0, column "job": expected text, got 4'),
    (PREDICT, _signed("other"), 400, '"signature_name" "other" is not known'),
    (PREDICT, b'{"specversion": "1.0", "type": "a"}', 400, "unknown field"),
    (PREDICT, _without("job"), 400, r'instances\[0\]: missing column "job".*null'),
    (PREDICT, _row(height=3), 400, r'instances\[0\]: unknown column "height"'),
    (PREDICT, _row(age="old"), 400, 'column "age": expected a whole number, got "old"'),
    (PREDICT, _row(age=30.5), 400, 'column "age": expected a whole number, got 30.5'),
    (PREDICT, _row(age=2**64), 400, 'column "age": expected a whole number'),
    (PREDICT, _row(age=True), 400, 'column "age": expected a whole number, got true'),
    (PREDICT, _row(**{"hours per-week": "4"}), 400, 'column "hours per-week": expected a number'),
    (PREDICT, _row(**{"hours per-week": [4]}), 400, 'column "hours per-week": expected a number'),
    (PREDICT, _row(member=2), 400, 'column "member": expected true or false, got 2'),
    (PREDICT, _row(job=7), 400, 'column "job": expected text, got 7'),
    (PREDICT, _row(job={"a": 1}), 400, 'column "job": expected text'),
    (PREDICT, _row(since="yesterday"), 400, 'column "since": expected a time in ISO 8601'),
    (PREDICT, _row(since="0001-01-01T00:00:00+10:00"), 400, 'column "since": expected a time'),
    (PREDICT, json.dumps({"instances": [ROW] * 10_001}).encode(), 413, "10,001 rows.*10,000"),
    (PREDICT, b" " * 3_000_001, 413, "larger than the limit of 3,000,000 bytes"),
    (INFER, b"{}", 400, '"inputs" is missing'),
    (INFER, b'{"inputs": {}}', 400, '"inputs" must be a list'),
    (INFER, b'{"inputs": [3]}', 400, r"inputs\[0\] must be an object"),
    (INFER, b'{"inputs": [{"name": "age"}]}', 400, r'inputs\[0\]: the field "datatype" is missing'),
    (INFER, json.dumps(v2_body([ROW], id=3)).encode(), 400, '"id" must be text'),
    (INFER, json.dumps(v2_body([])).encode(), 400, "no row"),
    (INFER, _infer(0, name=None), 400, r"inputs\[0\].name must be text"),
    (INFER, _infer(0, name="job"), 400, 'tensor "job" is given twice'),
    (INFER, _infer(0, name="years"), 400, 'missing column "age" and unknown column "years"'),
    (INFER, _infer(0, datatype="BYTES"), 400, 'tensor "age": datatype "BYTES".*send INT64'),
    (INFER, _infer(0, shape=[2]), 400, r'tensor "age": shape \[2\] does not fit its 1 values'),
    (INFER, _infer(0, shape="x"), 400, 'tensor "age": shape "x"'),
    (INFER, _infer(0, data=3), 400, 'tensor "age": data must be a list'),
    (INFER, _infer(0, data=[1, 2], shape=[2]), 400, '"hours per-week" has 1 rows and "age" has 2'),
    (INFER, _infer(3, data=[4]), 400, 'inputs row 0, column "job": expected text, got 4'),
    (INFER, _infer(0, datatype=[]), 400, r'tensor "age": datatype \[\] does not fit'),
    (INFER, _infer(0, extra=1), 400, r'inputs\[0\]: unknown field "extra"'),
    (INFER, _infer(0, shape=[1, 1], data=[[1, 2]]), 400, 'tensor "age": each row must hold'),
    (INFER, _infer(0, shape=[1, 1, 1]), 400, r'tensor "age": shape \[1,1,1\] does not fit'),
    (INFER, _infer(0, parameters={"content_type": "str"}), 400, '"age": content_type "str".*"np"'),
    (INFER, _infer(0, shape=[True]), 400, r'tensor "age": shape \[true\]'),
    (INFER, _infer(0, shape=[1, 2**62]), 400, r'tensor "age": shape \[1,4611686018427387904\]'),
    (INFER, _infer(0, shape=[-1]), 400, r'tensor "age": shape \[-1\]'),
    (INFER, _infer(3, parameters={"content_type": "base64"}), 400, "value 0: it is not base64"),
    (INFER, _infer(3, parameters={"content_type": "pd_json"}), 400, "value 0: it is not JSON"),
    (INFER, _infer(0, parameters={"shared_memory_region": "a"}), 400, '"shared_memory_region"'),
    (INFER, _infer(0, data=None, parameters={"binary_data_size": 8}), 400, "lacks the header"),
    (INFER, _infer(0, data=None), 400, 'tensor "age": the field "data" is missing'),
    (INFER, _one_tensor([1, 3]), 400, "one value for each of the model's 5 columns"),
    (INFER, _one_tensor([1, 5]), 400, 'does not fit column "member" of type boolean'),
    (INFER, _one_tensor([1, 5], datatype=[]), 400, r'datatype \[\] does not fit column "age"'),
    (INFER, _one_tensor([1, 1]), 400, 'missing columns "age".* and unknown column "x"'),
    (INFER, _infer(0, parameters=[]), 400, 'tensor "age": parameters must be an object'),
    (INFER, _v2(parameters={"content_type": "x"}), 400, 'parameters: content_type "x".*"pd"'),
    (INFER, _v2(parameters={"binary_data_output": 3}), 400, "binary_data_output must be true or"),
    (INFER, _v2(parameters=3), 400, "parameters must be an object"),
    (INFER, _v2(input=[]), 400, 'unknown field "input"'),
    (INFER, _v2(outputs=3), 400, '"outputs" must be a list'),
    (INFER, _v2(outputs=[{"name": "x"}]), 400, r'outputs\[0\] must be.*"predictions"'),
    (INFER, _v2(outputs=[{"name": []}]), 400, r"outputs\[0\] must be an object with a name"),
    (
        INFER,
        _v2(outputs=[{"name": "predictions", "parameters": {"classification": 1}}]),
        400,
        'parameter "classification"',
    ),
    (INVOCATIONS, b"{}", 400, 'exactly one of the fields "dataframe_records".*got none'),
    (INVOCATIONS, b'{"inputs": {}}', 400, 'inputs: missing columns "age"'),
    (INVOCATIONS, b'{"rows": {}}', 400, 'exactly one of .*"inputs".*got "rows"'),
    (INVOCATIONS, b'{"instances": [], "dataframe_split": {}}', 400, "exactly one of the fields"),
    (INVOCATIONS, b'{"instances": [], "params": {"a": 1}}', 400, '"params" must be empty'),
    (INVOCATIONS, b'{"dataframe_split": []}', 400, '"dataframe_split" must be an object'),
    (INVOCATIONS, b'{"dataframe_split": {}}', 400, 'the field "columns" is missing'),
    (INVOCATIONS, _split(columns=[1]), 400, "columns must be a list of names"),
    (INVOCATIONS, _split(columns=["age", "age"]), 400, "a column is given twice"),
    (INVOCATIONS, _split(columns=["age"]), 400, 'missing columns "hours per-week".*null'),
    (INVOCATIONS, _split(data=3), 400, "data must be a list of rows, not a number"),
    (INVOCATIONS, _split(data=[[1]]), 400, r"data\[0\] must be a list of 5 values"),
    (INVOCATIONS, _split(data=[]), 400, "no row"),
    (INVOCATIONS, _split(data=[["x", 1, True, "a", None]]), 400, r'data\[0\], column "age"'),
    (INVOCATIONS, b'{"dataframe_records": [1]}', 400, r"dataframe_records\[0\] must be an object"),
    (FEEDBACK, b"{}", 400, '"labels" is missing'),
    (FEEDBACK, b'{"labels": 1}', 400, '"labels" must be a list'),
    (FEEDBACK, b'{"labels": []}', 400, "no label"),
    (FEEDBACK, b'{"labels": [1]}', 400, r"labels\[0\] must be an object"),
    (FEEDBACK, b'{"labels": [{"label": 1}]}', 400, '"request_id" is missing'),
    (FEEDBACK, b'{"labels": [{"request_id": 1, "label": 1}]}', 400, "request_id must be text"),
    (FEEDBACK, _label("yes", row=-1), 400, r"labels\[0\].row must be a row's index"),
    (FEEDBACK, _label("yes", row=True), 400, r"labels\[0\].row must be a row's index"),
    (FEEDBACK, _label("yes", extra=1), 400, r'labels\[0\]: unknown field "extra"'),
    (FEEDBACK, _label("maybe"), 400, r'labels\[0\].label must be one of "no", "yes"; got "maybe"'),
    (FEEDBACK, _label(True), 400, r"labels\[0\].label must be one of"),
    (FEEDBACK, json.dumps({"labels": [{}] * 10_001}).encode(), 413, "10,001 labels"),
]


@pytest.mark.parametrize(("path", "body", "status", "message"), MISTAKES)
def test_a_clients_mistake_is_named(
    server: Server, path: str, body: bytes, status: int, message: str
) -> None:
    response = server.client.post(path, content=body)
    assert response.status_code == status
    assert re.search(message, response.json()["error"]), response.text
    assert len(response.content) < 1000
    assert "Traceback" not in server.log()
    assert response.headers["x-penstock-version"] == "3"
    assert response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "message"),
    [
        ("POST", "/v1/models/other:predict", {}, 404, "/v1/models/adult:predict"),
        ("POST", "/v2/models/adult/versions/4/infer", {}, 404, "versions/3/infer"),
        ("GET", PREDICT, {}, 405, "POST"),
        ("GET", EXPLAIN, {}, 405, "POST"),
        ("PUT", FEEDBACK, {}, 405, "POST"),
        ("DELETE", "/v2/models/adult", {}, 405, "GET"),
        ("POST", "/metrics", {}, 405, "GET"),
        ("POST", "/openapi.json", {}, 405, "GET"),
        ("POST", "/v2/repository/models/adult/unload", {}, 404, "unknown path"),
        ("GET", "/docs", {}, 404, "unknown path"),
        ("POST", PREDICT, {"content-encoding": "br"}, 415, "use gzip or deflate"),
        ("POST", PREDICT, {"ce-id": "1", "ce-type": "a"}, 400, "not valid JSON"),
    ],
)
def test_what_is_not_served_says_so(
    server: Server, method: str, path: str, headers: dict[str, str], status: int, message: str
) -> None:
    response = server.client.request(method, path, headers=headers)
    assert response.status_code == status
    assert message in response.json()["error"]
    assert (response.headers.get("allow") == message) == (status == 405)
    assert server.client.get("/v2/models/adult/ready").status_code == 200


def test_values_without_an_experiment_are_taken_and_not_counted(server: Server) -> None:
    entries = [{"request_id": "a", "value": 1}, {"request_id": "b", "row": 2, "value": -0.5}]
    response = server.client.post(FEEDBACK, json={"labels": entries})
    assert (response.status_code, response.json()) == (200, {"values": 0})


def test_a_model_that_fails_tells_the_client_nothing_of_its_inside(
    models: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # No model folder that passes its checks fails while it predicts, so one is made to.
    from penstock.serving.app import InferenceApp
    from penstock.serving.feedback import Memory
    from penstock.serving.metrics import ServingMetrics
    from penstock.serving.request_log import RequestLog
    from penstock.serving.service import Service

    def fails(*_: Any) -> None:
        raise RuntimeError("secret inside")

    loaded = load(models())
    monkeypatch.setattr(loaded.typed, "predict_proba", fails)
    metrics = ServingMetrics(
        name="adult", version="3", record=loaded.record, runtime="sklearn", digest=""
    )
    service = Service(loaded, name="adult", version="3")
    app: Any = InferenceApp(service, RequestLog(metrics, Memory(loaded.record)))

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.post(PREDICT, json={"instances": [ROW]})

    response = asyncio.run(ask())
    assert response.status_code == 500
    assert response.json() == {"error": "the model failed on this request"}


def test_a_body_in_chunks_is_limited_too(server: Server) -> None:
    response = server.client.post(PREDICT, content=(b" " * 100_000 for _ in range(31)))
    assert response.status_code == 413


def test_an_altered_folder_is_not_served(models: Callable[..., Path], tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(models(), folder)
    digest = digest_of(folder)
    (folder / "requirements.txt").write_text("altered\n")
    command = [sys.executable, "-m", "penstock.serving", "--model", str(folder), "--name", "adult"]
    command += ["--version", "3", "--port", "0", "--digest", digest]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert digest in ended.stderr
    assert str(folder) in ended.stderr
    assert "Traceback" not in ended.stderr
