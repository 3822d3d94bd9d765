"""A column of some rows of an answer: Python's values, or an Arrow array of plain values.

Both have a kind and become the array that is stored by the same rules, those of
`penstock.data.types.objects`: an Arrow array all at once where its type leaves no question, else
value by value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from penstock.data.types.objects import TIME, Kinds, to_array
from penstock.data.types.storage import arrow_type, doubles, storage_type
from penstock.data.types.times import parse_times
from penstock.data.types.value import TypeMismatch
from penstock.errors import PenstockError
from penstock.records.dataset import ColumnType

if TYPE_CHECKING:
    import pyarrow as pa


class Unreadable(Exception):  # noqa: N818 - SQLAlchemy reads instead
    """What cannot be read through Arrow, or not surely with the same values.

    Args:
        reason: Why, as the end of "Not read through Arrow: …".
        error: What to raise where SQLAlchemy cannot read either, for want of its driver.
        again: The same query reads it in another way when it is run once more.
    """

    def __init__(
        self, reason: str, error: PenstockError | None = None, *, again: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.error = error
        self.again = again


class Cells(Protocol):
    """The values of one column in a block of rows."""

    def count(self, kinds: Kinds, place: Callable[[int], str]) -> None:
        """Add what is found to `kinds`.

        Args:
            kinds: The column's.
            place: Where the value of a row is, for an error; rows count from 0.

        Raises:
            InputError: If a value cannot be stored.
        """

    def stored(self, kind: ColumnType | None, *, name: str, declared: bool) -> pa.Array:
        """Return the values in a storage type; the arguments are those of `objects.to_array`.

        Raises:
            TypeMismatch: If a value is not of this type.
        """

    def values(self) -> Sequence[Any]:
        """Return the values as Python has them."""


@dataclass(frozen=True)
class Objects:
    """Python's values, as a driver gives them."""

    found: Sequence[Any]

    def count(self, kinds: Kinds, place: Callable[[int], str]) -> None:
        """See `Cells`."""
        for row, value in enumerate(self.found):
            kinds.add(value, place(row))

    def stored(self, kind: ColumnType | None, *, name: str, declared: bool) -> pa.Array:
        """See `Cells`."""
        return to_array(list(self.found), kind, name=name, declared=declared)

    def values(self) -> Sequence[Any]:
        """See `Cells`."""
        return self.found


@dataclass(frozen=True)
class Plain:
    """An Arrow array of booleans, whole numbers, floats, decimals, texts, dates or timestamps.

    Args:
        array: Timestamps are of microseconds, in the years 1 to 9999, as dates are.
        decimal: What reads a decimal, where the array holds their texts; None elsewhere.
    """

    array: pa.Array
    decimal: Callable[[str], Any] | None = None

    def count(self, kinds: Kinds, place: Callable[[int], str]) -> None:  # noqa: ARG002 - all fit
        """See `Cells`."""
        import pyarrow as pa
        import pyarrow.compute as pc

        known = len(self.array) - self.array.null_count
        kind = self._kind()
        if kind == "string":
            times = pc.sum(pc.match_substring_regex(self.array, pattern=TIME)).as_py() or 0
            kinds.add_many("time text", times)
            kinds.add_many("string", known - times)
        elif pa.types.is_floating(self.array.type):
            kinds.add_many("number", known - (pc.sum(pc.is_nan(self.array)).as_py() or 0))
        elif kind is not None:
            kinds.add_many(kind, known)

    def stored(self, kind: ColumnType | None, *, name: str, declared: bool) -> pa.Array:
        """See `Cells`."""
        import pyarrow as pa

        own = self._kind()
        try:
            if kind == own or own == "string":
                found = self._as(kind, declared=declared)
                if found is not None:
                    return found
        except (ValueError, pa.ArrowException) as error:
            raise TypeMismatch(name) from error
        if kind is None and self.array.null_count == len(self.array):
            return pa.nulls(len(self.array))
        if kind == "string" and getattr(self.array.type, "tz", None):
            raise Unreadable(
                f"column {name!r} is to be text, and times are written in the zone of the session"
            )
        return to_array(list(self.values()), kind, name=name, declared=declared)

    def values(self) -> Sequence[Any]:
        """See `Cells`."""
        found: list[Any] = self.array.to_pylist()
        if self.decimal is None:
            return found
        return [None if text is None else self.decimal(text) for text in found]

    def _kind(self) -> ColumnType | None:
        import pyarrow as pa

        if self.decimal is not None:
            return "number"
        return None if pa.types.is_null(self.array.type) else storage_type(self.array.type)

    def _as(self, kind: ColumnType | None, *, declared: bool) -> pa.Array | None:
        """Return the array in a storage type, None where the values must be looked at."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if kind == "string":
            return self.array
        if kind == "datetime" and pa.types.is_string(self.array.type):
            try:
                return parse_times(self.array)
            except ValueError:  # Arrow's own is one.
                if declared:
                    return None  # An empty text is missing then.
                raise
        if kind == "number" and (self.decimal or pa.types.is_decimal(self.array.type)):
            found = pc.cast(self.array, pa.float64()) if self.decimal else doubles(self.array)
            # Not a number, or beyond a double: that is refused, by name.
            return found if pc.all(pc.is_finite(found)).as_py() is not False else None
        if kind is None or storage_type(self.array.type) != kind:
            return None
        return pc.cast(self.array, arrow_type(kind))
