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


def document(service: Service) -> dict[str, Any]:
    """Return the document, OpenAPI 3.1."""
    name = service.name
    model = f"/v2/models/{name}"
    reads = {
        "/": "Whether the server lives",
        "/metrics": "Figures for Prometheus",
        "/openapi.json": "This document",
        "/v1/models": "The model's name",
        f"/v1/models/{name}": "Whether the model is ready",
        "/v2": "The server",
        "/v2/health/live": "Whether the server lives",
        "/v2/health/ready": "Whether the server is ready",
        "/v2/models": "The model's name",
        model: "What the model takes and gives",
        f"{model}/ready": "Whether the model is ready",
    }
    posts = {
        f"/v1/models/{name}:predict": ("Predict rows", _v1(service.record)),
        f"/v1/models/{name}:explain": ("Explain one row", _v1(service.record, at_most=1)),
        f"/v1/models/{name}:feedback": ("Send labels that came later", _feedback(service.record)),
        f"{model}/infer": ("Predict rows, as tensors", _v2(service.record)),
        "/invocations": ("Predict rows, as MLflow's clients send them", _mlflow(service.record)),
    }
    paths: dict[str, Any] = {path: {"get": _read(text)} for path, text in reads.items()}
    for path, (text, schema) in posts.items():
        paths[path] = {"post": _post(text, schema)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": name,
            "version": service.version,
            "description": f"Served by Penstock {penstock.__version__}. Trained on "
            f"{service.record.dataset}.",
        },
        "paths": paths,
    }


def _read(text: str) -> dict[str, Any]:
    return {"summary": text, "responses": {"200": {"description": "The answer"}}}


def _post(text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    known = {
        "200": "The answer",
        "400": "The body does not fit the model; `error` names the field",
        "404": "The model cannot do that",
        "413": "Too many rows or bytes",
        "415": "A compressed body",
        "422": "A value that the model was not trained with, where those are rejected",
        "429": "Too many at once",
        "500": "The model failed",
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
            "content": {"application/json": {"schema": schema}},
        },
        "responses": {status: {"description": text} for status, text in known.items()},
    }


def _row(record: Model) -> dict[str, Any]:
    return _object({column.name: _TYPES[column.type] for column in record.columns})


def _v1(record: Model, *, at_most: int | None = None) -> dict[str, Any]:
    rows: dict[str, Any] = {"type": "array", "minItems": 1, "items": _row(record)}
    if at_most is not None:
        rows["maxItems"] = at_most
    return _object({"instances": rows})


def _v2(record: Model) -> dict[str, Any]:
    tensors = [
        _object(
            {
                "name": {"const": tensor["name"]},
                "datatype": {"const": tensor["datatype"]},
                "shape": {"const": [1]},
                "data": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 1,
                    "items": _TYPES[column.type],
                },
            }
        )
        for tensor, column in zip(responses.input_tensors(record), record.columns, strict=True)
    ]
    count = len(tensors)
    inputs = {"type": "array", "prefixItems": tensors, "minItems": count, "maxItems": count}
    schema = _object({"inputs": inputs})
    schema["properties"]["id"] = {"type": "string"}
    return schema


def _mlflow(record: Model) -> dict[str, Any]:
    records = {"type": "array", "minItems": 1, "items": _row(record)}
    return _object({"dataframe_records": records})


def _feedback(record: Model) -> dict[str, Any]:
    label: dict[str, Any] = (
        {"type": "number"} if record.task == "regression" else {"enum": list(record.classes)}
    )
    entry = _object({"request_id": {"type": "string"}, "label": label})
    entry["properties"]["row"] = {"type": "integer", "minimum": 0, "maximum": 2**31}
    return _object({"labels": {"type": "array", "minItems": 1, "maxItems": 10_000, "items": entry}})


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
