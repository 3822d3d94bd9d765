"""Columns of Python values, as JSON and databases give them: their types, and Arrow arrays."""

from __future__ import annotations

import datetime as dt
import decimal
import math
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from penstock.data.types.storage import arrow_type
from penstock.data.types.times import NAIVE, ZONED
from penstock.data.types.value import Rules, TypeMismatch, is_missing, value_of
from penstock.errors import InputError
from penstock.records.dataset import ColumnType

if TYPE_CHECKING:
    import pyarrow as pa

_INT64 = range(-(2**63), 2**63)
_HOLDS: dict[ColumnType, frozenset[str]] = {
    "integer": frozenset({"integer"}),
    "number": frozenset({"integer", "number"}),
    "boolean": frozenset({"boolean"}),
    "string": frozenset({"string", "time text"}),
    "datetime": frozenset({"time text", "datetime"}),
}
TIME = f"{NAIVE}|{ZONED}"
"""What a text is that stands for a time: the same for Python and RE2."""

_TIME = re.compile(TIME)


class UnstorableError(InputError):
    """A value that no storage type holds.

    Args:
        value: Nested, binary, a time of day, or a whole number of more than 64 bits.
        where: Its place.

    Attributes:
        whole: Whether it is a whole number, which a text would hold.
    """

    def __init__(self, value: Any, *, where: str) -> None:
        if isinstance(value, memoryview):
            value = bytes(value)  # A view shows no value.
        super().__init__(
            f"a value of type {type(value).__name__} cannot be stored: {value!r:.80}",
            where=where,
            remedy="Flatten, convert or drop this column; numbers, booleans, text, dates and times "
            "are stored.",
        )
        self.whole = isinstance(value, int)


@dataclass
class Kinds:
    """How many values of a column are of each kind, and where the first of each is."""

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, tuple[Any, str]] = field(default_factory=dict)

    def add(self, value: Any, place: str) -> None:
        """Count a value; None is missing and not counted.

        Raises:
            UnstorableError: If the value cannot be stored: nested, binary, or over 64 bits.
        """
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return
        kind = _kind(value)
        if kind is None:
            raise UnstorableError(value, where=place)
        if kind not in self.counts:
            self.first[kind] = (value, place)
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def add_many(self, kind: str, count: int) -> None:
        """Count values of a column that holds no others."""
        if count:
            self.counts[kind] = self.counts.get(kind, 0) + count

    def settle(self, name: str) -> ColumnType | None:
        """Return the storage type of all values, None if there was no value.

        Raises:
            InputError: If the kinds do not go together.
        """
        found = set(self.counts)
        if not found:
            return None
        if found <= {"integer", "number"}:
            return "number" if "number" in found else "integer"
        if found <= {"time text", "datetime"}:
            return "datetime"
        if found <= {"time text", "string"}:
            return "string"
        simple: tuple[ColumnType, ...] = ("boolean", "string", "datetime")
        if len(found) == 1:
            return next(kind for kind in simple if kind in found)
        listing = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.counts.items()))
        rare = min(found, key=lambda kind: self.counts[kind])
        value, place = self.first[rare]
        raise InputError(
            f"values of several types ({listing}); the first {rare} is {value!r:.80}",
            where=place,
            remedy=f"Correct the source, or declare types: {{{name}: string}}.",
        )


def to_array(
    values: Sequence[Any], kind: ColumnType | None, *, name: str, declared: bool
) -> pa.Array:
    """Return values as an Arrow array of a storage type.

    Args:
        values: The values, None where missing.
        kind: The storage type; None for a column that had no value when types were inferred.
        name: The column's name.
        declared: The user gave this type, so values are converted where that loses nothing: whole
            floats to integers, numbers in texts, anything to text. An inferred type must simply
            hold, or the result would depend on which rows came first.

    Raises:
        TypeMismatch: If a value is not of this type.
    """
    import pyarrow as pa

    if kind is None:
        if not all(is_missing(value) for value in values):
            raise TypeMismatch(name)
        return pa.nulls(len(values))
    target_type = arrow_type(kind)
    try:
        direct = pa.array(values)
        if direct.type == target_type or (kind == "number" and pa.types.is_integer(direct.type)):
            return direct.cast(target_type)
    except (TypeError, OverflowError, pa.ArrowException):
        # The values are of several types: look at them one by one.
        pass
    try:
        if not declared and not all(_kind(v) in _HOLDS[kind] for v in values if v is not None):
            raise TypeMismatch(name)
        rules = Rules(name=name, kind=kind, texts=declared)
        return pa.array([_as(value, rules) for value in values], target_type)
    except (ValueError, TypeError, OverflowError, pa.ArrowException) as error:
        raise TypeMismatch(name) from error


def first_bad_value(
    values: Sequence[Any], kind: ColumnType | None, *, declared: bool
) -> int | None:
    """Return the place of the first value that `to_array` would refuse, None if there is none."""
    for place, value in enumerate(values):
        try:
            to_array([value], kind, name="", declared=declared)
        except TypeMismatch:
            return place
    return None


def settle_all(
    kinds: Mapping[str, Kinds], declared: Mapping[str, ColumnType]
) -> dict[str, ColumnType | None]:
    """Return the storage type of every column, declared ones as declared."""
    return {
        name: declared[name] if name in declared else found.settle(name)
        for name, found in kinds.items()
    }


def _kind(value: Any) -> str | None:
    if isinstance(value, str):
        return "time text" if _TIME.fullmatch(value) else "string"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer" if value in _INT64 else None
    if isinstance(value, float | decimal.Decimal):
        return "number"
    if isinstance(value, dt.date):
        return "datetime"
    return "string" if isinstance(value, uuid.UUID) else None


def _as(value: Any, rules: Rules) -> Any:
    """Return a value in a form that Arrow takes for a storage type, None where it is missing."""
    if rules.kind == "string":
        return None if value is None else _text(value)
    if isinstance(value, float | decimal.Decimal) and math.isinf(value):
        return float(value)  # The profile refuses it, by name and count.
    return value_of(value, rules)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview | list | dict | tuple | set):
        raise ValueError(value)
    return str(value)
