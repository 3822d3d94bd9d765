"""What clients send and what they get back: KServe v1 and Open Inference Protocol v2, as JSON.

Pure functions between bytes and columns. A request that does not fit the model's columns raises
`RequestError`, whose message names the field, so that a client's mistake is never answered as a
server's failure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from penstock.records.dataset import Column, ColumnType
from penstock.records.model import Model
from penstock.serving.answer import Answer

Columns = dict[str, list[Any]]
"""Values by column name, all lists of the same length; None stands for a missing value."""

_DATATYPES: dict[ColumnType, tuple[str, frozenset[str]]] = {
    "integer": (
        "INT64",
        frozenset(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)),
    ),
    "number": (
        "FP64",
        frozenset(
            ["FP16", "FP32", "FP64"]
            + [f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)]
        ),
    ),
    "boolean": ("BOOL", frozenset(["BOOL"])),
    "string": ("BYTES", frozenset(["BYTES"])),
    "datetime": ("BYTES", frozenset(["BYTES"])),
}


class RequestError(Exception):
    """A request that cannot be answered as it is, and the HTTP status that says so."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        self.message = message
        self.status = status
        super().__init__(message)


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that `body` is.

    Raises:
        RequestError: If it is not JSON (saying where), or not an object.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise RequestError(f"the body must be a JSON object, not {_kind(value)}")
    return value


def v1_columns(request: Mapping[str, Any], *, columns: Sequence[Column], max_rows: int) -> Columns:
    """Return the columns of a v1 request: `{"instances": [{column: value, ...}, ...]}`.

    Raises:
        RequestError: Naming the row and column that do not fit; 413 for too many rows.
    """
    _only_fields(request, required="instances", allowed={"instances"})
    rows = request["instances"]
    if not isinstance(rows, list):
        raise RequestError(f'"instances" must be a list of rows, not {_kind(rows)}')
    _check_count(len(rows), max_rows=max_rows)
    expected = {column.name for column in columns}
    for index, row in enumerate(rows):
        where = f"instances[{index}]"
        if not isinstance(row, dict):
            raise RequestError(f"{where} must be an object of column: value, not {_kind(row)}")
        if row.keys() != expected:
            raise RequestError(_difference(row.keys(), columns, where=where))
    return {
        column.name: [
            _convert(row[column.name], column.type, f"instances[{index}]", column.name)
            for index, row in enumerate(rows)
        ]
        for column in columns
    }


def v2_columns(request: Mapping[str, Any], *, columns: Sequence[Column], max_rows: int) -> Columns:
    """Return the columns of a v2 request: one named tensor a column, of shape [n] or [n, 1].

    A null in a tensor's JSON data stands for a missing value.

    Raises:
        RequestError: Naming the tensor that does not fit; 413 for too many rows.
    """
    allowed = {"id", "parameters", "inputs", "outputs"}
    _only_fields(request, required="inputs", allowed=allowed)
    if not isinstance(request.get("id", ""), str):
        raise RequestError(f'"id" must be text, not {_kind(request["id"])}')
    tensors = _named_tensors(request["inputs"])
    if tensors.keys() != {column.name for column in columns}:
        raise RequestError(_difference(tensors.keys(), columns, where="inputs"))
    values = {column.name: _tensor_data(tensors[column.name], column) for column in columns}
    counts = {name: len(data) for name, data in values.items()}
    rows = next(iter(counts.values()))
    _check_count(rows, max_rows=max_rows)
    for name, count in counts.items():
        if count != rows:
            first = next(iter(counts))
            raise RequestError(
                f'inputs: tensor "{name}" has {count} rows and "{first}" has {rows}; '
                "all must have the same"
            )
    return {
        column.name: [
            _convert(value, column.type, f"inputs row {index}", column.name)
            for index, value in enumerate(values[column.name])
        ]
        for column in columns
    }


def v1_response(answer: Answer, *, record: Model, name: str, version: str) -> dict[str, Any]:
    """Return the body of a v1 response."""
    body: dict[str, Any] = {"predictions": answer.labels}
    if answer.probabilities is not None:
        body["classes"] = list(record.classes)
        body["probabilities"] = answer.probabilities
    return body | {"model_name": name, "model_version": version, "dataset": record.dataset}


def v2_response(
    answer: Answer, *, record: Model, name: str, version: str, request_id: str | None
) -> dict[str, Any]:
    """Return the body of a v2 response; tensors are described by `output_tensors`."""
    data = [answer.labels]
    if answer.probabilities is not None:
        data.append([value for row in answer.probabilities for value in row])
    outputs = [
        tensor | {"shape": [len(answer.labels), *tensor["shape"][1:]], "data": values}
        for tensor, values in zip(output_tensors(record), data, strict=True)
    ]
    parameters: dict[str, Any] = {"dataset": record.dataset}
    if answer.probabilities is not None:
        # A v2 parameter holds one scalar, so the order of the classes travels as JSON text.
        parameters["classes"] = orjson.dumps(list(record.classes)).decode()
    body: dict[str, Any] = {"model_name": name, "model_version": version}
    if request_id is not None:
        body["id"] = request_id
    return body | {"parameters": parameters, "outputs": outputs}


def input_tensors(record: Model) -> list[dict[str, Any]]:
    """Return the v2 metadata of the model's columns, -1 standing for any number of rows."""
    return [
        {"name": column.name, "datatype": _DATATYPES[column.type][0], "shape": [-1]}
        for column in record.columns
    ]


def output_tensors(record: Model) -> list[dict[str, Any]]:
    """Return the v2 metadata of what the model answers."""
    if record.task == "regression":
        return [{"name": "predictions", "datatype": "FP64", "shape": [-1]}]
    sample = record.classes[0]
    datatype = (
        "BOOL" if isinstance(sample, bool) else "INT64" if isinstance(sample, int) else "BYTES"
    )
    return [
        {"name": "predictions", "datatype": datatype, "shape": [-1]},
        {"name": "probabilities", "datatype": "FP64", "shape": [-1, len(record.classes)]},
    ]


def encode(body: Mapping[str, Any]) -> bytes:
    """Return a response body as JSON bytes."""
    return orjson.dumps(body)


def _only_fields(request: Mapping[str, Any], *, required: str, allowed: set[str]) -> None:
    unknown = sorted(request.keys() - allowed)
    if unknown:
        known = ", ".join(f'"{field}"' for field in sorted(allowed))
        raise RequestError(f"unknown field {_show(unknown[0])}; known here: {known}")
    if required not in request:
        raise RequestError(f'the field "{required}" is missing')


def _check_count(rows: int, *, max_rows: int) -> None:
    if rows == 0:
        raise RequestError("the request holds no row")
    if rows > max_rows:
        raise RequestError(
            f"{rows:,} rows in one request; at most {max_rows:,} are taken", status=413
        )


def _difference(given: Any, columns: Sequence[Column], *, where: str) -> str:
    names = [column.name for column in columns]
    missing = [name for name in names if name not in given]
    unknown = sorted(set(given) - set(names))
    problems = []
    if missing:
        problems.append(f"missing {_listed(missing)}")
    if unknown:
        problems.append(f"unknown {_listed(unknown)}")
    advice = " A value that is not known is sent as null." if missing else ""
    return f"{where}: {' and '.join(problems)}.{advice}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(_show(name) for name in names[:10])
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"{'column' if len(names) == 1 else 'columns'} {shown}{more}"


def _named_tensors(inputs: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(inputs, list):
        raise RequestError(f'"inputs" must be a list of tensors, not {_kind(inputs)}')
    tensors: dict[str, dict[str, Any]] = {}
    for index, tensor in enumerate(inputs):
        where = f"inputs[{index}]"
        if not isinstance(tensor, dict):
            raise RequestError(f"{where} must be an object, not {_kind(tensor)}")
        for field in ("name", "shape", "datatype", "data"):
            if field not in tensor:
                raise RequestError(f'{where}: the field "{field}" is missing')
        name = tensor["name"]
        if not isinstance(name, str):
            raise RequestError(f"{where}.name must be text, not {_kind(name)}")
        if name in tensors:
            raise RequestError(f"{where}: the tensor {_show(name)} is given twice")
        tensors[name] = tensor
    return tensors


def _tensor_data(tensor: Mapping[str, Any], column: Column) -> list[Any]:
    where = f"inputs: tensor {_show(column.name)}"
    usual, accepted = _DATATYPES[column.type]
    if tensor["datatype"] not in accepted:
        raise RequestError(
            f"{where}: datatype {_show(tensor['datatype'])} does not fit a column of type "
            f"{column.type}; send {usual}"
        )
    data, shape = tensor["data"], tensor["shape"]
    if not isinstance(data, list):
        raise RequestError(f"{where}: data must be a list, not {_kind(data)}")
    if data and all(isinstance(item, list) and len(item) == 1 for item in data):
        data = [item[0] for item in data]
    if shape not in ([len(data)], [len(data), 1]):
        raise RequestError(
            f"{where}: shape {_show(shape)} does not fit its {len(data)} values; "
            f"a column has the shape [{len(data)}] or [{len(data)}, 1]"
        )
    return data


def _convert(value: Any, kind: ColumnType, where: str, name: str) -> Any:
    if value is None:
        return None
    try:
        return _CONVERTERS[kind](value)
    except (TypeError, ValueError, OverflowError) as error:
        raise RequestError(
            f"{where}, column {_show(name)}: expected {_EXPECTED[kind]}, got {_show(value)}"
        ) from error


def _integer(value: Any) -> float:
    number = _number(value)
    if not number.is_integer() or not -(2**63) <= value < 2**63:
        raise ValueError
    return number


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _datetime(value: Any) -> datetime:
    moment = datetime.fromisoformat(_string(value))
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


_CONVERTERS: dict[ColumnType, Callable[[Any], Any]] = {
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "string": _string,
    "datetime": _datetime,
}
_EXPECTED: dict[ColumnType, str] = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "text",
    "datetime": 'a time in ISO 8601, such as "2026-01-31T12:00:00Z"',
}


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _show(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= 80 else text[:77] + "..."
