"""The tensors of a v2 request, as lists of plain Python values."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import orjson

from penstock.records.dataset import ColumnType
from penstock.serving import binary_tensors
from penstock.serving.columns import Columns, Intake
from penstock.serving.request_errors import (
    RequestError,
    check_count,
    difference,
    kind,
    listed,
    show,
)
from penstock.serving.v2_parameters import check_content, parameters_of

_INTEGERS = frozenset(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))
_FLOATS = frozenset(["FP16", "FP32", "FP64"])
# pandas holds an integer column with a missing value as floats, so clients send it as such.
_NUMBERS = _INTEGERS | _FLOATS
_NUMBERS_AS = ("np", "pd")
_JSON = "pd_json"

DATATYPES: dict[ColumnType, tuple[str, frozenset[str]]] = {
    "integer": ("INT64", _NUMBERS),
    "number": ("FP64", _NUMBERS),
    "boolean": ("BOOL", frozenset(["BOOL"])),
    "string": ("BYTES", frozenset(["BYTES"])),
    "datetime": ("BYTES", frozenset(["BYTES"])),
}
"""By type of a column: the v2 datatype to send, and those that are taken."""

_CONTENT: dict[ColumnType, tuple[str, ...]] = {
    "integer": _NUMBERS_AS,
    "number": _NUMBERS_AS,
    "boolean": _NUMBERS_AS,
    "string": ("str", "pd", "np", "base64", _JSON),
    "datetime": ("datetime", "str", "pd", "np", "base64", _JSON),
}
_PLAIN = frozenset([bool, type(None)])
_WHOLE = frozenset([int])
_COLUMN_SHAPE = "a column has the shape [n] or [n, 1]"
_FIELDS = frozenset(["name", "shape", "datatype", "data", "parameters"])
_NEEDS = frozenset(["name", "shape", "datatype"])


@dataclass(slots=True)
class _Tensor:
    """One tensor, its values not read yet.

    Attributes:
        name: Its name.
        datatype: Its v2 datatype.
        shape: Its shape, as it was sent.
        content: MLServer's `content_type`; empty: none.
        data: Its values as JSON, or the bytes that it has after the JSON.
    """

    name: str
    datatype: Any
    shape: Any
    content: str
    data: list[Any] | memoryview

    @property
    def where(self) -> str:
        """How an error names it."""
        return _where(self.name)

    def wrong(self, problem: str) -> RequestError:
        """Return the error that says what is wrong with it."""
        return RequestError(f"{self.where}: {problem}")


def read(inputs: Any, *, rest: memoryview | None, intake: Intake, max_rows: int) -> Columns:
    """Return the columns that the tensors of a request hold.

    Args:
        inputs: The field `inputs`: one named tensor a column, of shape [n] or [n, 1]; or a single
            one of any other name and of shape [n, k], the k columns in the order of the metadata.
        rest: What follows the JSON, in the order of the tensors that have a `binary_data_size`;
            None: all is JSON.
        intake: The model's columns.
        max_rows: Rows that are taken at most.

    Returns:
        Values by column, not yet checked against the column's type, and perhaps of different
        lengths. Null and NaN become None.

    Raises:
        RequestError: Naming the tensor that does not fit; 413 for too many rows.
    """
    tensors, names = _named(inputs, rest), [column.name for column in intake.columns]
    if len(tensors) == 1:
        (only,) = tensors.values()
        if only.name not in names and _is_matrix(only.shape, len(names)):
            return _matrix(only, intake=intake, max_rows=max_rows)
    if tensors.keys() != intake.names:
        raise RequestError(difference(tensors, names, where="inputs"))
    return {
        c.name: _values(tensors[c.name], (c.type,), width=1, max_rows=max_rows, texts=intake.texts)
        for c in intake.columns
    }


def _named(inputs: Any, rest: memoryview | None) -> dict[str, _Tensor]:
    if not isinstance(inputs, list):
        raise RequestError(f'"inputs" must be a list of tensors, not {kind(inputs)}')
    tensors: dict[str, _Tensor] = {}
    for index, given in enumerate(inputs):
        _check_fields(given, index)
        name = given["name"]
        if name in tensors:
            raise RequestError(f"inputs[{index}]: the tensor {show(name)} is given twice")
        tensors[name], rest = _one(given, rest)
    if rest:
        raise RequestError(f"{len(rest):,} bytes follow the last binary tensor")
    return tensors


def _check_fields(given: Any, index: int) -> None:
    where = f"inputs[{index}]"
    if not isinstance(given, dict):
        raise RequestError(f"{where} must be an object, not {kind(given)}")
    if not given.keys() <= _FIELDS:
        unknown = min(given.keys() - _FIELDS)
        raise RequestError(f"{where}: unknown field {show(unknown)}")
    if not given.keys() >= _NEEDS:
        missing = min(_NEEDS - given.keys())
        raise RequestError(f'{where}: the field "{missing}" is missing')
    if not isinstance(given["name"], str):
        raise RequestError(f"{where}.name must be text, not {kind(given['name'])}")


def _one(given: dict[str, Any], rest: memoryview | None) -> tuple[_Tensor, memoryview | None]:
    """Return a tensor, and what is left after the JSON once it has taken its bytes."""
    name, data, parameters = given["name"], given.get("data"), {}
    # How an error names the tensor costs more than the rest of this, so it is made where needed.
    if given.get("parameters") is not None:
        parameters = parameters_of(given, where=_where(name))
    size = parameters.get(binary_tensors.SIZE)
    if data is None and size is not None:
        data, rest = _taken(size, rest, where=_where(name))
    elif data is None:
        raise RequestError(f'{_where(name)}: the field "data" is missing')
    elif size and rest is not None:
        raise RequestError(f"{_where(name)}: it has both data and {binary_tensors.SIZE}")
    elif not isinstance(data, list):
        raise RequestError(f"{_where(name)}: data must be a list, not {kind(data)}")
    content = parameters.get("content_type") or ""
    return _Tensor(name, given["datatype"], given["shape"], content, data), rest


def _taken(size: Any, rest: memoryview | None, *, where: str) -> tuple[memoryview, memoryview]:
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise RequestError(
            f"{where}: {binary_tensors.SIZE} must be a number of bytes, got {show(size)}"
        )
    if rest is None:
        raise RequestError(
            f"{where}: it has {binary_tensors.SIZE} and no data, but the request lacks the header "
            f"{binary_tensors.HEADER_LENGTH}"
        )
    if size > len(rest):
        raise RequestError(
            f"{where}: {binary_tensors.SIZE} is {size:,}, "
            f"but {len(rest):,} bytes of the body are left"
        )
    return rest[:size], rest[size:]


def _where(name: str) -> str:
    return f"inputs: tensor {show(name)}"


def _values(
    tensor: _Tensor, types: Sequence[ColumnType], *, width: int, max_rows: int, texts: bool
) -> list[Any]:
    """Return all values of a tensor of shape [n] or [n, width], row by row."""
    for column_type in types:
        _check_datatype(tensor, column_type, texts=texts)
    rows = _rows(tensor, width=width)
    check_count(rows, max_rows=max_rows)
    if isinstance(tensor.data, memoryview):
        return _texts(tensor, _decoded(tensor, tensor.data, count=rows * width))
    values = _flat(tensor, tensor.data, width=width)
    if tensor.datatype == "BOOL" and not _PLAIN.issuperset(map(type, values)):
        return list(map(_truth, values))
    return _texts(tensor, values) if tensor.content else values


def _check_datatype(tensor: _Tensor, column_type: ColumnType, *, texts: bool) -> None:
    # MLServer sends a column of mixed types as the JSON text of each value.
    if tensor.content == _JSON and tensor.datatype == "BYTES":
        return
    if texts and tensor.datatype == "BYTES":
        # The training table held texts, and these are read as those were.
        column_type = "string"
    if not _takes(column_type, tensor.datatype):
        raise tensor.wrong(
            f"datatype {show(tensor.datatype)} does not fit a column of type {column_type}; "
            f"send {DATATYPES[column_type][0]}"
        )
    if tensor.content:
        check_content(tensor.content, _CONTENT[column_type], where=tensor.where)


def _takes(column_type: ColumnType, datatype: Any) -> bool:
    return isinstance(datatype, str) and datatype in DATATYPES[column_type][1]


def _rows(tensor: _Tensor, *, width: int) -> int:
    shape, data = tensor.shape, tensor.data
    whole = isinstance(shape, list) and _WHOLE.issuperset(map(type, shape))
    rows: int = shape[0] if whole and shape else -1
    fits = rows >= 0 and (shape == [rows, width] or (width == 1 and shape == [rows]))
    # JSON data is flat, or nested as the shape is; binary data is measured when it is decoded.
    held = isinstance(data, memoryview) or len(data) in (rows, rows * width)
    if not fits or not held:
        usual = f"a table has the shape [n, {width}]" if width > 1 else _COLUMN_SHAPE
        held_by = "" if isinstance(data, memoryview) else f" its {len(data)} values"
        raise tensor.wrong(f"shape {show(shape)} does not fit{held_by}; {usual}")
    return rows


def _flat(tensor: _Tensor, data: list[Any], *, width: int) -> list[Any]:
    """Return the values of JSON data, which is flat or has a list for each row."""
    if isinstance(data[0], list) and all(isinstance(row, list) for row in data):
        if any(len(row) != width for row in data):
            values = "one value" if width == 1 else f"{width} values"
            raise tensor.wrong(f"each row must hold exactly {values}")
        return list(chain.from_iterable(data))
    if len(data) != tensor.shape[0] * width:
        raise tensor.wrong(f"shape {show(tensor.shape)} does not fit its {len(data)} values")
    return data


def _decoded(tensor: _Tensor, raw: memoryview, *, count: int) -> list[Any]:
    """Return the values of binary data; NaN, which is how numpy has no value, as None."""
    try:
        values = binary_tensors.decode(tensor.datatype, raw, count=count)
    except ValueError as error:
        raise tensor.wrong(f"shape {show(tensor.shape)}: {error}") from error
    if tensor.datatype not in _FLOATS or all(map(math.isfinite, values)):
        return values
    if any(map(math.isinf, values)):
        index = next(i for i, value in enumerate(values) if math.isinf(value))
        raise tensor.wrong(f"value {index} is infinite; a number must be finite")
    return [None if math.isnan(value) else value for value in values]


def _texts(tensor: _Tensor, values: list[Any]) -> list[Any]:
    """Return the values of BYTES as text, or as what their content_type says."""
    if tensor.datatype != "BYTES":
        return values
    steps: list[Callable[[Any], Any]] = [_base64] if tensor.content == "base64" else []
    steps.append(_utf8)
    if tensor.content == _JSON:
        steps.append(_json)
    for step in steps:
        values = [_each(tensor, i, value, step) for i, value in enumerate(values)]
    return values


def _truth(value: Any) -> Any:
    # Clients whose type of data is a union of lists write true as 1.0.
    return bool(value) if type(value) in (int, float) and value in (0, 1) else value


def _each(tensor: _Tensor, index: int, value: Any, convert: Callable[[Any], Any]) -> Any:
    if not isinstance(value, str | bytes):
        return value
    try:
        return convert(value)
    except ValueError as error:
        raise tensor.wrong(f"value {index}: {error}") from error


def _base64(value: str | bytes) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except ValueError as error:
        raise ValueError("it is not base64, as its content_type says") from error


def _utf8(value: str | bytes) -> str:
    try:
        return value if isinstance(value, str) else value.decode()
    except ValueError as error:
        raise ValueError("it is not UTF-8 text") from error


def _json(value: str | bytes) -> Any:
    try:
        return orjson.loads(value)
    except ValueError as error:
        raise ValueError("it is not JSON text, as its content_type says") from error


def _is_matrix(shape: Any, width: int) -> bool:
    # One value a row is one column, and then its name says which.
    return isinstance(shape, list) and len(shape) == 2 and (shape[1] == width or shape[1] != 1)


def _matrix(tensor: _Tensor, *, intake: Intake, max_rows: int) -> Columns:
    """Return the columns of one tensor that holds all of them."""
    names = [column.name for column in intake.columns]
    width = len(names)
    if tensor.shape[1] != width:
        raise tensor.wrong(
            f"its shape {show(tensor.shape)} has not one value for each of the model's {width} "
            f"columns: {listed(names)}"
        )
    for column in intake.columns:
        as_text = intake.texts and tensor.datatype == "BYTES"
        if not (as_text or _takes(column.type, tensor.datatype)):
            raise tensor.wrong(
                f"datatype {show(tensor.datatype)} does not fit column {show(column.name)} of "
                f"type {column.type}; send one tensor a column"
            )
    types = [column.type for column in intake.columns]
    values = _values(tensor, types, width=width, max_rows=max_rows, texts=intake.texts)
    return {name: values[index::width] for index, name in enumerate(names)}
