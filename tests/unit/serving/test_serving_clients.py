"""Clients that others wrote, and all forms of the protocols, against one running server."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from router_parts import Steered, running_proxy
from running_process import until
from serving_process import DATATYPES, ROW, Server, Start, v2_body

pytestmark = pytest.mark.xdist_group("serving-clients")

PREDICT, INFER = "/v1/models/adult:predict", "/v2/models/adult/infer"
INVOCATIONS, FEEDBACK = "/invocations", "/v1/models/adult:feedback"
DTYPES = {"INT64": np.int64, "FP64": np.float64, "BOOL": np.bool_, "BYTES": np.object_}
ROWS = [ROW, ROW | {"age": 61, "job": "clérk", "member": False}]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("capture")


@pytest.fixture(scope="module")
def server(exported: Callable[..., Any], start: Start, capture: Path) -> Server:
    made = exported()
    options = ("--max-body", "300000", "--max-rows", "1000", "--capture", str(capture))
    return start(made.folder, *made.options, *options)


@pytest.fixture(scope="module")
def proxy(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steered]:
    """A canary's proxy with that server behind it twice, so that both versions agree."""
    with running_proxy(tmp_path_factory.mktemp("proxy")) as parts:
        parts.arms(server.port, server.port, mirror=1.0)
        yield parts


@pytest.fixture(scope="module")
def expected(server: Server) -> list[list[float]]:
    """The probabilities of ROWS."""
    found: list[list[float]] = server.predict(*ROWS).json()["probabilities"]
    return found


def _arrays(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    return {
        name: np.array([row[name] for row in rows], dtype=DTYPES[kind])
        for name, kind in DATATYPES.items()
    }


def _kserve_request(*, binary: bool, **given: Any) -> Any:
    from kserve.protocol.infer_type import InferInput, InferRequest

    tensors = []
    for name, array in _arrays(ROWS).items():
        tensor = InferInput(name, [len(ROWS)], DATATYPES[name])
        tensor.set_data_from_numpy(array, binary_data=binary)
        tensors.append(tensor)
    return InferRequest("adult", tensors, **given)


def _outputs(response: Any) -> dict[str, Any]:
    return {output.name: output.data for output in response.outputs}


@pytest.mark.parametrize("binary", [False, True])
def test_kserves_client_of_v2(server: Server, expected: list[list[float]], *, binary: bool) -> None:
    from kserve.inference_client import InferenceRESTClient, RESTConfig
    from kserve.protocol.infer_type import RequestedOutput

    probabilities = RequestedOutput("probabilities", {"binary_data": True})
    labels = RequestedOutput("predictions", {"binary_data": False})

    async def ask() -> list[Any]:
        async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
            assert await client.is_server_live(server.url)
            assert await client.is_server_ready(server.url)
            assert await client.is_model_ready(server.url, "adult")
            requests = [
                _kserve_request(binary=binary),
                _kserve_request(binary=binary, parameters={"binary_data_output": True, "x": "y"}),
                _kserve_request(binary=binary, request_outputs=[probabilities, labels]),
                _kserve_request(binary=False, model_version="9").to_dict(),
            ]
            return [await client.infer(server.url, one, model_name="adult") for one in requests]

    for response in asyncio.run(ask()):
        found = _outputs(response)
        assert found["predictions"] == ["yes", "no"]
        assert np.reshape(found["probabilities"], (2, 2)).tolist() == expected


def test_kserves_client_of_v1(server: Server, expected: list[list[float]]) -> None:
    from kserve.inference_client import InferenceRESTClient, RESTConfig

    async def ask() -> list[Any]:
        async with InferenceRESTClient(RESTConfig(protocol="v1")) as client:
            assert await client.is_server_live(server.url)
            assert await client.is_model_ready(server.url, "adult")
            lists = [[row[name] for name in ROW] for row in ROWS]
            bodies = ({"instances": ROWS}, {"inputs": ROWS}, {"instances": lists})
            return [await client.infer(server.url, b, model_name="adult") for b in bodies]

    assert [answer["probabilities"] for answer in asyncio.run(ask())] == [expected] * 3


def test_the_default_predict_of_a_kserve_transformer(
    server: Server, expected: list[list[float]]
) -> None:
    from kserve import Model, context
    from kserve.predictor_config import PredictorConfig

    async def ask() -> list[Any]:
        found = []
        for protocol, payloads in (
            ("v1", [{"instances": ROWS}]),
            ("v2", [_kserve_request(binary=binary) for binary in (False, True)]),
        ):
            host = f"127.0.0.1:{server.port}"
            context.set_predictor_config(
                PredictorConfig(predictor_host=host, predictor_protocol=protocol)
            )
            model = Model("adult")
            found += [await model.predict(payload, {"x-request-id": "t"}) for payload in payloads]
            await model._http_client.close()
        return found

    first, *others = asyncio.run(ask())
    assert first["probabilities"] == expected
    for other in others:
        assert np.reshape(_outputs(other)["probabilities"], (2, 2)).tolist() == expected


def _triton_inputs(rows: list[dict[str, Any]], *, binary: bool) -> list[Any]:
    from tritonclient.http import InferInput

    tensors = []
    for name, array in _arrays(rows).items():
        tensor = InferInput(name, [len(rows), 1], DATATYPES[name])
        tensor.set_data_from_numpy(array.reshape(-1, 1), binary_data=binary)
        tensors.append(tensor)
    return tensors


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [False, True])
def test_tritons_client(
    server: Server, expected: list[list[float]], *, binary: bool, compression: str | None
) -> None:
    from tritonclient.http import InferenceServerClient, InferRequestedOutput

    with InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        outputs = [
            None,
            [InferRequestedOutput("probabilities"), InferRequestedOutput("predictions")],
            [
                InferRequestedOutput("predictions", binary_data=False),
                InferRequestedOutput("probabilities"),
            ],
        ]
        for asked in outputs:
            found = client.infer(
                "adult",
                _triton_inputs(ROWS, binary=binary),
                outputs=asked,
                request_id="r",
                model_version="3",
                priority=1,
                timeout=9,
                request_compression_algorithm=compression,
                response_compression_algorithm=compression,
            )
            assert found.as_numpy("probabilities").tolist() == expected
            labels = [
                x.decode() if isinstance(x, bytes) else x for x in found.as_numpy("predictions")
            ]
            assert labels == ["yes", "no"]
            assert found.get_response()["id"] == "r"


def test_what_tritons_client_reads_and_is_refused(server: Server) -> None:
    from tritonclient.http import InferenceServerClient, InferRequestedOutput
    from tritonclient.utils import InferenceServerException

    with InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("adult", "3")
        assert not client.is_model_ready("adult", "4")
        assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
        assert [tensor["name"] for tensor in client.get_model_metadata("adult")["inputs"]] == [*ROW]
        index = client.get_model_repository_index()
        assert index == [{"name": "adult", "version": "3", "state": "READY", "reason": ""}]
        refusals: list[tuple[dict[str, Any], str]] = [
            ({"outputs": [InferRequestedOutput("x")]}, '"predictions", "probabilities"'),
            ({"outputs": [InferRequestedOutput("predictions", class_count=1)]}, "classification"),
            ({"model_version": "4"}, "/v2/models/adult/versions/3/infer"),
        ]
        for given, message in refusals:
            with pytest.raises(InferenceServerException, match=message):
                client.infer("adult", _triton_inputs(ROWS, binary=True), **given)


def test_mlflows_client(server: Server, expected: list[list[float]]) -> None:
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    client = ScoringServerClient("127.0.0.1", server.port)
    client.ping()
    frame = pd.DataFrame(ROWS)
    assert client.invoke(frame, {})["probabilities"] == expected
    assert client.invoke(frame)["predictions"] == ["yes", "no"]
    assert client.invoke(ROWS)["probabilities"] == expected
    timed = frame.assign(since=pd.to_datetime(frame["since"]))
    assert client.invoke(timed)["probabilities"] == expected
    # What pandas has for a missing number is NaN, which Python's json writes as such.
    missing = frame.assign(age=[None, 61.0])
    unknown = server.predict(ROWS[0] | {"age": None}, ROWS[1]).json()
    assert client.invoke(missing)["probabilities"] == unknown["probabilities"]


def test_a_csv_table(server: Server, expected: list[list[float]]) -> None:
    frame = pd.DataFrame([*ROWS, ROW | {"age": None, "job": None}])
    wanted = server.predict(*ROWS, ROW | {"age": None, "job": None}).json()["predictions"]

    def send(text: str, content_type: str = "text/csv") -> httpx.Response:
        headers = {"content-type": content_type}
        return server.client.post(INVOCATIONS, content=text.encode(), headers=headers)

    for text in (frame.to_csv(), frame.to_csv(index=False), "\ufeff" + frame.to_csv(index=False)):
        answer = send(text, "text/csv; charset=utf-8")
        assert answer.json()["predictions"] == wanted
        assert answer.json()["probabilities"][:2] == expected
    table = pd.DataFrame(ROWS).to_csv(index=False)
    for text, message in (
        ("", "the CSV header: missing columns"),
        (table.replace("age", "years"), 'missing column "age" and unknown column "years"'),
        (table.replace("age", "job"), "names a column twice"),
        (
            table.replace("30,", "030,"),
            'CSV row 0, column "age": expected a whole number, got "030"',
        ),
        (table.replace("41.5", "1e999"), 'CSV row 0, column "hours per-week": expected a number'),
        (table.replace("pilot", '"pilot'), "not valid CSV"),
        (table + "1,2\n", "CSV row 2 has 2 fields, and the header 5"),
        (table.partition("\n")[0], "no row"),
    ):
        answer = send(text)
        assert (answer.status_code, message in answer.json()["error"]) == (400, True), answer.text
    lines = table.splitlines()
    assert send("\n".join([*lines, *[lines[1]] * 1000])).status_code == 413
    assert send(table, "text/csv; charset=utf-16").status_code == 415
    assert send(table, "application/vnd.apache.parquet").status_code == 415


def _parts(rows: list[dict[str, Any]], **changes: Any) -> tuple[bytes, bytes]:
    """Return the JSON and the bytes of a binary request, written apart from the code under test."""
    inputs, blocks = [], []
    for name, array in _arrays(rows).items():
        if DATATYPES[name] == "BYTES":
            texts = [text.encode() for text in array]
            block = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
        else:
            block = array.tobytes()
        tensor = {"name": name, "datatype": DATATYPES[name], "shape": [len(rows)]}
        tensor["parameters"] = {"binary_data_size": len(block)}
        inputs.append(tensor | changes.get(name.replace(" ", "_").replace("-", "_"), {}))
        blocks.append(block)
    return json.dumps({"inputs": inputs}).encode(), b"".join(blocks)


def _send(
    server: Server, head: bytes, rest: bytes, *, length: Any = None, path: str = INFER
) -> httpx.Response:
    given = str(len(head) if length is None else length)
    headers = {"inference-header-content-length": given}
    return server.client.post(path, content=head + rest, headers=headers)


def _size(size: Any) -> dict[str, Any]:
    return {"parameters": {"binary_data_size": size}}


NAN, INFINITY = b"\0" * 6 + b"\xf8\x7f", b"\0" * 6 + b"\xf0\x7f"
HUGE = b"\xff\xff\xff\xff"
HOSTILE: list[tuple[dict[str, Any], Callable[[bytes], bytes], str]] = [
    ({"age": _size(-8)}, bytes, 'tensor "age": binary_data_size must be a number of bytes, got -8'),
    ({"age": _size("8")}, bytes, 'binary_data_size must be a number of bytes, got "8"'),
    ({"age": _size(True)}, bytes, "binary_data_size must be a number of bytes, got true"),
    ({"age": _size(2**62)}, bytes, "is 4,611,686,018,427,387,904, but"),
    (
        {"age": _size(7), "hours_per_week": _size(9)},
        bytes,
        'tensor "age": shape [1]: 7 bytes are not 1 values of 8 bytes',
    ),
    ({"age": {"shape": [2]}}, bytes, "8 bytes are not 2 values of 8 bytes"),
    ({"age": {"shape": [2**62]}}, bytes, "4,611,686,018,427,387,904 rows in one request"),
    ({"age": {"shape": [1, 2**62]}}, bytes, "shape [1,4611686018427387904] does not fit"),
    ({"age": {"shape": [-1]}}, bytes, 'tensor "age": shape [-1] does not fit'),
    ({"age": {"shape": []}}, bytes, 'tensor "age": shape [] does not fit'),
    ({"age": {"shape": [1.0]}}, bytes, 'tensor "age": shape [1.0] does not fit'),
    ({"age": {"shape": [0]}}, bytes, "the request holds no row"),
    ({"age": {"datatype": "BYTES"}}, bytes, "does not fit a column of type integer; send INT64"),
    ({"age": {"data": [30]}}, bytes, 'tensor "age": it has both data and binary_data_size'),
    ({"hours_per_week": {"datatype": "FP32"}}, bytes, "8 bytes are not 1 values of 4 bytes"),
    ({}, lambda rest: rest[:-1], 'tensor "since": binary_data_size is 24, but 23 bytes'),
    ({}, lambda rest: rest + b"x", "1 bytes follow the last binary tensor"),
    ({}, lambda rest: rest[:8] + INFINITY + rest[16:], "value 0 is infinite"),
    ({}, lambda rest: rest[:16] + b"\2" + rest[17:], "a byte of a BOOL is neither 0 nor 1"),
    ({}, lambda rest: rest[:17] + HUGE + rest[21:], "the bytes end within element 0 of 1"),
    ({}, lambda rest: rest[:17] + b"\0" * 4 + rest[21:], "5 bytes follow the last of 1 elements"),
    ({}, lambda rest: rest[:21] + b"\xff" + rest[22:], 'tensor "job": value 0: it is not UTF-8'),
]


@pytest.mark.parametrize(("changes", "damage", "message"), HOSTILE)
def test_a_broken_binary_request_is_refused(
    server: Server, changes: dict[str, Any], damage: Callable[[bytes], bytes], message: str
) -> None:
    head, rest = _parts([ROW], **changes)
    answer = _send(server, head, damage(rest))
    assert message in answer.json()["error"]
    assert answer.status_code == (413 if "rows in one request" in message else 400)
    assert "Traceback" not in server.log()


@pytest.mark.parametrize(
    ("length", "message"),
    [
        ("-1", "must be a number of bytes, got '-1'"),
        ("x", "must be a number of bytes, got 'x'"),
        ("1" * 5000, "must be a number of bytes"),
        ("9999999", "is 9,999,999, and the body has"),
        ("0", "a tensor needs the JSON that describes it"),
        ("5", "the body is not valid JSON"),
    ],
)
def test_a_wrong_length_of_the_json_is_refused(server: Server, length: str, message: str) -> None:
    answer = _send(server, *_parts([ROW]), length=length)
    assert (answer.status_code, message in answer.json()["error"]) == (400, True), answer.text


def test_nan_is_a_missing_number_and_the_limits_hold(server: Server) -> None:
    head, rest = _parts([ROW], age={"datatype": "FP64"})
    answer = _send(server, head, NAN + rest[8:])
    unknown = server.predict(ROW | {"age": None}).json()
    assert answer.json()["outputs"][0]["data"] == unknown["predictions"]
    assert answer.json()["outputs"][1]["data"] == unknown["probabilities"][0]
    assert _send(server, *_parts([ROW] * 1000)).status_code == 200
    assert _send(server, *_parts([ROW] * 1001)).status_code == 413
    assert _send(server, *_parts([ROW]), path=PREDICT).status_code == 400


def test_compressed_bodies(server: Server) -> None:
    body = json.dumps({"instances": ROWS}).encode()
    plain = server.client.post(PREDICT, content=body).json()

    def send(content: bytes, encoding: str, path: str = PREDICT) -> httpx.Response:
        return server.client.post(path, content=content, headers={"content-encoding": encoding})

    for encoding, content in (
        ("gzip", gzip.compress(body)),
        ("GZIP", gzip.compress(body)),
        ("deflate", zlib.compress(body)),
        ("identity", body),
        ("", body),
    ):
        assert send(content, encoding).json() == plain
    table = gzip.compress(pd.DataFrame(ROWS).to_csv(index=False).encode())
    headers = {"content-encoding": "gzip", "content-type": "text/csv"}
    assert server.client.post(INVOCATIONS, content=table, headers=headers).json() == plain
    bomb = gzip.compress(b" " * 20_000_000)
    assert len(bomb) < 300_000
    broken = {
        "the body is larger than the limit of 300,000 bytes": (bomb, "gzip", 413),
        "ends too soon": (gzip.compress(body)[:-9], "gzip", 400),
        "bytes follow the compressed body": (gzip.compress(body) * 2, "gzip", 400),
        "cannot be read": (body, "deflate", 400),
        "use gzip or deflate": (body, "gzip, gzip", 415),
    }
    for message, (content, encoding, status) in broken.items():
        answer = send(content, encoding)
        assert (answer.status_code, message in answer.json()["error"]) == (status, True)
    assert send(body, "zstd").headers["accept-encoding"] == "gzip, deflate"
    labels = gzip.compress(b'{"labels": [{"request_id": "nobody", "label": "yes"}]}')
    assert "none of the 1 labels" in send(labels, "gzip", FEEDBACK).json()["error"]


def test_cloudevents_in_both_modes(
    server: Server, proxy: Steered, expected: list[list[float]]
) -> None:
    from cloudevents.conversion import to_binary, to_structured
    from cloudevents.http import CloudEvent, from_http

    event = CloudEvent({"type": "a", "source": "b"}, {"instances": ROWS})
    before = proxy.observe().pairs
    for number, convert in enumerate((to_binary, to_structured), start=1):
        headers, body = convert(event)
        for client in (server.client, proxy.client):
            answer = client.post(PREDICT, content=body, headers=dict(headers))
            assert answer.status_code == 200, answer.text
            said = from_http(dict(answer.headers), answer.content)
            assert (said["type"], said["source"]) == (
                "io.kserve.inference.response",
                "io.kserve.inference.adult",
            )
            data = said.get_data()
            assert (json.loads(data) if isinstance(data, bytes) else data)[
                "probabilities"
            ] == expected
        pairs = proxy.pairs_of(before.candidate.requests + number)
        assert (pairs.rows, pairs.agreeing) == (before.rows + number,) * 2
    broken = {"specversion": "1.0", "id": "1", "type": "a", "source": "b", "data": "x"}
    assert "the event's data must be a JSON object" in server.client.post(PREDICT, json=broken).text


def test_the_media_type_of_json_may_be_anything(server: Server) -> None:
    head, rest = _parts(ROWS)
    plain = server.client.post(INFER, json=v2_body(ROWS)).json()
    for media in ("application/json; charset=utf-8", "application/octet-stream", "text/plain", ""):
        headers = {"content-type": media}
        body = json.dumps(v2_body(ROWS)).encode()
        assert server.client.post(INFER, content=body, headers=headers).json() == plain
        headers["inference-header-content-length"] = str(len(body))
        assert server.client.post(INFER, content=body, headers=headers).json() == plain
        headers["inference-header-content-length"] = str(len(head))
        assert server.client.post(INFER, content=head + rest, headers=headers).json() == plain


def test_head_and_expect_are_answered(server: Server, proxy: Steered) -> None:
    answer = server.client.head("/v2/health/ready")
    assert (answer.status_code, answer.content) == (200, b"")
    body = json.dumps({"instances": ROWS}).encode()
    lines = [f"POST {PREDICT} HTTP/1.1", "host: x", "expect: 100-continue"]
    head = "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode()
    for port in (server.port, proxy.running.port):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as wire:
            wire.sendall(head)
            assert wire.recv(100).startswith(b"HTTP/1.1 100 ")
            wire.sendall(body)
            assert wire.recv(100).startswith(b"HTTP/1.1 200 ")


def test_the_canarys_front_passes_and_compares_binary_and_compressed_requests(
    proxy: Steered, expected: list[list[float]]
) -> None:
    from tritonclient.http import InferenceServerClient

    proxy.pairs_of(1)
    before = proxy.observe().pairs
    with InferenceServerClient(f"127.0.0.1:{proxy.running.port}") as client:
        for compression in (None, "gzip", "deflate"):
            found = client.infer(
                "adult",
                _triton_inputs(ROWS, binary=True),
                request_compression_algorithm=compression,
            )
            assert found.as_numpy("probabilities").tolist() == expected
    pairs = proxy.pairs_of(before.candidate.requests + 3)
    assert (pairs.rows - before.rows, pairs.agreeing - before.agreeing) == (3, 3)
    for side in (pairs.stable, pairs.candidate):
        assert (side.client_errors, side.server_errors) == (0, 0)
        assert sum(side.scores.values()) == sum(side.labels.values()) == pairs.rows
    answer = proxy.client.post(
        FEEDBACK,
        content=gzip.compress(b'{"labels": [{"request_id": "nobody", "label": "yes"}]}'),
        headers={"content-encoding": "gzip"},
    )
    assert (answer.status_code, "none of the 1 labels" in answer.json()["error"]) == (404, True)


def test_every_form_is_captured_as_the_same_rows(server: Server, capture: Path) -> None:
    sent = {
        "plain": {"json": {"instances": ROWS}, "url": PREDICT},
        "v2": {"json": v2_body(ROWS, id=None, model_name="adult", parameters=None), "url": INFER},
    }
    for request_id, given in sent.items():
        answer = server.client.post(headers={"x-request-id": request_id}, **given)
        assert answer.status_code == 200
    head, rest = _parts(ROWS)
    headers = {"inference-header-content-length": str(len(head)), "x-request-id": "binary"}
    headers["content-encoding"] = "gzip"
    server.client.post(INFER, content=gzip.compress(head + rest), headers=headers)
    wanted = {"plain", "v2", "binary"}

    def kept() -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {request_id: [] for request_id in wanted}
        text = "".join(path.read_text() for path in capture.glob("predictions-*"))
        for line in map(json.loads, text.splitlines()):
            if line["request_id"] in wanted:
                found[line["request_id"]].append((line["inputs"], line["score"], line["label"]))
        return found

    until(lambda: all(len(rows) == len(ROWS) for rows in kept().values()))
    rows = kept()
    assert rows["plain"] == rows["v2"] == rows["binary"]
    assert [inputs for inputs, _, _ in rows["binary"]] == ROWS
