"""What clients get back: KServe v1 and Open Inference Protocol v2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from penstock.records.model import Model
from penstock.serving.binary_tensors import SIZE
from penstock.serving.binary_tensors import encode as encode_tensor
from penstock.serving.prediction import Prediction
from penstock.serving.v2_tensors import DATATYPES


def v1_response(answer: Prediction, *, record: Model, name: str, version: str) -> dict[str, Any]:
    """Return the body of a v1 response; MLflow's clients read its `predictions`."""
    body: dict[str, Any] = {"predictions": answer.labels}
    if answer.probabilities is not None:
        body["classes"] = record.classes
        body["probabilities"] = answer.probabilities
    if record.task == "binary":
        body["positive"] = record.positive
    if answer.abstained is not None:
        body["abstained"] = answer.abstained
    body["model_name"] = name
    body["model_version"] = version
    body["dataset"] = record.dataset_version
    return body


def v2_response(
    answer: Prediction,
    *,
    record: Model,
    name: str,
    version: str,
    request_id: str | None,
    outputs: Sequence[str],
) -> dict[str, Any]:
    """Return the body of a v2 response; tensors are described by `output_tensors`.

    Args:
        answer: What the model says.
        record: The model.
        name: Its name in requests.
        version: Its version.
        request_id: The `id` of the request's body, which comes back; None: it had none.
        outputs: Names of the tensors to return.
    """
    rows = len(answer.labels)
    tensors = {
        "predictions": {
            "name": "predictions",
            "datatype": _label_type(record),
            "shape": [rows],
            "data": answer.labels,
        }
    }
    parameters: dict[str, Any] = {"dataset": record.dataset_version}
    if answer.probabilities is not None:
        tensors["probabilities"] = {
            "name": "probabilities",
            "datatype": "FP64",
            "shape": [rows, len(record.classes)],
            "data": [value for row in answer.probabilities for value in row],
        }
        # A v2 parameter holds one scalar, so the order of the classes travels as JSON text.
        parameters["classes"] = orjson.dumps(record.classes).decode()
    if record.task == "binary":
        parameters["positive"] = record.positive
    if answer.abstained is not None:
        # No tensor: a client that reads all of them by their place would find one too many.
        parameters["abstained"] = orjson.dumps(answer.abstained).decode()
    body: dict[str, Any] = {"model_name": name, "model_version": version}
    if request_id is not None:
        body["id"] = request_id
    body["parameters"] = parameters
    body["outputs"] = [tensors[output] for output in outputs]
    return body


def input_tensors(record: Model) -> list[dict[str, Any]]:
    """Return the v2 metadata of the model's columns, -1 standing for any number of rows."""
    return [
        {"name": column.name, "datatype": DATATYPES[column.type][0], "shape": [-1]}
        for column in record.columns
    ]


def output_tensors(record: Model) -> list[dict[str, Any]]:
    """Return the v2 metadata of what the model answers."""
    tensors = [{"name": "predictions", "datatype": _label_type(record), "shape": [-1]}]
    if record.task != "regression":
        shape = [-1, len(record.classes)]
        tensors.append({"name": "probabilities", "datatype": "FP64", "shape": shape})
    return tensors


def encode(body: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """Return a response body as JSON bytes."""
    return orjson.dumps(body)


def encode_tensors(body: dict[str, Any], *, binary: Sequence[bool]) -> tuple[bytes, int | None]:
    """Return a v2 response body as bytes, some of its tensors in binary form after the JSON.

    Args:
        body: From `v2_response`.
        binary: For each of its outputs, whether it is sent in binary form.

    Returns:
        The bytes, and how many of them are JSON; None: all are.
    """
    if not any(binary):
        return encode(body), None
    outputs, blocks = [], []
    for output, as_bytes in zip(body["outputs"], binary, strict=True):
        if as_bytes:
            block = encode_tensor(output["datatype"], output["data"])
            output = {name: value for name, value in output.items() if name != "data"}
            output["parameters"] = {SIZE: len(block)}
            blocks.append(block)
        outputs.append(output)
    head = encode(body | {"outputs": outputs})
    return b"".join([head, *blocks]), len(head)


def _label_type(record: Model) -> str:
    if record.task == "regression":
        return "FP64"
    sample = record.classes[0]
    if isinstance(sample, bool):
        return "BOOL"
    return "INT64" if isinstance(sample, int) else "BYTES"
