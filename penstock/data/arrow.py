"""Arrow arrays without pandas: `pa.array` imports it where it is installed, which costs 0.3 s."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa


@contextlib.contextmanager
def system_memory() -> Iterator[None]:
    """Let Arrow take memory from the C library meanwhile, in the whole process.

    Its own allocator hands pages back and takes them anew for every batch: in a pass over many
    batches that costs more CPU than the work on some columns.
    """
    import pyarrow as pa

    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def texts(values: Sequence[str]) -> pa.StringArray:
    """Return texts as an Arrow array."""
    import pyarrow as pa

    raw = [text.encode() for text in values]
    offsets = np.cumsum([0, *map(len, raw)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(raw), pa.py_buffer(offsets), pa.py_buffer(b"".join(raw)))


def integers(values: npt.NDArray[np.int64]) -> pa.Int64Array:
    """Return integers as an Arrow array over the same memory."""
    import pyarrow as pa

    whole = np.ascontiguousarray(values, dtype=np.int64)
    return pa.Array.from_buffers(pa.int64(), len(whole), [None, pa.py_buffer(whole)])


def booleans(values: npt.NDArray[np.bool_]) -> pa.BooleanArray:
    """Return booleans as an Arrow array."""
    import pyarrow as pa

    bits = np.packbits(values, bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(bits)])


def numbers(array: pa.Array, *, null: float = 0) -> npt.NDArray[Any]:
    """Return an array of numbers, over the same memory where it has no nulls.

    Args:
        array: Integers or floats.
        null: What stands where the array is null.
    """
    dtype = np.dtype(str(array.type).replace("double", "float64"))
    if not len(array):
        return np.empty(0, dtype=dtype)
    stored = np.frombuffer(array.buffers()[1], dtype=dtype)
    values = stored[array.offset : array.offset + len(array)]
    if array.null_count:
        values = np.where(flags(array.is_valid()), values, np.array(null, dtype=dtype))
    return values


def flags(array: pa.BooleanArray) -> npt.NDArray[np.bool_]:
    """Return an array of booleans; null is False."""
    import pyarrow as pa

    return numbers(array.cast(pa.uint8())).astype(np.bool_)


def number(value: float, kind: pa.DataType) -> pa.Scalar:
    """Return a number as a scalar of int64 or float64."""
    import pyarrow as pa

    held = np.array([value], dtype=str(kind).replace("double", "float64"))
    return pa.Array.from_buffers(kind, 1, [None, pa.py_buffer(held)])[0]


def null(kind: pa.DataType) -> pa.Scalar:
    """Return the null of a type."""
    import pyarrow as pa

    return pa.nulls(1, kind)[0]
