"""The OpenAPI document of one served model, made from its record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import penstock
from penstock.records.dataset import ColumnType
from penstock.records.model import Model
from penstock.serving import responses

if TYPE_CHECKING:
    from penstock.serving.service import Service

_TYPES: dict[ColumnType, dict[str, Any]] = {
    "integer": {
        "type": ["integer", "null"],
        "minimum": -(2**63),
        # The largest whole number below 2^63 that a double holds.
        "maximum": 2**63 - 1024,
    },
    "number": {"type": ["number", "null"], "minimum": -1.7e308, "maximum": 1.7e308},
    "boolean": {"type": ["boolean", "null"]},
    "string": {"type": ["string", "null"]},
    "datetime": {"type": ["string", "null"], "format": "date-time"},
}

_ID = {"type": "string", "minLength": 1, "maxLength": 128}
_FLAG = {"type": ["boolean", "null"]}
_BINARY = {
    "application/octet-stream": {
        "type": "string",
        "format": "binary",
        "description": "The JSON, then the binary tensors in its order; the header "
        "Inference-Header-Content-Length is the length of the JSON",
    }
}
_CSV = {"text/csv": {"type": "string", "description": "A table with a header row, in UTF-8"}}


def document(service: Service) -> dict[str, Any]:
    """Return the document, OpenAPI 3.1."""
    name = service.name
    model = f"/v2/models/{name}"
    reads = {
        "/": "Whether the server lives",
        "/metrics": "Figures for Prometheus",
        "/openapi.json": "This document",
        "/v1/models": "The model's name",
        "/ping": "Whether the server lives, as MLflow's clients ask",
        f"/v1/models/{name}": "Whether the model is ready",
        "/v2": "The server",
        "/v2/health/live": "Whether the server lives",
        "/v2/health/ready": "Whether the server is ready",
        "/v2/models": "The model's name",
        model: "What the model takes and gives",
        f"{model}/ready": "Whether the model is ready",
    }
    record = service.record
    posts: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
        f"/v1/models/{name}:predict": ("Predict rows", _v1(record), {}),
        f"/v1/models/{name}:explain": ("Explain one row", _v1(record, at_most=1), {}),
        f"/v1/models/{name}:feedback": ("Send labels that came later", _feedback(record), {}),
        f"{model}/infer": ("Predict rows, as tensors", _v2(record), _BINARY),
        "/invocations": ("Predict rows, as MLflow's clients send them", _mlflow(record), _CSV),
        "/v2/repository/index": ("List the models", {"type": "object"}, {}),
    }
    paths: dict[str, Any] = {path: {"get": _read(text)} for path, text in reads.items()}
    for path, (text, schema, further) in posts.items():
        paths[path] = {"post": _post(text, schema, further)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": name,
            "version": service.version,
            "description": f"Served by Penstock {penstock.__version__}. Trained on "
            f"{service.record.dataset_version}.",
        },
        "paths": paths,
    }


def _read(text: str) -> dict[str, Any]:
    return {"summary": text, "responses": {"200": {"description": "The answer"}}}


def _post(text: str, schema: Mapping[str, Any], further: Mapping[str, Any]) -> dict[str, Any]:
    """Return an operation; `further` are schemas of bodies beside JSON, by media type."""
    known = {
        "200": "The answer",
        "400": "The body does not fit the model; `error` names the field",
        "404": "The model cannot do that",
        "401": "Labels need a token here",
        "403": "Labels are not taken here",
        "408": "The body did not come in time",
        "413": "Too many rows or bytes",
        "415": "A body of another kind, or compressed otherwise than by gzip or deflate",
        "422": "A value that the model was not trained with, where those are rejected",
        "429": "Too many at once",
        "500": "The model failed",
        "503": "The memory for bodies or the connections are used up; try again later",
    }
    header = {
        "name": "x-request-id",
        "in": "header",
        "required": False,
        "description": "Comes back, and joins labels that come later. Made where it is left out",
        "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$"},
    }
    return {
        "summary": text,
        "parameters": [header],
        "requestBody": {
            "required": True,
            "content": {
                media: {"schema": form}
                for media, form in ({"application/json": schema} | dict(further)).items()
            },
        },
        "responses": {status: {"description": text} for status, text in known.items()},
    }


def _row(record: Model) -> dict[str, Any]:
    return _object({column.name: _TYPES[column.type] for column in record.columns})


def _list(record: Model) -> dict[str, Any]:
    """Return the schema of a row by position."""
    count = len(record.columns)
    values = [_TYPES[column.type] for column in record.columns]
    return {"type": "array", "prefixItems": values, "minItems": count, "maxItems": count}


def _rows(items: Mapping[str, Any], at_most: int | None) -> dict[str, Any]:
    rows = {"type": "array", "minItems": 1, "items": items}
    return rows if at_most is None else rows | {"maxItems": at_most}


def _tables(record: Model, at_most: int | None = None) -> list[dict[str, Any]]:
    """Return the forms that v1 and MLflow share."""
    one = {c.name: _rows(_TYPES[c.type], 1) for c in record.columns}
    forms = [
        _object({field: _rows(row, at_most)})
        for field in ("instances", "inputs")
        for row in (_row(record), _list(record))
    ]
    # OpenAPI cannot express that all columns have one length, so one row stands for any number.
    return [*forms, _object({"inputs": _object(one)})]


def _v1(record: Model, *, at_most: int | None = None) -> dict[str, Any]:
    return {"anyOf": _tables(record, at_most)}


def _v2(record: Model) -> dict[str, Any]:
    # One row stands for any number: shape and length of the data belong together.
    tensors = [
        _object(
            {
                "name": {"const": tensor["name"]},
                "datatype": {"const": tensor["datatype"]},
                "shape": {"enum": [[1], [1, 1]]},
                "data": _rows(_TYPES[column.type], 1),
            }
        )
        for tensor, column in zip(responses.input_tensors(record), record.columns, strict=True)
    ]
    count = len(tensors)
    inputs = {"type": "array", "prefixItems": tensors, "minItems": count, "maxItems": count}
    schema = _object({"inputs": inputs})
    names = [tensor["name"] for tensor in responses.output_tensors(record)]
    output = _object({"name": {"enum": names}})
    output["properties"]["parameters"] = _parameters(binary_data=_FLAG)
    text = {"type": ["string", "null"]}
    schema["properties"] |= {
        "id": text,
        "model_name": text,
        "model_version": text,
        "parameters": _parameters(
            binary_data_output=_FLAG, content_type={"enum": ["pd", "np", "str"]}
        ),
        "outputs": {"type": ["array", "null"], "items": output, "maxItems": 10},
    }
    return schema


def _parameters(**known: Any) -> dict[str, Any]:
    return {"type": ["object", "null"], "properties": known}


def _mlflow(record: Model) -> dict[str, Any]:
    names = [column.name for column in record.columns]
    split = _object({"columns": {"const": names}, "data": _rows(_list(record), None)})
    records = _object({"dataframe_records": _rows(_row(record), None)})
    return {"anyOf": [_object({"dataframe_split": split}), records, *_tables(record)]}


def _feedback(record: Model) -> dict[str, Any]:
    label: dict[str, Any] = (
        {"type": "number"} if record.task == "regression" else {"enum": list(record.classes)}
    )
    entry = _object({"request_id": _ID, "label": label})
    entry["properties"]["row"] = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
    # Of an experiment, which may have ended: it is not counted then.
    entry["properties"]["value"] = {"type": "number"}
    entry["required"] = ["request_id"]
    entry["anyOf"] = [{"required": ["label"]}, {"required": ["value"]}]
    return _object({"labels": {"type": "array", "minItems": 1, "maxItems": 10_000, "items": entry}})


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
