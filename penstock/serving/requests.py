"""What clients send, as columns: KServe v1, Open Inference Protocol v2, MLflow's `/invocations`.

Pure functions. Each returns the model's columns and how an error names one of their rows; values
are checked by `penstock.serving.columns`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from penstock.serving import v2_tensors
from penstock.serving.binary_tensors import HEADER_LENGTH
from penstock.serving.columns import Columns, Intake
from penstock.serving.request_errors import (
    RequestError,
    check_count,
    difference,
    kind,
    listed,
    only_fields,
    show,
)
from penstock.serving.v2_parameters import check_content, flag, parameters_of

_V1_FORMS = frozenset(["instances", "inputs"])
_V1_FIELDS = _V1_FORMS | {"signature_name", "parameters"}
# What TF Serving's clients name where they name no other.
_SIGNATURES = ("", "serving_default", None)
# kserve's SDK repeats the model's name in the body, and writes `from_grpc` with all the rest.
_V2_FIELDS = frozenset(
    ["id", "parameters", "inputs", "outputs", "model_name", "model_version", "from_grpc"]
)
_V2_CONTENTS = ("pd", "np", "str")
_MLFLOW_FORMS = frozenset(["dataframe_split", "dataframe_records", "instances", "inputs"])
_MLFLOW_FIELDS = _MLFLOW_FORMS | {"params"}


@dataclass(frozen=True)
class Output:
    """A tensor that a v2 request names as an output.

    Attributes:
        name: Its name.
        binary: Whether it is requested as bytes after the JSON.
    """

    name: str
    binary: bool = False


def parts(
    body: bytes, header_length: int | None, *, binary: bool
) -> tuple[bytes | memoryview, memoryview | None]:
    """Return the JSON of a body, and the binary tensors that follow it; None: all is JSON.

    Args:
        body: The body.
        header_length: How many bytes of it are JSON, as a header says; None: the header is not
            there.
        binary: Whether the protocol has binary tensors.

    Raises:
        RequestError: If the body is shorter than that, or the protocol has none.
    """
    if header_length is None or header_length == len(body):
        return body, None
    if header_length > len(body):
        raise RequestError(
            f"the header {HEADER_LENGTH} is {header_length:,}, and the body has {len(body):,} bytes"
        )
    if not binary:
        raise RequestError("binary tensors are supported at /v2/models/.../infer only")
    if header_length == 0:
        raise RequestError(
            f"the header {HEADER_LENGTH} is 0: a tensor needs the JSON that describes it"
        )
    whole = memoryview(body)
    return whole[:header_length], whole[header_length:]


def v1_columns(request: Mapping[str, Any], *, intake: Intake, max_rows: int) -> tuple[Columns, str]:
    """Return the columns of a v1 request.

    Taken are `{"instances": [{column: value, ...}, ...]}` and `{"instances": [[value, ...], ...]}`,
    whose values are in the order of the metadata, either also under the name `inputs`; and
    `{"inputs": {column: [value, ...], ...}}`, which is TF Serving's form by column. `parameters`
    is let pass, and a `signature_name` if it is the usual one.

    Raises:
        RequestError: Naming the row and column that do not fit; 413 for too many rows.
    """
    form = "inputs" if "inputs" in request else "instances"
    only_fields(request, required=form, allowed=_V1_FIELDS)
    if request.keys() >= _V1_FORMS:
        raise RequestError('the body has both "instances" and "inputs"; send one of them')
    if request.get("signature_name") not in _SIGNATURES:
        raise RequestError(
            f'"signature_name" {show(request["signature_name"])} is not known; leave it out'
        )
    return _table(request[form], form, intake=intake, max_rows=max_rows)


def v2_columns(
    request: Mapping[str, Any],
    *,
    intake: Intake,
    max_rows: int,
    rest: memoryview | None = None,
) -> tuple[Columns, str]:
    """Return the columns of a v2 request: one named tensor a column, of shape [n] or [n, 1].

    A null in a tensor's JSON data stands for a missing value, in binary data NaN.
    `parameters.content_type`, as MLServer's clients send it, may be `pd`, `np` or `str` for the
    request and what fits the column for a tensor. The model's name and version in the body are let
    pass, as KServe and Triton do: the path names the model, and the answer which version
    answered.

    Args:
        request: The JSON of the request.
        intake: The model's columns.
        max_rows: Rows that are taken at most.
        rest: What follows the JSON: the binary tensors; None: the request has none.

    Raises:
        RequestError: Naming the tensor that does not fit; 413 for too many rows.
    """
    only_fields(request, required="inputs", allowed=_V2_FIELDS)
    if not isinstance(request.get("id"), str | None):
        raise RequestError(f'"id" must be text, not {kind(request["id"])}')
    content = parameters_of(request, where="the request").get("content_type")
    check_content(content, _V2_CONTENTS, where="parameters")
    values = v2_tensors.read(request["inputs"], rest=rest, intake=intake, max_rows=max_rows)
    _check_lengths(values, where="inputs: tensor", max_rows=max_rows)
    return values, "inputs row {}"


def v2_outputs(request: Mapping[str, Any], *, names: Sequence[str]) -> list[Output]:
    """Return the tensors that a v2 request names as outputs; all where it names none.

    Raises:
        RequestError: If it names one that the model does not give, or a form that is not
            given.
    """
    parameters = parameters_of(request, where="the request")
    usual = bool(flag(parameters, "binary_data_output", where="parameters"))
    outputs = request.get("outputs")
    if not outputs and (outputs is None or isinstance(outputs, list)):
        return [Output(name, usual) for name in names]
    if not isinstance(outputs, list):
        raise RequestError(f'"outputs" must be a list of objects, not {kind(outputs)}')
    return [
        _output(output, f"outputs[{index}]", usual=usual, names=names)
        for index, output in enumerate(outputs)
    ]


def _output(output: Any, where: str, *, usual: bool, names: Sequence[str]) -> Output:
    name = output.get("name") if isinstance(output, dict) else None
    if not isinstance(name, str) or name not in names:
        known = ", ".join(map(show, names))
        raise RequestError(f"{where} must be an object with a name out of {known}")
    parameters = parameters_of(output, where=where)
    check_content(parameters.get("content_type"), ("pd", "np", "str"), where=where)
    own = flag(parameters, "binary_data", where=where)
    return Output(name, usual if own is None else own)


def mlflow_columns(
    request: Mapping[str, Any], *, intake: Intake, max_rows: int
) -> tuple[Columns, str]:
    """Return the columns of a request to MLflow's `/invocations`.

    Taken are `{"dataframe_split": {"columns": [...], "data": [[...], ...]}}`,
    `{"dataframe_records": [{...}, ...]}`, and `instances` and `inputs` as `v1_columns` has them.

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
    if form == "dataframe_records":
        return _records(request[form], form, intake=intake, max_rows=max_rows)
    return _table(request[form], form, intake=intake, max_rows=max_rows)


def _table(table: Any, field: str, *, intake: Intake, max_rows: int) -> tuple[Columns, str]:
    """Return the columns of rows, or of columns where `inputs` holds those."""
    if field == "inputs" and isinstance(table, dict):
        return _by_column(table, field, intake=intake, max_rows=max_rows)
    if isinstance(table, list) and table and isinstance(table[0], list):
        return _by_position(table, field, intake=intake, max_rows=max_rows)
    return _records(table, field, intake=intake, max_rows=max_rows)


def _records(rows: Any, field: str, *, intake: Intake, max_rows: int) -> tuple[Columns, str]:
    if not isinstance(rows, list):
        raise RequestError(f'"{field}" must be a list of rows, not {kind(rows)}')
    check_count(len(rows), max_rows=max_rows)
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise RequestError(
                f"{field}[{index}] must be an object of column: value, not {kind(row)}"
            )
        if row.keys() != intake.names:
            raise RequestError(difference(row, _names(intake), where=f"{field}[{index}]"))
    columns = {c.name: list(map(itemgetter(c.name), rows)) for c in intake.columns}
    return columns, field + "[{}]"


def _by_position(
    rows: list[Any], field: str, *, intake: Intake, max_rows: int
) -> tuple[Columns, str]:
    """Return the columns of rows that are lists, in the order in which the metadata has them."""
    check_count(len(rows), max_rows=max_rows)
    names = _names(intake)
    for index, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            got = f"{len(row)} values" if isinstance(row, list) else kind(row)
            raise RequestError(
                f"{field}[{index}] must be an object of column: value, or a list of {len(names)} "
                f"values, which are {listed(names)}; got {got}"
            )
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)), field + "[{}]"


def _by_column(
    table: Mapping[str, Any], field: str, *, intake: Intake, max_rows: int
) -> tuple[Columns, str]:
    """Return the columns of `{column: values}`, each value perhaps in a list of its own."""
    if table.keys() != intake.names:
        raise RequestError(difference(table, _names(intake), where=field))
    columns: dict[str, list[Any]] = {}
    for name in _names(intake):
        values = table[name]
        if not isinstance(values, list):
            raise RequestError(
                f"{field}: column {show(name)} must be a list of values, not {kind(values)}"
            )
        if values and all(isinstance(value, list) and len(value) == 1 for value in values):
            values = [value for (value,) in values]
        columns[name] = values
    _check_lengths(columns, where=f"{field}: column", max_rows=max_rows)
    return columns, field + " row {}"


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
        raise RequestError(difference(names, _names(intake), where=f"{where}.columns"))
    check_count(len(rows), max_rows=max_rows)
    for index, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            raise RequestError(
                f"{where}.data[{index}] must be a list of {len(names)} values, one a column"
            )
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)), where + ".data[{}]"


def _check_lengths(values: Columns, *, where: str, max_rows: int) -> None:
    first, data = next(iter(values.items()))
    rows = len(data)
    check_count(rows, max_rows=max_rows)
    for name, data in values.items():
        if len(data) != rows:
            raise RequestError(
                f'{where} "{name}" has {len(data)} rows and "{first}" has {rows}; '
                "all must have the same"
            )


def _names(intake: Intake) -> list[str]:
    return [column.name for column in intake.columns]
