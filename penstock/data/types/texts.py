"""A column of texts, as files hold it: how it is read, and what it is then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock.data.types.numbers import plain_numbers
from penstock.data.types.times import parse_times
from penstock.data.types.value import BOOLEANS, SPACES, WRITTEN_OUT, TypeMismatch
from penstock.records.dataset import ColumnType, Reading, TextFormat

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Plan:
    """How one column of texts is read.

    Attributes:
        kind: Its storage type, None where every value is missing.
        written: How its values are written, if not the plain way.
        declared: The user gave the type.
        naive: Its times have no zone.
        given: Settings say how its numbers are written.
    """

    kind: ColumnType | None
    written: TextFormat | None = None
    declared: bool = False
    naive: bool = False
    given: bool = False

    def direct(self) -> pa.DataType:
        """Return the type as which Arrow's CSV reader reads it: text where it cannot."""
        import pyarrow as pa

        if self.kind is None:
            return pa.null()
        plain = self.written is None and (self.kind != "boolean" or not self.declared)
        if self.kind == "datetime" and plain:
            return pa.timestamp("us") if self.naive else pa.timestamp("us", "UTC")
        kinds = {"integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
        return kinds.get(self.kind, pa.string()) if plain else pa.string()

    def convert(self, texts: pa.Array, *, name: str) -> pa.Array:
        """Return a column's texts, stripped and null where missing, as it says.

        Raises:
            TypeMismatch: If a text is no value of its type.
        """
        import pyarrow as pa

        if self.kind is None:
            if texts.null_count < len(texts):
                raise TypeMismatch(name)
            return pa.nulls(len(texts))
        return from_texts(
            texts,
            self.kind,
            written=self.written,
            name=name,
            declared=self.declared,
            ungrouped=self.declared or self.given,
        )

    def first_bad_value(self, texts: pa.Array, *, name: str) -> int | None:
        """Return the row of the first text that does not fit, by halving; None if none."""
        low, high = 0, len(texts)
        if self._fits(texts, name):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            if self._fits(texts.slice(low, middle - low), name):
                low = middle
            else:
                high = middle
        return low

    def _fits(self, texts: pa.Array, name: str) -> bool:
        try:
            self.convert(texts, name=name)
        except TypeMismatch:
            return False
        return True


def from_texts(
    texts: pa.Array,
    kind: ColumnType,
    *,
    written: TextFormat | None,
    name: str,
    declared: bool,
    ungrouped: bool = True,
) -> pa.Array:
    """Return texts of a file in their column's storage type.

    Args:
        texts: The texts, stripped, null where missing.
        kind: The storage type.
        written: How numbers and times are written, if not the plain way.
        name: The column's name.
        declared: The user gave the type. An inferred one takes no number with a leading zero,
            which is a code, and no boolean but true and false.
        ungrouped: Numbers of four digits or more may lack the marks between groups. Where those
            marks were inferred, one that lacks them makes the inference doubtful.

    Raises:
        TypeMismatch: If a text is no value of this type.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if kind == "string":
        return texts
    # An empty cell is no number, whatever na_values says.
    if texts.null_count < len(texts):
        texts = pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
    try:
        if kind == "boolean":
            return _booleans(texts, BOOLEANS if declared else WRITTEN_OUT)
        if kind == "datetime":
            return parse_times(texts, written.time if written else "")
        target_type = pa.int64() if kind == "integer" else pa.float64()
        return plain_numbers(texts, written, codes=declared, ungrouped=ungrouped).cast(target_type)
    except (pa.ArrowInvalid, ValueError) as error:
        raise TypeMismatch(name) from error


def clean_texts(texts: pa.Array, reading: Reading) -> pa.Array:
    """Return texts without white space around them, null where they mean a missing value."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if reading.strip:
        texts = pc.utf8_trim(texts, characters=SPACES)
    missing = pa.array(reading.na_values, pa.string())
    return pc.if_else(pc.is_in(texts, missing), pa.scalar(None, pa.string()), texts)


def _booleans(texts: pa.Array, known: Mapping[str, bool]) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    places = pc.index_in(texts, pa.array(list(known), pa.string()))
    if places.null_count > texts.null_count:
        raise ValueError("a text is neither true nor false")
    return pa.array(list(known.values()), pa.bool_()).take(places)
