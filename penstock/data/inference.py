"""Which type a column of texts has, and the conversion of texts to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from penstock.data import arrow
from penstock.data.signals import Misfit
from penstock.errors import InputError
from penstock.records.dataset import ColumnType

if TYPE_CHECKING:
    import pyarrow as pa

OVERWHELMING = 0.9
"""Share of numbers from which the rest of a column is taken for mistakes, not for text."""

_INTEGER = r"^-?[0-9]+$"
_NUMBER = (
    r"^-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$|^-?([iI]nf|INF|[iI]nfinity|[nN]a[nN]|NAN)$"
)
_BOOLEAN = r"^(true|false|True|False|TRUE|FALSE)$"
_CLOCK = r"[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
NAIVE = rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}({_CLOCK})?$"
ZONED = rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}{_CLOCK}(Z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)$"
_TYPED = f"{_BOOLEAN}|{NAIVE}|{ZONED}"


@dataclass
class Tally:
    """How many values of a column could be of each type."""

    total: int = 0
    integers: int = 0
    numbers: int = 0
    booleans: int = 0
    naive: int = 0
    zoned: int = 0
    too_large: bool = False
    """An integer has more than 64 bits."""
    stranger: str = ""
    """The first value that is no number."""

    def add(self, values: pa.Array, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Add different texts (none null) and how often each occurs; return which are numbers."""
        integers = _matches(values, _INTEGER)
        numbers = integers if integers.all() else _matches(values, _NUMBER)
        self.total += int(counts.sum())
        self.integers += int(counts[integers].sum())
        self.numbers += int(counts[numbers].sum())
        self.too_large = self.too_large or not _fit(values, integers)
        if numbers.all() or not _matches(values, _TYPED).any():
            return numbers
        self.booleans += int(counts[_matches(values, _BOOLEAN)].sum())
        self.naive += int(counts[_matches(values, NAIVE)].sum())
        self.zoned += int(counts[_matches(values, ZONED)].sum())
        return numbers

    def is_mixed(self) -> bool:
        """Whether nearly all values are numbers, but not all."""
        return OVERWHELMING * self.total <= self.numbers < self.total

    def arrow(self) -> pa.DataType:
        """Return the narrowest Arrow type for all values; `null` when there is none."""
        import pyarrow as pa

        if not self.total:
            return pa.null()
        if self.integers == self.total:
            # As floats, long identifiers would become equal to one another.
            return pa.string() if self.too_large else pa.int64()
        choices = (
            (self.numbers, pa.float64()),
            (self.booleans, pa.bool_()),
            (self.naive, pa.timestamp("us")),
            (self.zoned, pa.timestamp("us", "UTC")),
        )
        return next((kind for count, kind in choices if count == self.total), pa.string())


def mixed_error(name: str, tally: Tally, *, where: str) -> InputError:
    """Return the error for a column of numbers with a few other values."""
    strangers = tally.total - tally.numbers
    return InputError(
        f"{strangers:,} of {tally.total:,} values are not numbers; the first is "
        f"{tally.stranger!r:.80}",
        where=f"{where}: column {name!r}",
        remedy=f"If it stands for a missing value, add {tally.stranger!r:.80} to na_values; if the "
        f"column is text, declare types: {{{name}: string}}.",
    )


def declared_arrow(kind: ColumnType, tally: Tally) -> pa.DataType:
    """Return the Arrow type to read a column as that the user gave a type."""
    import pyarrow as pa

    if kind == "datetime":
        zoned = tally.zoned > 0 and tally.zoned == tally.total
        return pa.timestamp("us", "UTC") if zoned else pa.timestamp("us")
    return {
        "integer": pa.int64(),
        "number": pa.float64(),
        "boolean": pa.bool_(),
        "string": pa.string(),
    }[kind]


def convert(texts: pa.Array, wanted: pa.DataType, *, name: str, decimal: str = ".") -> pa.Array:
    """Return texts, null where missing, as another Arrow type.

    Raises:
        Misfit: If one cannot be read as it.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_string(wanted):
        return texts
    # An empty cell is no number, whatever na_values says.
    if texts.null_count < len(texts):
        texts = pc.if_else(pc.equal(pc.binary_length(texts), 0), arrow.null(pa.string()), texts)
    if pa.types.is_null(wanted):
        if texts.null_count < len(texts):
            raise Misfit(name)
        return pa.nulls(len(texts))
    if decimal != "." and pa.types.is_floating(wanted):
        texts = pc.replace_substring(texts, decimal, ".")
    try:
        return pc.cast(texts, wanted)
    except pa.ArrowInvalid as error:
        raise Misfit(name) from error


def first_misfit(texts: pa.Array, wanted: pa.DataType, *, decimal: str = ".") -> int | None:
    """Return the row of the first text that `convert` would refuse, by halving; None if none."""
    low, high = 0, len(texts)
    if _converts(texts, wanted, decimal):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if _converts(texts.slice(low, middle - low), wanted, decimal):
            low = middle
        else:
            high = middle
    return low


def _converts(texts: pa.Array, wanted: pa.DataType, decimal: str) -> bool:
    try:
        convert(texts, wanted, name="", decimal=decimal)
    except Misfit:
        return False
    return True


def _matches(values: pa.Array, pattern: str) -> npt.NDArray[np.bool_]:
    import pyarrow.compute as pc

    matched: Any = pc.match_substring_regex(values, pattern=pattern)
    return arrow.flags(matched)


def _fit(values: pa.Array, integers: npt.NDArray[np.bool_]) -> bool:
    """Whether those values that are integers have at most 64 bits."""
    import pyarrow as pa

    try:
        values.filter(arrow.booleans(integers)).cast(pa.int64())
    except pa.ArrowInvalid:
        return False
    return True
