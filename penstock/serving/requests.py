"""What clients send, as columns: KServe v1, Open Inference Protocol v2, MLflow's `/invocations`.

Pure functions. Each returns the model's columns and how an error names one of their rows; values
are checked by `penstock.serving.columns`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat
from operator import itemgetter
from typing import Any

from penstock.records.dataset import ColumnType
from penstock.serving.columns import Columns, Intake
from penstock.serving.mistakes import RequestError, kind, listed, only_fields, show

_INTEGERS = frozenset(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))
# pandas holds an integer column with a missing value as floats, so clients send it as such.
_NUMBERS = _INTEGERS | {"FP16", "FP32", "FP64"}
DATATYPES: dict[ColumnType, tuple[str, frozenset[str]]] = {
    "integer": ("INT64", _NUMBERS),
    "number": ("FP64", _NUMBERS),
    "boolean": ("BOOL", frozenset(["BOOL"])),
    "string": ("BYTES", frozenset(["BYTES"])),
    "datetime": ("BYTES", frozenset(["BYTES"])),
}
"""By type of a column: the v2 datatype to send, and those that are taken."""

_CONTENT: dict[ColumnType, tuple[str, ...]] = {
    "integer": ("np", "pd"),
    "number": ("np", "pd"),
    "boolean": ("np", "pd"),
    "string": ("str", "pd"),
    "datetime": ("datetime", "str", "pd"),
}
_V1_FIELDS = frozenset(["instances"])
_V2_FIELDS = frozenset(["id", "parameters", "inputs", "outputs"])
_TENSOR_FIELDS = frozenset(["name", "shape", "datatype", "data", "parameters"])
_TENSOR_NEEDS = ("name", "shape", "datatype", "data")
_MLFLOW_FORMS = frozenset(["dataframe_split", "dataframe_records", "instances"])
_MLFLOW_FIELDS = _MLFLOW_FORMS | {"params"}


def v1_columns(request: Mapping[str, Any], *, intake: Intake, max_rows: int) -> tuple[Columns, str]:
    """Return the columns of a v1 request: `{"instances": [{column: value, ...}, ...]}`.

    Raises:
        RequestError: Naming the row and column that do not fit; 413 for too many rows.
    """
    only_fields(request, required="instances", allowed=_V1_FIELDS)
    return _records(request["instances"], "instances", intake=intake, max_rows=max_rows)


def v2_columns(request: Mapping[str, Any], *, intake: Intake, max_rows: int) -> tuple[Columns, str]:
    """Return the columns of a v2 request: one named tensor a column, of shape [n] or [n, 1].

    A null in a tensor's JSON data stands for a missing value. `parameters.content_type`, as
    MLServer's clients send it, may be `pd` for the request and what fits the column for a tensor.

    Raises:
        RequestError: Naming the tensor that does not fit; 413 for too many rows.
    """
    only_fields(request, required="inputs", allowed=_V2_FIELDS)
    if not isinstance(request.get("id", ""), str):
        raise RequestError(f'"id" must be text, not {kind(request["id"])}')
    if "parameters" in request:
        _check_parameters(request["parameters"], contents=("pd",), where="parameters")
    tensors = _named_tensors(request["inputs"])
    if tensors.keys() != intake.names:
        raise RequestError(_difference(tensors, intake, where="inputs"))
    values = {c.name: _tensor_data(tensors[c.name], c.name, c.type) for c in intake.columns}
    _check_lengths(values, max_rows=max_rows)
    return values, "inputs row {}"


def v2_outputs(request: Mapping[str, Any], *, names: Sequence[str]) -> Sequence[str]:
    """Return the names of the tensors that a v2 request asks for; all where it names none.

    Raises:
        RequestError: If it asks for one that the model does not give.
    """
    asked = request.get("outputs")
    if asked is None:
        return names
    if not isinstance(asked, list):
        raise RequestError(f'"outputs" must be a list of objects, not {kind(asked)}')
    chosen: list[str] = []
    for index, output in enumerate(asked):
        name = output.get("name") if isinstance(output, dict) else None
        if not isinstance(name, str) or name not in names:
            known = ", ".join(map(show, names))
            raise RequestError(f"outputs[{index}] must be an object with a name out of {known}")
        _check_parameters(output.get("parameters", {}), contents=(), where=f"outputs[{index}]")
        chosen.append(name)
    return chosen or names


def mlflow_columns(
    request: Mapping[str, Any], *, intake: Intake, max_rows: int
) -> tuple[Columns, str]:
    """Return the columns of a request to MLflow's `/invocations`.

    Taken are `{"dataframe_split": {"columns": [...], "data": [[...], ...]}}`,
    `{"dataframe_records": [{...}, ...]}` and `{"instances": [{...}, ...]}`.

    Raises:
        RequestError: Naming the row and column that do not fit; 413 for too many rows.
    """
    forms = sorted(request.keys() & _MLFLOW_FORMS)
    if len(forms) != 1 or not request.keys() <= _MLFLOW_FIELDS:
        known = ", ".join(f'"{form}"' for form in sorted(_MLFLOW_FORMS))
        given = ", ".join(show(field) for field in sorted(request)[:10]) or "none"
        raise RequestError(f"the body must have exactly one of the fields {known}; got {given}")
    if request.get("params"):
        raise RequestError('"params" must be empty: this model takes none')
    form = forms[0]
    if form == "dataframe_split":
        return _split(request[form], intake=intake, max_rows=max_rows)
    return _records(request[form], form, intake=intake, max_rows=max_rows)


def _records(rows: Any, field: str, *, intake: Intake, max_rows: int) -> tuple[Columns, str]:
    if not isinstance(rows, list):
        raise RequestError(f'"{field}" must be a list of rows, not {kind(rows)}')
    _check_count(len(rows), max_rows=max_rows)
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise RequestError(
                f"{field}[{index}] must be an object of column: value, not {kind(row)}"
            )
        if row.keys() != intake.names:
            raise RequestError(_difference(row, intake, where=f"{field}[{index}]"))
    columns = {c.name: list(map(itemgetter(c.name), rows)) for c in intake.columns}
    return columns, field + "[{}]"


def _split(table: Any, *, intake: Intake, max_rows: int) -> tuple[Columns, str]:
    where = "dataframe_split"
    if not isinstance(table, dict):
        raise RequestError(f'"{where}" must be an object, not {kind(table)}')
    only_fields(table, required="columns", allowed=frozenset(["columns", "data", "index"]))
    names, rows = table["columns"], table.get("data")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RequestError(f"{where}.columns must be a list of names")
    if not isinstance(rows, list):
        raise RequestError(f"{where}.data must be a list of rows, not {kind(rows)}")
    if len(set(names)) < len(names):
        raise RequestError(f"{where}.columns: a column is given twice")
    if intake.names != set(names):
        raise RequestError(_difference(names, intake, where=f"{where}.columns"))
    _check_count(len(rows), max_rows=max_rows)
    for index, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            raise RequestError(
                f"{where}.data[{index}] must be a list of {len(names)} values, one a column"
            )
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)), where + ".data[{}]"


def _check_count(rows: int, *, max_rows: int) -> None:
    if rows == 0:
        raise RequestError("the request holds no row")
    if rows > max_rows:
        raise RequestError(
            f"{rows:,} rows in one request; at most {max_rows:,} are taken", status=413
        )


def _check_lengths(values: Columns, *, max_rows: int) -> None:
    first, data = next(iter(values.items()))
    rows = len(data)
    _check_count(rows, max_rows=max_rows)
    for name, data in values.items():
        if len(data) != rows:
            raise RequestError(
                f'inputs: tensor "{name}" has {len(data)} rows and "{first}" has {rows}; '
                "all must have the same"
            )


def _difference(given: Mapping[str, Any] | Sequence[str], intake: Intake, *, where: str) -> str:
    missing = [column.name for column in intake.columns if column.name not in given]
    unknown = sorted(set(given) - intake.names)
    problems = []
    if missing:
        problems.append(f"missing {listed(missing)}")
    if unknown:
        problems.append(f"unknown {listed(unknown)}")
    advice = " A value that is not known is sent as null." if missing else ""
    return f"{where}: {' and '.join(problems)}.{advice}"


def _named_tensors(inputs: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(inputs, list):
        raise RequestError(f'"inputs" must be a list of tensors, not {kind(inputs)}')
    tensors: dict[str, dict[str, Any]] = {}
    for index, tensor in enumerate(inputs):
        if not isinstance(tensor, dict):
            raise RequestError(f"inputs[{index}] must be an object, not {kind(tensor)}")
        if not tensor.keys() <= _TENSOR_FIELDS:
            unknown = min(tensor.keys() - _TENSOR_FIELDS)
            raise RequestError(f"inputs[{index}]: unknown field {show(unknown)}")
        for field in _TENSOR_NEEDS:
            if field not in tensor:
                raise RequestError(f'inputs[{index}]: the field "{field}" is missing')
        name = tensor["name"]
        if not isinstance(name, str):
            raise RequestError(f"inputs[{index}].name must be text, not {kind(name)}")
        if name in tensors:
            raise RequestError(f"inputs[{index}]: the tensor {show(name)} is given twice")
        tensors[name] = tensor
    return tensors


def _tensor_data(tensor: Mapping[str, Any], name: str, column_type: ColumnType) -> list[Any]:
    usual, accepted = DATATYPES[column_type]
    datatype, data, shape = tensor["datatype"], tensor["data"], tensor["shape"]
    if not isinstance(datatype, str) or datatype not in accepted:
        raise RequestError(
            f"inputs: tensor {show(name)}: datatype {show(datatype)} does not fit a column of "
            f"type {column_type}; send {usual}"
        )
    if "parameters" in tensor:
        _check_parameters(
            tensor["parameters"],
            contents=_CONTENT[column_type],
            where=f"inputs: tensor {show(name)}",
        )
    if not isinstance(data, list):
        raise RequestError(f"inputs: tensor {show(name)}: data must be a list, not {kind(data)}")
    if shape == [len(data), 1] and all(map(isinstance, data, repeat(list))):
        data = _flat(data, name)
    if shape != [len(data)] and shape != [len(data), 1]:
        raise RequestError(
            f"inputs: tensor {show(name)}: shape {show(shape)} does not fit its {len(data)} "
            f"values; a column has the shape [{len(data)}] or [{len(data)}, 1]"
        )
    return data


def _flat(rows: list[list[Any]], name: str) -> list[Any]:
    if any(len(row) != 1 for row in rows):
        raise RequestError(f"inputs: tensor {show(name)}: each row must hold exactly one value")
    return [row[0] for row in rows]


def _check_parameters(parameters: Any, *, contents: Sequence[str], where: str) -> None:
    if not isinstance(parameters, dict):
        raise RequestError(f"{where}: parameters must be an object, not {kind(parameters)}")
    content = parameters.get("content_type")
    if content is not None and content not in contents:
        known = " or ".join(map(show, contents)) or "left out"
        raise RequestError(
            f"{where}: content_type {show(content)} does not fit here; it may be {known}"
        )
    if any(isinstance(key, str) and key.startswith("binary_data") for key in parameters):
        raise RequestError(f"{where}: binary tensors are not taken; send the data as JSON")
