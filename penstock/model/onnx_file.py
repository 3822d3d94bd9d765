"""What an ONNX file is made of, read without the onnx package. Imported only before one is run."""

from __future__ import annotations

import re
from collections.abc import Iterator

from penstock.errors import IntegrityError

OPERATORS = frozenset(
    {
        ("", "Abs"),
        ("", "Add"),
        ("", "And"),
        ("", "Cast"),
        ("", "Clip"),
        ("", "Concat"),
        ("", "CumSum"),
        ("", "Div"),
        ("", "Equal"),
        ("", "Floor"),
        ("", "Gather"),
        ("", "GreaterOrEqual"),
        ("", "IsNaN"),
        ("", "Less"),
        ("", "MatMul"),
        ("", "Max"),
        ("", "Mod"),
        ("", "Mul"),
        ("", "Neg"),
        ("", "Or"),
        ("", "ReduceMax"),
        ("", "ReduceSum"),
        ("", "Sigmoid"),
        ("", "Softmax"),
        ("", "Split"),
        ("", "Squeeze"),
        ("", "Sub"),
        ("", "Where"),
        ("ai.onnx.ml", "LabelEncoder"),
        ("ai.onnx.ml", "TreeEnsemble"),
    }
)
"""Domain and name of every operator that `penstock.export` uses. None of them holds a graph."""

# Field numbers of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_GRAPH, _TRAINING, _FUNCTIONS = 7, 20, 25
_NODES, _INITIALIZERS, _SPARSE = 1, 5, 15
_OPERATOR, _ATTRIBUTES, _DOMAIN = 4, 5, 7
_TENSOR, _TENSORS, _SUBGRAPH, _SUBGRAPHS = 5, 10, 6, 11
_SPARSE_TENSOR, _SPARSE_TENSORS = 22, 23
_EXTERNAL, _LOCATION = 13, 14

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

_INTEGERS = re.compile(rb"(?:\x40[\x80-\xff]{0,9}[\x00-\x7f])+")
"""An attribute's integers, field 8, each with its key: a forest has millions, which hold nothing
that is looked for, so a run of them is stepped over as one."""


def check(content: bytes, *, where: str) -> None:
    """Refuse a model that holds more than the operators listed and its own numbers.

    Args:
        content: The file.
        where: Its path, for errors.

    Raises:
        IntegrityError: If it is not an ONNX model, uses an operator that is not in `OPERATORS`,
            has functions or graphs of its own, or refers to data in another file.
    """
    try:
        found = next(_findings(memoryview(content)), "")
    except (IndexError, UnicodeDecodeError, _NotProtobufError) as error:
        raise IntegrityError("not an ONNX model", where=where) from error
    if found:
        raise IntegrityError(
            f"the ONNX model {found}",
            where=where,
            remedy="Only what penstock.export writes is run: register the model again.",
        )


class _NotProtobufError(Exception):
    """The bytes are not in protobuf's wire format."""


def _findings(content: memoryview) -> Iterator[str]:
    graphs = 0
    for number, value in _fields(content):
        if number in (_FUNCTIONS, _TRAINING):
            yield "has functions of its own"
        if number == _GRAPH:
            graphs += 1
            yield from _of_graph(value)
    if graphs != 1:
        yield f"has {graphs} graphs"


def _of_graph(graph: memoryview) -> Iterator[str]:
    for number, value in _fields(graph):
        if number == _NODES:
            yield from _of_node(value)
        elif number == _INITIALIZERS:
            yield from _of_tensor(value)
        elif number == _SPARSE:
            yield "has sparse numbers"


def _of_node(node: memoryview) -> Iterator[str]:
    names = {_OPERATOR: "", _DOMAIN: ""}
    for number, value in _fields(node):
        if number in names:
            names[number] = bytes(value).decode()
        elif number == _ATTRIBUTES:
            yield from _of_attribute(value)
    if (names[_DOMAIN], names[_OPERATOR]) not in OPERATORS:
        yield f"uses the operator {names[_DOMAIN] or 'ai.onnx'}.{names[_OPERATOR]}"


def _of_attribute(attribute: memoryview) -> Iterator[str]:
    for number, value in _fields(attribute):
        if number in (_SUBGRAPH, _SUBGRAPHS):
            yield "has a graph inside its graph"
        elif number in (_SPARSE_TENSOR, _SPARSE_TENSORS):
            yield "has sparse numbers"
        elif number in (_TENSOR, _TENSORS):
            yield from _of_tensor(value)


def _of_tensor(tensor: memoryview) -> Iterator[str]:
    if any(number in (_EXTERNAL, _LOCATION) for number, _ in _fields(tensor)):
        yield "refers to data in another file"


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the number and content of every field of a message; content of numbers is empty.

    Wire format: https://protobuf.dev/programming-guides/encoding/
    """
    at = 0
    while at < len(message):
        if integers := _INTEGERS.match(message, at):
            at = integers.end()
            continue
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        start = at
        if wire == _VARINT:
            _, at = _varint(message, at)
            start = at
        elif wire == _BYTES:
            size, start = _varint(message, at)
            at = start + size
        elif wire in (_FIXED32, _FIXED64):
            at = start = at + (4 if wire == _FIXED32 else 8)
        else:
            raise _NotProtobufError
        if at > len(message):
            raise _NotProtobufError
        yield number, message[start:at]


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise _NotProtobufError
