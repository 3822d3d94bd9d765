"""Tensors as bytes: the binary tensor data extension of the Open Inference Protocol.

Little-endian, row-major, without padding. A BOOL is one byte, 0 or 1; an element of BYTES is its
length as a 4-byte unsigned integer, then the bytes themselves. Source: "Binary Tensor Data
Extension", docs/protocol/extension_binary_data.md of triton-inference-server/server; KServe takes
the same. Plain `struct`, because the proxy, which reads answers, stays small without numpy.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

HEADER_LENGTH = "inference-header-content-length"
"""The HTTP header that says how many bytes of the body are JSON; binary tensors follow them."""

SIZE = "binary_data_size"
"""The parameter of a tensor that says how many of the bytes after the JSON are its own."""

_CODES = {
    "BOOL": "B",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
_PREFIX = 4


def decode(datatype: str, raw: bytes | memoryview, *, count: int) -> list[Any]:
    """Return the values of a tensor.

    Args:
        datatype: Its v2 datatype.
        raw: Its bytes, all of them.
        count: How many values its shape has.

    Returns:
        `count` values: bool (BOOL), int, float (FP16, FP32, FP64, with NaN and infinities as they
        come), or bytes (BYTES).

    Raises:
        ValueError: If the bytes are not `count` values of that datatype, or the datatype is not
            known; it says which.

    Example:
        >>> decode("INT16", bytes([1, 0, 255, 255]), count=2)
        [1, -1]
    """
    if datatype == "BYTES":
        return _elements(memoryview(raw), count)
    if datatype not in _CODES:
        raise ValueError(f"the datatype {datatype} has no binary form here")
    code = _CODES[datatype]
    size = struct.calcsize(f"<{code}")
    if len(raw) != count * size:
        raise ValueError(f"{len(raw):,} bytes are not {count:,} values of {size} bytes")
    values = list(struct.unpack(f"<{count}{code}", raw))
    if datatype != "BOOL":
        return values
    if not {0, 1}.issuperset(values):
        raise ValueError("a byte of a BOOL is neither 0 nor 1")
    return list(map(bool, values))


def encode(datatype: str, values: Sequence[Any]) -> bytes:
    """Return the bytes of a tensor; text becomes UTF-8.

    Example:
        >>> list(encode("BYTES", ["A"]))
        [1, 0, 0, 0, 65]
    """
    if datatype == "BYTES":
        texts = [value.encode() for value in values]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return struct.pack(f"<{len(values)}{_CODES[datatype]}", *values)


def _elements(raw: memoryview, count: int) -> list[bytes]:
    elements, place = [], 0
    for index in range(count):
        start = place + _PREFIX
        end = start + int.from_bytes(raw[place:start], "little")
        if max(start, end) > len(raw):
            raise ValueError(f"the bytes end within element {index} of {count:,}")
        elements.append(bytes(raw[start:end]))
        place = end
    if place < len(raw):
        raise ValueError(f"{len(raw) - place:,} bytes follow the last of {count:,} elements")
    return elements
