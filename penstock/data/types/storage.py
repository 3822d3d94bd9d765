"""The five storage types and how Arrow's types are brought to them."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from penstock.data import arrow
from penstock.data.types.texts import Plan
from penstock.data.types.value import EXPECTED, TypeMismatch
from penstock.errors import InputError
from penstock.records.dataset import Column, ColumnType

if TYPE_CHECKING:
    import pyarrow as pa

_WORD = 18
"""Digits of a decimal whose lower half holds it."""

_TENS = 22
"""The largest power of ten that a double holds exactly."""

_EXACT = 2**53
"""Whole numbers up to here are exact in a double."""


def arrow_schema(columns: Iterable[Column]) -> pa.Schema:
    """Return the Arrow schema in which columns are stored."""
    import pyarrow as pa

    return pa.schema([(column.name, arrow_type(column.type)) for column in columns])


def arrow_type(storage: ColumnType) -> pa.DataType:
    """Return the Arrow type of a storage type."""
    import pyarrow as pa

    return {
        "integer": pa.int64(),
        "number": pa.float64(),
        "boolean": pa.bool_(),
        "string": pa.string(),
        "datetime": pa.timestamp("us", tz="UTC"),
    }[storage]


def storage_type(arrow: pa.DataType) -> ColumnType | None:
    """Return the storage type that holds an Arrow type's values, or None if none does."""
    import pyarrow as pa

    if pa.types.is_dictionary(arrow):
        return storage_type(arrow.value_type)
    kinds: tuple[tuple[ColumnType, tuple[Callable[[Any], bool], ...]], ...] = (
        ("boolean", (pa.types.is_boolean,)),
        ("integer", (pa.types.is_integer,)),
        ("number", (pa.types.is_floating, pa.types.is_decimal)),
        ("datetime", (pa.types.is_timestamp, pa.types.is_date)),
        (
            "string",
            (
                pa.types.is_string,
                pa.types.is_large_string,
                pa.types.is_string_view,
                pa.types.is_null,
            ),
        ),
    )
    for kind, tests in kinds:
        if any(test(arrow) for test in tests):
            return kind
    return None


def to_storage(array: pa.Array, column: Column) -> pa.Array:
    """Return an array in its column's storage type, NaN as null.

    Raises:
        InputError: If a value does not fit, for example an unsigned integer above 2^63.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    target_type = arrow_type(column.type)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if array.type != target_type:
        # Nanoseconds are cut to microseconds and decimals rounded to doubles, as the types say.
        loose = pa.types.is_timestamp(array.type)
        try:
            decimal = column.type == "number" and pa.types.is_decimal(array.type)
            array = doubles(array) if decimal else pc.cast(array, target_type, safe=not loose)
        except pa.ArrowInvalid as error:
            raise InputError(
                f"values of type {array.type} cannot be stored as {column.type}: {error}",
                where=f"column {column.name!r}",
                remedy=f"Declare another type by types: {{{column.name}: string}}.",
            ) from error
    if column.type == "number":
        nans = pc.is_nan(array)
        if pc.any(nans).as_py():
            array = pc.if_else(nans, arrow.null(target_type), array)
    return array


def doubles(array: pa.Array) -> pa.DoubleArray:
    """Return decimals as the doubles that are nearest to them, as Python's `float` does.

    Arrow's own cast is one unit in the last place off for many of them.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if pa.types.is_decimal128(kind) and kind.precision <= _WORD and 0 <= kind.scale <= _TENS:
        words = np.frombuffer(array.buffers()[1], dtype="<i8")[::2]
        unscaled = words[array.offset : array.offset + len(array)]
        if not len(unscaled) or max(unscaled.max(), -unscaled.min()) <= _EXACT:
            # Both are exact in a double, so their quotient is rounded once.
            values = np.true_divide(unscaled, float(10**kind.scale))
            found = pa.Array.from_buffers(
                pa.float64(), len(array), [None, pa.py_buffer(values.data)]
            )
            return found if not array.null_count else _null_where(found, array)
    return pc.cast(pc.cast(array, pa.string()), pa.float64())


def _null_where(values: pa.Array, array: pa.Array) -> pa.Array:
    import pyarrow.compute as pc

    return pc.if_else(array.is_valid(), values, arrow.null(values.type))


def converted(array: pa.Array, kind: ColumnType) -> pa.Array:
    """Return an array of one storage type as another that the user declares.

    Only what loses nothing and is no new meaning: numbers as numbers while they stay equal, 0 and
    1 as booleans and back, texts as what they spell, anything as text.

    Raises:
        pyarrow.ArrowInvalid: If a value is not of that type.
        pyarrow.ArrowNotImplementedError: If values of the array's type never are.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    found, target_type = storage_type(array.type), arrow_type(kind)
    if array.null_count == len(array):
        return pa.nulls(len(array), target_type)
    if kind == "datetime" and found in ("integer", "number"):
        raise pa.ArrowNotImplementedError("a number does not say from when and in what it counts")
    if "datetime" in (found, kind) and not {found, kind} & {"string"}:
        raise pa.ArrowNotImplementedError(f"{found} and {kind} have no value in common")
    if kind == "boolean" and found in ("integer", "number"):
        bits = pc.is_in(array, pa.array([0, 1], pa.int64()).cast(array.type))
        other = array.filter(pc.and_(pc.invert(bits), pc.is_valid(array)))
        if len(other):
            raise pa.ArrowInvalid(f"{other[0].as_py()!r} is neither 0 nor 1")
    if found == "boolean" and kind == "number":
        array = array.cast(pa.int64())
    if found == "string" and kind != "string":
        return _spelled(pc.cast(array, pa.string()), kind)
    return pc.cast(array, target_type)


def _spelled(texts: pa.Array, kind: ColumnType) -> pa.Array:
    """Return what texts spell, by the rules for the texts of a file."""
    import pyarrow as pa

    plan = Plan(kind, declared=True)
    try:
        return plan.convert(texts, name="")
    except TypeMismatch as error:
        bad = texts[plan.first_bad_value(texts, name="") or 0].as_py()
        raise pa.ArrowInvalid(f"{bad!r:.80} is not {EXPECTED[kind]}") from error


def columns_of(schema: pa.Schema) -> tuple[Column, ...]:
    """Return the columns in which a schema's values are stored.

    Raises:
        InputError: If a name occurs twice, or a type (nested, binary …) has no storage type.
    """
    columns = []
    for field in schema:
        kind = storage_type(field.type)
        if kind is None:
            raise InputError(
                f"a column of type {field.type} cannot be stored",
                where=f"column {field.name!r}",
                remedy="Flatten or drop it before ingesting; numbers, booleans, text, dates and "
                "times are stored.",
            )
        columns.append(Column(name=field.name, type=kind))
    check_unique([column.name for column in columns], where="schema")
    return tuple(columns)


def check_unique(names: Sequence[str], *, where: str, renaming: bool = False) -> None:
    """Raise InputError if a name occurs twice; `renaming` says that settings can name columns."""
    times = collections.Counter(names)
    twice = next((name for name in names if times[name] > 1), None)
    if twice is not None:
        places = [str(at) for at, name in enumerate(names, start=1) if name == twice]
        raise InputError(
            f"the column name {twice!r} occurs {len(places)} times, as columns {', '.join(places)}",
            where=where,
            remedy="Rename the columns so that each name occurs once"
            + (", or name them all by header: true and names: [...]." if renaming else "."),
        )
