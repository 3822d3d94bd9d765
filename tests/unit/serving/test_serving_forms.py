"""The same rows in every form of every protocol: one answer, to the last bit."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import struct
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving_process import DATATYPES

from penstock.model import load
from penstock.serving import binary_tensors, requests
from penstock.serving.columns import Intake
from penstock.serving.request_errors import RequestError
from penstock.serving.service import Outcome, Service

pytestmark = pytest.mark.xdist_group("serving-clients")

TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)).map(datetime.isoformat)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
# Beyond 2^53 a whole number as a float, which clients send where one is missing, is another.
VALUES = {
    "age": st.none() | st.integers(-(2**53), 2**53),
    "hours per-week": st.none() | st.floats(allow_nan=False, allow_infinity=False),
    "member": st.none() | st.booleans(),
    "job": st.none() | st.sampled_from(["clerk", "nurse", "pilot"]) | TEXTS,
    "since": st.none() | TIMES,
}
CODES = {"INT64": "q", "FP64": "d", "BOOL": "?"}
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def service(models: Callable[..., Path]) -> Service:
    return Service(load(models()), name="adult", version="3")


def _column(rows: Rows, name: str) -> list[Any]:
    return [row[name] for row in rows]


def _tensors(rows: Rows, *, nested: bool) -> bytes:
    inputs = []
    for name, kind in DATATYPES.items():
        values = _column(rows, name)
        shape = [len(rows), 1] if nested else [len(rows)]
        data: Any = [[value] for value in values] if nested else values
        inputs.append({"name": name, "datatype": kind, "shape": shape, "data": data})
    return json.dumps({"inputs": inputs, "id": None, "model_name": "adult"}).encode()


def _block(values: list[Any], kind: str) -> tuple[str, bytes] | None:
    """Return datatype and bytes of a column, or None where it has no binary form."""
    if kind in ("INT64", "FP64") and None in values:
        floats = [math.nan if value is None else float(value) for value in values]
        return "FP64", struct.pack(f"<{len(values)}d", *floats)
    if None in values:
        return None
    if kind == "BYTES":
        texts = [value.encode() for value in values]
        return kind, b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return kind, struct.pack(f"<{len(values)}{CODES[kind]}", *values)


def _binary(rows: Rows) -> tuple[bytes, int]:
    """Return a request with a binary tensor wherever there may be one, and where it begins."""
    inputs, blocks = [], []
    for name, kind in DATATYPES.items():
        values = _column(rows, name)
        tensor: dict[str, Any] = {"name": name, "datatype": kind, "shape": [len(rows)]}
        if found := _block(values, kind):
            tensor["datatype"], block = found
            tensor["parameters"] = {"binary_data_size": len(block)}
            blocks.append(block)
        else:
            tensor["data"] = values
        inputs.append(tensor)
    outputs = [{"name": n, "parameters": {"binary_data": True}} for n in ("predictions",)]
    outputs.append({"name": "probabilities", "parameters": {"binary_data": False}})
    head = json.dumps({"inputs": inputs, "outputs": outputs}).encode()
    return b"".join([head, *blocks]), len(head)


def _csv(rows: Rows) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(DATATYPES)
    writer.writerows([row[name] for name in DATATYPES] for row in rows)
    return text.getvalue().encode()


def _same(outcome: Outcome, plain: Outcome) -> None:
    assert outcome.scores.tobytes() == plain.scores.tobytes()
    assert outcome.labels == plain.labels
    assert {name: list(values) for name, values in outcome.values.items()} == plain.values


@settings(
    max_examples=12,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(rows=st.lists(st.fixed_dictionaries(VALUES), min_size=1, max_size=5))
def test_every_form_of_the_same_rows_has_the_same_answer(service: Service, rows: Rows) -> None:
    plain = service.predict(orjson.dumps({"instances": rows}), "v1")
    lists = [[row[name] for name in DATATYPES] for row in rows]
    columns = {name: _column(rows, name) for name in DATATYPES}
    split = {"dataframe_split": {"columns": list(DATATYPES), "data": lists}}
    for form in ({"instances": lists}, {"inputs": rows}, {"inputs": lists}, {"inputs": columns}):
        for protocol in ("v1", "mlflow"):
            outcome = service.predict(orjson.dumps(form), protocol)
            assert outcome.body == plain.body
            _same(outcome, plain)
    for form in (split, {"dataframe_records": rows}):
        _same(service.predict(orjson.dumps(form), "mlflow"), plain)
    for nested in (False, True):
        _same(service.predict(_tensors(rows, nested=nested), "v2"), plain)
    body, length = _binary(rows)
    outcome = service.predict(body, "v2", header_length=length)
    _same(outcome, plain)
    head, rest = outcome.body[: outcome.header_length], outcome.body[outcome.header_length :]
    labels, scores = orjson.loads(head)["outputs"]
    assert scores["data"] == [p for row in json.loads(plain.body)["probabilities"] for p in row]
    assert labels["parameters"] == {"binary_data_size": len(rest)}
    assert binary_tensors.decode("BYTES", rest, count=len(rows)) == [
        x.encode() for x in plain.labels
    ]
    _same(service.predict(_csv(rows), "mlflow", csv=True), plain)


@pytest.mark.parametrize("kind", ["INT8", "INT16", "INT32", "UINT8", "UINT16", "UINT32", "UINT64"])
def test_every_width_of_a_whole_number_is_read(kind: str) -> None:
    bits, signed = int(kind.lstrip("UINT")), kind[0] == "I"
    ends = [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1]
    raw = b"".join(value.to_bytes(bits // 8, "little", signed=signed) for value in ends)
    assert binary_tensors.decode(kind, raw, count=2) == ends
    assert binary_tensors.encode(kind, ends) == raw


def test_narrow_floats_are_widened_exactly() -> None:
    import numpy as np

    for kind, dtype in (("FP16", "<f2"), ("FP32", "<f4")):
        numbers = np.array([0.1, -3.14, 65504, 6e-8], dtype=dtype)
        assert (
            binary_tensors.decode(kind, numbers.tobytes(), count=4)
            == numbers.astype(float).tolist()
        )


def test_one_tensor_may_hold_all_columns_where_they_share_a_datatype(service: Service) -> None:
    intake = Intake(service.record.columns[:2], levels={})
    table = [[30, 41.5], [None, 40.0]]
    tensor: dict[str, Any] = {"name": "input-0", "datatype": "FP64", "shape": [2, 2]}
    wanted = {"age": [30, None], "hours per-week": [41.5, 40.0]}
    given: dict[str, Any] = {"intake": intake, "max_rows": 2}
    for data in (table, [30, 41.5, None, 40.0]):
        request = {"inputs": [tensor | {"data": data}], "parameters": {"content_type": "np"}}
        assert requests.v2_columns(request, **given)[0] == wanted
    rest = memoryview(struct.pack("<4d", 30, 41.5, math.nan, 40))
    request = {"inputs": [tensor | {"parameters": {"binary_data_size": 32}}]}
    assert requests.v2_columns(request, **given, rest=rest)[0] == wanted
    for data in ([[30, 41.5]], [[30, 41.5], [1]], [30, 41.5, 1]):
        with pytest.raises(RequestError, match='tensor "input-0"'):
            requests.v2_columns({"inputs": [tensor | {"data": data}]}, **given)


def test_mlservers_contents_of_a_tensor_are_read(service: Service) -> None:
    row = {"age": 30, "hours per-week": 41.5, "member": True, "job": "clérk", "since": "2026-01-01"}
    plain = service.predict(orjson.dumps({"instances": [row]}), "v1")
    encoded = {
        "age": ("BYTES", "pd_json", "30"),
        "hours per-week": ("FP64", "np", 41.5),
        "member": ("BYTES", "pd_json", "true"),
        "job": ("BYTES", "base64", base64.b64encode("clérk".encode()).decode()),
        "since": ("BYTES", "datetime", "2026-01-01"),
    }
    inputs = [
        {
            "name": name,
            "datatype": kind,
            "shape": [1, 1],
            "data": [value],
            "parameters": {"content_type": content},
        }
        for name, (kind, content, value) in encoded.items()
    ]
    for content in ("pd", "np", "str", None):
        body = {"inputs": inputs, "parameters": {"content_type": content}}
        _same(service.predict(orjson.dumps(body), "v2"), plain)
